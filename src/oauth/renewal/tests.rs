//! A renewal task that is started again.

use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};

use super::*;
use crate::clock::Clock;
use crate::net::body::Body;
use crate::net::origin::Origin;
use crate::net::transport::{BoxFuture, Transport, TransportError};
use crate::oauth::{Credential, STATES, SecretSource, Settings};
use crate::supervisor::{Importance, Supervisor};
use crate::telemetry::metrics::Metrics;
use crate::zoho::data_center::{ApiOrigins, Environment};

/// An accounts server that mints, or says that it was asked too often.
#[derive(Clone)]
struct Accounts {
    is_throttling: bool,
    exchanges: Arc<AtomicUsize>,
}

impl Transport for Accounts {
    fn send(&self, request: Request<Body>) -> BoxFuture<Result<Response<Body>, TransportError>> {
        assert_eq!(request.uri().path(), "/oauth/v2/token");
        self.exchanges.fetch_add(1, Ordering::SeqCst);
        let body = if self.is_throttling {
            r#"{"error":"Access Denied","error_description":"You have made too many requests continuously. Please try again after some time.","status":"failure"}"#
        } else {
            r#"{"access_token":"1000.made-up-token","expires_in":3600}"#
        };
        Box::pin(async move { Ok(Response::new(Body::full(body))) })
    }
}

fn tokens(accounts: Accounts) -> Arc<Tokens> {
    let origin: Origin = "https://accounts.zoho.eu".parse().unwrap();
    let credential = Credential {
        tenant: "acme".to_owned(),
        accounts: origin.clone(),
        api: ApiOrigins::all(&origin),
        environment: Environment::Production,
        client_id: "1000.MADEUP".to_owned(),
        client_secret: SecretSource::literal("made-up"),
        refresh_token: SecretSource::literal("1000.made-up"),
    };
    let settings = Settings {
        exchange_timeout: Duration::from_secs(10),
        renewal_lead: Duration::from_mins(10),
        probe_timeout: Duration::from_secs(3),
        probe_interval: Duration::from_secs(4),
        wait_limit: Duration::from_secs(10),
        mints_per_window: 6,
        secret_poll: Duration::from_secs(10),
        state_directory: None,
    };
    let counted = Metrics::new().tokens("acme", &STATES);
    Tokens::new(credential, settings, Arc::new(accounts), Clock::system(), counted)
}

/// Runs the task for a while, then ends it in the middle, as a panic does.
async fn run(renewal: &mut Renewal, seconds: u64) {
    let heartbeat = Supervisor::unobserved().heartbeat("token-renewal", Importance::Degrading);
    let _ended = tokio::time::timeout(Duration::from_secs(seconds), renewal.keep(&heartbeat)).await;
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_started_again_does_not_mint_while_its_token_lives() {
    let accounts = Accounts { is_throttling: false, exchanges: Arc::default() };
    let tokens = tokens(accounts.clone());
    let mut renewal = Renewal::new(tokens.clone());
    for _ in 0..50 {
        run(&mut renewal, 30).await;
    }
    assert_eq!(accounts.exchanges.load(Ordering::SeqCst), 1);
    // And is renewed when its time has come.
    run(&mut renewal, 3_000).await;
    assert_eq!(accounts.exchanges.load(Ordering::SeqCst), 2);
    assert_eq!(tokens.state().health, Health::Healthy);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_started_again_keeps_the_pause_that_was_asked_for() {
    let accounts = Accounts { is_throttling: true, exchanges: Arc::default() };
    let tokens = tokens(accounts.clone());
    let mut renewal = Renewal::new(tokens.clone());
    run(&mut renewal, 1).await;
    assert_eq!(tokens.state().health, Health::Throttled);
    let pause = tokens.state().next_attempt.unwrap() - tokens.clock.boot_time();
    assert!(pause > Duration::from_secs(100), "{pause:?}");
    for _ in 0..10 {
        run(&mut renewal, 5).await;
    }
    assert_eq!(accounts.exchanges.load(Ordering::SeqCst), 1);
}
