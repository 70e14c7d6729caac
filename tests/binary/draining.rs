//! Stopping under load: whoever was let in is answered, and told to go.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use http::header::CONNECTION;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tempfile::tempdir;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use zoho_sidecar::emulator::Fault;
use zoho_sidecar::net::body::Body;

use crate::caller::{Answer, Wire, request, with_headers};
use crate::sidecar::Sidecar;
use crate::zoho::{COUNT, USERS, Zoho};
use crate::{until, within};

const CALLERS: usize = 24;
/// How many answers there are before the signal.
const BEFORE: usize = 20 * CALLERS;
const SLOW: Duration = Duration::from_millis(400);

/// Callers that ask without pause, each on one connection at a time, until nobody lets them in.
#[derive(Default)]
pub(crate) struct Crowd {
    callers: JoinSet<()>,
    answered: Arc<AtomicUsize>,
}

impl Crowd {
    /// Callers of HTTP/1.1.
    pub(crate) fn asking<T, F>(connect: impl Fn() -> F + Clone + Send + 'static) -> Self
    where
        T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = io::Result<T>> + Send + 'static,
    {
        let mut crowd = Self::default();
        for number in 0..CALLERS {
            let (connect, answered) = (connect.clone(), crowd.answered.clone());
            crowd.callers.spawn(async move {
                while let Ok(stream) = connect().await {
                    converse(stream, number, &answered).await;
                }
            });
        }
        crowd
    }

    /// Callers of HTTP/2.
    fn asking_by_http2(address: std::net::SocketAddr) -> Self {
        let mut crowd = Self::default();
        for number in 0..CALLERS {
            let answered = crowd.answered.clone();
            crowd.callers.spawn(async move {
                while let Ok(stream) = TcpStream::connect(address).await {
                    converse_by_http2(stream, number, &answered).await;
                }
            });
        }
        crowd
    }

    /// Stops the sidecar while the crowd asks and some answers are slow. Nobody may be left without an answer.
    pub(crate) async fn outlives(mut self, sidecar: Sidecar, zoho: &Zoho) {
        until("answers", async || self.answered.load(Ordering::Relaxed) >= BEFORE).await;
        for _ in 0..CALLERS / 4 {
            zoho.next_call(Fault::DelayAnswer(SLOW));
        }
        let calls = zoho.calls();
        until("slow answers under way", async || zoho.calls() > calls + CALLERS / 8).await;
        sidecar.signal("TERM");
        while let Some(caller) = within("the end of a caller", self.callers.join_next()).await {
            caller.unwrap();
        }
        let end = sidecar.end().await;
        assert_eq!(end.code, Some(0), "{end:?}");
    }
}

/// A hit, or a call that passes through.
fn target(caller: usize, number: usize) -> &'static str {
    if (caller + number).is_multiple_of(3) { USERS } else { COUNT }
}

/// Asks until it is told to go, or finds the connection closed before it has sent anything of the next request (RFC
/// 9112 section 9.6).
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    caller: usize,
    answered: &AtomicUsize,
) {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    for number in 0.. {
        if sender.ready().await.is_err() {
            break;
        }
        let asked =
            within("an answer", sender.try_send_request(request("GET", target(caller, number)))).await;
        let Some(response) = answer_or_unsent(asked, caller, number) else { break };
        let is_last = response.headers().get(CONNECTION).is_some_and(|value| value == "close");
        whole(response, caller, number).await;
        answered.fetch_add(1, Ordering::Relaxed);
        if is_last {
            break;
        }
    }
    drop(sender);
    within("the end of a connection", connection).await.unwrap().unwrap();
}

async fn converse_by_http2(stream: TcpStream, caller: usize, answered: &AtomicUsize) {
    let (mut sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    for number in 0.. {
        if sender.ready().await.is_err() {
            break;
        }
        let asked: Request<Body> =
            with_headers("GET", &format!("http://localhost{}", target(caller, number)), &[]);
        let asked = within("an answer", sender.try_send_request(asked)).await;
        let Some(response) = answer_or_unsent(asked, caller, number) else { break };
        whole(response, caller, number).await;
        answered.fetch_add(1, Ordering::Relaxed);
    }
    drop(sender);
    within("the end of a connection", connection).await.unwrap().unwrap();
}

type Asked = Result<http::Response<hyper::body::Incoming>, hyper::client::conn::TrySendError<Request<Body>>>;

/// The answer; `None` if nothing of the request was sent, or it was left to another connection.
fn answer_or_unsent(
    asked: Asked,
    caller: usize,
    number: usize,
) -> Option<http::Response<hyper::body::Incoming>> {
    match asked {
        Ok(response) => Some(response),
        Err(mut error) => {
            let unsent = error.take_message().is_some() || is_left_to_another(error.error());
            assert!(unsent, "caller {caller}, request {number} of this connection: {:?}", error.error());
            None
        }
    }
}

/// Whether a stream began beyond the last that GOAWAY names (RFC 9113 section 6.8: nothing was made of it, and it can
/// be asked for anew): the caller answered the server's ping before it sent a stream that was under way.
fn is_left_to_another(error: &hyper::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<h2::Error>());
    source.is_some_and(|error| {
        error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::NO_ERROR)
    })
}

async fn whole(response: http::Response<hyper::body::Incoming>, caller: usize, number: usize) {
    let answer = Answer::read(response).await;
    assert_eq!(answer.status, 200, "caller {caller}, request {number}: {}", answer.text());
    assert!(answer.json().is_object(), "{}", answer.text());
}

#[tokio::test]
async fn a_stop_under_load_loses_no_request() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    let address = sidecar.proxy();
    Crowd::asking(move || TcpStream::connect(address)).outlives(sidecar, &zoho).await;
}

#[tokio::test]
async fn a_stop_under_load_loses_no_request_by_a_unix_socket() {
    let (zoho, directory) = (Zoho::start().await, tempdir().unwrap());
    let path = directory.path().join("proxy.sock");
    let sidecar = Sidecar::run(&zoho, &format!("server.listen = [\"unix:{}\"]", path.display())).await;
    let connect = move || {
        let path = path.clone();
        async move { UnixStream::connect(&path).await }
    };
    Crowd::asking(connect).outlives(sidecar, &zoho).await;
}

#[tokio::test]
async fn a_stop_under_load_loses_no_request_by_http2() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    Crowd::asking_by_http2(sidecar.proxy()).outlives(sidecar, &zoho).await;
}

#[tokio::test]
async fn who_has_connected_and_asked_before_the_signal_is_answered_though_nobody_had_accepted_it() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    sidecar.ready().await;
    sidecar.signal("STOP");
    let mut waiting = Vec::new();
    for _ in 0..CALLERS {
        waiting.push(Wire::asking(sidecar.proxy(), COUNT).await);
    }
    sidecar.signal("TERM");
    sidecar.signal("CONT");

    for wire in waiting {
        let heard = wire.hear_all().await;
        assert!(
            heard.starts_with("HTTP/1.1 200 OK\r\n")
                && heard.trim_end().ends_with("\"more_records\":false}}"),
            "{heard}"
        );
    }
    assert_eq!(sidecar.end().await.code, Some(0));
}
