//! What the system may show of the process's memory.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use tempfile::TempDir;
use tokio::process::Command;

use crate::sidecar::{Process, Sidecar, with_files};
use crate::zoho::Zoho;

/// Whoever runs the sidecar when the tests run as root, whose processes belong to root whatever they hide.
const NOBODY: u32 = 65534;

fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// A copy of the executable that every user may run, and files that belong to the one who will.
fn files_of_the_user() -> (TempDir, std::path::PathBuf, u32) {
    let files = tempfile::tempdir().unwrap();
    let executable = files.path().join("zoho-sidecar");
    std::fs::copy(env!("CARGO_BIN_EXE_zoho-sidecar"), &executable).unwrap();
    std::fs::set_permissions(&executable, std::fs::Permissions::from_mode(0o755)).unwrap();
    let user = if is_root() { NOBODY } else { std::fs::metadata("/proc/self").unwrap().uid() };
    if is_root() {
        chown(files.path(), Some(user), None).unwrap();
    }
    (files, executable, user)
}

/// Runs the sidecar as an ordinary user, with a soft limit of core files that is not 0 if the system admits one.
async fn run(more: &str) -> (Sidecar, u32, Zoho) {
    let zoho = Zoho::start().await;
    let (files, executable, user) = files_of_the_user();
    let arguments = with_files("run", files.path(), &[&zoho.config(), more]).join(" ");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -S -c $(ulimit -H -c); exec {} {arguments}", executable.display())]);
    command.env_clear().env("PATH", "/usr/bin:/bin").kill_on_drop(true);
    command.stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    if is_root() {
        command.uid(user).gid(user);
    }
    (Sidecar::listening(Process::start(&mut command), files).await, user, zoho)
}

/// The soft and the hard limit of core files.
fn core_limits(process: u32) -> (String, String) {
    let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max core file size")).unwrap();
    let mut fields = line.split_whitespace().map(str::to_owned);
    (fields.next().unwrap(), fields.next().unwrap())
}

/// Who owns what the system shows of the process: its user, or root if it may not be dumped.
fn shown_to(process: u32) -> u32 {
    std::fs::metadata(Path::new("/proc").join(process.to_string()).join("mem")).unwrap().uid()
}

#[tokio::test]
async fn a_sidecar_leaves_no_core_dump_and_admits_no_debugger() {
    let (mut sidecar, _, _zoho) = run("").await;
    let process = sidecar.process().id();
    assert_eq!(core_limits(process).0, "0");
    assert_eq!(shown_to(process), 0, "root");
    assert_eq!(sidecar.stop().await.code, Some(0));
}

#[tokio::test]
async fn core_dumps_are_as_before_where_they_are_allowed_and_that_is_logged() {
    let (mut sidecar, user, _zoho) = run("server.allow_core_dumps = true").await;
    let process = sidecar.process().id();
    let (soft, hard) = core_limits(process);
    assert_eq!(soft, hard);
    assert_eq!(shown_to(process), user);
    let ended = sidecar.stop().await;
    assert!(ended.errors.contains("a core dump of this process would hold secrets"), "{}", ended.errors);
}
