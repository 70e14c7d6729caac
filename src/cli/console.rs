//! Output of commands. Everything that they print goes through here: `println!` and its like panic where the output is closed or full.
//!
//! Where the reader has left, output stops silently and the command goes on. Any other error is reported once, on the
//! other stream, and makes the exit code of a command that does one thing a failure.

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use super::PROBLEM;
use crate::telemetry::log::{Descriptor, is_reader_gone};
use crate::telemetry::printable::{Layout, printable};

/// The standard streams of a command that does one thing and ends. It waits for a reader who is slow.
pub(super) struct Console {
    output: Stream,
    errors: Stream,
}

struct Stream {
    name: &'static str,
    to: Option<Box<dyn Write>>,
    failure: Option<io::Error>,
}

impl Console {
    /// The streams of the process.
    pub(super) fn new() -> Self {
        Self::of(boxed(Descriptor::output()), boxed(Descriptor::errors()))
    }

    fn of(output: io::Result<Box<dyn Write>>, errors: io::Result<Box<dyn Write>>) -> Self {
        Self { output: Stream::of("standard output", output), errors: Stream::of("standard error", errors) }
    }

    /// Writes what was asked for.
    pub(super) fn print(&mut self, text: &str) {
        self.output.write(&printable(text, Layout::Lines));
    }

    /// Writes what is wrong.
    pub(super) fn complain(&mut self, text: &str) {
        self.errors.write(&printable(text, Layout::Lines));
    }

    /// Writes text that has colours of ours: what was asked for, or what is wrong.
    pub(super) fn show_coloured(&mut self, text: &str, is_wrong: bool) {
        let stream = if is_wrong { &mut self.errors } else { &mut self.output };
        stream.write(&printable(text, Layout::ColouredLines));
    }

    /// The exit code of a command whose work ended with `code`.
    pub(super) fn exit(mut self, code: ExitCode) -> ExitCode {
        let output = self.output.failure.take();
        let errors = self.errors.failure.take();
        if let Some(error) = &output {
            self.errors.write(&cannot_write(self.output.name, error));
        }
        if let Some(error) = &errors {
            self.output.write(&cannot_write(self.errors.name, error));
        }
        if output.is_some() || errors.is_some() { PROBLEM } else { code }
    }
}

fn boxed(descriptor: io::Result<Descriptor>) -> io::Result<Box<dyn Write>> {
    descriptor.map(|descriptor| Box::new(descriptor) as Box<dyn Write>)
}

fn cannot_write(stream: &str, error: &io::Error) -> String {
    format!("zoho-sidecar: {stream} cannot be written: {error}\n")
}

impl Stream {
    fn of(name: &'static str, to: io::Result<Box<dyn Write>>) -> Self {
        match to {
            Ok(to) => Self { name, to: Some(to), failure: None },
            Err(error) => Self { name, to: None, failure: Some(error) },
        }
    }

    fn write(&mut self, text: &str) {
        let Some(to) = &mut self.to else { return };
        if let Err(error) = to.write_all(text.as_bytes()) {
            self.to = None;
            self.failure = Some(error).filter(|error| !is_reader_gone(error));
        }
    }
}

/// True if text on standard output may have colours.
pub(super) fn output_has_colours() -> bool {
    io::stdout().is_terminal() && wants_colours()
}

/// True if text on standard error may have colours.
pub(super) fn errors_have_colours() -> bool {
    io::stderr().is_terminal() && wants_colours()
}

fn wants_colours() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|terminal| terminal != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Paper {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    /// An output that fails in one way, and counts how often it was asked.
    struct Failing(io::ErrorKind, Arc<Mutex<usize>>);

    impl Write for Failing {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            *self.1.lock().unwrap() += 1;
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn same(code: ExitCode, expected: ExitCode) -> bool {
        format!("{code:?}") == format!("{expected:?}")
    }

    #[test]
    fn a_reader_who_has_left_stops_the_output_and_changes_no_exit_code() {
        let (errors, asked) = (Paper::default(), Arc::default());
        let gone = Failing(io::ErrorKind::BrokenPipe, Arc::clone(&asked));
        let mut console = Console::of(Ok(Box::new(gone)), Ok(Box::new(errors.clone())));
        console.print("one\n");
        console.print("two\n");
        assert!(same(console.exit(ExitCode::SUCCESS), ExitCode::SUCCESS));
        assert_eq!((errors.text().as_str(), *asked.lock().unwrap()), ("", 1));
    }

    #[test]
    fn a_full_output_is_reported_once_on_the_other_stream_and_is_a_failure() {
        for output_fails in [true, false] {
            let (paper, full) = (Paper::default(), Failing(io::ErrorKind::StorageFull, Arc::default()));
            let (works, fails): (Box<dyn Write>, Box<dyn Write>) = (Box::new(paper.clone()), Box::new(full));
            let (output, errors) = if output_fails { (fails, works) } else { (works, fails) };
            let mut console = Console::of(Ok(output), Ok(errors));
            console.print("a\n");
            console.complain("b\n");
            console.print("c\n");
            console.complain("d\n");
            assert!(same(console.exit(ExitCode::SUCCESS), PROBLEM));
            let text = paper.text();
            assert_eq!(text.matches("cannot be written").count(), 1, "{text}");
            assert_eq!(text.lines().count(), 3, "{text}");
        }
    }
}
