//! The process: started with a configuration, listened to, stopped, and asked how it ended.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{Receiver, channel};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::caller::{self, Answer};
use crate::zoho::Zoho;
use crate::{until, within};

/// A sidecar that listens.
pub(crate) struct Sidecar {
    process: Process,
    listeners: Vec<(String, String)>,
    _files: TempDir,
}

/// A running process and what it says.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
    errors: JoinHandle<String>,
    errors_so_far: watch::Receiver<String>,
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// `None` if a signal ended it.
    pub(crate) code: Option<i32>,
    /// Standard output that was not read before.
    pub(crate) lines: Vec<String>,
    /// Standard error.
    pub(crate) errors: String,
}

/// The executable, without anything of this environment.
pub(crate) fn command<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zoho-sidecar"));
    command.args(arguments).env_clear().kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the executable to its end.
pub(crate) async fn ended<A: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = A>) -> Ended {
    Process::start(&mut command(arguments)).end().await
}

/// `command --config FILE…` as arguments, with these texts as files.
pub(crate) fn with_files(what: &str, directory: &Path, texts: &[&str]) -> Vec<String> {
    let file = |(n, text): (usize, &&str)| -> PathBuf {
        let path = directory.join(format!("{}.toml", n + 1));
        std::fs::write(&path, text).unwrap();
        path
    };
    let files = texts.iter().enumerate().map(file).map(|path| path.display().to_string());
    [what.to_owned(), "--config".to_owned()].into_iter().chain(files).collect()
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        // The pipe is read as far as the test asks for lines, and closes when it wants no more.
        let (said, lines) = channel(1);
        if let Some(stdout) = child.stdout.take() {
            let mut stdout = BufReader::new(stdout).lines();
            tokio::spawn(async move {
                while let Ok(Some(line)) = stdout.next_line().await
                    && said.send(line).await.is_ok()
                {}
            });
        }
        let (heard, errors_so_far) = watch::channel(String::new());
        let stderr = child.stderr.take();
        let errors = tokio::spawn(async move {
            if let Some(stderr) = stderr {
                let mut stderr = BufReader::new(stderr).lines();
                while let Ok(Some(line)) = stderr.next_line().await {
                    heard.send_modify(|errors| errors.extend([line.as_str(), "\n"]));
                }
            }
            heard.borrow().clone()
        });
        Self { child, lines, errors, errors_so_far }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("nobody has waited for the process yet")
    }

    /// The next line on standard output; `None` at the end.
    pub(crate) async fn line(&mut self) -> Option<String> {
        within("a line on standard output", self.lines.recv()).await
    }

    /// Standard error so far.
    pub(crate) fn errors_so_far(&self) -> String {
        self.errors_so_far.borrow().clone()
    }

    /// Waits until this stands in standard error.
    pub(crate) async fn complains(&mut self, what: &str) {
        within(what, self.errors_so_far.wait_for(|errors| errors.contains(what))).await.unwrap();
    }

    /// Closes standard output.
    pub(crate) fn close_output(&mut self) {
        self.lines.close();
    }

    /// Sends a signal: `"TERM"`, `"INT"`, `"KILL"`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.id());
        assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for the end without reading standard output.
    pub(crate) async fn end_unread(&mut self) -> Option<i32> {
        within("the end of the process", self.child.wait()).await.unwrap().code()
    }

    /// Waits for the end.
    pub(crate) async fn end(mut self) -> Ended {
        let mut lines = Vec::new();
        while let Some(line) = self.line().await {
            lines.push(line);
        }
        let code = self.end_unread().await;
        let errors = within("the end of standard error", self.errors).await.unwrap();
        Ended { code, lines, errors }
    }
}

impl Sidecar {
    /// `run` for the emulated Zoho, with more configuration over the usual.
    pub(crate) async fn run(zoho: &Zoho, more: &str) -> Self {
        Self::with_files(&[&zoho.config(), more]).await
    }

    /// `run` with these files. The last listener they make must be the admin listener.
    pub(crate) async fn with_files(texts: &[&str]) -> Self {
        let files = tempfile::tempdir().unwrap();
        let process = Process::start(&mut command(with_files("run", files.path(), texts)));
        Self::listening(process, files).await
    }

    /// Waits until a process listens that was started with these files.
    pub(crate) async fn listening(process: Process, files: TempDir) -> Self {
        let mut sidecar = Self { process, listeners: Vec::new(), _files: files };
        while !sidecar.listeners.iter().any(|(what, _)| what == "admin") {
            let Some(line) = sidecar.process.line().await else {
                panic!("the sidecar did not start: {:?}", sidecar.process.end().await);
            };
            let line: Value = serde_json::from_str(&line).unwrap();
            let text = |key: &str| line[key].as_str().unwrap().to_owned();
            sidecar.listeners.push((text("listener"), text("address")));
        }
        sidecar
    }

    /// What it said about its listeners: what for, and the address.
    pub(crate) fn listeners(&self) -> &[(String, String)] {
        &self.listeners
    }

    /// Where callers connect.
    pub(crate) fn proxy(&self) -> SocketAddr {
        self.tcp("proxy")
    }

    /// Where operations connect.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.tcp("admin")
    }

    /// Where callers connect by TLS.
    pub(crate) fn encrypted(&self) -> SocketAddr {
        self.at("proxy", "https://")
    }

    fn tcp(&self, wanted: &str) -> SocketAddr {
        self.at(wanted, "http://")
    }

    fn at(&self, wanted: &str, scheme: &str) -> SocketAddr {
        let mut of_kind = self.listeners.iter().filter(|(what, _)| what == wanted);
        of_kind.find_map(|(_, address)| address.strip_prefix(scheme)?.parse().ok()).unwrap()
    }

    pub(crate) fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        caller::get(self.proxy(), path).await
    }

    /// Waits until it is ready.
    pub(crate) async fn ready(&self) {
        until("readiness", async || caller::get(self.admin(), "/readyz").await.status == 200).await;
    }

    /// A metric, as `/metrics` tells it.
    pub(crate) async fn metric(&self, series: &str) -> f64 {
        let metrics = caller::get(self.admin(), "/metrics").await;
        let line = metrics.text().lines().find_map(|line| line.strip_prefix(series).map(str::trim));
        line.unwrap_or_else(|| panic!("there is no {series} in {}", metrics.text())).parse().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Waits until it accepts nobody any more.
    pub(crate) async fn draining(&self) {
        let proxy = self.proxy();
        until("draining", async || tokio::net::TcpStream::connect(proxy).await.is_err()).await;
    }

    /// Waits for its end.
    pub(crate) async fn end(self) -> Ended {
        self.process.end().await
    }

    /// Asks it to stop, and waits for its end.
    pub(crate) async fn stop(self) -> Ended {
        self.signal("TERM");
        self.end().await
    }
}
