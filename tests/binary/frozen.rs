//! Threads that stop making progress, in the executable: each vital one in turn is frozen while all others run on.

use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use nix::sys::ptrace;
use nix::unistd::Pid;

use crate::caller;
use crate::sidecar::{Process, Sidecar, command, with_files};
use crate::until;
use crate::zoho::{USERS, Zoho};

/// The watchdog interval that is asked for, in microseconds; the sidecar feeds twice as often.
const WATCHDOG_USEC: &str = "1000000";
/// Longer than several intervals, even on a busy machine.
const SILENCE: Duration = Duration::from_secs(4);

/// A thread of another process that is stopped, as a debugger stops it, until this is dropped.
struct Frozen(#[expect(dead_code, reason = "held for its drop")] Sender<()>);

impl Frozen {
    /// Stops the thread of this name.
    fn new(process: u32, name: &str) -> Self {
        let thread = thread_of(process, name);
        let (release, released) = channel();
        let (done, is_done) = channel();
        // A thread stays stopped for as long as the one lives that stopped it.
        std::thread::spawn(move || {
            let stopped =
                ptrace::seize(thread, ptrace::Options::empty()).and_then(|()| ptrace::interrupt(thread));
            done.send(stopped).unwrap();
            let _released_by_drop = released.recv();
        });
        is_done.recv().unwrap().expect("a process may trace its child");
        Self(release)
    }
}

fn thread_of(process: u32, name: &str) -> Pid {
    let threads =
        std::fs::read_dir(format!("/proc/{process}/task")).unwrap().map(|entry| entry.unwrap().path());
    let is_named =
        |path: &std::path::PathBuf| std::fs::read_to_string(path.join("comm")).unwrap().trim() == name;
    let path = threads.into_iter().find(is_named).unwrap_or_else(|| panic!("there is no thread {name}"));
    Pid::from_raw(path.file_name().unwrap().to_str().unwrap().parse().unwrap())
}

/// Whether the watchdog of the service manager is fed within some time.
fn is_fed(manager: &UnixDatagram) -> bool {
    manager.set_nonblocking(true).unwrap();
    let mut message = [0; 1024];
    while manager.recv(&mut message).is_ok() {}
    manager.set_nonblocking(false).unwrap();
    manager.set_read_timeout(Some(SILENCE)).unwrap();
    manager.recv(&mut message).is_ok_and(|length| message[..length].starts_with(b"WATCHDOG=1"))
}

struct Watched {
    sidecar: Sidecar,
    manager: UnixDatagram,
    _zoho: Zoho,
}

impl Watched {
    async fn start() -> Self {
        let (zoho, files) = (Zoho::start().await, tempfile::tempdir().unwrap());
        let path = files.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        // An ordinary user may trace only what may be dumped.
        let config = "[server]\nworkers = 2\nallow_core_dumps = true\n";
        let mut command = command(with_files("run", files.path(), &[&zoho.config(), config]));
        command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", WATCHDOG_USEC);
        let sidecar = Sidecar::listening(Process::start(&mut command), files).await;
        sidecar.ready().await;
        Self { sidecar, manager, _zoho: zoho }
    }

    async fn livez(&self) -> caller::Answer {
        caller::get(self.sidecar.admin(), "/livez").await
    }

    async fn is_fed(&self) -> bool {
        let manager = self.manager.try_clone().unwrap();
        tokio::task::spawn_blocking(move || is_fed(&manager)).await.unwrap()
    }

    /// After the thread runs again.
    async fn recovers(self) {
        until("life", async || self.livez().await.status == 200).await;
        assert!(self.is_fed().await);
        assert_eq!(self.sidecar.stop().await.code, Some(0));
    }
}

/// Freezes the thread of this name, whose heartbeat is called `task`, and looks at `/livez` and the watchdog.
async fn freeze(thread: &str, task: &str, others_serve: bool) {
    let mut watched = Watched::start().await;
    assert!(watched.is_fed().await, "{task}");
    assert_eq!(watched.livez().await.status, 200, "{task}");
    let frozen = Frozen::new(watched.sidecar.process().id(), thread);

    until("a stalled task", async || watched.livez().await.status == 503).await;

    let live = watched.livez().await;
    assert_eq!((&live.json()["live"], &live.json()["stalled"][0]["task"]), (&false.into(), &task.into()));
    assert!(live.json()["stalled"][0]["seconds"].as_u64() >= Some(30), "{}", live.text());
    // The last message may have been on its way when the heartbeat came of age.
    until("a watchdog that is not fed", async || !watched.is_fed().await).await;
    assert_eq!(caller::get(watched.sidecar.admin(), "/readyz").await.status, 200);
    if others_serve {
        for _ in 0..5 {
            assert_eq!(watched.sidecar.get(USERS).await.status, 200, "the other worker gets the connections");
        }
    }
    drop(frozen);
    watched.recovers().await;
}

#[tokio::test]
async fn a_worker_that_stops_makes_livez_fail_and_the_watchdog_starve() {
    freeze("worker-0", "worker-0", true).await;
}

#[tokio::test]
async fn a_supervisor_that_stops_makes_livez_fail_and_the_watchdog_starve() {
    freeze("supervisor", "supervisor", true).await;
}

#[tokio::test]
async fn a_main_thread_that_stops_makes_livez_fail_and_the_watchdog_starve() {
    freeze("zoho-sidecar", "main", false).await;
}

#[tokio::test]
async fn an_admin_listener_that_stops_makes_the_watchdog_starve() {
    let mut watched = Watched::start().await;
    let frozen = Frozen::new(watched.sidecar.process().id(), "admin");
    until("a watchdog that is not fed", async || !watched.is_fed().await).await;
    assert_eq!(watched.sidecar.get(USERS).await.status, 200, "callers are served all the same");
    drop(frozen);
    watched.recovers().await;
}
