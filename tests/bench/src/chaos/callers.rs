//! Well-behaved callers: each checks that what it gets is right, whatever goes wrong around the sidecar.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::http::Response;

use super::Activity;
use super::dice::Dice;
use super::stage::{Stage, TERRITORY, agent, lock};
use super::tally::Tally;

const COUNT: &str = "/crm/v8/settings/territories/actions/associated_users_count";
const USERS: &str = "/crm/v8/users?type=AllUsers";

/// Several readers of the count and one writer that changes it, and callers whose calls are forwarded.
pub(super) fn all(stage: &Arc<Stage>) -> Vec<Activity> {
    let membership = Arc::new(Membership::default());
    let mut all: Vec<Activity> = Vec::new();
    for seed in 0..3 {
        all.push(reader(stage, &membership, seed));
    }
    all.push(writer(stage, &membership));
    for seed in 0..2 {
        all.push(forwarder(stage, seed));
    }
    all
}

/// What is certain about the territory's count.
#[derive(Default)]
struct Membership {
    /// Moves when a write begins and when it has ended: a read during which it moved proves nothing.
    changes: AtomicU64,
    /// The count that Zoho has confirmed; none while a write is under way or its outcome is unknown.
    confirmed: Mutex<Option<String>>,
}

impl Membership {
    fn now(&self) -> (u64, Option<String>) {
        let confirmed = lock(&self.confirmed).clone();
        (self.changes.load(Ordering::SeqCst), confirmed)
    }

    fn set(&self, count: Option<String>) {
        *lock(&self.confirmed) = count;
        self.changes.fetch_add(1, Ordering::SeqCst);
    }
}

/// Reads the count, in every way that the cache answers.
fn reader(stage: &Arc<Stage>, membership: &Arc<Membership>, seed: u64) -> Activity {
    let (stage, membership) = (stage.clone(), membership.clone());
    let (agent, mut dice) = (agent(), Dice::new(100 + seed));
    Box::new(move |tally| {
        let before = membership.now();
        let mut request = agent.get(stage.url(COUNT));
        if dice.below(10) == 0 {
            request =
                request.header("cache-control", *dice.choose(&["no-cache", "max-age=1", "max-stale=60"]));
        }
        let asks_stale = request
            .headers_ref()
            .is_some_and(|headers| headers.get("cache-control").is_some_and(|value| value == "max-stale=60"));
        let sent = request.call();
        let is_kept = sent.as_ref().is_ok_and(is_kept);
        let Some(body) = answered(tally, "count", sent) else { return pause(&mut dice) };
        let Some(count) = count_of(&body) else {
            // What Zoho answers instead is passed on, and never kept.
            if is_kept {
                tally.wrong(format!("what is kept is no count: {body}"));
            }
            return pause(&mut dice);
        };
        if let (_, Some(expected)) = &before
            && membership.now() == before
            && *expected != count
            && !asks_stale
        {
            tally.wrong(format!("the count is {count} after a write that made it {expected}"));
        }
        pause(&mut dice)
    })
}

fn pause(dice: &mut Dice) -> Duration {
    Duration::from_millis(5 + dice.below(20))
}

/// Puts a user into the territory and takes it out again.
fn writer(stage: &Arc<Stage>, membership: &Arc<Membership>) -> Activity {
    let (stage, membership, agent) = (stage.clone(), membership.clone(), agent());
    let mut is_member = false;
    Box::new(move |tally| {
        let path = format!("/crm/v8/settings/territories/{}/users", stage.territory);
        membership.set(None);
        let began = Instant::now();
        let sent = if is_member {
            agent.delete(stage.url(&format!("{path}?ids={}", stage.user))).call()
        } else {
            let body = format!(r#"{{"users":[{{"id":"{}"}}]}}"#, stage.user);
            agent.put(stage.url(&path)).content_type("application/json").send(body)
        };
        let is_certain = answered(tally, "write", sent).is_some();
        if !is_certain {
            // A call that timed out may still be executed while this lasts, and the sidecar invalidates again then.
            std::thread::sleep(Duration::from_secs(12));
        }
        match stage.true_count() {
            Ok(count) => {
                is_member = count != "0";
                membership.set(is_certain.then_some(count));
            }
            Err(error) => tally.unexpected(format!("the emulator does not say its counts: {error:#}")),
        }
        Duration::from_millis(400).saturating_sub(began.elapsed()) + Duration::from_millis(100)
    })
}

/// Makes calls that no rule covers.
fn forwarder(stage: &Arc<Stage>, seed: u64) -> Activity {
    let (stage, agent, mut dice) = (stage.clone(), agent(), Dice::new(200 + seed));
    Box::new(move |tally| {
        let answer = match dice.below(3) {
            0 => {
                let body = format!(r#"{{"data":[{{"Last_Name":"Example {}"}}]}}"#, dice.below(1000));
                let request = agent.post(stage.url("/crm/v8/Leads")).content_type("application/json");
                answered(tally, "post", request.send(body))
            }
            1 => answered(tally, "composite", {
                let body = r#"{"__composite_requests":[{"sub_request_id":"1","uri":"/crm/v8/users","method":"GET"}]}"#;
                let request = agent.post(stage.url("/crm/v8/__composite_requests"));
                request.content_type("application/json").send(body)
            }),
            _ => answered(tally, "users", agent.get(stage.url(USERS)).call()),
        };
        if let Some(body) = answer
            && serde_json::from_str::<Value>(&body).is_err()
            && !is_scripted(&body)
        {
            tally.wrong(format!("a forwarded response is torn: {} bytes", body.len()));
        }
        Duration::from_millis(40 + dice.below(80))
    })
}

/// Faults of the emulated Zoho that are forwarded as they are.
fn is_scripted(body: &str) -> bool {
    body.is_empty() || body.contains("<html") || body.contains("<!DOCTYPE")
}

/// Counts a response; gives its body if it is a complete success.
fn answered(tally: &Tally, what: &str, sent: Result<Response<ureq::Body>, ureq::Error>) -> Option<String> {
    let mut response = match sent {
        Ok(response) => response,
        Err(error) => {
            tally.failed(what, &error);
            return None;
        }
    };
    let status = response.status().as_u16();
    let text = match response.body_mut().with_config().limit(64 << 20).lossy_utf8(true).read_to_string() {
        Ok(text) => text,
        Err(error) => {
            tally.failed(&format!("{what}'s body"), &error);
            return None;
        }
    };
    tally.answered(what, status, &text);
    (200..300).contains(&status).then_some(text)
}

/// Whether the cache says that it has stored this, or had.
fn is_kept(response: &Response<ureq::Body>) -> bool {
    let status =
        response.headers().get("cache-status").and_then(|status| status.to_str().ok()).unwrap_or_default();
    let mut parameters = status.split(';').map(str::trim);
    parameters.any(|parameter| matches!(parameter, "hit" | "stored"))
}

fn count_of(body: &str) -> Option<String> {
    let json: Value = serde_json::from_str(body).ok()?;
    let rows = json["associated_users_count"].as_array()?;
    let row = rows.iter().find(|row| row["territory"]["name"] == TERRITORY)?;
    row["count"].as_str().map(str::to_owned)
}

/// Whether reads are answered by Zoho and from the cache, as they have to be once trouble is over.
pub(super) fn probe(stage: &Stage) -> bool {
    let is_ok =
        |path: &&str| agent().get(stage.url(path)).call().is_ok_and(|response| response.status() == 200);
    [COUNT, USERS].iter().all(is_ok)
}
