//! No secret in any output: marked secrets go through every error path, and everything that came out is
//! searched for them.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::Method;
use tracing_subscriber::fmt::MakeWriter;
use zoho_sidecar::emulator::{Fault, Target};

use crate::world::{ASSOCIATED_USERS_COUNT, USERS, World, request, with_headers};

/// What callers send as theirs is one caller's own: `printf %s callers-own-token | sha256sum`.
const CALLER: &str =
    "[callers.web]\ntoken = \"sha256:2dfb8c2858a5804c4f9382b0f4a2e68b91139ce8d11942faed0e5e870c4ade28\"\n";

/// What no output may hold: the emulated organisation's credentials, and what callers send as theirs.
const MARKS: [&str; 7] = [
    "emulated-secret-acme",
    "emulated-refresh-acme",
    "callers-own-token",
    "2dfb8c2858a5804c4f9382b0f4a2e68b91139ce8d11942faed0e5e870c4ade28",
    "callers-own-cookie",
    "query-secret",
    "body-secret",
];

#[derive(Clone, Default)]
struct Everything(Arc<Mutex<Vec<u8>>>);

impl Write for Everything {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Everything {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

impl Everything {
    fn note(&self, text: &str) {
        self.0.lock().unwrap().extend_from_slice(text.as_bytes());
    }

    #[track_caller]
    fn assert_no_secret(&self, tokens: &[String]) {
        let bytes = self.0.lock().unwrap().clone();
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.len() > 10_000, "there was something to search");
        for (n, mark) in MARKS.iter().copied().chain(tokens.iter().map(String::as_str)).enumerate() {
            assert!(!text.contains(mark), "secret number {n} came out");
        }
    }
}

fn with_secrets(method: Method, path: &str) -> http::Request<zoho_sidecar::net::body::Body> {
    let callers = [("authorization", "Bearer callers-own-token"), ("cookie", "crmcsr=callers-own-cookie")];
    with_headers(request(method, path, r#"{"password":"body-secret"}"#), &callers)
}

#[tokio::test(start_paused = true)]
async fn no_secret_comes_out_of_any_error_path() {
    let everything = Everything::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(everything.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut tokens = Vec::new();

    let accounts = [
        Fault::OauthError("invalid_code".into()),
        Fault::OauthError("invalid_client".into()),
        Fault::AccessDenied,
        Fault::LocalisedThrottle,
        Fault::MissingAccessToken,
        Fault::Html200,
        Fault::Empty200,
        Fault::Garbage,
        Fault::HugeBody,
        Fault::Html500,
        Fault::Refuse,
        Fault::Drop,
        Fault::DropAfter,
        Fault::Hang,
        Fault::Redirect("https://evil.example/".into()),
        Fault::WrongApiDomain("https://evil.example".into()),
        Fault::ExpiresIn(0),
        Fault::LegacyExpiry,
    ];
    for fault in accounts {
        let world = World::making().config(CALLER).fault(Target::Accounts, fault).start().await;
        tokens.extend(go_through_everything(&world, &everything).await);
        everything.note(&world.log());
    }
    let api = [
        Fault::InvalidToken,
        Fault::Throttle,
        Fault::Html502,
        Fault::Garbage,
        Fault::Drop,
        Fault::Refuse,
        Fault::Hang,
        Fault::CutBody(5),
        Fault::DelayBody(Duration::from_mins(5)),
    ];
    for fault in api {
        let world = World::with(CALLER).await;
        world.zoho().script().always(Target::Api, fault);
        tokens.extend(go_through_everything(&world, &everything).await);
        everything.note(&world.log());
    }
    tokens.sort();
    tokens.dedup();
    assert!(!tokens.is_empty(), "tokens were minted, and are searched for");
    everything.assert_no_secret(&tokens);
}

/// Asks in every way, writes down all that comes back, and gives the tokens that are worth searching for.
async fn go_through_everything(world: &World, everything: &Everything) -> Vec<String> {
    let secret_query = format!("{USERS}&token=query-secret");
    for asked in [
        with_secrets(Method::GET, ASSOCIATED_USERS_COUNT),
        with_secrets(Method::GET, &secret_query),
        with_secrets(Method::POST, "/crm/v8/Leads"),
        with_secrets(Method::PUT, "/crm/v8/users/1?x=query-secret"),
        with_secrets(Method::GET, "/crm/../x?x=query-secret"),
        with_headers(with_secrets(Method::GET, USERS), &[("accept", "application/problem+json")]),
        with_headers(request(Method::GET, USERS, ""), &[("authorization", "Basic callers-own-token")]),
    ] {
        match world.try_send(asked).await {
            Ok(answer) => {
                everything.note(&format!(
                    "{:?}\n{}\n",
                    answer.headers,
                    String::from_utf8_lossy(&answer.body)
                ));
            }
            Err(error) => everything.note(&error),
        }
    }
    for page in ["/livez", "/readyz", "/metrics", "/status", "/nowhere"] {
        everything.note(&world.ask_admin(page).text);
    }
    for tokens in world.app().tokens() {
        everything.note(&format!("{:?} {:?}", tokens.state(), tokens.current().await));
    }
    let tokens = world.app().tokens().iter().filter_map(|tokens| tokens.state().token);
    tokens.map(|token| bare_token(token.header())).collect()
}

/// The token in an `Authorization` header.
fn bare_token(header: &http::HeaderValue) -> String {
    header.to_str().unwrap().rsplit(' ').next().unwrap().to_owned()
}
