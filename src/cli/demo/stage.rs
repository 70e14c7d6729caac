//! Where the demo plays: addresses, a caller with real connections, and paper and colours.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};

use crate::cli::console::output_has_colours;
use crate::clock::Clock;
use crate::net::body::{Body, Prefix};
use crate::net::buffers::Buffers;
use crate::net::client::{HttpClient, Settings};
use crate::net::egress::Egress;
use crate::net::transport::Transport;
use crate::telemetry::log::Queue;

/// The addresses, and a caller.
pub(super) struct Stage {
    pub(super) proxy: String,
    pub(super) admin: String,
    pub(super) zoho: String,
    caller: HttpClient,
    clock: Clock,
    output: Queue,
    colours: bool,
}

/// What a caller got.
#[derive(Debug)]
pub(super) struct Got {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) took: Duration,
}

impl Got {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or("").trim_end()
    }

    pub(super) fn milliseconds(&self) -> String {
        format!("{:.1} ms", self.took.as_secs_f64() * 1000.0)
    }
}

/// More than any answer in the demo has.
const LONGEST_ANSWER: usize = 1 << 20;

impl Stage {
    pub(super) fn of(addresses: &[(&'static str, String)], zoho: SocketAddr, output: Queue) -> Self {
        let of = |wanted: &str| {
            let found = addresses.iter().find(|(what, _)| *what == wanted);
            found.map(|(_, address)| address.clone()).unwrap_or_default()
        };
        let settings = Settings {
            connect_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(30),
            max_connections: 1000,
            max_connections_per_host: 1000,
            max_connection_age: Duration::from_mins(10),
            pool_idle_timeout: Duration::from_secs(30),
            pool_max_idle_per_host: 64,
            max_response_headers: 256,
            max_response_header_bytes: 64 * 1024,
            ca_file: None,
            egress: Egress::direct(),
            buffers: Buffers::new(LONGEST_ANSWER),
        };
        Self {
            proxy: of("proxy"),
            admin: of("admin"),
            zoho: format!("http://{zoho}"),
            caller: HttpClient::new(&settings).expect("the system's defaults make a TLS configuration"),
            clock: Clock::system(),
            output,
            colours: output_has_colours(),
        }
    }

    /// Asks as a service would: a base URL, a path, no credentials.
    pub(super) async fn ask(&self, method: Method, url: String, body: &str) -> Result<Got, String> {
        let began = self.clock.now();
        let mut request = Request::new(Body::full(body.to_owned()));
        *request.method_mut() = method;
        *request.uri_mut() = url.parse().map_err(|error| format!("{url}: {error}"))?;
        let answer = self.caller.send(request).await.map_err(|error| format!("{url}: {error}"))?;
        let (head, body) = answer.into_parts();
        let body = match body.read_up_to(LONGEST_ANSWER).await {
            Ok(Prefix::Whole(body)) => body,
            Ok(Prefix::Partial(_)) => return Err(format!("{url}: the answer is too long")),
            Err(error) => return Err(format!("{url}: {error}")),
        };
        Ok(Got { status: head.status, headers: head.headers, body, took: self.clock.now() - began })
    }

    pub(super) fn heading(&self, number: usize, title: &str) {
        self.print(&format!("\n{} {}", self.paint("36;1", &format!("{number}.")), self.paint("1", title)));
    }

    pub(super) fn show(&self, label: &str, value: &str) {
        self.print(&format!("   {} {value}", self.paint("2", &format!("{label:<14}"))));
    }

    pub(super) fn proven(&self, text: &str) {
        self.print(&format!("   {} {text}", self.paint("32;1", "✓")));
    }

    pub(super) fn failed(&self, text: &str) {
        self.print(&format!("   {} {text}", self.paint("31;1", "✗")));
    }

    pub(super) fn title(&self, text: &str) {
        self.print(&self.paint("1", text));
    }

    pub(super) fn say(&self, text: &str) {
        self.print(&format!("   {text}"));
    }

    /// Prints lines, without waiting for their reader: the emulator and the sidecar run on this thread.
    pub(super) fn print(&self, text: &str) {
        self.output.put_coloured_lines(&format!("{text}\n"));
    }

    pub(super) fn paint(&self, code: &str, text: &str) -> String {
        if self.colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
