//! Exchanges that may have minted are never more than the budget in any ten minutes, and an outage of the accounts
//! server costs its own length. The emulator's ledger is the judge.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{Request, Response};
use zoho_sidecar::emulator::{Emulator, Fault, Target};
use zoho_sidecar::net::body::Body;
use zoho_sidecar::net::transport::{BoxFuture, Transport, TransportError};

use crate::world::{USERS, World};

/// `tokens.mints_per_window` as shipped.
const BUDGET: usize = 6;
const WINDOW: Duration = Duration::from_mins(10);
/// How soon after an outage there is a token again.
const SOON: Duration = Duration::from_secs(10);

fn mint_answer(status: u16, body: &str) -> Fault {
    Fault::MintAnswer { status, body: body.to_owned() }
}

/// When tokens were minted, or may have been for all that the sidecar can know, in milliseconds. Not those that were
/// answered by a documented error.
fn may_have_minted(world: &World) -> Vec<u64> {
    let entries = world.zoho().ledger().entries();
    let exchanges =
        entries.iter().filter(|entry| entry.method == "POST" && entry.path() == "/oauth/v2/token");
    let is_uncertain = |status: Option<u16>| status.is_none_or(|status| status >= 500);
    let mut times: Vec<u64> = exchanges
        .filter(|entry| entry.minted.is_some() || is_uncertain(entry.status))
        .map(|entry| entry.minted.unwrap_or(entry.at))
        .collect();
    times.sort_unstable();
    times
}

#[track_caller]
fn assert_within_budget(world: &World, what: &str) {
    let window = u64::try_from(WINDOW.as_millis()).unwrap();
    let times = may_have_minted(world);
    for (first, last) in times.iter().zip(times.iter().skip(BUDGET)) {
        assert!(last - first >= window, "{what}: {} exchanges in {} ms", BUDGET + 1, last - first);
    }
}

/// Calls until it is served; how long that takes.
async fn time_until_served(world: &World) -> Duration {
    let start = world.now();
    while world.get(USERS).await.status != 200 {
        world.passes(Duration::from_millis(200)).await;
        assert!(world.now() - start < Duration::from_mins(20), "{}", world.ask_admin("/status").text);
    }
    world.now() - start
}

#[tokio::test(start_paused = true)]
async fn an_outage_of_the_accounts_server_costs_its_own_length() {
    let connections = [Fault::Refuse, Fault::Drop, Fault::Hang, Fault::DropAfter];
    let errors = [Fault::Html500, Fault::Html502, Fault::Empty503];
    let page =
        |status| Fault::Status { status, body: "<html>made up</html>".to_owned(), headers: Vec::new() };
    let pages = [Fault::Html200, Fault::Empty200, Fault::Garbage, page(302), page(403), page(404)];
    let down = connections.into_iter().chain(errors).map(|fault| (fault, "endpoint_down", "unanswered"));
    let replaced = pages.into_iter().map(|fault| (fault, "nonsense", "misanswered"));
    for (fault, health, found) in down.chain(replaced) {
        for seconds in [5, 20, 65, 200, 600, 1_800] {
            let world = World::making().unsettled().start().await;
            world.zoho().script().always(Target::Accounts, fault.clone());
            world.passes(Duration::from_secs(seconds)).await;
            let refused = world.ask_admin("/readyz");
            assert_eq!(refused.status, 503, "{fault:?}");
            if seconds > 10 {
                assert!(refused.text.contains(health), "{fault:?}: {}", refused.text);
                let metric = format!(r#"zoho_sidecar_token_probes_total{{tenant="acme",outcome="{found}"}}"#);
                assert!(world.metric(&metric) >= Some(1.0), "{fault:?}");
            }

            world.zoho().script().clear();

            let took = time_until_served(&world).await;
            assert!(took <= SOON, "{fault:?} for {seconds} s: {took:?} after its end");
            let attempts = world.zoho().ledger().mint_attempts();
            assert_eq!(attempts, 2, "{fault:?} for {seconds} s: one before the outage was known, one after");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_asked_for_tokens_sees_no_credential() {
    let world = World::making().unsettled().start().await;
    world.zoho().script().always(Target::Accounts, Fault::Empty503);
    world.passes(Duration::from_mins(10)).await;
    let ledger = world.zoho().ledger();
    let probes = ledger.count(|entry| entry.path_and_query == "/oauth/serverinfo" && entry.method == "GET");
    assert!((150..=320).contains(&probes), "{probes} questions in ten minutes");
    let has_credential = |name: &str| name == "authorization" || name == "cookie";
    let with_credential = ledger.count(|entry| {
        entry.path() == "/oauth/serverinfo"
            && (entry.body_length > 0 || entry.headers.iter().any(|(name, _)| has_credential(name)))
    });
    assert_eq!(with_credential, 0);
    assert_eq!(ledger.mint_attempts(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_answers_but_fails_to_mint_spends_the_budget_and_the_status_says_until_when() {
    let world = World::making().unsettled().start().await;
    world.zoho().script().always(Target::Mints, Fault::Html500);
    let start = world.now();
    world.passes(Duration::from_mins(2)).await;
    assert_eq!(world.zoho().ledger().mint_attempts(), BUDGET);
    let tenant = world.ask_admin("/status").json()["tenants"][0].clone();
    assert_eq!(tenant["health"], "budget_spent");
    assert!(tenant["remedy"].as_str().unwrap().contains("endpoint_down"), "{tenant}");
    let wait = tenant["next_attempt_in_seconds"].as_u64().unwrap();
    assert!((470..=480).contains(&wait), "{wait}");
    let retry_after: u64 = world.get(USERS).await.header("retry-after").parse().unwrap();
    assert!((wait..=wait + 1).contains(&retry_after), "{retry_after}");

    world.zoho().script().clear();
    time_until_served(&world).await;
    let took = world.now() - start;
    assert!((WINDOW..WINDOW + Duration::from_secs(2)).contains(&took), "{took:?}");
    assert_within_budget(&world, "after a server that fails to mint");
}

#[tokio::test(start_paused = true)]
async fn replies_that_hold_a_token_and_are_not_understood_spend_the_budget() {
    let of_bytes = |more| format!(r#"{{"access_token":"{{token}}","more":"{}"}}"#, "x".repeat(more));
    for fault in [
        mint_answer(200, r#"{"access_token":"{token}""#),
        mint_answer(200, r#"{"access_token":"{token}\n"}"#),
        mint_answer(200, r#"{"access_token":["{token}"]}"#),
        mint_answer(200, r#"{"error":"invalid_code","access_token":"{token}\r\n"}"#),
        mint_answer(200, r#"{"error":"invalid_code","answers":[{"access_token":"{token}"}]}"#),
        mint_answer(200, "<html>{token}</html>"),
        mint_answer(200, ""),
        mint_answer(302, "{token}"),
        mint_answer(429, "{token}"),
        mint_answer(502, r#"{"access_token":"{token}""#),
        mint_answer(503, "{token}"),
        mint_answer(200, &of_bytes(10_000_000)),
        Fault::CutBody(20),
        Fault::DropAfter,
        Fault::DelayAnswer(Duration::from_secs(30)),
        Fault::Gzip.and(mint_answer(200, &of_bytes(200_000))), // over the limit of 64 KiB
        Fault::MissingAccessToken,
        Fault::ExpiresIn(3),
        Fault::WrongApiDomain("https://evil.example".to_owned()),
    ] {
        let world = World::making().unsettled().start().await;
        world.zoho().script().always(Target::Mints, fault.clone());
        for _ in 0..12 * 30 {
            world.passes(Duration::from_secs(5)).await;
            let _ = world.get(USERS).await;
        }
        let what = format!("{fault:?}").chars().take(100).collect::<String>();
        assert!(world.mints() >= 2, "{what}: {} mints in half an hour", world.mints());
        assert_within_budget(&world, &what);
    }
}

/// What happens to the state directory while tokens die.
async fn mints_while_tokens_die(world: &World, mut before_each: impl FnMut()) -> usize {
    for path in [USERS, USERS, "/crm/v8/org"].into_iter().cycle().take(20) {
        world.get(path).await;
        before_each();
        world.acme().kill_access_tokens();
        world.get(path).await;
        world.passes(Duration::from_secs(2)).await;
    }
    assert_within_budget(world, "while tokens die");
    world.mints()
}

fn with_directory(directory: &Path) -> String {
    format!("[state]\ndirectory = \"{}\"\n", directory.display())
}

/// Reaches the emulator, but for the accounts server while the way there is cut.
struct Cut {
    emulator: Emulator,
    is_cut: Arc<AtomicBool>,
}

impl Transport for Cut {
    fn send(&self, request: Request<Body>) -> BoxFuture<Result<Response<Body>, TransportError>> {
        if request.uri().path().starts_with("/oauth") && self.is_cut.load(Ordering::SeqCst) {
            return Box::pin(async { Err(TransportError::ConnectTimeout) });
        }
        self.emulator.send(request)
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_of_another_sidecar_is_found_while_the_accounts_server_does_not_answer_this_one() {
    let directory = tempfile::tempdir().unwrap();
    let shared = World::with("").await.crash();
    let is_cut = Arc::new(AtomicBool::new(true));
    let cut = is_cut.clone();
    let one = World::making()
        .config(&with_directory(directory.path()))
        .after(shared.clone())
        .around(move |emulator| Arc::new(Cut { emulator, is_cut: cut }))
        .start()
        .await;
    one.passes(Duration::from_mins(2)).await;
    one.get(USERS).await.assert_status(503);
    assert!(one.ask_admin("/readyz").text.contains("endpoint_down"), "{}", one.ask_admin("/readyz").text);

    let other = World::making().config(&with_directory(directory.path())).after(shared);
    let other = other.await_first_token().await;
    let mints = other.mints();

    assert!(time_until_served(&one).await <= SOON);
    assert_eq!(one.ask_admin("/readyz").json()["reasons"], serde_json::json!([]));
    let adopted = r#"zoho_sidecar_token_mints_total{tenant="acme",outcome="adopted"}"#;
    assert_eq!((one.metric(adopted), one.mints()), (Some(1.0), mints));
    // The way is still cut when the token is to be renewed: the newer one is found in time, and nobody waits.
    for _ in 0..70 {
        one.passes(Duration::from_mins(1)).await;
        one.get(USERS).await.assert_status(200);
    }
    assert_eq!((one.metric(adopted), one.mints()), (Some(2.0), mints + 1));
    is_cut.store(false, Ordering::SeqCst);
    one.passes(Duration::from_mins(60)).await;
    one.get(USERS).await.assert_status(200);
}

fn state_file(directory: &Path, ending: &str) -> PathBuf {
    let files = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
    files.into_iter().find(|file| file.extension().is_some_and(|found| found == ending)).unwrap()
}

#[tokio::test(start_paused = true)]
async fn the_budget_holds_where_an_older_state_file_comes_back() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::with(&with_directory(directory.path())).await;
    let file = state_file(directory.path(), "state");
    let older = std::fs::read(&file).unwrap();
    let mints = mints_while_tokens_die(&world, || std::fs::write(&file, &older).unwrap()).await;
    assert_eq!(mints, BUDGET);
}

#[tokio::test(start_paused = true)]
async fn the_budget_holds_where_an_older_state_file_comes_back_after_failures() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::with(&with_directory(directory.path())).await;
    let file = state_file(directory.path(), "state");
    let older = std::fs::read(&file).unwrap();
    world.acme().kill_access_tokens();
    world.zoho().script().always(Target::Mints, mint_answer(200, "{token}"));
    for _ in 0..300 {
        std::fs::write(&file, &older).unwrap();
        world.get(USERS).await;
        world.passes(Duration::from_secs(1)).await;
    }
    assert_eq!(world.mints(), BUDGET);
}

#[tokio::test(start_paused = true)]
async fn the_budget_holds_where_the_state_file_is_spoilt_again_and_again() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::with(&with_directory(directory.path())).await;
    let file = state_file(directory.path(), "state");
    let mints = mints_while_tokens_die(&world, || std::fs::write(&file, b"spoilt").unwrap()).await;
    assert_eq!(mints, BUDGET);
}

#[tokio::test(start_paused = true)]
async fn the_budget_holds_where_no_state_can_be_written() {
    let world = World::with("[state]\ndirectory = \"/proc/no/such/place\"\n").await;
    assert_eq!(mints_while_tokens_die(&world, || {}).await, BUDGET);
}

#[tokio::test(start_paused = true)]
async fn the_budget_holds_while_another_process_keeps_the_lock() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::with(&with_directory(directory.path())).await;
    let lock = std::fs::File::open(state_file(directory.path(), "lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(mints_while_tokens_die(&world, || {}).await, BUDGET);
}

#[tokio::test(start_paused = true)]
async fn the_budget_holds_where_the_task_that_mints_is_started_anew() {
    let mut world = World::shipped().await;
    for _ in 0..20 {
        world.restart_renewals();
        world.get(USERS).await;
        world.acme().kill_access_tokens();
        world.get(USERS).await;
        world.passes(Duration::from_secs(2)).await;
    }
    assert_within_budget(&world, "while the task starts anew");
    assert_eq!(world.mints(), BUDGET);
}

#[tokio::test(start_paused = true)]
async fn a_refresh_token_that_comes_back_has_its_own_mints_still() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("refresh-token");
    let config = format!("[tenants.acme]\nrefresh_token = {{ file = \"{}\" }}\n", file.display());
    let first = World::shipped().await.acme().refresh_token().to_owned();
    std::fs::write(&file, &first).unwrap();
    let world = World::with(&config).await;
    mints_while_tokens_die(&world, || {}).await;
    assert_eq!(world.mints(), BUDGET);

    for other in ["1000.made-up.of-another-user", &first, "1000.made-up.of-a-third", &first] {
        std::fs::write(&file, other).unwrap();
        world.passes(Duration::from_secs(20)).await;
        assert_eq!(world.mints(), BUDGET);
    }
    assert!(world.ask_admin("/readyz").text.contains("budget_spent"));
    assert!(time_until_served(&world).await < WINDOW);
}

#[tokio::test(start_paused = true)]
async fn members_of_unexpected_types_hide_neither_a_token_nor_an_error() {
    let token =
        r#"{"access_token":"{token}","expires_in":"3600.0","status":200,"scope":["x"],"api_domain":null}"#;
    for fault in [mint_answer(200, token), Fault::Gzip, Fault::Gzip.and(mint_answer(400, token))] {
        let world = World::making().fault(Target::Mints, fault.clone()).await_first_token().await;
        world.get(USERS).await.assert_status(200);
    }
    let body = r#"{"error":"invalid_code","status":400}"#.to_owned();
    let dead = Fault::Status { status: 200, body, headers: Vec::new() };
    let world = World::making().fault(Target::Mints, dead).start().await;
    assert!(world.ask_admin("/readyz").text.contains("grant_dead"));
    let identity = |entry: &zoho_sidecar::emulator::Entry| {
        entry.path() == "/oauth/v2/token" && entry.header("accept-encoding") == Some("identity")
    };
    assert_eq!(world.zoho().ledger().count(identity), 1);
}

/// Numbers that look random and are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    /// Something that goes wrong, and whether it passes by itself for the sidecar as soon as it has ended.
    fn trouble(&mut self) -> (Target, Fault, bool) {
        let target = if self.roll(2) == 0 { Target::Accounts } else { Target::Mints };
        let (fault, passes) = match self.roll(16) {
            0 | 1 => (Fault::Drop, true),
            2 => (Fault::DropAfter, true),
            3 | 4 => (Fault::Hang, true),
            5 => (Fault::Html500, true),
            6 => (Fault::Empty503, true),
            7 => (mint_answer(502, "{token}"), true),
            8 => (mint_answer(200, r#"{"access_token":"{token}"#), true),
            9 => (Fault::CutBody(9), true),
            10 => (Fault::DelayAnswer(Duration::from_secs(self.roll(15))), true),
            11 => (Fault::Delay(Duration::from_secs(self.roll(9))), true),
            12 => (Fault::Html200, true),
            13 => (Fault::ExpiresIn(self.roll(90)), true),
            14 => (Fault::OauthError("invalid_code".to_owned()), false),
            _ => (Fault::AccessDenied, false),
        };
        (target, fault, passes)
    }
}

/// How many exchanges may count at this moment, be it that they brought nothing.
fn counting(world: &World) -> usize {
    // The sidecar counts from an exchange's end, which comes at most so much later.
    let window = WINDOW + Duration::from_secs(10);
    let since = world.wall_ms() - u64::try_from(window.as_millis()).unwrap();
    let is_exchange = |path: &str| path == "/oauth/v2/token";
    world.zoho().ledger().count(|entry| is_exchange(entry.path()) && entry.at >= since)
}

#[tokio::test(start_paused = true)]
async fn no_sequence_of_troubles_exceeds_the_budget_and_recovery_is_quick_while_it_has_room() {
    for seed in 0..24 {
        let mut dice = Dice(seed);
        let world = World::making().unsettled().start().await;
        let end = world.now() + Duration::from_hours(3);
        while world.now() < end {
            let (target, fault, passes) = dice.trouble();
            world.zoho().script().always(target, fault.clone());
            for _ in 0..=dice.roll(5) {
                if dice.roll(3) == 0 {
                    world.acme().kill_access_tokens();
                }
                let _ = world.get(USERS).await;
                let most = if dice.roll(8) == 0 { 600_000 } else { 30_000 };
                world.passes(Duration::from_millis(dice.roll(most))).await;
            }
            world.zoho().script().clear();
            if passes && counting(&world) < BUDGET && !is_left_alone(&world) {
                let took = time_until_served(&world).await;
                assert!(took <= SOON, "seed {seed}, {fault:?}: {took:?} after its end");
            }
            world.passes(Duration::from_secs(dice.roll(400))).await;
        }
        assert_within_budget(&world, &format!("seed {seed}"));
        assert!(world.mints() > 3, "seed {seed}");
    }
}

/// Whether the sidecar keeps away for reasons that the end of an outage does not change.
fn is_left_alone(world: &World) -> bool {
    let health = world.ask_admin("/status").json()["tenants"][0]["health"].as_str().unwrap().to_owned();
    ["grant_dead", "throttled", "token_rejected", "budget_spent"].contains(&health.as_str())
}
