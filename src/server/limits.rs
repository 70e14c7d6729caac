//! The limits of a connection, and how hyper is told of them.

use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::Settings;
use crate::net::http1::head;
use crate::net::unread::HTTP2_SEND_BUFFER;

/// The limits of a connection.
pub(super) struct Limits {
    pub(super) http1: http1::Builder,
    pub(super) http2: http2::Builder<TokioExecutor>,
    pub(super) head: head::Limits,
    /// How long there may be no request.
    pub(super) first_request: Duration,
    pub(super) write_timeout: Duration,
}

/// An HTTP/2 connection without a sign of life is asked for one after this long, and closed after as long
/// again without an answer.
const HTTP2_PING: Duration = Duration::from_secs(30);

/// How much of a long body is read ahead at most on a connection of HTTP/1.1. hyper begins with 8 KiB and doubles as
/// long as reads fill them; that a head is not too long is seen to before. Uploads cost 0.7 times as much CPU per byte
/// with 256 KiB as with 32 KiB, and no less with more.
const READ_BUFFER: usize = 256 * 1024;

impl Limits {
    pub(super) fn of(settings: &Settings) -> Self {
        let mut http1 = http1::Builder::new();
        http1
            // A head is whole before hyper gets it, and its time is watched over from outside.
            .header_read_timeout(None)
            .max_headers(settings.max_headers)
            .max_buf_size(settings.max_header_bytes.max(READ_BUFFER));
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(settings.max_concurrent_streams)
            .max_header_list_size(u32::try_from(settings.max_header_bytes).unwrap_or(u32::MAX))
            .max_send_buf_size(HTTP2_SEND_BUFFER)
            .keep_alive_interval(HTTP2_PING)
            .keep_alive_timeout(HTTP2_PING);
        Self {
            http1,
            http2,
            head: head::Limits { bytes: settings.max_header_bytes, headers: settings.max_headers },
            first_request: settings.header_read_timeout,
            write_timeout: settings.write_timeout,
        }
    }
}
