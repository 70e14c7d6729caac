//! The commands. Exit codes: 0 fine, 1 it found a problem, 2 wrong usage.

mod check;
mod console;
mod core_dumps;
mod demo;
mod emulator;
mod purge;
mod run;
mod service;
mod sidecar;
mod signals;

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::causes::with_causes;
use crate::server::descriptors;
use crate::telemetry::log::log_panics;
use console::{Console, errors_have_colours, output_has_colours};
use signals::outlive_full_files;

/// An OAuth-aware caching reverse proxy between your services and the Zoho CRM API.
///
/// A service changes its base URL and nothing else. New here? Try `zoho-sidecar demo`.
#[derive(Parser)]
#[command(name = "zoho-sidecar", version, propagate_version = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM, SIGINT or SIGQUIT.
    ///
    /// Prints one line per listener with the address it got, then one line per request on standard output
    /// and events on standard error. The first signal lets requests finish, a second ends them. Other signals are
    /// logged and have no effect.
    Run(ConfigFiles),
    /// Print every problem of a configuration, or what it would serve.
    ///
    /// Spends no mint and opens no port. Exits with 1 if there is a problem; warnings are not.
    Check(ConfigFiles),
    /// See the whole product at work, with an emulated Zoho, in this one process.
    ///
    /// Real requests through real sockets: first token, miss, hit, a write that forgets, a token that dies
    /// early, an outage. Then it keeps serving and says what to try.
    Demo {
        /// End after the tour; exit with 0 if every step went as told, else with 1.
        #[arg(long)]
        once: bool,
    },
    /// Let a running sidecar forget what it keeps.
    ///
    /// All that is named must hold: --tenant acme --route roles forgets acme's roles. Fetches under way are
    /// answered and not kept.
    Purge(PurgeOptions),
    /// Serve only the emulated Zoho, for developing without an account.
    Emulator(EmulatorOptions),
}

#[derive(Args)]
struct ConfigFiles {
    /// A file of the configuration; may be given several times, later ones override earlier ones.
    #[arg(long = "config", value_name = "FILE", required = true, num_args = 1..)]
    files: Vec<PathBuf>,
}

#[derive(Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["all", "tenant", "route", "path", "group"]))]
struct PurgeOptions {
    /// Where the sidecar's admin listener is.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    admin: String,
    /// A file with the admin token, if the listener needs one.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Everything.
    #[arg(long, conflicts_with_all = ["tenant", "route", "path", "group"])]
    all: bool,
    /// Entries of this tenant.
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Entries of this route, by its name in the configuration.
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
    /// Entries of exactly this path, whatever their query.
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Entries that writes to this group make untrue.
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Only end their freshness: what is stale still helps when Zoho cannot answer.
    #[arg(long)]
    soft: bool,
}

#[derive(Args)]
struct EmulatorOptions {
    /// Where to listen.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9400")]
    listen: SocketAddr,
    /// Listen on an address other than loopback, where whoever reaches it reads and changes everything.
    #[arg(long)]
    i_know_this_is_open: bool,
    /// Only this data centre's organisations, as a real accounts server knows only its own.
    #[arg(long, value_name = "NAME", default_value = "*")]
    data_center: String,
    /// A scenario: organisations, limits, quirks, faults. `config/emulator.toml` shows every key.
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
}

/// Runs the command that the arguments name.
///
/// A panic is reported by the hook and ends in the code for a problem, not in that of the standard library.
pub fn main() -> ExitCode {
    log_panics();
    let mut console = Console::new();
    if let Err(error) = descriptors::check() {
        console.complain(&described(&error));
        return console.exit(PROBLEM);
    }
    let command = AssertUnwindSafe(|| {
        // If this fails, writing to a full file ends the process by a signal, which is the default of every program.
        let _ = outlive_full_files();
        match CommandLine::try_parse() {
            Ok(line) => command(line.command, &mut console),
            Err(error) => usage(&error, &mut console),
        }
    });
    let code = catch_unwind(command).unwrap_or(PROBLEM);
    console.exit(code)
}

fn command(command: Command, console: &mut Console) -> ExitCode {
    let served = match command {
        Command::Check(config) => return check::check(&config.files, console),
        Command::Purge(options) => return purge::purge(&options, console),
        Command::Run(config) => run::run(config.files),
        Command::Demo { once } => demo::demo(once),
        Command::Emulator(options) => emulator::emulator(options),
    };
    served.unwrap_or_else(|error| {
        console.complain(&described(&error));
        PROBLEM
    })
}

/// Prints what clap has to say: the help, the version, or what is wrong with the arguments.
fn usage(error: &clap::Error, console: &mut Console) -> ExitCode {
    let text = error.render();
    let show = |console: &mut Console, is_coloured, is_wrong| match (is_coloured, is_wrong) {
        (true, is_wrong) => console.show_coloured(&text.ansi().to_string(), is_wrong),
        (false, true) => console.complain(&text.to_string()),
        (false, false) => console.print(&text.to_string()),
    };
    if error.use_stderr() {
        show(console, errors_have_colours(), true);
        ExitCode::from(WRONG_USAGE)
    } else {
        show(console, output_has_colours(), false);
        ExitCode::SUCCESS
    }
}

/// It found a problem.
const PROBLEM: ExitCode = ExitCode::FAILURE;

/// The arguments are wrong.
const WRONG_USAGE: u8 = 2;

/// What went wrong, with all its causes, as a line.
fn described(error: &dyn std::error::Error) -> String {
    format!("zoho-sidecar: {}\n", with_causes(error))
}

/// The runtime for everything but callers' connections, which have workers of their own.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
