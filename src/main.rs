//! The executable: reads the command line, runs the command, and turns its end into an exit code.

#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

fn main() -> ExitCode {
    zoho_sidecar::cli::main()
}
