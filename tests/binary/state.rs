//! What outlives a process, so that a restart costs no mint.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tempfile::tempdir;

use crate::sidecar::Sidecar;
use crate::until;
use crate::zoho::{USERS, Zoho};

fn kept_in(directory: &Path) -> String {
    format!("state.directory = \"{}\"", directory.join("state").display())
}

#[tokio::test]
async fn a_crash_loop_of_twenty_restarts_costs_exactly_one_mint() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());

    for _ in 0..20 {
        let sidecar = Sidecar::run(&zoho, &kept_in(directory.path())).await;
        sidecar.ready().await;
        sidecar.signal("KILL");
        assert_eq!(sidecar.end().await.code, None);
    }

    assert_eq!((zoho.mints(), zoho.mint_attempts()), (1, 1));
    let sidecar = Sidecar::run(&zoho, &kept_in(directory.path())).await;
    assert_eq!(sidecar.get(USERS).await.status, 200, "the kept token is a good one");
    assert_eq!(zoho.mints(), 1);
}

#[tokio::test]
async fn two_sidecars_that_share_a_state_directory_and_start_together_cost_one_mint() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    let shared = kept_in(directory.path());

    let (one, other) = tokio::join!(Sidecar::run(&zoho, &shared), Sidecar::run(&zoho, &shared));
    one.ready().await;
    other.ready().await;

    assert_eq!((one.get(USERS).await.status, other.get(USERS).await.status), (200, 200));
    assert_eq!((zoho.mints(), zoho.mint_attempts()), (1, 1));
}

#[tokio::test]
async fn without_a_state_directory_every_restart_costs_a_mint() {
    let zoho = Zoho::start().await;
    for mints in 1..=2 {
        let sidecar = Sidecar::run(&zoho, "").await;
        sidecar.ready().await;
        assert_eq!(sidecar.stop().await.code, Some(0));
        assert_eq!(zoho.mints(), mints);
    }
}

#[tokio::test]
async fn state_files_are_their_owners_alone_and_show_no_secret() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    let sidecar = Sidecar::run(&zoho, &kept_in(directory.path())).await;
    sidecar.ready().await;
    let state = directory.path().join("state");
    let is_state = |path: &Path| path.extension().is_some_and(|extension| extension == "state");
    until("the state file", async || {
        std::fs::read_dir(&state).is_ok_and(|mut all| all.any(|file| is_state(&file.unwrap().path())))
    })
    .await;
    assert_eq!(sidecar.stop().await.code, Some(0));

    assert_eq!(std::fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    for file in std::fs::read_dir(&state).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{path:?}");
        let text = String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned();
        for telling in ["1000.", "emulated", "EMULATED", "acme", "generation", "token"] {
            assert!(!text.contains(telling), "{path:?} shows {telling:?}");
        }
    }
}
