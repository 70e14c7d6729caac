//! A client as a process of its own, with a folder of its own to work in.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Command;

use crate::sidecar::Sidecar;
use crate::within;

/// A client that is to run a script.
pub(crate) struct Client {
    command: Command,
    what: String,
    _folder: TempDir,
}

/// A client by name.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Sdk {
    /// One of Python, by the name of its requirements.
    Python(&'static str),
    /// One of Node, by the name of its package.
    Node(&'static str),
}

impl Sdk {
    /// The SDK, its base URL at the sidecar.
    pub(crate) fn at(self, sidecar: &Sidecar, base: &str) -> Client {
        let client = match self {
            Self::Python(name) => {
                let path = installed(&format!("python-{name}"));
                python("sdk.py").with("PYTHONPATH", path.display())
            }
            Self::Node(name) => node("sdk.mjs").with("SDK", name),
        };
        client.at(sidecar, base).with("REFRESH_TOKEN", "1000.made-up-refresh.00000000")
    }
}

/// The Python SDK that was before those of [`Sdk`], with a script of its own.
pub(crate) fn old_python(name: &str) -> Client {
    python("old.py").with("PYTHONPATH", installed(&format!("python-sdk-{name}")).display())
}

/// Python with a script.
pub(crate) fn python(script: &str) -> Client {
    // Nothing is to be left beside the scripts.
    let client = Client::new(installed("python/bin/python3"), script).with("PYTHONDONTWRITEBYTECODE", 1);
    client.argument(tests().join("python").join(script))
}

/// Node with a script.
pub(crate) fn node(script: &str) -> Client {
    let client = Client::new("node", script).argument(tests().join("node").join(script));
    client.with("MODULES", installed("node").display())
}

/// curl, which fails where an answer is an error.
pub(crate) fn curl() -> Client {
    Client::new("curl", "curl").argument("--silent").argument("--show-error").argument("--fail-with-body")
}

/// Where the scripts lie.
fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients")
}

/// A place where `./ci.sh` has installed something.
fn installed(what: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/clients").join(what);
    assert!(path.exists(), "{} is not there; ./ci.sh installs it", path.display());
    path
}

impl Client {
    fn new(program: impl AsRef<std::ffi::OsStr>, what: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(program);
        command.env_clear().kill_on_drop(true).current_dir(folder.path()).stdin(Stdio::null());
        command
            .env("HOME", folder.path())
            .env("LANG", "C.UTF-8")
            .env("PATH", std::env::var_os("PATH").unwrap());
        Self { command, what: what.to_owned(), _folder: folder }
    }

    pub(crate) fn at(self, sidecar: &Sidecar, base: &str) -> Self {
        self.with("SIDECAR", format!("http://{}{base}", sidecar.proxy()))
    }

    pub(crate) fn with(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.command.env(name, value.to_string());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub(crate) fn argument(mut self, argument: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    /// Does what its script does with these words, and succeeds. Gives its output.
    pub(crate) async fn does(mut self, words: &[&str]) -> String {
        let ended = within(&self.what, self.command.args(words).output()).await;
        let ended = ended.unwrap_or_else(|error| panic!("{}: {error}; ./ci.sh installs it", self.what));
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (output, errors) = (said(&ended.stdout), said(&ended.stderr));
        assert!(ended.status.success(), "{} {words:?}: {}\n{output}\n{errors}", self.what, ended.status);
        output
    }
}
