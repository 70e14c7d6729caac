//! Signals: requests under way finish, and nothing else holds the end.

use zoho_sidecar::emulator::Fault;

use crate::caller::{self, Http2, Wire};
use crate::sidecar::Sidecar;
use crate::zoho::{HeldApi, USERS, Zoho};
use crate::{until, within};

#[tokio::test]
async fn a_signal_lets_a_request_under_way_finish_and_the_end_is_0() {
    for signal in ["TERM", "INT", "QUIT"] {
        let mut api = HeldApi::start().await;
        let zoho = Zoho::with_api(&api).await;
        let sidecar = Sidecar::run(&zoho, "").await;
        let asking = tokio::spawn(caller::get(sidecar.proxy(), USERS));
        let call = api.call().await;

        sidecar.signal(signal);
        sidecar.draining().await;
        call.answer("the answer of a request that was under way").await;

        let answer = within("the answer", asking).await.unwrap();
        assert_eq!((answer.status, answer.text()), (200, "the answer of a request that was under way"));
        assert_eq!(sidecar.end().await.code, Some(0), "{signal}");
    }
}

#[tokio::test]
async fn a_request_under_way_on_http2_finishes_too() {
    let mut api = HeldApi::start().await;
    let zoho = Zoho::with_api(&api).await;
    let sidecar = Sidecar::run(&zoho, "").await;
    let mut http2 = Http2::connect(sidecar.proxy()).await;
    let asking = tokio::spawn(async move { http2.get(USERS).await });
    let call = api.call().await;

    sidecar.signal("TERM");
    sidecar.draining().await;
    call.answer("done").await;

    assert_eq!(within("the answer", asking).await.unwrap().text(), "done");
    assert_eq!(sidecar.end().await.code, Some(0));
}

#[tokio::test]
async fn while_requests_finish_the_sidecar_is_alive_and_not_ready() {
    let mut api = HeldApi::start().await;
    let zoho = Zoho::with_api(&api).await;
    let sidecar = Sidecar::run(&zoho, "").await;
    let asking = tokio::spawn(caller::get(sidecar.proxy(), USERS));
    let call = api.call().await;
    sidecar.ready().await;

    sidecar.signal("TERM");
    sidecar.draining().await;

    let ready = caller::get(sidecar.admin(), "/readyz").await;
    assert_eq!((ready.status, &ready.json()["reasons"][0]["reason"]), (503, &"stopping".into()));
    assert_eq!(caller::get(sidecar.admin(), "/livez").await.status, 200);
    call.answer("").await;
    assert_eq!(within("the answer", asking).await.unwrap().status, 200);
    assert_eq!(sidecar.end().await.code, Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_everything_at_once_with_1() {
    let mut api = HeldApi::start().await;
    let zoho = Zoho::with_api(&api).await;
    let sidecar = Sidecar::run(&zoho, "").await;
    let wire = Wire::asking(sidecar.proxy(), USERS).await;
    let call = api.call().await;
    sidecar.signal("TERM");
    sidecar.draining().await;

    sidecar.signal("INT");

    let end = sidecar.end().await;
    assert_eq!(end.code, Some(1), "{end:?}");
    assert!(end.errors.contains("connections were cut before their requests had finished"), "{}", end.errors);
    assert_eq!(wire.hear_all().await, "");
    call.given_up().await;
}

#[tokio::test]
async fn a_request_that_outlasts_the_drain_timeout_is_cut_and_the_end_is_1() {
    let mut api = HeldApi::start().await;
    let zoho = Zoho::with_api(&api).await;
    let sidecar = Sidecar::run(&zoho, "server.drain_timeout = \"50ms\"").await;
    let _wire = Wire::asking(sidecar.proxy(), USERS).await;
    let _call = api.call().await;

    assert_eq!(sidecar.stop().await.code, Some(1));
}

#[tokio::test]
async fn idle_and_half_begun_connections_do_not_hold_the_end() {
    const WHOLE: &str = "GET /tenants/none HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for said_after_an_answer in [None, Some(""), Some("GET /crm/v8/us"), Some("G")] {
        for said_first in ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nhost: loc"] {
            let zoho = Zoho::start().await;
            let sidecar = Sidecar::run(&zoho, "").await;
            let mut wire = Wire::connect(sidecar.proxy()).await;
            if let Some(more) = said_after_an_answer {
                wire.say(WHOLE).await;
                wire.hear_answer().await;
                wire.say(more).await;
            } else {
                wire.say(said_first).await;
                until("the connection", async || sidecar.metric("zoho_sidecar_connections ").await > 0.0)
                    .await;
            }

            let end = sidecar.stop().await;

            let told = format!("{said_after_an_answer:?} {said_first:?}");
            assert_eq!(end.code, Some(0), "{told}: {end:?}");
            assert_eq!(wire.hear_all().await, "", "{told}");
            if said_after_an_answer.is_some() {
                break;
            }
        }
    }
}

#[tokio::test]
async fn an_idle_http2_connection_does_not_hold_the_end() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    let mut http2 = Http2::connect(sidecar.proxy()).await;
    assert_eq!(http2.get(USERS).await.status, 200);
    assert_eq!(sidecar.stop().await.code, Some(0));
}

#[tokio::test]
async fn open_admin_connections_do_not_hold_the_end_however_many() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    let mut asked = Vec::new();
    for _ in 0..90 {
        let mut wire = Wire::connect(sidecar.admin()).await;
        wire.say("GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
        wire.hear_answer().await;
        wire.say("GET /livez HTTP/1.1\r\nho").await;
        asked.push(wire);
    }

    assert_eq!(sidecar.stop().await.code, Some(0));
    for wire in asked {
        assert_eq!(wire.hear_all().await, "");
    }
}

#[tokio::test]
async fn a_mint_that_hangs_does_not_hold_the_end() {
    let zoho = Zoho::start().await;
    zoho.mints_always(Fault::Hang);
    let sidecar = Sidecar::run(&zoho, "tokens.exchange_timeout = \"1h\"").await;
    until("a mint", async || zoho.mint_attempts() > 0).await;

    assert_eq!(sidecar.stop().await.code, Some(0));
}
