//! What a reply of the accounts server means. The bytes are its status, a line end, and its body.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use secrecy::ExposeSecret;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use zoho_sidecar::net::body::Body;
use zoho_sidecar::net::transport::{BoxFuture, Transport, TransportError};
use zoho_sidecar::oauth::{Grant, MintError, Minted};

/// Made up, and not to be told to anybody.
const SECRET: &str = "made-up-never-to-be-told";

/// Zoho's tokens live an hour; what says more than this is not in seconds.
const DAY: Duration = Duration::from_hours(24);

pub fn hold(bytes: &[u8]) {
    let mut halves = bytes.splitn(2, |byte| *byte == b'\n');
    let status = halves.next().and_then(|line| StatusCode::from_bytes(line).ok()).unwrap_or(StatusCode::OK);
    let body = halves.next().unwrap_or_default();
    if status.is_informational() {
        return; // never a final answer
    }
    let outcome = exchange(status, body);
    nothing_secret_is_told(&outcome);
    if !is_coded(body) {
        success_is_a_usable_token(status, body, &outcome);
    }
    let Ok(Value::Object(object)) = serde_json::from_slice(body) else { return };
    junk_around_it_changes_nothing(status, &object);
    optional_members_hide_nothing(status, &object);
    what_came_is_never_repeated(status, &object);
}

/// Whether these bytes are gzip or UTF-16, and so not what they look like.
fn is_coded(body: &[u8]) -> bool {
    [[0x1f, 0x8b], [0xff, 0xfe], [0xfe, 0xff]].iter().any(|mark| body.starts_with(mark))
}

/// An accounts server that gives one answer.
struct Accounts(StatusCode, Vec<u8>);

impl Transport for Accounts {
    fn send(&self, _: Request<Body>) -> BoxFuture<Result<Response<Body>, TransportError>> {
        let mut answer = Response::new(Body::full(self.1.clone()));
        *answer.status_mut() = self.0;
        Box::pin(async { Ok(answer) })
    }
}

fn exchange(status: StatusCode, body: &[u8]) -> Result<Minted, MintError> {
    let grant = Grant {
        accounts: "https://accounts.zoho.eu".parse().expect("this is an origin"),
        client_id: "1000.MADEUP".to_owned(),
        client_secret: SECRET.into(),
        refresh_token: SECRET.into(),
    };
    let transport: Arc<dyn Transport> = Arc::new(Accounts(status, body.to_vec()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime can be built").block_on(grant.exchange(&transport, Duration::from_secs(10)))
}

/// What an outcome is, without what is secret in it.
fn meaning(outcome: &Result<Minted, MintError>) -> String {
    match outcome {
        Ok(minted) => {
            format!("{} {:?} {:?}", minted.value.expose_secret(), minted.lifetime, minted.api_domain)
        }
        Err(error) => words(error),
    }
}

fn words(error: &MintError) -> String {
    let mut words = format!("{error:?}");
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        words.push_str(": ");
        words.push_str(&error.to_string());
        cause = error.source();
    }
    words
}

fn nothing_secret_is_told(outcome: &Result<Minted, MintError>) {
    if let Err(error) = outcome {
        assert!(!words(error).contains(SECRET), "{}", words(error));
    }
}

/// The token that a naive reader finds, if it can be sent in a header.
fn token(object: &Map<String, Value>) -> Option<&str> {
    let token = object.get("access_token")?.as_str()?;
    let is_sendable = !token.is_empty() && token.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    is_sendable.then_some(token)
}

fn success_is_a_usable_token(status: StatusCode, body: &[u8], outcome: &Result<Minted, MintError>) {
    // In a field that nobody asks for, bytes that are no text are no reason to throw a good token away.
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start_matches('\u{feff}');
    let read = serde_json::from_str::<Value>(text).ok();
    let expected = read.as_ref().and_then(Value::as_object).and_then(token);
    if let Ok(minted) = outcome {
        assert!(serde_json::from_str::<IgnoredAny>(text.trim()).is_ok(), "this is not JSON");
        assert!(read.is_none() || Some(minted.value.expose_secret()) == expected, "{expected:?}");
        assert!(!minted.lifetime.is_zero() && minted.lifetime <= DAY, "{:?}", minted.lifetime);
    }
    // Written anew nothing stands in it twice: then it is the other way round too.
    if let Some(read) = &read {
        let anew = exchange(status, read.to_string().as_bytes());
        assert_eq!(anew.is_ok(), expected.is_some(), "{status} {read} {}", meaning(&anew));
    }
}

fn junk_around_it_changes_nothing(status: StatusCode, object: &Map<String, Value>) {
    let plain = Value::Object(object.clone()).to_string();
    let mut more = object.clone();
    more.insert("made_up".to_owned(), Value::from(vec![1, 2]));
    let expected = meaning(&exchange(status, plain.as_bytes()));
    let with_mark = format!("\u{feff}{plain}");
    for same in [format!("\r\n {plain}\n"), with_mark, Value::Object(more).to_string()] {
        assert_eq!(meaning(&exchange(status, same.as_bytes())), expected, "{status} {same}");
    }
}

/// A member that is a help but not needed may be of any type: a token stays a token, and a dead grant a dead grant.
fn optional_members_hide_nothing(status: StatusCode, object: &Map<String, Value>) {
    let verdict = |outcome: &Result<Minted, MintError>| match outcome {
        Ok(minted) => minted.value.expose_secret().to_owned(),
        Err(error @ (MintError::GrantDead | MintError::ClientDead { .. })) => words(error),
        Err(_) => "anything else".to_owned(),
    };
    for name in ["expires_in", "expires_in_sec", "api_domain", "scope", "token_type", "error_description"] {
        let mut rest = object.clone();
        rest.remove(name);
        let rest = Value::Object(rest).to_string();
        let before = exchange(status, rest.as_bytes());
        for value in
            ["null", "-1", "3600.5", "1e999", r#""3600""#, r#""\ud800""#, "[[]]", r#"{"a":1}"#, "true"]
        {
            let separator = if rest == "{}" { "" } else { "," };
            let text = format!("{}{separator}\"{name}\":{value}}}", &rest[..rest.len() - 1]);
            let after = exchange(status, text.as_bytes());
            assert_eq!(verdict(&after), verdict(&before), "{status} {text}");
        }
    }
}

/// Wherever in an unusable answer a token stands, no error shows it.
fn what_came_is_never_repeated(status: StatusCode, object: &Map<String, Value>) {
    for key in object.keys().take(8) {
        for value in [Value::from(SECRET), Value::from(vec![SECRET])] {
            let mut marked = object.clone();
            marked.insert(key.clone(), value);
            let outcome = exchange(status, Value::Object(marked).to_string().as_bytes());
            nothing_secret_is_told(&outcome);
        }
    }
}
