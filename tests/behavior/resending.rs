//! Requests that Zoho's servers turn away unprocessed are sent again, as far as what was sent of them is held.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, RecvStream};
use http::{Method, Request, Response};
use http_body_util::BodyExt;
use zoho_sidecar::net::body::Body;
use zoho_sidecar::net::transport::BoxFuture;

use crate::wire::{Peer, Script};
use crate::world::{ASSOCIATED_USERS_COUNT, World, join_overseas, request};

/// What an API host of HTTP/2 does with a request: answers with a status, resets its stream once so many bytes of its
/// body have come, or answers and resets the stream after so many bytes of the answer.
#[derive(Debug, Clone, Copy)]
enum Act {
    Answer(u16),
    Reset(Reason, usize),
    BreakOff(Reason, usize),
}

/// An API host that does this with its first, second … request that is no GET, and the last of it with all that follow.
/// A GET gets an empty count.
fn acting(acts: &'static [Act], asked: &Arc<AtomicUsize>) -> impl Script {
    let asked = asked.clone();
    move |_, peer: Peer| -> BoxFuture<()> {
        let asked = asked.clone();
        Box::pin(async move {
            let mut connection = h2::server::handshake(peer.0).await.unwrap();
            while let Some(Ok((request, mut answering))) = connection.accept().await {
                let (method, mut body) = (request.method().clone(), request.into_body());
                let act = match method {
                    Method::GET => Act::Answer(200),
                    _ => acts[asked.fetch_add(1, Ordering::Relaxed).min(acts.len() - 1)],
                };
                tokio::spawn(async move {
                    match act {
                        Act::Answer(status) => {
                            let length = read(&mut body, usize::MAX, true).await;
                            let answer = Response::builder().status(status).header("x-got", length);
                            let mut sending =
                                answering.send_response(answer.body(()).unwrap(), false).unwrap();
                            sending
                                .send_data(Bytes::from_static(b"{\"associated_users_count\":[]}"), true)
                                .unwrap();
                        }
                        Act::Reset(reason, after) => {
                            read(&mut body, after, false).await;
                            answering.send_reset(reason);
                        }
                        Act::BreakOff(reason, after) => {
                            let mut sending = answering.send_response(Response::new(()), false).unwrap();
                            sending.send_data(vec![b'x'; after].into(), false).unwrap();
                            // It has arrived before the stream is reset.
                            tokio::time::sleep(Duration::from_millis(1)).await;
                            sending.send_reset(reason);
                        }
                    }
                });
            }
        })
    }
}

/// Reads so much of a body, or all of it, and says how much there was; with `wants_more` it opens the window for more.
async fn read(body: &mut RecvStream, most: usize, wants_more: bool) -> usize {
    let mut length = 0;
    while length < most
        && let Some(Ok(data)) = body.data().await
    {
        length += data.len();
        if wants_more {
            body.flow_control().release_capacity(data.len()).unwrap();
        }
    }
    length
}

async fn world(config: &str, acts: &'static [Act]) -> (World, Arc<AtomicUsize>) {
    let asked = Arc::default();
    let making = World::making().config(config).api_by_http2(acting(acts, &asked));
    (making.await_first_token().await, asked)
}

fn post(bytes: usize) -> Request<Body> {
    request(Method::POST, "/crm/v8/Leads", vec![b'x'; bytes])
}

const REFUSED: Act = Act::Reset(Reason::REFUSED_STREAM, 0);

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_processed_is_sent_again_whatever_its_method() {
    for method in [Method::POST, Method::PATCH, Method::PUT, Method::DELETE] {
        let (world, asked) = world("", &[REFUSED, REFUSED, REFUSED, Act::Answer(201)]).await;
        let answer = world.send(request(method.clone(), "/crm/v8/Leads", "made up")).await;
        answer.assert_status(201);
        assert_eq!((answer.header("x-got"), asked.load(Ordering::Relaxed)), ("7", 4), "{method}");
        let failures = "zoho_sidecar_upstream_failures_total{tenant=\"acme\",reason=\"not_processed\"}";
        assert_eq!(world.metric(failures), Some(3.0), "{}", world.metrics());
    }
}

#[tokio::test(start_paused = true)]
async fn a_long_body_is_sent_again_while_what_was_sent_of_it_is_held() {
    let (world, asked) = world("", &[Act::Reset(Reason::REFUSED_STREAM, 60_000), Act::Answer(201)]).await;
    let answer = world.send(post(1_000_000)).await;
    answer.assert_status(201);
    assert_eq!((answer.header("x-got"), asked.load(Ordering::Relaxed)), ("1000000", 2));
}

#[tokio::test(start_paused = true)]
async fn a_body_of_which_too_much_was_sent_is_refused_as_not_executed() {
    let limit = "[upstream]\nreplay_max_bytes = \"1KiB\"\n";
    let (world, asked) = world(limit, &[Act::Reset(Reason::REFUSED_STREAM, 10_000), Act::Answer(201)]).await;
    let refused = world.send(post(100_000)).await;
    refused.assert_status(502);
    assert_eq!((refused.code().as_str(), asked.load(Ordering::Relaxed)), ("SIDECAR_NOT_EXECUTED", 1));
    assert!(refused.text().contains("send the request again: it was not executed"), "{}", refused.text());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_refuses_everything_is_asked_a_few_times_and_no_more() {
    let (world, asked) = world("", &[REFUSED]).await;
    let refused = world.send(post(10)).await;
    refused.assert_status(502);
    assert_eq!((refused.code().as_str(), asked.load(Ordering::Relaxed)), ("SIDECAR_NOT_EXECUTED", 6));
}

#[tokio::test(start_paused = true)]
async fn a_post_that_may_have_been_processed_is_not_sent_again() {
    for reason in [Reason::CANCEL, Reason::INTERNAL_ERROR, Reason::ENHANCE_YOUR_CALM] {
        let acts: &'static [Act] = Box::leak(Box::new([Act::Reset(reason, 0), Act::Answer(201)]));
        let (world, asked) = world("", acts).await;
        let refused = world.send(post(10)).await;
        refused.assert_status(502);
        assert_eq!(
            (refused.code().as_str(), asked.load(Ordering::Relaxed)),
            ("SIDECAR_CONNECTION_BROKEN", 1)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_zoho_breaks_off_as_refused_is_no_unprocessed_request_for_its_caller() {
    for after in [0, 10, 60_000] {
        let acts: &'static [Act] = Box::leak(Box::new([Act::BreakOff(Reason::REFUSED_STREAM, after)]));
        let (world, asked) = world("", acts).await;
        let mut caller = world.connect_by_http2().await;

        let answer = caller.send_request(post(10)).await.unwrap();
        let error = answer.into_body().collect().await.unwrap_err();

        let reset = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref::<h2::Error>());
        let reason = reset.and_then(h2::Error::reason);
        assert!(reason.is_some_and(|reason| reason != Reason::REFUSED_STREAM), "{after}: {error:?}");
        assert_eq!(asked.load(Ordering::Relaxed), 1, "{after}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_misdirected_request_is_sent_again_once() {
    let (one, asked) = world("", &[Act::Answer(421), Act::Answer(201)]).await;
    one.send(post(10)).await.assert_status(201);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    let (all, asked) = world("", &[Act::Answer(421)]).await;
    all.send(post(10)).await.assert_status(421);
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_was_not_processed_invalidates_nothing() {
    for (act, status) in [(REFUSED, "hit"), (Act::Reset(Reason::CANCEL, 0), "fwd=uri-miss")] {
        let acts: &'static [Act] = Box::leak(Box::new([act]));
        let (world, _) = world("", acts).await;
        world.get(ASSOCIATED_USERS_COUNT).await.assert_status(200);
        world.send(join_overseas(&world)).await.assert_status(502);
        let after = world.get(ASSOCIATED_USERS_COUNT).await;
        assert!(after.cache_status().contains(status), "{act:?}: {}", after.cache_status());
    }
}
