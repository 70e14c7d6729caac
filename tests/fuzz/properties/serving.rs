//! Serving what `check` has accepted.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use http::{Request, Response};
use zoho_sidecar::app::App;
use zoho_sidecar::clock::Clock;
use zoho_sidecar::config::Config;
use zoho_sidecar::net::body::Body;
use zoho_sidecar::net::client::HttpClient;
use zoho_sidecar::net::transport::{BoxFuture, Transport, TransportError};
use zoho_sidecar::supervisor::Supervisor;
use zoho_sidecar::telemetry::metrics::Metrics;
use zoho_sidecar::telemetry::request_log::RequestLog;

/// An accounts server and an API that answer everything with an empty object.
struct EmptyAnswers;

impl Transport for EmptyAnswers {
    fn send(&self, request: Request<Body>) -> BoxFuture<Result<Response<Body>, TransportError>> {
        assert!(request.uri().scheme().is_some() && request.uri().host().is_some(), "{}", request.uri());
        Box::pin(async { Ok(Response::new(Body::full("{}"))) })
    }
}

/// Everything that `run` makes of a configuration is made, apart from sockets, files and workers.
pub fn what_was_accepted_starts_and_answers(mut config: Config) {
    config.tokens.state_directory = None;
    let connections = config.connections.clone();
    let tenant = config.rulebook.tenants.all()[0].name.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("it is built");
    runtime.block_on(async {
        let _client = HttpClient::new(&connections).expect("what was accepted makes a client");
        let clock = Clock::simulated(UNIX_EPOCH + Duration::from_secs(1_795_000_000));
        let transports = Arc::new(|| Arc::new(EmptyAnswers) as Arc<dyn Transport>);
        let (metrics, supervisor) = (Arc::new(Metrics::new()), Supervisor::unobserved());
        let app = App::new(config, transports, metrics, RequestLog::off(), supervisor, clock);
        let _renewals = app.start_renewals();
        every_credential_gets_an_answer(&app).await;
        let paths = app.rules().routes.all().iter().map(|route| route.template.to_string());
        let paths: Vec<String> = paths.chain(["GET /crm/v8/users".to_owned()]).collect();
        for path in paths {
            let path = path.trim_start_matches("GET ").replace(['{', '}', '*'], "x");
            let Ok(builder) = http::Uri::try_from(path).map(Request::get) else { continue };
            let request =
                builder.header("host", "localhost").header("x-zoho-tenant", &tenant).body(Body::full(""));
            let answer = app.proxy().handle(request.expect("a tenant's name is a header's value")).await;
            assert!(answer.status().as_u16() >= 200);
        }
        let _ = app.metrics().text();
    });
}

/// A renewal task that ends in a panic leaves its credential waiting for ever.
async fn every_credential_gets_an_answer(app: &App) {
    let waiting = async {
        while app.tokens().iter().any(|tokens| tokens.state().minting) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.expect("no renewal task has ended");
}
