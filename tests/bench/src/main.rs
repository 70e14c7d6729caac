//! Compares zoho-sidecar with what people would use in its place; run.sh is how to call it.

mod alone;
mod ceilings;
mod chaos;
mod load;
mod machine;
mod measures;
mod options;
mod origin;
mod pace;
mod peers;
mod proc;
mod table;
mod zeros;

use std::process::ExitCode;

use anyhow::Result;

use options::{HELP, Job, Options};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.split_first() {
        Some((first, rest)) if first == "ceiling" => ceilings::serve(rest),
        _ => run(&arguments),
    };
    let Err(why) = done else { return ExitCode::SUCCESS };
    eprintln!("bench: {why:#}");
    ExitCode::FAILURE
}

fn run(arguments: &[String]) -> Result<()> {
    let options = Options::read(arguments)?;
    if options.job == Job::Help {
        print!("{HELP}");
        return Ok(());
    }
    machine::settle()?;
    match options.job {
        Job::Help | Job::Compare => measures::compare(options),
        Job::Soak(requests) => alone::soak(&options, requests),
        Job::Chaos(minutes) => chaos::chaos(&options, minutes),
        Job::Stalls => alone::stalls(&options),
        Job::Scaling => alone::scaling(&options),
    }
}
