//! What the service manager is told.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::patience::within;
use crate::sidecar::{Process, Sidecar, command, with_files};
use crate::zoho::Zoho;

/// The service manager's end of `$NOTIFY_SOCKET`.
struct Manager(tokio::net::UnixDatagram);

impl Manager {
    fn listening(path: &std::path::Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_nonblocking(true).unwrap();
        Self(tokio::net::UnixDatagram::from_std(socket).unwrap())
    }

    async fn hears(&self) -> String {
        let mut bytes = [0; 1024];
        let length = within("a message to the service manager", self.0.recv(&mut bytes)).await.unwrap();
        String::from_utf8_lossy(&bytes[..length]).trim_end().to_owned()
    }

    async fn hears_until(&self, wanted: &str) -> Vec<String> {
        let mut heard = vec![self.hears().await];
        while heard.last().unwrap() != wanted {
            heard.push(self.hears().await);
        }
        heard
    }
}

#[tokio::test]
async fn the_service_manager_is_told_of_the_start_of_life_and_of_the_end() {
    let (zoho, files) = (Zoho::start().await, tempfile::tempdir().unwrap());
    let path = files.path().join("notify");
    let manager = Manager::listening(&path);
    let mut command = command(with_files("run", files.path(), &[&zoho.config()]));
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let sidecar = Sidecar::listening(Process::start(&mut command), files).await;

    let heard = manager.hears_until("READY=1").await;
    assert!(heard.iter().all(|heard| ["READY=1", "WATCHDOG=1"].contains(&heard.as_str())), "{heard:?}");
    for _ in 0..5 {
        assert_eq!(manager.hears().await, "WATCHDOG=1");
    }
    sidecar.signal("TERM");
    manager.hears_until("STOPPING=1").await;
    assert_eq!(sidecar.end().await.code, Some(0));
}

#[tokio::test]
async fn without_a_watchdog_nothing_is_told_but_start_and_end() {
    let (zoho, files) = (Zoho::start().await, tempfile::tempdir().unwrap());
    let path = files.path().join("notify");
    let manager = Manager::listening(&path);
    let mut command = command(with_files("run", files.path(), &[&zoho.config()]));
    // Meant for another process, as after a fork.
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "1000").env("WATCHDOG_PID", "1");
    let sidecar = Sidecar::listening(Process::start(&mut command), files).await;

    assert_eq!(manager.hears().await, "READY=1");
    tokio::time::sleep(Duration::from_millis(100)).await;
    sidecar.signal("TERM");
    assert_eq!(manager.hears().await, "STOPPING=1");
    assert_eq!(sidecar.end().await.code, Some(0));
}

#[tokio::test]
async fn a_service_manager_that_does_not_read_holds_up_neither_start_nor_end() {
    let (zoho, files) = (Zoho::start().await, tempfile::tempdir().unwrap());
    let path = files.path().join("notify");
    let _manager = UnixDatagram::bind(&path).unwrap();
    let filling = UnixDatagram::unbound().unwrap();
    filling.set_nonblocking(true).unwrap();
    while filling.send_to(b"STATUS=full", &path).is_ok() {}
    let mut command = command(with_files("run", files.path(), &[&zoho.config()]));
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "2000");
    let sidecar = Sidecar::listening(Process::start(&mut command), files).await;

    assert_eq!(sidecar.get(crate::zoho::USERS).await.status, 200);
    sidecar.signal("TERM");
    assert_eq!(within("the end", sidecar.end()).await.code, Some(0));
}

#[tokio::test]
async fn whatever_serves_has_a_heartbeat() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    sidecar.ready().await;
    let metrics = crate::caller::get(sidecar.admin(), "/metrics").await;
    for task in [
        "worker-0",
        "main",
        "admin",
        "supervisor",
        "token-renewal/acme",
        "cache-sweep",
        "log-requests",
        "log-events",
    ] {
        let series = format!("zoho_sidecar_task_stalled{{task=\"{task}\"}} 0");
        assert!(metrics.text().contains(&series), "{series}: {}", metrics.text());
    }
}
