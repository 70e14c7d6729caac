//! A kept connection that Zoho closes under a request: what may be repeated is, and nothing else.

use zoho_sidecar::emulator::Fault;
use zoho_sidecar::net::body::Body;

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
async fn what_does_the_same_however_often_is_repeated_and_nothing_else() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    for (method, is_repeated) in [
        ("HEAD", true),
        ("PUT", true),
        ("DELETE", true),
        ("OPTIONS", true),
        ("POST", false),
        ("PATCH", false),
    ] {
        assert_eq!(sidecar.get(USERS).await.status, 200);
        let before = zoho.calls();
        zoho.next_call(Fault::Drop);

        // Zoho may have done what it did not answer.
        let answer = ask(sidecar.proxy(), request(method, "/crm/v8/__echo")).await;

        let (calls, status) = if is_repeated { (2, 200) } else { (1, 502) };
        assert_eq!((zoho.calls() - before, answer.status), (calls, status), "{method}");
        if !is_repeated {
            assert_eq!(answer.json()["code"], "SIDECAR_CONNECTION_BROKEN", "{method}");
        }
    }
}

#[tokio::test]
async fn a_write_whose_body_was_too_long_to_be_kept_is_not_repeated() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "upstream.replay_max_bytes = \"1KiB\"").await;
    assert_eq!(sidecar.get(USERS).await.status, 200);
    zoho.next_call(Fault::Drop);
    let mut put = request("PUT", "/crm/v8/__echo");
    *put.body_mut() = Body::full(vec![b'x'; 4096]);

    assert_eq!(ask(sidecar.proxy(), put).await.status, 502);
    assert_eq!(zoho.calls(), 2);
}

#[tokio::test]
async fn a_read_that_breaks_on_a_new_connection_is_not_repeated() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "upstream.pool_max_idle_per_host = 0").await;
    assert_eq!(sidecar.get(USERS).await.status, 200);
    zoho.next_call(Fault::Drop);

    assert_eq!(sidecar.get(USERS).await.status, 502);
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
