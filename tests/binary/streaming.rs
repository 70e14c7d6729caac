//! Bodies of any size pass through, and memory does not grow with them.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt;
use zoho_sidecar::net::body::Body;

use crate::caller::{self, Answer, Http2};
use crate::sidecar::Sidecar;
use crate::within;
use crate::zoho::{HeldApi, USERS, Zoho};

const MIB: usize = 1 << 20;
/// Long enough to show what grows with a body.
const LONG: usize = 64 * MIB;
/// A body told by its length is as long as any that is ever sent.
const VERY_LONG: usize = 1024 * MIB;
/// What the sidecar may grow by while a body passes: buffers, and nothing that depends on the body's length.
const MOST_GROWTH: usize = 16 * MIB;

/// The most memory that a process has ever had resident.
fn peak_memory(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Does something and checks that the sidecar has grown little.
async fn growing_little<T>(sidecar: &mut Sidecar, work: impl AsyncFnOnce(&Sidecar) -> T) -> T {
    assert_eq!(sidecar.get(USERS).await.status, 200);
    let process = sidecar.process().id();
    let before = peak_memory(process);
    let done = work(sidecar).await;
    let growth = peak_memory(process) - before;
    assert!(growth < MOST_GROWTH, "grew by {} MiB", growth / MIB);
    done
}

/// How a long body is told, and how long it is.
const LONG_BODIES: [(bool, usize); 2] = [(false, VERY_LONG), (true, LONG)];

#[tokio::test]
async fn a_download_of_1_gib_arrives_whole_and_memory_does_not_grow_with_it() {
    // What the emulator sends: 0 to 250 again and again.
    let pattern: Vec<u8> = (0..=250_u8).cycle().take(2 * MIB).collect();
    let zoho = Zoho::start().await;
    let mut sidecar = Sidecar::run(&zoho, "").await;
    for (chunked, length) in LONG_BODIES {
        let path = format!("/crm/v8/__bytes?size={length}&chunked={chunked}");
        let read = growing_little(&mut sidecar, async |sidecar| {
            let stream = caller::tcp(sidecar.proxy()).await;
            let mut body = caller::open(stream, caller::request("GET", &path)).await.into_body();
            let mut read = 0;
            while let Some(frame) = within("a piece of the body", body.frame()).await {
                let data = frame.unwrap().into_data().unwrap_or_default();
                assert!(pattern[read % 251..].starts_with(&data), "after {read} bytes");
                read += data.len();
            }
            read
        })
        .await;
        assert_eq!(read, length, "chunked: {chunked}");
    }
}

#[tokio::test]
async fn a_caller_that_does_not_read_fills_no_memory() {
    let zoho = Zoho::start().await;
    let mut sidecar = Sidecar::run(&zoho, "").await;
    let path = format!("/crm/v8/__bytes?size={LONG}");
    growing_little(&mut sidecar, async |sidecar| {
        let stream = caller::tcp(sidecar.proxy()).await;
        let unread = caller::open(stream, caller::request("GET", &path)).await;
        // Others are served meanwhile; by then the sidecar has read what it would read.
        for _ in 0..50 {
            assert_eq!(sidecar.get(USERS).await.status, 200);
        }
        drop(unread);
    })
    .await;
}

async fn upload(sidecar: &Sidecar, length: usize, chunked: bool) -> Answer {
    let mut request = caller::request("POST", "/crm/v8/__echo");
    *request.body_mut() = Body::stream(Long { left: length, told: !chunked });
    caller::ask(sidecar.proxy(), request).await
}

#[tokio::test]
async fn an_upload_of_1_gib_arrives_whole_and_memory_does_not_grow_with_it() {
    let zoho = Zoho::start().await;
    let mut sidecar = Sidecar::run(&zoho, "").await;
    for (chunked, length) in LONG_BODIES {
        let echo = growing_little(&mut sidecar, async |sidecar| upload(sidecar, length, chunked).await).await;
        assert_eq!(echo.status, 200, "chunked: {chunked}");
        assert_eq!(echo.json()["body_length"], length, "chunked: {chunked}");
    }
}

#[tokio::test]
async fn an_upload_that_zoho_does_not_take_fills_no_memory_and_waits() {
    let mut api = HeldApi::start().await;
    let zoho = Zoho::with_api(&api).await;
    let mut sidecar = Sidecar::run(&zoho, "").await;
    sidecar.ready().await;
    let process = sidecar.process().id();
    let before = peak_memory(process);
    let address = sidecar.proxy();
    let mut request = caller::request("POST", "/crm/v8/__echo");
    *request.body_mut() = Body::stream(Long { left: VERY_LONG, told: true });
    let uploading = tokio::spawn(async move { caller::ask(address, request).await });
    let call = api.call().await;

    // Others are served meanwhile; by then the sidecar has taken what it would take.
    for _ in 0..50 {
        assert_eq!(caller::get(address, "/tenants/none").await.status, 404);
    }
    assert!(!uploading.is_finished());
    let growth = peak_memory(process) - before;
    assert!(growth < MOST_GROWTH, "grew by {} MiB", growth / MIB);
    drop(call);
    assert_eq!(within("a refusal", uploading).await.unwrap().status, 502);
}

#[tokio::test]
async fn a_long_answer_arrives_whole_over_http2() {
    let zoho = Zoho::start().await;
    let sidecar = Sidecar::run(&zoho, "").await;
    let mut http2 = Http2::connect(sidecar.proxy()).await;
    let answer = http2.get(&format!("/crm/v8/__bytes?size={}", 4 * MIB)).await;
    assert_eq!((answer.status, answer.body.len()), (200, 4 * MIB));
}

/// Many bytes, made as they are sent; with their length told, or not.
struct Long {
    left: usize,
    told: bool,
}

impl HttpBody for Long {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        const PIECE: &[u8] = &[b'x'; 64 * 1024];
        if self.left == 0 {
            return Poll::Ready(None);
        }
        self.left -= PIECE.len();
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(PIECE)))))
    }

    fn size_hint(&self) -> SizeHint {
        if self.told { SizeHint::with_exact(self.left as u64) } else { SizeHint::default() }
    }
}
