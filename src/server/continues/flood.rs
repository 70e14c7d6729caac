//! Frames of HTTP/2 that are no work for the sidecar: SETTINGS, PING, PRIORITY, `WINDOW_UPDATE`, `RST_STREAM`, empty DATA,
//! frames of unknown types. Each costs CPU, none is a request, and no other limit counts all of them.
//!
//! A connection has a credit of such frames. Requests, bytes of bodies and bytes of responses earn more, since clients
//! accompany them with some: a `WINDOW_UPDATE` or two for each few KiB that they receive, a PING to measure the way. Time
//! earns more too, slowly, for clients that ask every now and then whether the connection lives. Whoever sends frames
//! without an end uses the credit up in a moment.

use std::time::Duration;

use super::frames::{CONTINUATION, Frame, HEADERS};
use crate::clock::{Clock, Instant};

/// The credit of a new connection, and the most that one has.
const MOST: u32 = 500;

/// How much of it a second brings back.
const PER_SECOND: u64 = 50;

/// What a request earns: its client may give it a priority, open its window, and reset it.
const REQUEST: u32 = 8;

/// What one frame costs or earns at most for the bytes in it.
const MOST_FOR_BYTES: usize = 64;

/// As many bytes of an answer earn a frame, beside the two for each DATA frame: Go opens windows for each 4 KiB, that of
/// the stream and that of the connection, and others for each KiB.
const ANSWER_BYTES: usize = 512;

/// As many bytes of a request's body earn a frame. Frames do not, since a client may put each byte into one.
const BODY_BYTES: usize = 128;

/// As many bytes in a frame that is no work cost as much as another frame.
const IDLE_BYTES: usize = 256;

/// The credit of a connection.
pub(super) struct Flood {
    credit: u32,
    /// Up to when the credit that time brings has been added.
    since: Instant,
    /// Bytes of bodies that have not earned a frame yet.
    body: usize,
    is_over: bool,
}

impl Default for Flood {
    fn default() -> Self {
        Self { credit: MOST, since: Clock::system().now(), body: 0, is_over: false }
    }
}

impl Flood {
    /// Whether the credit is used up. It stays so.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// A frame other than DATA has come whose payload has so many bytes. `opens` says whether it opens a stream.
    pub(super) fn receive(&mut self, frame: Frame, length: usize, opens: bool) {
        match frame.kind {
            HEADERS if opens => self.earn(REQUEST),
            // Its bytes are a head's, which has limits of its own.
            CONTINUATION | HEADERS => self.spend(1),
            _ => self.spend(1 + in_units(length, IDLE_BYTES)),
        }
    }

    /// A DATA frame has come with so many bytes of a body, and with so many of padding and the length of it.
    pub(super) fn receive_data(&mut self, data: usize, padding: usize) {
        if data == 0 {
            return self.spend(1 + in_units(padding, IDLE_BYTES));
        }
        self.body += data;
        self.earn(in_units(self.body, BODY_BYTES));
        self.body %= BODY_BYTES;
    }

    /// A DATA frame with so many bytes goes out.
    pub(super) fn send(&mut self, length: usize) {
        self.earn(2 + in_units(length, ANSWER_BYTES));
    }

    fn earn(&mut self, frames: u32) {
        self.credit = (self.credit + frames).min(MOST);
    }

    fn spend(&mut self, frames: u32) {
        match self.credit.checked_sub(frames) {
            Some(left) => self.credit = left,
            None => self.refill(frames, Clock::system().now()),
        }
    }

    /// Looks at the clock, which only a connection has to do that has used up its credit.
    fn refill(&mut self, frames: u32, now: Instant) {
        let passed = now.saturating_duration_since(self.since);
        let brought = (passed.as_millis() * u128::from(PER_SECOND) / 1000).min(u128::from(MOST));
        let brought = u32::try_from(brought).unwrap_or(MOST);
        self.since += Duration::from_millis(u64::from(brought) * 1000 / PER_SECOND);
        if brought == MOST {
            self.since = now;
        }
        match (self.credit + brought).min(MOST).checked_sub(frames) {
            Some(left) => self.credit = left,
            None => self.is_over = true,
        }
    }
}

fn in_units(bytes: usize, unit: usize) -> u32 {
    u32::try_from((bytes / unit).min(MOST_FOR_BYTES)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Frame = Frame { kind: super::super::frames::SETTINGS, flags: 0, stream: 0 };

    /// After how many of these, within a moment, a connection is over.
    fn over_after(mut receive: impl FnMut(&mut Flood)) -> Option<u32> {
        let mut flood = Flood::default();
        (1..10_000).find(|_| {
            receive(&mut flood);
            flood.is_over()
        })
    }

    #[tokio::test(start_paused = true)]
    async fn frames_that_are_no_work_use_the_credit_up() {
        let frame = |kind| Frame { kind, flags: 0, stream: 1 };
        assert_eq!(over_after(|flood| flood.receive(SETTINGS, 0, false)), Some(MOST + 1));
        assert_eq!(over_after(|flood| flood.receive(frame(HEADERS), 10, false)), Some(MOST + 1), "trailers");
        let unknown = over_after(|flood| flood.receive(frame(0xfa), 16 * 1024, false));
        assert!(unknown.is_some_and(|n| n < 20));
    }

    #[tokio::test(start_paused = true)]
    async fn data_frames_without_data_use_the_credit_up_and_bodies_earn_by_their_bytes() {
        assert_eq!(over_after(|flood| flood.receive_data(0, 0)), Some(MOST + 1));
        assert!(
            over_after(|flood| flood.receive_data(0, 256)).is_some_and(|n| n < MOST),
            "nothing but padding"
        );
        assert_eq!(over_after(|flood| flood.receive_data(1, 0)), None, "it is a body");
        assert_eq!(over_after(|flood| flood.receive_data(1, 256)), None, "it is a body");
        let beside_body = |bytes| {
            over_after(move |flood| {
                flood.receive_data(bytes, 0);
                flood.receive(SETTINGS, 0, false);
            })
        };
        assert!(beside_body(1).is_some_and(|n| n < MOST + 20), "single bytes do not pay for other frames");
        assert_eq!(beside_body(200), None);
    }

    #[tokio::test(start_paused = true)]
    async fn time_brings_credit_back_and_no_more_than_at_the_beginning() {
        let mut flood = Flood::default();
        for _ in 0..1000 {
            (0..PER_SECOND).for_each(|_| flood.receive(SETTINGS, 0, false));
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        assert!(!flood.is_over());
        tokio::time::sleep(Duration::from_hours(1)).await;
        (0..=2 * MOST).for_each(|_| flood.receive(SETTINGS, 0, false));
        assert!(flood.is_over());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_receives_may_open_its_windows() {
        let mut flood = Flood::default();
        for _ in 0..10_000 {
            flood.send(16 * 1024);
            (0..8).for_each(|_| flood.receive(Frame { kind: 8, flags: 0, stream: 1 }, 4, false));
        }
        assert!(!flood.is_over());
    }
}
