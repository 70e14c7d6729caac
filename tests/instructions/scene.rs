//! The two processes, and what is asked: over one kept-alive connection, one request after the other.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tempfile::TempDir;

use crate::caller::{Caller, header};
use crate::kinds::{Headers, Kind, last_token};
use crate::profile::Profile;

/// Longer than anything takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);
/// More requests than it takes for an answer to come from memory.
const UNTIL_WARM: usize = 1000;

/// A sidecar under valgrind that listens, and the Zoho behind it.
pub(crate) struct Scene {
    files: TempDir,
    sidecar: Running,
    address: String,
    _zoho: Running,
}

impl Scene {
    pub(crate) fn set(executable: &Path, kind: &Kind) -> Self {
        let mut zoho = Running::start(Command::new(executable).args(["emulator", "--listen", "127.0.0.1:0"]));
        let zohos_address = zoho.line_with("http://").split_once("http://").unwrap().1.to_owned();
        let files = tempfile::tempdir().unwrap();
        for (file, text) in [("1.toml", usual(&zohos_address)), ("2.toml", (kind.more)())] {
            std::fs::write(files.path().join(file), text).unwrap();
        }
        let mut valgrind = Command::new("valgrind");
        valgrind
            .args(["--tool=callgrind", "--dump-instr=yes", "--compress-pos=no", "--compress-strings=no"])
            .arg(format!("--callgrind-out-file={}", files.path().join("profile").display()))
            .arg(executable)
            .arg("run");
        for file in ["1.toml", "2.toml"] {
            valgrind.arg("--config").arg(files.path().join(file));
        }
        let mut sidecar = Running::start(&mut valgrind);
        let line: serde_json::Value =
            serde_json::from_str(&sidecar.line_with(r#""listener":"proxy""#)).unwrap();
        let address = line["address"].as_str().unwrap().trim_start_matches("http://").to_owned();
        Self { files, sidecar, address, _zoho: zoho }
    }

    /// What was run for so many requests, with the start and the end.
    pub(crate) fn profile(self, kind: &Kind, requests: u64) -> Profile {
        let mut caller = Caller::connect(kind.version, &self.address);
        let tag = warm_up(&mut caller, kind);
        for number in 0..requests {
            let more = match kind.headers {
                Headers::Usual => None,
                Headers::Id => Some(("x-request-id", format!("made-up-{number:010}"))),
                Headers::Own => Some(("x-made-up", format!("{number:010}"))),
                Headers::Tag => Some(("if-none-match", tag.clone())),
                Headers::Token => Some(token()),
            };
            let head = caller.ask(kind.path, more.as_ref());
            assert!(kind.says.iter().all(|said| head.contains(said)), "{}: {head}", kind.name);
        }
        drop(caller);
        self.sidecar.stop();
        Profile::parse(&std::fs::read_to_string(self.files.path().join("profile")).unwrap())
    }
}

/// Asks until the answer comes from where it is to come from, and gives its tag.
fn warm_up(caller: &mut Caller, kind: &Kind) -> String {
    for _ in 0..UNTIL_WARM {
        let head = caller.ask(kind.path, matches!(kind.headers, Headers::Token).then(token).as_ref());
        if head.contains(" 200 ") && head.contains(kind.says[1]) {
            return header(&head, "etag").unwrap_or_default().to_owned();
        }
    }
    panic!("{}: no answer says {}", kind.name, kind.says[1]);
}

fn token() -> (&'static str, String) {
    ("authorization", format!("Bearer {}", last_token()))
}

/// One worker that does nothing beside what is counted.
fn usual(zoho: &str) -> String {
    format!(
        r#"
server = {{ listen = ["127.0.0.1:0"], workers = 1 }}
admin.listen = "none"
state.directory = "none"
log = {{ requests = false, format = "json" }}
upstream.proxy = "none"
data_centers.emulated = {{ accounts = "http://{zoho}", api = "http://{zoho}" }}
routes.associated-users-count.fresh_for = "1h"
[tenants.acme]
data_center = "emulated"
client_id = "1000.EMULATEDACME"
client_secret = "emulated-secret-acme"
refresh_token = "1000.emulated-refresh-acme.00000000"
"#
    )
}

/// A process and what it says. Nothing outlives the test.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (said, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // Whoever no longer listens lets it speak on.
                let _ = said.send(line);
            }
        });
        Self { child, lines }
    }

    /// The next line that has this in it.
    fn line_with(&mut self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|error| panic!("no line with {part}: {error}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Ends it by a signal, and waits for that.
    fn stop(mut self) {
        let process = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(process, rustix::process::Signal::TERM).unwrap();
        // Its output ends with it.
        while self.lines.recv_timeout(PATIENCE).is_ok() {}
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
