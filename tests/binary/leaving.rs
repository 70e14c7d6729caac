//! What a process leaves behind, and what it does about what another left.

use std::os::unix::fs::FileTypeExt;

use tempfile::tempdir;

use crate::caller::get_by_unix_socket;
use crate::sidecar::{Sidecar, ended, with_files};
use crate::zoho::{COUNT, Zoho};

#[tokio::test]
async fn a_leftover_unix_socket_is_replaced_and_removed_at_the_end() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    let socket = directory.path().join("proxy.sock");
    let listen = format!("server.listen = [\"unix:{}\"]", socket.display());
    let killed = Sidecar::run(&zoho, &listen).await;
    killed.signal("KILL");
    assert_eq!(killed.end().await.code, None);
    assert!(std::fs::metadata(&socket).unwrap().file_type().is_socket());

    let sidecar = Sidecar::run(&zoho, &listen).await;

    assert_eq!(get_by_unix_socket(&socket, COUNT).await.status, 200);
    assert_eq!(sidecar.stop().await.code, Some(0));
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_unix_socket_that_is_served_is_left_to_who_serves_it() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    let socket = directory.path().join("proxy.sock");
    let listen = format!("server.listen = [\"unix:{}\"]", socket.display());
    let first = Sidecar::run(&zoho, &listen).await;

    let second = ended(with_files("run", directory.path(), &[&zoho.config(), &listen])).await;

    assert_eq!(second.code, Some(1), "{second:?}");
    let expected = format!("cannot listen on unix:{}: another process listens on it", socket.display());
    assert!(second.errors.contains(&expected), "{}", second.errors);
    assert_eq!(get_by_unix_socket(&socket, COUNT).await.status, 200);
    assert_eq!(first.stop().await.code, Some(0));
}

#[tokio::test]
async fn an_admin_unix_socket_is_removed_at_the_end_too() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    let socket = directory.path().join("admin.sock");
    let listen = format!("admin.listen = \"unix:{}\"", socket.display());
    let sidecar = Sidecar::run(&zoho, &listen).await;
    assert_eq!(get_by_unix_socket(&socket, "/livez").await.status, 200);

    assert_eq!(sidecar.stop().await.code, Some(0));

    assert!(!socket.exists());
}
