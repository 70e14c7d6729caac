//! `purge`: ask a running sidecar to forget.

use std::process::ExitCode;
use std::time::Duration;

use http::{Method, Request, Uri};
use serde_json::{Map, Value};

use super::console::Console;
use super::core_dumps::CoreDumps;
use super::{PROBLEM, PurgeOptions, runtime};
use crate::causes::with_causes;
use crate::net::body::{Body, Prefix};
use crate::net::buffers::Buffers;
use crate::net::client::{HttpClient, Settings};
use crate::net::egress::Egress;
use crate::net::transport::Transport;
use crate::oauth::SecretSource;

/// More than the sidecar ever says.
const ANSWER_LIMIT: usize = 64 * 1024;
/// An admin listener says within this time that it is one.
const GREETING: Duration = Duration::from_secs(5);
/// A purge takes its time: some 15 µs for each entry there is.
const TIMEOUT: Duration = Duration::from_secs(120);

pub(super) fn purge(options: &PurgeOptions, console: &mut Console) -> ExitCode {
    let _core_dumps = CoreDumps::forbid();
    let asked = runtime().map_err(|error| error.to_string()).and_then(|runtime| {
        let asked = runtime.block_on(ask(options));
        // A look-up of a name that has not returned is left behind.
        runtime.shutdown_background();
        asked
    });
    match asked {
        Ok(count) => {
            let entries = if count == 1 { "entry" } else { "entries" };
            console.print(&format!("{count} {entries} forgotten\n"));
            ExitCode::SUCCESS
        }
        Err(message) => {
            console.complain(&format!("zoho-sidecar: {message}\n"));
            PROBLEM
        }
    }
}

async fn ask(options: &PurgeOptions) -> Result<u64, String> {
    let request = request(options)?;
    let settings = Settings {
        connect_timeout: Duration::from_secs(5),
        write_timeout: Duration::from_secs(5),
        max_connections: 1,
        max_connections_per_host: 1,
        max_connection_age: Duration::from_mins(10),
        pool_idle_timeout: Duration::from_secs(1),
        pool_max_idle_per_host: 1,
        max_response_headers: 256,
        max_response_header_bytes: 64 * 1024,
        ca_file: None,
        egress: Egress::direct(),
        buffers: Buffers::new(ANSWER_LIMIT),
    };
    let client = HttpClient::new(&settings).map_err(|error| with_causes(&error))?;
    greet(&client, options).await?;
    let asking = async {
        let answer = client.send(request).await;
        let answer = answer.map_err(|error| format!("{}: {}", options.admin, with_causes(&error)))?;
        let status = answer.status();
        let Ok(Prefix::Whole(body)) = answer.into_body().read_up_to(ANSWER_LIMIT).await else {
            return Err(format!("{}: the answer broke off", options.admin));
        };
        let json: Value = serde_json::from_slice(&body).unwrap_or_default();
        match (json["forgotten"].as_u64(), json["error"].as_str()) {
            (Some(count), _) => Ok(count),
            (None, Some(error)) => Err(error.to_owned()),
            (None, None) => Err(format!(
                "{} answered with status {status}; is it a sidecar's admin address?",
                options.admin
            )),
        }
    };
    tokio::time::timeout(TIMEOUT, asking)
        .await
        .map_err(|_| format!("{}: no answer within {TIMEOUT:?}", options.admin))?
}

/// Asks for something that every admin listener answers at once and to everybody, so that the long wait for a purge is
/// for a sidecar and not for whatever else accepts connections there.
async fn greet(client: &HttpClient, options: &PurgeOptions) -> Result<(), String> {
    let request = Request::get(url(options, "/livez")).body(Body::empty());
    let request = request.map_err(|error| format!("{}: {error}", options.admin))?;
    let greeting = async {
        let answer = client.send(request).await;
        let answer = answer.map_err(|error| format!("{}: {}", options.admin, with_causes(&error)))?;
        // To its end, so that the connection is free for the purge.
        let _ = answer.into_body().read_up_to(ANSWER_LIMIT).await;
        Ok(())
    };
    tokio::time::timeout(GREETING, greeting).await.unwrap_or_else(|_| {
        Err(format!("{}: no answer within {GREETING:?}; is it a sidecar's admin address?", options.admin))
    })
}

fn url(options: &PurgeOptions, path: &str) -> String {
    format!("{}{path}", options.admin.trim_end_matches('/'))
}

/// Whether this is the URL of an admin listener. Other text is not printed, since it may contain a password.
fn is_admin_url(url: &str) -> bool {
    let Ok(uri) = url.parse::<Uri>() else { return false };
    let names_a_host = uri.host().is_some_and(|host| !host.is_empty());
    let is_bare = uri.authority().is_some_and(|authority| !authority.as_str().contains('@'));
    uri.scheme_str() == Some("http") && names_a_host && is_bare && uri.query().is_none() && !url.contains('#')
}

fn request(options: &PurgeOptions) -> Result<Request<Body>, String> {
    if !is_admin_url(&options.admin) {
        return Err("--admin must be the URL of the admin listener, such as http://127.0.0.1:9090".to_owned());
    }
    let url = url(options, "/purge");
    let mut request =
        Request::builder().method(Method::POST).uri(&url).header("content-type", "application/json");
    if let Some(file) = &options.token_file {
        let token = SecretSource::File(file.clone()).read_now().map_err(|error| with_causes(&error))?;
        let value = format!("Bearer {}", secrecy::ExposeSecret::expose_secret(&token));
        let mut value = http::HeaderValue::from_str(&value)
            .map_err(|_| "the token cannot be sent in a header".to_owned())?;
        value.set_sensitive(true);
        request = request.header("authorization", value);
    }
    let body = Value::Object(body(options)).to_string();
    request.body(Body::full(body)).map_err(|error| format!("{url}: {error}"))
}

fn body(options: &PurgeOptions) -> Map<String, Value> {
    let mut body = Map::new();
    for (key, value) in [
        ("tenant", &options.tenant),
        ("route", &options.route),
        ("path", &options.path),
        ("group", &options.group),
    ] {
        if let Some(value) = value {
            body.insert(key.to_owned(), Value::from(value.as_str()));
        }
    }
    for (key, flag) in [("all", options.all), ("soft", options.soft)] {
        if flag {
            body.insert(key.to_owned(), Value::from(true));
        }
    }
    body
}
