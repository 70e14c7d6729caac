//! A caller that hangs up takes its own call down and nobody else's.

use std::time::Duration;

use zoho_sidecar::emulator::Fault;

use crate::caller::{Http2, Wire};
use crate::sidecar::Sidecar;
use crate::until;
use crate::zoho::{COUNT, HeldApi, USERS, Zoho};

#[tokio::test]
async fn a_caller_that_hangs_up_ends_its_call_to_zoho() {
    let mut api = HeldApi::start().await;
    let zoho = Zoho::with_api(&api).await;
    let sidecar = Sidecar::run(&zoho, "").await;
    let wire = Wire::asking(sidecar.proxy(), USERS).await;
    let call = api.call().await;
    assert_eq!(call.target(), USERS);

    drop(wire);

    call.given_up().await;
}

#[tokio::test]
async fn a_stream_of_http2_that_is_reset_ends_its_call_and_no_other() {
    let mut api = HeldApi::start().await;
    let zoho = Zoho::with_api(&api).await;
    let sidecar = Sidecar::run(&zoho, "").await;
    let http2 = Http2::connect(sidecar.proxy()).await;
    let asking = |path: &'static str| {
        let mut http2 = http2.clone();
        tokio::spawn(async move { http2.get(path).await })
    };
    let reset = asking("/crm/v8/users?type=First");
    let first = api.call().await;
    let patient = asking("/crm/v8/users?type=Second");
    let second = api.call().await;

    reset.abort();

    first.given_up().await;
    second.answer("for the second").await;
    assert_eq!(patient.await.unwrap().text(), "for the second");
}

#[tokio::test]
async fn a_fetch_that_others_may_share_goes_on_and_is_kept() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    sidecar.ready().await;
    zoho.next_call(Fault::Delay(Duration::from_millis(300)));
    let wire = Wire::asking(sidecar.proxy(), COUNT).await;
    until("the call", async || zoho.calls() == 1).await;

    drop(wire);

    until("the end of the call", async || zoho.answered(COUNT) == 1).await;
    until("a hit", async || sidecar.get(COUNT).await.header("cache-status").contains("; hit")).await;
    assert_eq!(zoho.calls(), 1);
}
