//! Responses of a connection that are not finished, and the windows that the caller opens for them (RFC 9113 section 5.2).
//!
//! The HTTP/2 library keeps what a caller opens no window for, out of the hands of everybody else, and for as long as the
//! connection lives. Here it is seen which responses could go on if their caller read them, and since when.

use std::time::Duration;

use crate::clock::Instant;
use crate::net::unread::PIECE;

/// The window of a stream or connection at its beginning (RFC 9113 section 6.9.2).
const WINDOW: i64 = 65_535;

/// The responses of one connection.
pub(super) struct Responses {
    /// The window that a new stream has.
    initial: i64,
    window: i64,
    /// Bytes of all responses.
    sent: u64,
    /// Ordered by their streams.
    open: Vec<Open>,
    may_wait: bool,
    waits: Waits,
    most: usize,
}

/// A stream whose response is not finished.
struct Open {
    stream: u32,
    has_head: bool,
    window: i64,
    sent: u64,
    waits: Waits,
}

/// Since when a window is used up, and how much had been sent then.
#[derive(Default)]
struct Waits(Option<(Instant, u64)>);

/// What waits for its caller for too long.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// These responses, on streams of their own windows.
    Streams(Vec<u32>),
    /// All that the connection still has to send.
    Connection,
}

impl Responses {
    /// None yet. So many streams are followed, which should be more than the library lets a caller have: those that are
    /// opened after the caller was told to open no more it neither answers nor resets.
    pub(super) fn of(most: usize) -> Self {
        let (open, waits) = (Vec::new(), Waits::default());
        Self { initial: WINDOW, window: WINDOW, sent: 0, open, may_wait: false, waits, most }
    }

    /// How many are not finished.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether one may wait for its caller.
    pub(super) fn may_wait(&self) -> bool {
        self.may_wait
    }

    /// The caller opens a stream, later than all before. `false` if there are too many.
    pub(super) fn open(&mut self, stream: u32) -> bool {
        if self.open.len() >= self.most {
            return false;
        }
        let waits = Waits::default();
        self.open.push(Open { stream, has_head: false, window: self.initial, sent: 0, waits });
        true
    }

    /// The head of a response is sent.
    pub(super) fn head(&mut self, stream: u32, ends: bool) {
        if ends {
            return self.finish(stream);
        }
        if let Some(at) = self.find(stream) {
            self.open[at].has_head = true;
            self.may_wait |= self.open[at].window <= 0 || self.window <= 0;
        }
    }

    /// So many bytes of a response are sent.
    pub(super) fn data(&mut self, stream: u32, length: usize, ends: bool) {
        self.sent += length as u64;
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        self.window -= length;
        if ends {
            return self.finish(stream);
        }
        if let Some(at) = self.find(stream) {
            let open = &mut self.open[at];
            open.window -= length;
            open.sent += length.unsigned_abs();
            self.may_wait |= open.window <= 0 || self.window <= 0;
        }
    }

    /// A response has ended, or its stream was reset.
    pub(super) fn finish(&mut self, stream: u32) {
        if let Some(at) = self.find(stream) {
            self.open.remove(at);
            if self.open.is_empty() {
                // As many as there once were need no memory while there are none.
                self.open.shrink_to(4);
            }
        }
    }

    /// The caller opens a window; stream 0 is the connection.
    pub(super) fn widen(&mut self, stream: u32, by: u32) {
        if stream == 0 {
            self.window = self.window.saturating_add(by.into());
        } else if let Some(at) = self.find(stream) {
            self.open[at].window = self.open[at].window.saturating_add(by.into());
        }
    }

    /// The caller changes the window that each stream begins with.
    pub(super) fn set_initial(&mut self, window: u32) {
        let by = i64::from(window) - self.initial;
        self.initial = window.into();
        for open in &mut self.open {
            open.window = open.window.saturating_add(by);
            self.may_wait |= open.has_head && open.window <= 0;
        }
    }

    /// What has waited for its caller for `limit`. Windows are looked at only here, again and again: whoever reads
    /// [`PIECE`] within the limit is seen to read.
    pub(super) fn unread(&mut self, now: Instant, limit: Duration) -> Unread {
        let is_used_up = self.window <= 0 && self.open.iter().any(|open| open.has_head);
        if self.waits.are_over(is_used_up, self.sent, now, limit) {
            return Unread::Connection;
        }
        self.may_wait = is_used_up;
        let mut unread = Vec::new();
        for open in &mut self.open {
            let is_used_up = open.has_head && open.window <= 0;
            self.may_wait |= is_used_up;
            if open.waits.are_over(is_used_up, open.sent, now, limit) {
                unread.push(open.stream);
            }
        }
        Unread::Streams(unread)
    }

    fn find(&self, stream: u32) -> Option<usize> {
        match &self.open[..] {
            [] => None,
            [.., last] if last.stream == stream => Some(self.open.len() - 1),
            open => open.binary_search_by_key(&stream, |open| open.stream).ok(),
        }
    }
}

impl Waits {
    fn are_over(&mut self, is_used_up: bool, sent: u64, now: Instant, limit: Duration) -> bool {
        match self.0 {
            _ if !is_used_up => self.0 = None,
            Some((since, before)) if sent - before < PIECE as u64 => {
                return now.saturating_duration_since(since) >= limit;
            }
            _ => self.0 = Some((now, sent)),
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    const LIMIT: Duration = Duration::from_secs(60);

    fn with(window: u32, streams: &[u32]) -> Responses {
        let mut responses = Responses::of(100);
        responses.set_initial(window);
        for stream in streams {
            assert!(responses.open(*stream));
            responses.head(*stream, false);
        }
        responses
    }

    #[test]
    fn responses_whose_window_is_used_up_are_unread_after_the_limit() {
        let now = Clock::system().now();
        let mut responses = with(10, &[1, 3, 5, 7]);
        assert!(!responses.may_wait());
        for stream in [1, 3, 5] {
            responses.data(stream, 10, false);
        }
        responses.data(7, 9, false);
        assert!(responses.may_wait());
        assert_eq!(responses.unread(now, LIMIT), Unread::Streams(vec![]));
        // The first is finished, the second opened and used up by less than a piece, the last waits for us.
        responses.data(1, 0, true);
        responses.widen(3, 100);
        responses.data(3, 100, false);
        assert_eq!(responses.unread(now + LIMIT - Duration::from_secs(1), LIMIT), Unread::Streams(vec![]));
        assert_eq!(responses.unread(now + LIMIT, LIMIT), Unread::Streams(vec![3, 5]));
        for stream in [3, 5] {
            responses.finish(stream);
        }
        assert_eq!(responses.unread(now + LIMIT * 9, LIMIT), Unread::Streams(vec![]));
        assert!(!responses.may_wait());
    }

    #[test]
    fn whoever_reads_a_piece_within_the_limit_is_seen_to_read() {
        let start = Clock::system().now();
        let mut responses = with(0, &[1]);
        responses.widen(0, 1_000_000);
        assert!(responses.may_wait());
        for n in 0..10 {
            assert_eq!(responses.unread(start + LIMIT * n, LIMIT), Unread::Streams(vec![]), "{n}");
            responses.widen(1, u32::try_from(PIECE).unwrap());
            responses.data(1, PIECE, false);
        }
        responses.widen(1, 1);
        assert_eq!(responses.unread(start + LIMIT * 10, LIMIT), Unread::Streams(vec![]), "it waits for us");
        responses.data(1, 1, false);
        assert_eq!(responses.unread(start + LIMIT * 11, LIMIT), Unread::Streams(vec![]));
        assert_eq!(responses.unread(start + LIMIT * 12, LIMIT), Unread::Streams(vec![1]));
    }

    #[test]
    fn a_connection_whose_window_is_used_up_is_unread_as_a_whole() {
        let now = Clock::system().now();
        let mut responses = with(1_000_000, &[1, 3]);
        responses.data(1, 65_535, false);
        assert!(responses.may_wait());
        assert_eq!(responses.unread(now, LIMIT), Unread::Streams(vec![]));
        responses.widen(0, 20_000);
        responses.data(3, 20_000, false);
        assert_eq!(responses.unread(now + LIMIT, LIMIT), Unread::Streams(vec![]), "it is read by a piece");
        assert_eq!(responses.unread(now + LIMIT * 2, LIMIT), Unread::Connection);
        responses.data(1, 0, true);
        responses.head(3, true);
        assert_eq!(responses.unread(now + LIMIT * 3, LIMIT), Unread::Streams(vec![]), "nothing is left");
        assert_eq!(responses.len(), 0);
    }

    #[test]
    fn settings_that_narrow_windows_count_for_open_streams() {
        let now = Clock::system().now();
        let mut responses = with(100, &[1]);
        responses.data(1, 50, false);
        responses.set_initial(50);
        assert!(responses.may_wait());
        responses.unread(now, LIMIT);
        assert_eq!(responses.unread(now + LIMIT, LIMIT), Unread::Streams(vec![1]));
        responses.set_initial(51);
        assert_eq!(responses.unread(now + LIMIT, LIMIT), Unread::Streams(vec![]));
    }
}
