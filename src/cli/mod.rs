//! The commands. Exit codes: 0 fine, 1 it found a problem, 2 wrong usage.

mod check;
mod demo;
mod emulator;
mod run;
mod sidecar;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

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
    /// Serve until SIGTERM or SIGINT.
    ///
    /// Prints one line per listener with the address it got, then one line per request on standard output
    /// and events on standard error. The first signal lets requests finish, a second ends them.
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
struct EmulatorOptions {
    /// Where to listen.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9400")]
    listen: SocketAddr,
    /// Only this data centre's organisations, as a real accounts server knows only its own.
    #[arg(long, value_name = "NAME", default_value = "*")]
    data_center: String,
    /// A scenario: organisations, limits, quirks, faults. `config/emulator.toml` shows every key.
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    match CommandLine::parse().command {
        Command::Run(config) => run::run(&config.files),
        Command::Check(config) => check::check(&config.files),
        Command::Demo { once } => demo::demo(once),
        Command::Emulator(options) => {
            emulator::emulator(options.listen, &options.data_center, options.scenario.as_deref())
        }
    }
}

/// It found a problem.
const PROBLEM: ExitCode = ExitCode::FAILURE;

/// Says what went wrong, with all its causes, and what it leads to.
fn fail(error: &dyn std::error::Error) -> ExitCode {
    eprint!("zoho-sidecar: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprint!(": {error}");
        cause = error.source();
    }
    eprintln!();
    PROBLEM
}

/// The runtime for everything but callers' connections, which have workers of their own.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Ends at the first SIGTERM or SIGINT, and at each further one when awaited again.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
