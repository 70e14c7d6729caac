//! The real proxy over the emulated Zoho, in memory.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use zoho_sidecar::admin::{Access, Admin};
use zoho_sidecar::app::App;
use zoho_sidecar::clock::Clock;
use zoho_sidecar::config::{self, Source};
use zoho_sidecar::emulator::{Emulator, Fault, Organisation, Scenario, Target};
use zoho_sidecar::net::body::Body;
use zoho_sidecar::net::peer::Peer;
use zoho_sidecar::net::transport::Transport;
use zoho_sidecar::oauth::RenewalTask;
use zoho_sidecar::proxy::Proxy;
use zoho_sidecar::supervisor::{Supervisor, Task};
use zoho_sidecar::telemetry::Format;
use zoho_sidecar::telemetry::log::{Bounds, Stream};
use zoho_sidecar::telemetry::metrics::Metrics;
use zoho_sidecar::telemetry::request_log::{RequestLog, Writer};

/// The read that everything began with.
pub const ASSOCIATED_USERS_COUNT: &str = "/crm/v8/settings/territories/actions/associated_users_count";
/// A read that no rule covers.
pub const USERS: &str = "/crm/v8/users?type=AllUsers";

/// The sidecar, its callers, and Zoho.
pub struct World {
    emulator: Emulator,
    app: App,
    proxy: Proxy,
    admin: Arc<Admin>,
    renewals: Vec<RenewalTask>,
    _polling: Task,
    suspension_watch: OnceLock<Task>,
    paper: Paper,
    writer: Option<Writer>,
    server: zoho_sidecar::server::Settings,
    clock: Clock,
}

/// Makes what is sent through of the emulator.
type Network = Box<dyn FnOnce(Emulator) -> Arc<dyn Transport>>;

/// Built step by step.
pub struct Making {
    scenario: Scenario,
    tenants: &'static [&'static str],
    config: String,
    script: Vec<(Target, Fault)>,
    emulator: Option<Emulator>,
    clock: Option<Clock>,
    settled: bool,
    network: Network,
}

impl World {
    /// One tenant, `acme`, everything as shipped, the first token there.
    pub async fn shipped() -> Self {
        Self::making().await_first_token().await
    }

    /// The same with more configuration.
    pub async fn with(config: &str) -> Self {
        Self::making().config(config).await_first_token().await
    }

    pub fn making() -> Making {
        Making {
            scenario: Scenario::default().with_concurrency_limits(true),
            tenants: &["acme"],
            config: String::new(),
            script: Vec::new(),
            emulator: None,
            clock: None,
            settled: true,
            network: Box::new(|emulator| Arc::new(emulator)),
        }
    }

    pub fn zoho(&self) -> &Emulator {
        &self.emulator
    }

    pub fn acme(&self) -> Organisation {
        self.emulator.organisation("acme")
    }

    pub fn now(&self) -> zoho_sidecar::clock::Instant {
        self.clock.now()
    }

    pub fn boot_time(&self) -> zoho_sidecar::clock::BootTime {
        self.clock.boot_time()
    }

    /// The wall clock, in milliseconds since 1970, as the ledger has it.
    pub fn wall_ms(&self) -> u64 {
        u64::try_from(self.clock.wall().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
    }

    /// How often Zoho was called, tokens apart.
    pub fn calls(&self) -> usize {
        self.emulator.ledger().calls()
    }

    pub fn mints(&self) -> usize {
        self.emulator.ledger().mints()
    }

    /// Zoho takes this long from now on.
    pub fn zoho_takes(&self, time: Duration) {
        self.emulator.script().always(Target::Api, Fault::Delay(time));
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(request(Method::GET, path, "")).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(with_headers(request(Method::GET, path, ""), headers)).await
    }

    pub async fn head(&self, path: &str) -> Answer {
        self.send(request(Method::HEAD, path, "")).await
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        try_read(self.proxy.handle(request)).await.unwrap_or_else(|error| panic!("broken off: {error}"))
    }

    /// The same where the answer may break off midway.
    pub async fn try_send(&self, request: Request<Body>) -> Result<Answer, String> {
        try_read(self.proxy.handle(request)).await
    }

    /// Begins a request in a task of its own; the handle hangs up when aborted.
    pub fn begin(&self, request: Request<Body>) -> tokio::task::JoinHandle<Answer> {
        let proxy = self.proxy.clone();
        tokio::spawn(async move { try_read(proxy.handle(request)).await.unwrap() })
    }

    /// Many callers ask the same at once.
    pub async fn get_at_once(&self, path: &str, times: usize) -> Vec<Answer> {
        let mut callers = JoinSet::new();
        for _ in 0..times {
            let (proxy, request) = (self.proxy.clone(), request(Method::GET, path, ""));
            callers.spawn(async move { try_read(proxy.handle(request)).await.unwrap() });
        }
        callers.join_all().await
    }

    /// Lets time pass, and everything happen that is due in it.
    pub async fn passes(&self, time: Duration) {
        tokio::time::sleep(time).await;
        self.settles().await;
    }

    /// The machine is suspended for this long: time goes on for Zoho and the wall clock, but not for timers. Nobody has
    /// noticed yet when this returns. What notices it runs from the first time on, since it wakes each second: a test
    /// of many hours would take seconds longer.
    pub fn is_suspended(&self, time: Duration) {
        self.watch_suspensions();
        self.clock.suspend(time);
    }

    /// Starts what notices suspensions.
    pub fn watch_suspensions(&self) {
        self.suspension_watch.get_or_init(|| self.app.start_suspension_watch());
    }

    /// Steps the wall clock.
    pub fn step_wall(&self, milliseconds: i64) {
        self.clock.step_wall(milliseconds);
    }

    /// Lets tasks run that are ready.
    pub async fn settles(&self) {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    pub fn metrics(&self) -> String {
        self.ask_admin("/metrics").text
    }

    /// The value of one series.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let text = self.metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        line.parse().ok()
    }

    pub fn ask_admin(&self, path: &str) -> AdminAnswer {
        self.send_admin(Request::get(path), "")
    }

    /// Asks the sidecar to forget.
    pub fn purge(&self, body: &str) -> AdminAnswer {
        self.send_admin(Request::post("/purge"), body)
    }

    fn send_admin(&self, request: http::request::Builder, body: &str) -> AdminAnswer {
        let request = request.header("host", "127.0.0.1:9090").body(Bytes::from(body.to_owned())).unwrap();
        let access = Access { token: None, is_local: true };
        let answering = std::pin::pin!(self.admin.answer(&request, &access));
        let Poll::Ready(answer) = answering.poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("only a purge of more entries than a test has takes time");
        };
        AdminAnswer { status: answer.status(), text: text_of(answer.into_body()) }
    }

    /// Ends the sidecar as a crash does, leaving Zoho and time as they are.
    pub fn crash(self) -> (Emulator, Clock) {
        (self.emulator, self.clock)
    }

    /// Ends the sidecar and gives its request log.
    pub fn log(mut self) -> String {
        let writer = self.writer.take();
        let paper = self.paper.clone();
        drop(self);
        if let Some(writer) = writer {
            writer.finish();
        }
        paper.text()
    }

    /// Sends a request over a connection that shows this of its other end.
    pub async fn send_from(&self, peer: Peer, request: Request<Body>) -> Answer {
        try_read(self.proxy.clone().for_peer(peer).handle(request)).await.unwrap()
    }

    pub fn app(&self) -> &App {
        &self.app
    }

    /// What serves a connection of callers.
    pub fn handler(&self) -> Proxy {
        self.proxy.clone()
    }

    /// What serves a connection to the admin listener.
    pub fn admin(&self) -> Arc<Admin> {
        self.admin.clone()
    }

    /// How connections of callers are served.
    pub fn server(&self) -> &zoho_sidecar::server::Settings {
        &self.server
    }

    /// Ends the tasks that mint, and starts them anew.
    pub fn restart_renewals(&mut self) {
        self.renewals.clear();
        self.renewals = self.app.start_renewals();
    }

    pub fn stop(&self) {
        self.admin.stop();
    }
}

impl Making {
    pub fn config(mut self, config: &str) -> Self {
        self.config.push_str(config);
        self
    }

    pub fn tenants(mut self, tenants: &'static [&'static str]) -> Self {
        self.tenants = tenants;
        self
    }

    /// Another Zoho. It, too, refuses calls beyond what the edition allows at once.
    pub fn scenario(mut self, scenario: Scenario) -> Self {
        self.scenario = scenario.with_concurrency_limits(true);
        self
    }

    /// Zoho allows any number of calls at once, for tests of limits that no edition has.
    pub fn without_concurrency_limits(mut self) -> Self {
        self.scenario = self.scenario.with_concurrency_limits(false);
        self.config.push_str("[tenants.acme]\nedition = \"none\"\n");
        self
    }

    /// Something goes wrong from the very start.
    pub fn fault(mut self, target: Target, fault: Fault) -> Self {
        self.script.push((target, fault));
        self
    }

    /// Goes on with the Zoho and the time of a world that crashed.
    pub fn after(mut self, (emulator, clock): (Emulator, Clock)) -> Self {
        (self.emulator, self.clock) = (Some(emulator), Some(clock));
        self
    }

    /// Puts something between the sidecar and the emulator.
    pub fn around(mut self, network: impl FnOnce(Emulator) -> Arc<dyn Transport> + 'static) -> Self {
        self.network = Box::new(network);
        self
    }

    /// Waits for the first token, which is expected to come at once.
    pub async fn await_first_token(self) -> World {
        let world = self.start().await;
        assert_eq!(world.ask_admin("/readyz").status, StatusCode::OK, "{}", world.ask_admin("/readyz").text);
        world
    }

    /// Does not wait for the first attempt to end.
    pub fn unsettled(mut self) -> Self {
        self.settled = false;
        self
    }

    /// Starts, whatever comes of the first token.
    pub async fn start(self) -> World {
        let monday = UNIX_EPOCH + Duration::from_secs(1_795_000_000);
        let clock = self.clock.unwrap_or_else(|| Clock::simulated(monday));
        let emulator = self.emulator.unwrap_or_else(|| Emulator::new(self.scenario, clock.clone()));
        for (target, fault) in self.script {
            emulator.script().next(target, fault);
        }
        let mut sources =
            vec![source("(test)", "[state]\ndirectory = \"none\"\n[log]\nformat = \"json\"\n".to_owned())];
        sources.extend(self.tenants.iter().map(|name| source("(tenant)", tenant(&emulator, name))));
        sources.push(source("(world)", self.config));
        let loaded = config::load_texts(&sources);
        let problems: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
        let config = loaded.config.unwrap_or_else(|| panic!("{}", problems.join("\n\n")));

        let paper = Paper::default();
        let metrics = Arc::new(Metrics::new());
        let dropped = metrics.log_lines_dropped(Stream::Requests);
        let buffer = Bounds { lines: 100_000, bytes: 64 << 20 };
        let (log, writer) = RequestLog::new(Format::Json, buffer, dropped, paper.clone()).unwrap();
        let zoho = (self.network)(emulator.clone());
        let server = config.server.clone();
        let supervisor = Supervisor::new(clock.clone(), metrics.tasks.clone());
        let app = App::new(config, Arc::new(move || zoho.clone()), metrics, log, supervisor, clock.clone());
        let renewals = app.start_renewals();
        let polling = app.start_caller_polling();
        let (proxy, admin) = (app.proxy(), app.admin(vec!["http://127.0.0.1:8080".to_owned()]));
        let world = World {
            emulator,
            app,
            proxy,
            admin,
            renewals,
            _polling: polling,
            suspension_watch: OnceLock::new(),
            paper,
            writer: Some(writer),
            server,
            clock,
        };
        if self.settled {
            // Long enough for a first mint through real files, which wake the runtime from other threads.
            while world.ask_admin("/readyz").text.contains("starting") {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        world
    }
}

fn source(name: &str, text: String) -> Source {
    Source { name: name.to_owned(), text }
}

fn tenant(emulator: &Emulator, name: &str) -> String {
    let organisation = emulator.organisation(name);
    format!(
        "[tenants.{name}]\ndata_center = \"{}\"\nedition = \"{}\"\nclient_id = \"{}\"\nclient_secret = \"{}\"\nrefresh_token = \"{}\"\n",
        organisation.data_center(),
        organisation.edition().as_str(),
        organisation.client_id(),
        organisation.client_secret(),
        organisation.refresh_token(),
    )
}

pub fn request(method: Method, path: &str, body: impl Into<Bytes>) -> Request<Body> {
    Request::builder().method(method).uri(path).header("host", "sidecar:8080").body(Body::full(body)).unwrap()
}

pub fn with_headers(mut request: Request<Body>, headers: &[(&str, &str)]) -> Request<Body> {
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        request.headers_mut().append(name, HeaderValue::from_str(value).unwrap());
    }
    request
}

/// Puts Ada into the territory that has nobody.
pub fn join_overseas(world: &World) -> Request<Body> {
    let acme = world.acme();
    let path = format!("/crm/v8/settings/territories/{}/users", acme.territory_id("Overseas"));
    request(Method::PUT, &path, format!(r#"{{"users":[{{"id":"{}"}}]}}"#, acme.user_id("Ada Example")))
}

async fn try_read(answering: impl Future<Output = http::Response<Body>>) -> Result<Answer, String> {
    let (head, mut body) = answering.await.into_parts();
    let mut read = Vec::new();
    // As a network does, it copies what it reads and lets go of it.
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| error.to_string())?;
        read.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
    }
    let body = Bytes::from(read);
    Ok(Answer { status: head.status, headers: head.headers, body })
}

/// What a caller got.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn cache_status(&self) -> &str {
        self.header("cache-status")
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// The `code` of a refusal or of an error of Zoho's.
    pub fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }

    /// How many users a territory has, by a count that was asked for.
    pub fn count_of(&self, territory: &str) -> String {
        let json = self.json();
        let rows = json["associated_users_count"].as_array().expect("this is a count");
        let row =
            rows.iter().find(|row| row["territory"]["name"] == territory).expect("the territory is listed");
        row["count"].as_str().unwrap().to_owned()
    }

    #[track_caller]
    pub fn assert_status(&self, status: u16) -> &Self {
        assert_eq!(self.status.as_u16(), status, "{:?} {:?}", self.headers, self.body);
        self
    }

    #[track_caller]
    pub fn assert_cache(&self, expected: &str) -> &Self {
        assert_eq!(self.cache_status(), expected, "{} {:?}", self.status, self.body);
        self
    }
}

/// What the admin listener answered.
pub struct AdminAnswer {
    pub status: StatusCode,
    pub text: String,
}

impl AdminAnswer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap()
    }
}

fn text_of(body: Body) -> String {
    match body {
        Body::Full(bytes) => String::from_utf8(bytes.unwrap_or_default().to_vec()).unwrap(),
        other => panic!("{other:?} is not in memory"),
    }
}

/// What a log was written on.
#[derive(Clone, Default)]
struct Paper(Arc<Mutex<Vec<u8>>>);

impl Paper {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Paper {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
