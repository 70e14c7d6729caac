//! A kept connection that Zoho closes under a request: what may be repeated is, and nothing else.

use zoho_sidecar::emulator::Fault;

use crate::caller::{ask, request};
use crate::sidecar::Sidecar;
use crate::zoho::{USERS, Zoho};

#[tokio::test]
async fn a_read_on_a_connection_that_had_been_closed_is_repeated_unseen() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    assert_eq!(sidecar.get(USERS).await.status, 200);
    zoho.next_call(Fault::Drop);

    let repeated = sidecar.get(USERS).await;

    assert_eq!(repeated.status, 200);
    assert_eq!(zoho.calls(), 3, "the first, the one that broke, and its repetition");
}

#[tokio::test]
async fn a_post_is_never_repeated_since_zoho_may_have_done_it() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    assert_eq!(sidecar.get(USERS).await.status, 200);
    zoho.next_call(Fault::Drop);

    let broken = ask(sidecar.proxy(), request("POST", "/crm/v8/__echo")).await;

    assert_eq!((broken.status, &broken.json()["code"]), (502, &"SIDECAR_CONNECTION_BROKEN".into()));
    assert_eq!(zoho.calls(), 2);
}

#[tokio::test]
async fn a_read_that_breaks_twice_is_refused() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    assert_eq!(sidecar.get(USERS).await.status, 200);
    zoho.next_call(Fault::Drop);
    zoho.next_call(Fault::Drop);

    assert_eq!(sidecar.get(USERS).await.status, 502);
    assert_eq!(zoho.calls(), 3);
}
