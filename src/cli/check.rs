//! `check`: print every problem of a configuration, or what it would serve.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use http::Method;

use super::PROBLEM;
use super::console::Console;
use super::core_dumps::CoreDumps;
use crate::callers::{Caller, Mode};
use crate::causes::with_causes;
use crate::config::problem::{Problem, Severity};
use crate::config::{self, Config, Loaded};
use crate::net::tls::Trust;
use crate::rulebook::Rulebook;
use crate::server::listener::check as could_listen;

pub(super) fn check(files: &[PathBuf], console: &mut Console) -> ExitCode {
    let _core_dumps = CoreDumps::forbid();
    let Loaded { config, problems } = config::load(files);
    console.complain(&report(&problems));
    match config {
        Some(config) => {
            console.print(&summary(&config));
            // Like a secret that is not there yet, this may be otherwise where and when the sidecar runs.
            let admin = config.admin.iter().map(|admin| &admin.listen);
            for address in config.server.listen.iter().chain(admin) {
                if let Err(error) = could_listen(address) {
                    console.complain(&format!("{}  (warning)\n", with_causes(&error)));
                }
            }
            // The system's certificates are no part of the configuration, but `run` needs them.
            match Trust::read(config.connections.ca_file.as_deref()) {
                Ok(_) => ExitCode::SUCCESS,
                Err(error) => {
                    console.complain(&super::described(&error));
                    PROBLEM
                }
            }
        }
        None => PROBLEM,
    }
}

/// Problems, and how many there are.
pub(super) fn report(problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        let _ = writeln!(text, "{problem}\n");
    }
    let count = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
    let (wrong, doubtful) = (count(Severity::Problem), count(Severity::Warning));
    if wrong > 0 {
        let _ = writeln!(text, "{wrong} problem{}, {doubtful} warning{}", plural(wrong), plural(doubtful));
    }
    text
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// How a caller is known, and what it may use.
fn described(caller: &Caller, rules: &Rulebook) -> String {
    let (policy, mut parts) =
        (&caller.policy, vec![format!("known by {}", caller.credential.kinds().join(", "))]);
    if let Some(numbers) = &policy.tenants {
        let names: Vec<&str> = numbers.iter().map(|n| rules.tenants.tenant(*n).name.as_str()).collect();
        parts.push(format!("only {}", names.join(", ")));
    }
    if let Some(methods) = &policy.methods {
        parts.push(format!("only {}", methods.iter().map(Method::as_str).collect::<Vec<_>>().join(", ")));
    }
    if let Some(paths) = &policy.paths {
        parts.push(format!("{} kind{} of path", paths.len(), plural(paths.len())));
    }
    if policy.read_only {
        parts.push("read-only".to_owned());
    }
    if caller.mode == Mode::Shadow {
        parts.push("shadow: only told, not refused".to_owned());
    }
    parts.join("; ")
}

/// What would be served.
fn summary(config: &Config) -> String {
    let mut text = String::new();
    let mut line = |label: &str, what: String| {
        let _ = writeln!(text, "{label:<10} {what}");
    };
    for address in &config.server.listen {
        line("listen", address.to_string());
    }
    match &config.admin {
        Some(admin) => line("admin", admin.listen.to_string()),
        None => line("admin", "none".to_owned()),
    }
    match &config.tokens.state_directory {
        Some(directory) => line("state", directory.display().to_string()),
        None => line("state", "none: every restart costs a mint".to_owned()),
    }
    for caller in config.rulebook.callers.all() {
        line("caller", format!("{}: {}", caller.name, described(caller, &config.rulebook)));
    }
    if config.rulebook.callers.all().is_empty() {
        line("callers", "everybody who can connect".to_owned());
    }
    for tenant in config.rulebook.tenants.all() {
        let edition = tenant.edition.map_or(String::new(), |edition| {
            format!(", at most {} calls at once ({})", edition.concurrent_calls(), edition.as_str())
        });
        let api = tenant.data_center.api.of(tenant.environment);
        line(
            "tenant",
            format!("{}: {}, tokens from {}{edition}", tenant.name, api, tenant.data_center.accounts),
        );
    }
    for route in config.rulebook.routes.all() {
        line("cached", format!("{}: {}, fresh for {:?}", route.name, route.template, route.rule.fresh_for));
    }
    for write in config.rulebook.routes.writes() {
        let groups: Vec<&str> =
            write.forgets.iter().map(|group| config.rulebook.routes.groups()[*group].as_str()).collect();
        line(
            "forgets",
            format!("{} ({} kinds of write): {}", write.name, write.templates.len(), groups.join(", ")),
        );
    }
    line("otherwise", "everything passes through".to_owned());
    text
}
