//! The limits of a connection, and how hyper is told of them.

use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::Settings;
use super::continues::Bounds;
use crate::net::buffers::Buffers;
use crate::net::http1::head;
use crate::net::unread::HTTP2_SEND_BUFFER;

/// The limits of a connection.
pub(super) struct Limits {
    pub(super) http1: http1::Builder,
    pub(super) http2: http2::Builder<TokioExecutor>,
    pub(super) bounds: Bounds,
    pub(super) head: head::Limits,
    /// How long there may be no request.
    pub(super) first_request: Duration,
    pub(super) write_timeout: Duration,
    pub(super) buffers: Buffers,
}

/// An HTTP/2 connection without a sign of life is asked for one after this long, and closed after as long
/// again without an answer.
const HTTP2_PING: Duration = Duration::from_secs(30);

/// How much of a long body is read ahead at most on a connection of HTTP/1.1. hyper begins with 8 KiB and doubles as
/// long as reads fill them; that a head is not too long is seen to before. Uploads cost 0.7 times as much CPU per byte
/// with 256 KiB as with 32 KiB, and no less with more.
const READ_BUFFER: usize = 256 * 1024;

/// What a caller may send by HTTP/2 before it is read: on one stream the least that all clients expect (RFC 9113 section
/// 6.9.2), on a connection a few times that, so that one upload that waits does not stop the others. Callers are near: more
/// would make no upload faster.
const HTTP2_STREAM_WINDOW: u32 = 64 * 1024;
const HTTP2_CONNECTION_WINDOW: u32 = 256 * 1024;

/// What a head of HTTP/2 may have as it comes, and how much longer than a head that is let pass it may be: the library ends
/// a connection for one that is, and nothing that is accepted takes more in Huffman's code.
const HTTP2_HEAD: usize = 64 * 1024;
const HTTP2_HEAD_FACTOR: usize = 4;

/// How many streams a caller may open after it was told to open no more, which it may not know yet.
const LATE_STREAMS: usize = 1000;

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
            .initial_stream_window_size(HTTP2_STREAM_WINDOW)
            .initial_connection_window_size(HTTP2_CONNECTION_WINDOW)
            .keep_alive_interval(HTTP2_PING)
            .keep_alive_timeout(HTTP2_PING);
        Self {
            http1,
            http2,
            bounds: Bounds {
                longest_head: HTTP2_HEAD.max(settings.max_header_bytes * HTTP2_HEAD_FACTOR),
                most_streams: settings.max_concurrent_streams as usize + LATE_STREAMS,
                unread: settings.write_timeout,
            },
            head: head::Limits { bytes: settings.max_header_bytes, headers: settings.max_headers },
            first_request: settings.header_read_timeout,
            write_timeout: settings.write_timeout,
            buffers: settings.buffers.clone(),
        }
    }
}
