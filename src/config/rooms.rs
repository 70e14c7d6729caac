//! The sections that are one room's settings.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

use super::Admin;
use super::exposure;
use super::section::Section;
use crate::causes::with_causes;
use crate::net::buffers::Buffers;
use crate::net::egress::{Egress, ProxyUrlError};
use crate::server::address::{Address, AddressError};
use crate::telemetry::Format;
use crate::{admission, cache, net, oauth, server, telemetry, upstream};

/// More threads than this gain a guest on somebody else's machine nothing.
const MOST_WORKERS_BY_DEFAULT: usize = 4;

/// The most that is held of one request or answer.
const MOST_BYTES: usize = 1 << 30;

/// Fields of HTTP/2 count at least 33 bytes each (RFC 9113 section 6.5.2). A map of headers holds 24,576, and panics when
/// one more is inserted; this bound leaves room for those that the sidecar adds.
const MOST_HEADER_BYTES: usize = 512 << 10;

const LISTEN: &str = "\"127.0.0.1:8080\", \"https://0.0.0.0:8443\" or \"unix:/run/proxy.sock\"";

/// What `[server]` says, by the room it is for.
pub(super) struct Server {
    pub(super) settings: server::Settings,
    pub(super) max_uri_bytes: usize,
    pub(super) hosts: Vec<String>,
    pub(super) allow_browsers: bool,
    /// Whether it is meant that others than this machine can reach it.
    pub(super) is_known_to_be_open: bool,
    pub(super) allow_core_dumps: bool,
}

pub(super) fn server(section: Section<'_>, secret_poll: Duration) -> Server {
    let listen: Vec<Address> = section.list("listen", LISTEN);
    if listen.is_empty() && section.has("listen") {
        section.wrong("listen", "there is nowhere to listen", "write [\"127.0.0.1:8080\"]");
    }
    for (n, address) in listen.iter().enumerate() {
        if listen[..n].iter().any(|other| other.conflicts_with(address)) {
            let what = format!("{address} cannot be listened on twice");
            section.wrong("listen", what, "keep one of them");
        }
    }
    let is_known_to_be_open = section.flag("i_know_this_is_open");
    let speaks_tls = listen.iter().any(|address| matches!(address, Address::Tls(_)));
    let settings = server::Settings {
        listen,
        tls: super::tls::tls(section.section("tls"), speaks_tls, secret_poll),
        workers: workers(&section),
        max_connections: section.number("max_connections", 1, 1_000_000),
        header_read_timeout: section.limit("header_read_timeout"),
        write_timeout: section.limit("write_timeout"),
        max_headers: section.number("max_headers", 1, 10_000),
        max_header_bytes: section.memory_size("max_header_bytes", 8 << 10, MOST_HEADER_BYTES),
        max_concurrent_streams: u32::try_from(section.number("max_concurrent_streams", 1, 100_000))
            .unwrap_or(u32::MAX),
        drain_timeout: section.duration("drain_timeout"),
        buffers: Buffers::new(section.memory_size("buffer_bytes", 0, MOST_BYTES)),
    };
    let max_uri_bytes = section.memory_size("max_uri_bytes", 1, MOST_BYTES);
    let hosts = hosts(&section);
    let allow_browsers = section.flag("allow_browsers");
    let allow_core_dumps = section.flag("allow_core_dumps");
    section.finish();
    Server { settings, max_uri_bytes, hosts, allow_browsers, is_known_to_be_open, allow_core_dumps }
}

/// Names by which the sidecar is called, without ports.
fn hosts(section: &Section<'_>) -> Vec<String> {
    const EXAMPLE: &str = "\"sidecar.internal.example\"";
    let hosts: Vec<String> = section.list("hosts", EXAMPLE);
    let is_name = |host: &String| {
        !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
    };
    if let Some(host) = hosts.iter().find(|host| !is_name(host)) {
        section.wrong(
            "hosts",
            format!("\"{host}\" is not the name of a host"),
            format!("write it without scheme and port, as {EXAMPLE}"),
        );
    }
    hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect()
}

fn workers(section: &Section<'_>) -> usize {
    if section.is_text("workers") {
        if section.text("workers", "\"auto\"") != "auto" {
            section.wrong(
                "workers",
                "this is not a number of threads",
                "write \"auto\" or a whole number from 1 to 1024",
            );
        }
        // Counts what affinity and the cgroup's quota leave to this process.
        std::thread::available_parallelism().map_or(1, |cores| cores.get().min(MOST_WORKERS_BY_DEFAULT))
    } else {
        section.number("workers", 1, 1024)
    }
}

/// `callers` are the addresses of `[server]`.
pub(super) fn admin(section: Section<'_>, callers: &[Address]) -> Option<Admin> {
    let token = if section.is_none("token") { None } else { Some(section.secret("token")) };
    let listen = if section.is_none("listen") {
        None
    } else {
        let text = section.text("listen", "\"127.0.0.1:9090\"");
        let address = text.parse::<Address>();
        if let Err(error) = &address {
            let what = match error {
                AddressError::Form => format!("\"{text}\" is not an address"),
                AddressError::SocketPath => format!("\"{text}\": {error}"),
            };
            section.wrong("listen", what, "write \"127.0.0.1:9090\", \"unix:/run/admin.sock\" or \"none\"");
        }
        if let Ok(address) = &address
            && let Some(other) = callers.iter().find(|other| other.conflicts_with(address))
        {
            let what = format!("callers are listened to on {other} already");
            section.wrong("listen", what, "choose another port or path");
        }
        if let Ok(Address::Tls(tls)) = address {
            let plain = format!("write \"{tls}\", or keep it on a unix socket");
            section.wrong("listen", "the admin listener does not speak TLS", plain);
        }
        address.ok()
    };
    if token.is_none() && listen.as_ref().is_some_and(|address| !address.is_local()) {
        section.missing(
            "listen",
            "an admin listener that others reach needs a token",
            "set token = { file = \"…\" }, or listen on 127.0.0.1",
        );
    }
    section.finish();
    listen.map(|listen| Admin { listen, token })
}

pub(super) fn state(section: Section<'_>) -> Option<PathBuf> {
    let text = section.text("directory", "\"auto\", \"none\" or a path");
    let directory = match text.as_str() {
        "none" => None,
        "auto" => {
            let directory = state_directory(|name| std::env::var_os(name).map(PathBuf::from));
            if directory.is_none() {
                section.doubtful(
                    "directory",
                    "neither $STATE_DIRECTORY nor $HOME is set: every restart will cost a mint",
                    "write a path, or \"none\" if that is fine",
                );
            }
            directory
        }
        path => Some(PathBuf::from(path)),
    };
    for what in directory.iter().flat_map(|directory| exposure::of_state_directory(directory)) {
        section.doubtful(
            "directory",
            what,
            "let the directory and all in it belong to the user that runs the sidecar, and chmod 700 it",
        );
    }
    section.finish();
    directory
}

/// systemd's directory, else the user's own by the XDG base directory specification.
fn state_directory(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    // systemd sets a list where a unit has several directories.
    let first = |paths: PathBuf| std::env::split_paths(&paths).next();
    let set = |name: &str| variable(name).and_then(first).filter(|path| path.is_absolute());
    set("STATE_DIRECTORY")
        .or_else(|| set("XDG_STATE_HOME").map(|state| state.join("zoho-sidecar")))
        .or_else(|| set("HOME").map(|home| home.join(".local/state/zoho-sidecar")))
}

pub(super) fn log(section: Section<'_>) -> telemetry::Settings {
    let format = section
        .choice("format", &[("auto", None), ("json", Some(Format::Json)), ("text", Some(Format::Text))]);
    let level = section.text("level", "\"info\"");
    if !level.is_empty() && !telemetry::is_level(&level) {
        section.wrong(
            "level",
            format!("\"{level}\" is not a level"),
            "write \"error\", \"warn\", \"info\" or \"debug\"",
        );
    }
    let on_terminal = if std::io::stderr().is_terminal() { Format::Text } else { Format::Json };
    let settings = telemetry::Settings {
        format: format.flatten().unwrap_or(on_terminal),
        level,
        requests: section.flag("requests"),
        buffer: telemetry::log::Bounds {
            lines: section.number("buffer_lines", 1, 1_000_000),
            bytes: section.memory_size("buffer_bytes", 64 << 10, MOST_BYTES),
        },
    };
    section.finish();
    settings
}

pub(super) fn tokens(section: Section<'_>, state_directory: Option<PathBuf>) -> oauth::Settings {
    let settings = oauth::Settings {
        exchange_timeout: section.limit("exchange_timeout"),
        probe_timeout: section.limit("probe_timeout"),
        probe_interval: interval(&section, "probe_interval", Duration::from_secs(1)),
        renewal_lead: section.duration("renewal_lead"),
        wait_limit: section.limit("wait_limit"),
        mints_per_window: section.number("mints_per_window", 1, 10),
        secret_poll: interval(&section, "secret_poll", Duration::from_millis(10)),
        state_directory,
    };
    section.finish();
    settings
}

/// A duration of at least so much: what is done again and again would otherwise leave no time for anything else.
fn interval(section: &Section<'_>, key: &str, least: Duration) -> Duration {
    let duration = section.limit(key);
    if !duration.is_zero() && duration < least {
        section.wrong(key, "this is too short", format!("write at least \"{}ms\"", least.as_millis()));
    }
    duration.max(least)
}

/// What `[upstream]` says, by the room it is for.
pub(super) struct Upstream {
    pub(super) connections: net::client::Settings,
    pub(super) limits: upstream::Settings,
    pub(super) replay_max_bytes: usize,
}

pub(super) fn upstream(section: Section<'_>, buffers: &Buffers) -> Upstream {
    let ca_file = if section.is_none("ca_file") {
        None
    } else {
        let path = PathBuf::from(section.text("ca_file", "a path, or \"none\""));
        if let Err(error) = net::tls::check_file(&path) {
            section.wrong("ca_file", with_causes(&error), "write the path of a PEM file, or \"none\"");
        }
        Some(path)
    };
    let idle_timeout = section.limit("idle_timeout");
    let upstream = Upstream {
        connections: net::client::Settings {
            connect_timeout: section.limit("connect_timeout"),
            write_timeout: idle_timeout,
            max_connections: section.number("max_connections", 1, 1_000_000),
            max_connections_per_host: section.number("max_connections_per_host", 1, 1_000_000),
            max_connection_age: section.limit("max_connection_age"),
            pool_idle_timeout: section.duration("pool_idle_timeout"),
            pool_max_idle_per_host: section.number("pool_max_idle_per_host", 0, 10_000),
            max_response_headers: section.number("max_response_headers", 1, 10_000),
            max_response_header_bytes: section.memory_size(
                "max_response_header_bytes",
                8 << 10,
                MOST_HEADER_BYTES,
            ),
            ca_file,
            egress: egress(&section),
            buffers: buffers.clone(),
        },
        limits: upstream::Settings {
            first_byte_timeout: section.limit("first_byte_timeout"),
            idle_timeout,
            total_timeout: section.limit("total_timeout"),
            min_body_rate: section.size("min_body_rate"),
            buffers: buffers.clone(),
        },
        replay_max_bytes: section.memory_size("replay_max_bytes", 0, MOST_BYTES),
    };
    section.finish();
    upstream
}

fn egress(section: &Section<'_>) -> Egress {
    const PASSWORD: &str = "put it into the environment (https_proxy), and write \"environment\"";
    const REMEDY: &str = "write \"http://proxy.example:3128\", \"environment\" or \"none\"";
    match section.text("proxy", "\"environment\", \"none\" or a URL").as_str() {
        "environment" => match Egress::from_environment(environment_variable) {
            Ok((egress, odd)) => {
                if !odd.is_empty() {
                    let what = format!("NO_PROXY is not understood here: {}", odd.join(", "));
                    section.doubtful(
                        "proxy",
                        what,
                        "name hosts, .domains, addresses or networks, as 192.0.2.0/24",
                    );
                }
                egress
            }
            Err(error) => {
                let remedy = "set the variable to http://HOST:PORT or to nothing, or write proxy = \"none\"";
                section.wrong("proxy", error.to_string(), remedy);
                Egress::direct()
            }
        },
        "none" => Egress::direct(),
        // The text itself may hold a password, so it is not repeated.
        url => {
            if url.contains('@') && section.exposed("proxy").is_some() {
                section.doubtful_literal(
                    "proxy",
                    "the URL of a proxy with its password stands in the configuration",
                    PASSWORD,
                );
            }
            url.parse().map_or_else(
                |error: ProxyUrlError| {
                    section.wrong("proxy", error.to_string(), REMEDY);
                    Egress::direct()
                },
                Egress::through,
            )
        }
    }
}

/// A variable of the environment. One that is no text cannot be a URL, and is not passed over either.
fn environment_variable(name: &str) -> Option<String> {
    std::env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

pub(super) fn admission(section: Section<'_>) -> admission::Settings {
    let settings = admission::Settings {
        max_requests: section.number("max_requests", 1, 1_000_000),
        max_calls: section.number("max_calls", 1, 1_000_000),
        queue: section.number("queue", 0, 1_000_000),
        queue_timeout: section.duration("queue_timeout"),
        unidentified: admission::unidentified::Settings {
            requests: section.number("unidentified_requests", 1, 1_000_000),
            bytes: section.memory_size("unidentified_bytes", 64 << 10, MOST_BYTES),
            timeout: section.limit("unidentified_timeout"),
        },
    };
    section.finish();
    settings
}

/// Longer than any value by which answers are told apart.
const MOST_KEY_HEADER_BYTES: usize = 64 << 10;

pub(super) fn cache(section: Section<'_>, buffers: &Buffers) -> cache::Settings {
    let settings = cache::Settings {
        max_bytes: section.size("max_bytes"),
        // moka weighs an entry in 32 bits.
        max_entry_bytes: section.memory_size("max_entry_bytes", 0, MOST_BYTES),
        uncacheable_for: section.duration("uncacheable_for"),
        fetch_timeout: section.limit("fetch_timeout"),
        max_key_header_bytes: section.memory_size("max_key_header_bytes", 0, MOST_KEY_HEADER_BYTES),
    };
    let most = buffers.most_to_store();
    if settings.max_entry_bytes > most && section.is_sound_so_far() {
        section.doubtful(
            "max_entry_bytes",
            format!("server.buffer_bytes leaves {most} bytes to a response that is read to be stored; a longer one may be called for by every request"),
            "make server.buffer_bytes four times as large as this, or more",
        );
    }
    section.finish();
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_goes_where_the_system_says_and_else_where_the_user_keeps_such_things() {
        let with = |set: &'static [(&str, &str)]| {
            state_directory(|name| set.iter().find(|(known, _)| *known == name).map(|(_, path)| path.into()))
        };
        assert_eq!(with(&[("STATE_DIRECTORY", "/var/lib/x"), ("HOME", "/root")]), Some("/var/lib/x".into()));
        assert_eq!(with(&[("STATE_DIRECTORY", "/var/lib/x:/var/lib/y")]), Some("/var/lib/x".into()));
        assert_eq!(with(&[("XDG_STATE_HOME", "/s"), ("HOME", "/r")]), Some("/s/zoho-sidecar".into()));
        assert_eq!(with(&[("HOME", "/r")]), Some("/r/.local/state/zoho-sidecar".into()));
        assert_eq!(with(&[("HOME", "relative")]), None);
        assert_eq!(with(&[]), None);
    }
}
