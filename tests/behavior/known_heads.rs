//! Reads that are asked again in the same bytes: what is known of a head saves work, and changes no answer.

use std::time::Duration;

use zoho_sidecar::net::peer::Peer;
use zoho_sidecar::server::{Handler, Repeat, serve_connection};

use crate::wire;
use crate::world::{ASSOCIATED_USERS_COUNT, World, join_overseas};

/// Enough for a head to be known.
const OFTEN: usize = 5;

fn head(headers: &[&str]) -> String {
    let start = format!("GET {ASSOCIATED_USERS_COUNT} HTTP/1.1\r\nhost: sidecar:8080");
    [&[start.as_str()], headers, &["", ""]].concat().join("\r\n")
}

fn is_known(world: &World, head: &str) -> bool {
    known_answer(world, head).is_some()
}

/// What is answered without hyper, if it is.
fn known_answer(world: &World, head: &str) -> Option<String> {
    let mut answer = Vec::new();
    let is_done = world.handler().repeat(head.as_bytes(), &mut answer) == Repeat::Done;
    is_done.then(|| blanked(&String::from_utf8(answer).unwrap()))
}

/// An answer without the sidecar's own id for the request.
fn blanked(answer: &str) -> String {
    let (before, id) = answer.split_once("\r\nx-request-id: ").expect("each answer has an id");
    let (id, after) = id.split_once("\r\n").unwrap();
    let id = if id.len() == 16 { "(new)" } else { id };
    format!("{before}\r\nx-request-id: {id}\r\n{after}")
}

/// Asks, and gives the whole answer, blanked.
async fn ask(caller: &mut wire::Peer, head: &str) -> String {
    assert!(caller.say(head).await);
    blanked(&caller.whole_answer().await.expect("the connection is open"))
}

/// Asks over one connection until the head should be known, and gives the last answer.
async fn ask_often(world: &World, head: &str) -> String {
    let mut caller = world.connect();
    for _ in 1..OFTEN {
        ask(&mut caller, head).await;
    }
    ask(&mut caller, head).await
}

fn cache_status(answer: &str) -> &str {
    answer.lines().find_map(|line| line.strip_prefix("cache-status: ")).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_known_head_is_no_hit_after_a_suspension_that_outlasts_freshness() {
    let world = World::shipped().await;
    let head = head(&[]);
    ask_often(&world, &head).await;
    assert!(is_known(&world, &head));
    world.is_suspended(Duration::from_secs(100));
    let answer = known_answer(&world, &head).expect("it is fresh still");
    assert!(answer.contains("\r\nage: 100\r\n"), "{answer}");
    assert_eq!(cache_status(&answer), "zoho-sidecar; hit; ttl=200");
    world.is_suspended(Duration::from_hours(2));
    assert!(!is_known(&world, &head));
    assert_eq!(cache_status(&ask(&mut world.connect(), &head).await), "zoho-sidecar; fwd=uri-miss; stored");
}

#[tokio::test(start_paused = true)]
async fn a_known_head_is_answered_as_any_other_to_the_byte() {
    let world = World::shipped().await;
    let etag = world.get(ASSOCIATED_USERS_COUNT).await.header("etag").to_owned();
    world.passes(Duration::from_secs(7)).await;
    let unchanged = format!("if-none-match: {etag}");
    for (headers, status) in [
        (vec![], 200),
        (
            vec![
                "connection: keep-alive",
                "user-agent: made-up/1.0",
                "authorization: Zoho-oauthtoken made-up",
            ],
            200,
        ),
        (vec!["accept-encoding: gzip"], 200),
        (vec!["x-request-id: made-up-id-1"], 200),
        (vec!["x-request-id: not \"sane\""], 200),
        (vec!["X-Request-Id: made-up-id-2", "traceparent: 00-1-2-01", "x-request-id: made-up-id-3"], 200),
        (vec![unchanged.as_str()], 304),
        (vec!["if-none-match: \"another\""], 200),
        (vec!["cache-control: max-age=60"], 200),
    ] {
        let known = head(&headers);
        let answer = ask_often(&world, &known).await;
        assert_eq!(known_answer(&world, &known).as_deref(), Some(&*answer), "{headers:?}");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{headers:?}: {answer}");
        assert!(cache_status(&answer).starts_with("zoho-sidecar; hit; ttl="), "{headers:?}: {answer}");

        let mut caller = world.connect();
        let new = head(&[&headers[..], &["x-nobody-knows: 1"]].concat());
        assert_eq!(answer, ask(&mut caller, &new).await, "{headers:?}");
        assert_eq!(answer, ask(&mut caller, &known).await, "{headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_is_known_whatever_id_and_trace_it_is_asked_under() {
    let world = World::shipped().await;
    let under = |id: &str, trace| {
        let (id, trace) = (format!("x-request-id:{id}"), format!("traceparent: 00-{trace}-01"));
        head(&["accept: */*", &id, &trace, "baggage: a=1"])
    };
    let mut caller = world.connect();
    for (trace, id) in ["a", "b", "c"].into_iter().enumerate() {
        ask(&mut caller, &under(id, trace)).await;
    }
    let answer = |id: &str| known_answer(&world, &under(id, 9)).unwrap();
    for (id, told) in [(" made-up-id", "made-up-id"), ("x ", "x"), ("", "(new)"), (" not \"sane\"", "(new)")]
    {
        assert!(answer(id).contains(&format!("\r\nx-request-id: {told}\r\n")), "{id}");
        let mut other = world.connect();
        let new = under(id, 10).replace("accept: */*", "x-nobody-knows: 1");
        assert_eq!(answer(id), ask(&mut other, &new).await, "{id}");
        assert_eq!(answer(id), ask(&mut other, &under(id, 11)).await, "{id}");
    }

    assert!(!is_known(&world, &under("d", 1).replace("accept", "accept-language")), "another header");
    assert!(!is_known(&world, &under("d", 1).replace("baggage: a=1", "x-b: 1")), "one header fewer");
    caller.say(&under(" a\u{1}", 1)).await;
    assert!(caller.head().await.unwrap().starts_with("HTTP/1.1 400"), "what would be refused is refused");
}

#[tokio::test(start_paused = true)]
async fn where_a_rule_goes_by_a_trace_no_head_is_known() {
    let world = World::with(
        "[routes.associated-users-count]\nfresh_for = \"5m\"\nvary_by = [\"x-correlation-id\"]\n",
    )
    .await;
    let mut caller = world.connect();
    for id in ["one", "other"] {
        let head = head(&[&format!("x-correlation-id: {id}")]);
        assert_eq!(
            cache_status(&ask(&mut caller, &head).await),
            "zoho-sidecar; fwd=uri-miss; stored",
            "{id}"
        );
        assert!(cache_status(&ask_often(&world, &head).await).contains("; hit"), "{id}");
        assert!(!is_known(&world, &head), "{id}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_answer_has_its_own_id_its_own_age_a_count_and_a_line() {
    let world = World::shipped().await;
    let head = head(&[]);
    ask_often(&world, &head).await;
    let series = r#"zoho_sidecar_requests_total{tenant="acme",route="associated-users-count",status="2xx",cache="hit"}"#;
    let before = world.metric(series).unwrap();

    let mut caller = world.connect();
    let mut ids = Vec::new();
    for second in 1..=3 {
        world.passes(Duration::from_secs(1)).await;
        caller.say(&head).await;
        let answer = caller.whole_answer().await.unwrap();
        assert!(answer.contains(&format!("\r\nage: {second}\r\n")), "{answer}");
        assert!(answer.contains(&format!("; hit; ttl={}\r\n", 300 - second)), "{answer}");
        ids.extend(answer.lines().find_map(|line| line.strip_prefix("x-request-id: ")).map(str::to_owned));
    }

    assert_eq!(world.metric(series), Some(before + 3.0));
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 3);
    drop(caller);
    world.settles().await;
    let log = world.log();
    assert_eq!(log.lines().count(), OFTEN + 3);
    for id in ids {
        let line = log.lines().find(|line| line.contains(&id)).expect("each has a line");
        for said in [r#""cache":"hit""#, r#""status":200"#, ASSOCIATED_USERS_COUNT] {
            assert!(line.contains(said), "{line}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_becomes_untrue_is_not_said_again() {
    let world = World::shipped().await;
    let head = head(&[]);
    let old = ask_often(&world, &head).await;
    let mut caller = world.connect();

    world.send(join_overseas(&world)).await.assert_status(200);
    let new = ask(&mut caller, &head).await;
    assert_eq!(cache_status(&new), "zoho-sidecar; fwd=uri-miss; stored", "after a write");
    assert_ne!(old.lines().last(), new.lines().last());
    assert!(is_known(&world, &head), "its meaning is the same as before");
    assert_eq!(ask(&mut caller, &head).await.lines().last(), new.lines().last());

    assert_eq!(world.purge(r#"{"all":true}"#).status, 200);
    assert_eq!(cache_status(&ask(&mut caller, &head).await), "zoho-sidecar; fwd=uri-miss; stored", "purged");

    world.passes(Duration::from_secs(301)).await;
    let mut caller = world.connect();
    assert_eq!(
        cache_status(&ask(&mut caller, &head).await),
        "zoho-sidecar; hit; ttl=-1; detail=stale-while-revalidate",
        "grown old"
    );
}

#[tokio::test(start_paused = true)]
async fn a_head_known_from_one_says_nothing_of_who_else_sends_it() {
    let world = World::with(
        "[callers.web]\nuid = 1000\n[callers.others]\nanybody = true\npaths = [\"/crm/{version}/org\"]\n",
    )
    .await;
    let head = head(&[]);
    let connect = |uid| {
        let (caller, ours) = tokio::io::duplex(64 * 1024);
        let handler = world.handler().for_peer(Peer { uid: Some(uid), ..Peer::default() });
        let settings = world.server().clone();
        tokio::spawn(async move { serve_connection(ours, handler, &settings).await });
        wire::Peer(caller)
    };
    let known_by = |uid| world.handler().for_peer(Peer { uid: Some(uid), ..Peer::default() });
    let mut web = connect(1000);
    for _ in 0..OFTEN {
        assert!(ask(&mut web, &head).await.starts_with("HTTP/1.1 200"));
    }
    // Looked at before the other caller asks: the two may share a slot, which then knows neither.
    assert_eq!(known_by(1000).repeat(head.as_bytes(), &mut Vec::new()), Repeat::Done);
    let mut other = connect(1001);
    for _ in 0..OFTEN {
        assert!(ask(&mut other, &head).await.starts_with("HTTP/1.1 403"));
    }
    assert_ne!(known_by(1001).repeat(head.as_bytes(), &mut Vec::new()), Repeat::Done);
}

#[tokio::test(start_paused = true)]
async fn what_is_more_than_a_plain_read_is_never_known() {
    let world = World::shipped().await;
    world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
    let plain = head(&[]);
    for odd in [
        plain.replace("GET", "HEAD"),
        plain.replace("HTTP/1.1", "HTTP/1.0"),
        head(&["connection: close"]),
        head(&["cache-control: no-cache"]),
        plain.replace(ASSOCIATED_USERS_COUNT, "/crm/v8/org"),
        plain.replace("/crm/v8", "/crm//v8"),
    ] {
        for _ in 0..OFTEN {
            // Some of them are the last of their connection.
            let mut caller = world.connect();
            caller.say(&odd).await;
            assert!(caller.head().await.unwrap().starts_with("HTTP/1."));
        }
        assert!(!is_known(&world, &odd), "{odd}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_sidecars_in_one_thread_know_nothing_of_each_other() {
    let (one, other) = (World::shipped().await, World::shipped().await);
    let head = head(&[]);
    ask_often(&one, &head).await;
    assert!(is_known(&one, &head) && !is_known(&other, &head));
    assert_eq!(cache_status(&ask(&mut other.connect(), &head).await), "zoho-sidecar; fwd=uri-miss; stored");
}
