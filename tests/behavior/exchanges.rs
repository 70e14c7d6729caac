//! Exchanges of the refresh token: sent again where that is safe, and not held up by the state file.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, UNIX_EPOCH};

use http::{Method, Request, Response};
use zoho_sidecar::clock::Clock;
use zoho_sidecar::emulator::{Emulator, Fault, Target};
use zoho_sidecar::files;
use zoho_sidecar::net::body::Body;
use zoho_sidecar::net::transport::{BoxFuture, Transport, TransportError};

use crate::world::{USERS, World, request};

/// Turns away the first so many requests with a body, unprocessed.
struct TurningAway(Emulator, AtomicUsize);

impl Transport for TurningAway {
    fn send(&self, request: Request<Body>) -> BoxFuture<Result<Response<Body>, TransportError>> {
        let is_post = request.method() == Method::POST;
        let left = |left: usize| left.checked_sub(1).filter(|_| is_post);
        if self.1.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left).is_ok() {
            return Box::pin(async { Err(TransportError::NotProcessed("made up".into())) });
        }
        self.0.send(request)
    }
}

async fn turning_away(times: usize) -> World {
    let making = World::making()
        .around(move |emulator| Arc::new(TurningAway(emulator, AtomicUsize::new(times))))
        .unsettled();
    making.start().await
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_was_not_processed_is_sent_again_at_once() {
    let world = turning_away(1).await;
    let start = world.now();
    world.get(USERS).await.assert_status(200);
    assert!(world.now() - start < Duration::from_millis(100));
    assert_eq!(
        world.metric(r#"zoho_sidecar_token_mints_total{tenant="acme",outcome="endpoint_down"}"#),
        None
    );
}

#[tokio::test(start_paused = true)]
async fn exchanges_that_were_not_processed_spend_nothing_of_the_budget() {
    let world = turning_away(40).await;
    world.passes(Duration::from_mins(5)).await;
    world.get(USERS).await.assert_status(200);
    assert_eq!(world.mints(), 1);
}

fn with_directory(directory: &Path) -> String {
    format!("[state]\ndirectory = \"{}\"\n", directory.display())
}

fn state_file(directory: &Path, ending: &str) -> PathBuf {
    let files = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
    files.into_iter().find(|file| file.extension().is_some_and(|found| found == ending)).unwrap()
}

/// The Zoho and the time of a world, for another process beside it or after it.
fn beside(world: &World) -> (Emulator, Clock) {
    let now = UNIX_EPOCH + Duration::from_millis(world.wall_ms());
    (world.zoho().clone(), Clock::simulated(now))
}

/// Keeps all work on a file from beginning, as a file system that hangs would, until it is dropped.
struct Hanging(#[expect(dead_code, reason = "held for its drop")] mpsc::Sender<()>);

fn hang(file: PathBuf) -> Hanging {
    let (sender, held) = mpsc::channel();
    let (began, begins) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = files::run_now(&file, move || {
            began.send(()).unwrap();
            let _ = held.recv();
            Ok(())
        });
    });
    begins.recv().unwrap();
    Hanging(sender)
}

#[tokio::test(start_paused = true)]
async fn a_hung_state_directory_delays_a_token_once() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::with(&with_directory(directory.path())).await;
    world.get(USERS).await.assert_status(200);
    let hung = [hang(state_file(directory.path(), "lock")), hang(state_file(directory.path(), "state"))];
    world.acme().kill_access_tokens();
    let start = world.now();
    world.get(USERS).await.assert_status(200);
    let took = world.now() - start;
    assert!(took <= files::TIME_LIMIT + Duration::from_secs(1), "{took:?}");
    drop(hung);
}

#[tokio::test(start_paused = true)]
async fn a_token_does_not_wait_for_a_state_file_that_hangs() {
    let directory = tempfile::tempdir().unwrap();
    let world = World::with(&with_directory(directory.path())).await;
    world.get(USERS).await.assert_status(200);
    world.acme().kill_access_tokens();
    world.zoho().script().next(Target::Mints, Fault::DelayAnswer(Duration::from_secs(2)));
    let start = world.now();
    let read = world.begin(request(Method::GET, USERS, ""));
    world.passes(Duration::from_secs(1)).await;
    let hung = hang(state_file(directory.path(), "state"));
    read.await.unwrap().assert_status(200);
    let took = world.now() - start;
    assert!(took < Duration::from_secs(3), "{took:?}");
    drop(hung);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_stored_before_it_is_used() {
    let directory = tempfile::tempdir().unwrap();
    let config = with_directory(directory.path());
    let world = World::with(&config).await;
    world.get(USERS).await.assert_status(200);
    world.acme().kill_access_tokens();
    world.zoho().script().next(Target::Mints, Fault::DelayAnswer(Duration::from_secs(2)));
    let read = world.begin(request(Method::GET, USERS, ""));
    world.passes(Duration::from_secs(1)).await;
    let slow = hang(state_file(directory.path(), "state"));
    world.passes(Duration::from_millis(1100)).await;
    assert!(!read.is_finished(), "the token is in use and nowhere else");
    drop(slow);
    read.await.unwrap().assert_status(200);
    let mints = world.mints();

    // The process is killed the moment a caller has an answer.
    let next = World::making().after(beside(&world)).config(&config).start().await;
    next.get(USERS).await.assert_status(200);
    assert_eq!(next.mints(), mints);
}

#[tokio::test(start_paused = true)]
async fn the_budget_of_a_third_process_counts_the_mints_of_two_that_went_on_without_the_lock() {
    let directory = tempfile::tempdir().unwrap();
    let config = with_directory(directory.path());
    let one = World::with(&config).await;
    let lock = std::fs::File::open(state_file(directory.path(), "lock")).unwrap();
    lock.lock().unwrap();
    let other = World::making().after(beside(&one)).config(&config).start().await;
    one.zoho().script().always(Target::Mints, Fault::DelayAnswer(Duration::from_secs(3)));
    for _ in 0..2 {
        one.acme().kill_access_tokens();
        let first = one.begin(request(Method::GET, USERS, ""));
        one.passes(Duration::from_secs(1)).await;
        let second = other.begin(request(Method::GET, USERS, ""));
        first.await.unwrap();
        second.await.unwrap();
        one.passes(Duration::from_secs(2)).await;
    }
    assert!(one.mints() >= 4, "{} mints", one.mints());
    one.zoho().script().clear();

    let third = World::making().after(beside(&one)).config(&config).start().await;
    for _ in 0..10 {
        third.acme().kill_access_tokens();
        third.get(USERS).await;
        third.passes(Duration::from_secs(5)).await;
    }
    assert!(third.mints() <= 6, "{} mints", third.mints());
    lock.unlock().unwrap();
}
