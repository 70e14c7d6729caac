//! The executable: reads the command line, runs the command, and turns its end into an exit code.

#![warn(clippy::print_stdout, clippy::print_stderr)]

use std::process::ExitCode;

/// Gives back to the system what a crowd of slow callers took, by a thread of its own, whichever thread has freed it. The
/// system's allocator keeps most of it: what is still in use lies scattered over all that ever was.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    zoho_sidecar::cli::main()
}
