//! The two processes, and the one who asks: over one kept-alive connection, one request after the other.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use tempfile::TempDir;

use crate::kinds::{Headers, Kind, last_token};
use crate::profile::Profile;

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
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
        let mut caller = Caller::connect(&self.address);
        let tag = caller.warm_up(kind);
        let request = |number| match kind.headers {
            Headers::Usual => request(kind, ""),
            Headers::Id => request(kind, &format!("x-request-id: made-up-{number:010}\r\n")),
            Headers::Own => request(kind, &format!("x-made-up: {number:010}\r\n")),
            Headers::Tag => request(kind, &format!("if-none-match: {tag}\r\n")),
            Headers::Token => authorized(kind),
        };
        for number in 0..requests {
            let head = caller.ask(&request(number));
            assert!(kind.says.iter().all(|said| head.contains(said)), "{}: {head}", kind.name);
        }
        drop(caller);
        self.sidecar.stop();
        Profile::parse(&std::fs::read_to_string(self.files.path().join("profile")).unwrap())
    }
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

fn request(kind: &Kind, more: &str) -> String {
    format!(
        "GET {} HTTP/1.1\r\nhost: localhost\r\nuser-agent: python-requests/2.32\r\naccept: application/json\r\n\
         accept-encoding: gzip, deflate\r\n{more}\r\n",
        kind.path
    )
}

fn authorized(kind: &Kind) -> String {
    request(kind, &format!("authorization: Bearer {}\r\n", last_token()))
}

/// A connection of HTTP/1.1.
struct Caller(TcpStream);

impl Caller {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// Asks until the answer comes from where it is to come from, and gives its tag.
    fn warm_up(&mut self, kind: &Kind) -> String {
        let request = match kind.headers {
            Headers::Token => authorized(kind),
            Headers::Usual | Headers::Id | Headers::Own | Headers::Tag => request(kind, ""),
        };
        for _ in 0..UNTIL_WARM {
            let head = self.ask(&request);
            if head.starts_with("HTTP/1.1 200 ") && head.contains(kind.says[1]) {
                return header(&head, "etag").unwrap_or_default().to_owned();
            }
        }
        panic!("{}: no answer says {}", kind.name, kind.says[1]);
    }

    /// The head of the answer; its body is read to the end.
    fn ask(&mut self, request: &str) -> String {
        self.0.write_all(request.as_bytes()).unwrap();
        let (mut read, mut piece) = (Vec::new(), [0; 16 * 1024]);
        loop {
            let length = self.0.read(&mut piece).unwrap();
            assert!(length > 0, "the connection was closed");
            read.extend_from_slice(&piece[..length]);
            if let Some(end) = memchr::memmem::find(&read, b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&read[..end + 4]).into_owned();
                let body: usize = match header(&head, "content-length") {
                    Some(length) if !head.starts_with("HTTP/1.1 304 ") => length.parse().unwrap(),
                    _ => 0,
                };
                if read.len() >= head.len() + body {
                    return head;
                }
            }
        }
    }
}

/// A header of a head.
fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value)
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
