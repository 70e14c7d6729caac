//! The configuration: files laid over the documented defaults, checked as a whole.
//!
//! Every section becomes its room's `Settings`; no room learns that files exist. Reading never stops at the
//! first mistake: all problems are told at once, each with its file and line and with what would be right. Of a
//! file that is no TOML only the errors of syntax are told: where a quote or a bracket lacks its fellow, any text
//! may seem to be a value, a secret too.
//!
//! - [`problem`]: one thing that is wrong
//! - `tree`: TOML with the places it came from
//! - `section`: reading a table key by key
//! - `secrets`: reading where secrets come from
//! - `rooms`: the sections that are one room's settings
//! - `rules`: tenants, data centres, routes and writes
//! - `callers`: who may ask for what
//! - `exposure`: whether others on this machine may read secrets or change the state
//! - `tls`: how callers' connections are encrypted

mod callers;
mod exposure;
pub mod problem;
mod rooms;
mod rules;
mod secrets;
mod section;
mod tls;
mod tree;
mod units;

use std::path::{Path, PathBuf};

use zeroize::Zeroize;

use crate::oauth::{Credential, SecretSource};
use crate::rulebook::Rulebook;
use crate::{admission, cache, files, net, oauth, proxy, server, telemetry, upstream};
use problem::{Place, Problem, Problems, Severity};
use section::Section;

/// The defaults, every key documented.
pub const DEFAULTS: &str = include_str!("../../config/defaults.toml");

/// Routes and writes that ship and are off by default, by the name that switches them on.
pub const PRESETS: [(&str, &str); 1] = [("crm-metadata", include_str!("../../config/routes-crm.toml"))];

/// A configuration that can be served.
#[derive(Debug)]
pub struct Config {
    /// `[server]`
    pub server: server::Settings,
    /// `[server]`, whether a core dump may show the process's memory, and a debugger may look at it.
    pub allow_core_dumps: bool,
    /// `[admin]`; `None` for no admin listener.
    pub admin: Option<Admin>,
    /// `[log]`
    pub log: telemetry::Settings,
    /// `[tokens]` and `[state]`
    pub tokens: oauth::Settings,
    /// `[upstream]`, making connections
    pub connections: net::client::Settings,
    /// `[upstream]`, limits of a call
    pub upstream: upstream::Settings,
    /// `[upstream]` and `[server]`, handling requests
    pub proxy: proxy::Settings,
    /// `[admission]`
    pub admission: admission::Settings,
    /// `[cache]`
    pub cache: cache::Settings,
    /// Callers, tenants, routes and writes.
    pub rulebook: Rulebook,
    /// What each tenant authenticates with, by tenant number.
    pub credentials: Vec<Credential>,
}

/// `[admin]`
#[derive(Debug, Clone)]
pub struct Admin {
    /// Where to listen.
    pub listen: server::address::Address,
    /// What callers must show, other than for `/livez` and `/readyz`.
    pub token: Option<SecretSource>,
}

/// What came of reading a configuration.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration, if nothing is wrong with it.
    pub config: Option<Config>,
    /// What is wrong or doubtful, in the order of files and lines.
    pub problems: Vec<Problem>,
}

/// A file's name and text.
#[derive(Debug, Clone)]
pub struct Source {
    /// How to call it in messages.
    pub name: String,
    /// What is in it.
    pub text: String,
}

impl Drop for Source {
    /// A secret may stand in it.
    fn drop(&mut self) {
        self.text.zeroize();
    }
}

/// Reads files, later ones over earlier ones, over the defaults.
pub fn load(paths: &[PathBuf]) -> Loaded {
    let problems = Problems::default();
    let sources: Vec<Source> = paths.iter().filter_map(|path| read(path, &problems)).collect();
    build(&sources, problems)
}

/// The same from texts.
pub fn load_texts(sources: &[Source]) -> Loaded {
    build(sources, Problems::default())
}

/// A longer file was not written as a configuration.
const MOST_BYTES: usize = 8 * 1024 * 1024;

fn read(path: &Path, problems: &Problems) -> Option<Source> {
    let name = path.display().to_string();
    let read = files::read_now(path, MOST_BYTES);
    match read.and_then(|contents| contents.text().map(str::to_owned)) {
        Ok(text) => {
            if let Some(how) = exposure::of_config_file(path) {
                problems.note_exposed(&name, how);
            }
            Some(Source { name, text })
        }
        Err(error) => {
            problems.add_unread(Problem {
                severity: Severity::Problem,
                place: Some(Place { file: name, line: 1 }),
                key: "(file)".to_owned(),
                what: format!("this file cannot be read: {error}"),
                remedy: "name a TOML file that this user may read".to_owned(),
            });
            None
        }
    }
}

fn build(sources: &[Source], problems: Problems) -> Loaded {
    let mut own = tree::Table::new();
    for source in sources {
        tree::overlay(&mut own, tree::parse(&source.name, &source.text, &problems));
    }
    // Presets lie between the defaults and the user's own files, which may change any key of them.
    let mut tree = tree::parse("(defaults)", DEFAULTS, &problems);
    for (name, text) in PRESETS {
        if tree::list_holds(&own, "presets", name) {
            tree::overlay(&mut tree, tree::parse("(presets)", text, &problems));
        }
    }
    tree::overlay(&mut tree, own);
    let config = read_config(&Section::root(&tree, &problems));
    Section::root(&tree, &problems).finish_known(&SECTIONS);
    let problems = problems.into_sorted();
    let is_sound = problems.iter().all(|problem| problem.severity == Severity::Warning);
    Loaded { config: is_sound.then_some(config), problems }
}

/// All sections there are.
const SECTIONS: [&str; 17] = [
    "presets",
    "server",
    "admin",
    "state",
    "log",
    "tokens",
    "upstream",
    "admission",
    "cache",
    "caller_defaults",
    "callers",
    "tenant_defaults",
    "tenants",
    "data_centers",
    "route_defaults",
    "routes",
    "writes",
];

fn read_config(root: &Section<'_>) -> Config {
    let state_directory = rooms::state(root.section("state"));
    let tokens = rooms::tokens(root.section("tokens"), state_directory);
    let rooms::Server {
        settings: server,
        max_uri_bytes,
        hosts,
        allow_browsers,
        is_known_to_be_open,
        allow_core_dumps,
    } = rooms::server(root.section("server"), tokens.secret_poll);
    let upstream = rooms::upstream(root.section("upstream"), &server.buffers);
    rules::presets(root);
    let (tenants, credentials) = rules::tenants(root);
    let callers = callers::callers(root, &tenants, &server);
    callers::check_listeners(root, &server, &callers, is_known_to_be_open);
    let cache = rooms::cache(root.section("cache"), &server.buffers);
    let rulebook = Rulebook { callers, tenants, routes: rules::routes(root) };
    Config {
        proxy: proxy::Settings {
            replay_max_bytes: upstream.replay_max_bytes,
            max_uri_bytes,
            hosts,
            allow_browsers,
            unread_timeout: server.write_timeout,
        },
        admin: rooms::admin(root.section("admin"), &server.listen),
        server,
        allow_core_dumps,
        log: rooms::log(root.section("log")),
        tokens,
        connections: upstream.connections,
        upstream: upstream.limits,
        admission: rooms::admission(root.section("admission")),
        cache,
        rulebook,
        credentials,
    }
}
