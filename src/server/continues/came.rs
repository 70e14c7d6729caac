//! What a caller sends, made ready for the HTTP/2 library.
//!
//! Most frames go on as they come. A head goes on when it is whole, so that a path with a `#` can be replaced whatever
//! pieces it came in; small DATA frames go on joined; frames of the sidecar's own are put between those of the caller.

use std::collections::VecDeque;
use std::ops::Range;

use tokio::io::ReadBuf;

use super::Ended;
use super::expect::Expecting;
use super::flood::Flood;
use super::frames::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, FRAME_HEAD, Frame, HEADERS, LONGEST_PAYLOAD, PADDED,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, fragment, short_frame,
};
use super::hpack::Paths;
use super::responses::Responses;
use super::small_data::{SMALL, SmallData};

const PREFACE: usize = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();

/// Settings that are looked at (RFC 9113 section 6.5.2).
pub(super) const HEADER_TABLE_SIZE: u16 = 1;
const INITIAL_WINDOW_SIZE: u16 = 4;
const SETTING: usize = 6;

/// The sidecar does not want the rest of a stream (RFC 9113 section 7).
pub(super) const CANCEL: u32 = 8;

/// So many may wait to be told to continue. Beyond it nobody is told.
const LONGEST_QUEUE: usize = 1000;

/// What comes from the caller, frame by frame.
pub(super) struct Came {
    /// How much goes on as it comes, before the next frame begins.
    passing: usize,
    /// What cannot go on yet: a head or another frame that is not whole.
    held: Vec<u8>,
    head: Head,
    longest_head: usize,
    /// What the library reads next, and how much of it it has read.
    ready: Vec<u8>,
    taken: usize,
    /// Frames of the sidecar's own that go on before the next frame.
    own: Vec<u8>,
    small: SmallData,
    paths: Paths,
    pub(super) expecting: Expecting,
    /// The last stream that was opened.
    pub(super) last: u32,
    pub(super) flood: Flood,
    pub(super) responses: Responses,
    /// Why the connection has to end, if it has to.
    ended: Option<Ended>,
}

/// How far a head has come that is held: where its next frame begins, its parts without the frames around them, and whether
/// it opens a stream.
#[derive(Default)]
struct Head {
    next: usize,
    parts: Vec<Range<usize>>,
    opens: bool,
}

/// What becomes of the next bytes.
enum Step {
    /// So many go on.
    Pass(usize),
    /// So many were taken out. What stands in their place is in `ready`.
    Take(usize),
    /// More has to come.
    Wait,
}

impl Came {
    /// Nothing, not even the preface. Heads have at most so many bytes, and so many streams may be open.
    pub(super) fn new(longest_head: usize, most_streams: usize) -> Self {
        Self {
            passing: PREFACE,
            held: Vec::new(),
            head: Head::default(),
            longest_head,
            ready: Vec::new(),
            taken: 0,
            own: Vec::new(),
            small: SmallData::default(),
            paths: Paths::default(),
            expecting: Expecting::default(),
            last: 0,
            flood: Flood::default(),
            responses: Responses::of(most_streams),
            ended: None,
        }
    }

    /// How many bytes are held.
    pub(super) fn held(&self) -> usize {
        self.held.capacity() + self.ready.capacity() + self.small.held()
    }

    /// Why the connection has to end, if it has to.
    pub(super) fn ended(&self) -> Option<Ended> {
        if self.flood.is_over() { Some(Ended::Flooded) } else { self.ended }
    }

    /// Whether data waits for more of it.
    pub(super) fn has_small_data(&self) -> bool {
        !self.small.is_empty()
    }

    /// Whether something is ready for the library.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Hands on what is ready; `false` if nothing is.
    pub(super) fn hand_over(&mut self, buffer: &mut ReadBuf<'_>) -> bool {
        if self.ready.is_empty() {
            return false;
        }
        let rest = &self.ready[self.taken..];
        let piece = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..piece]);
        self.taken += piece;
        if self.taken == self.ready.len() {
            (self.ready, self.taken) = (Vec::new(), 0);
        }
        true
    }

    /// Reads on: as many of these bytes as it says go on as they are then, and before what is ready. Streams that are to be
    /// told to continue go to `queue`. Paths with a `#` are mended so that they are refused.
    pub(super) fn read(&mut self, came: &mut [u8], queue: &mut VecDeque<u32>) -> usize {
        let mut passed = 0;
        if self.held.is_empty() {
            loop {
                match self.step(&mut came[passed..], queue) {
                    Step::Pass(bytes) => passed += bytes,
                    Step::Take(bytes) => {
                        self.held.extend_from_slice(&came[passed + bytes..]);
                        break;
                    }
                    Step::Wait => {
                        self.held.extend_from_slice(&came[passed..]);
                        return passed;
                    }
                }
            }
        } else {
            self.held.extend_from_slice(came);
        }
        self.read_held(queue);
        passed
    }

    fn read_held(&mut self, queue: &mut VecDeque<u32>) {
        let mut held = std::mem::take(&mut self.held);
        let mut at = 0;
        loop {
            match self.step(&mut held[at..], queue) {
                Step::Pass(bytes) => {
                    self.ready.extend_from_slice(&held[at..at + bytes]);
                    at += bytes;
                }
                Step::Take(bytes) => at += bytes,
                Step::Wait => break,
            }
        }
        held.drain(..at);
        if !held.is_empty() {
            self.held = held;
        }
    }

    /// Nothing more comes: all that waits goes on.
    pub(super) fn end(&mut self) {
        self.flush_small_data();
        self.ready.append(&mut self.held);
    }

    /// Lets the data go on that waits for more of it, unless a frame is on its way.
    pub(super) fn flush_small_data(&mut self) {
        if self.passing == 0 {
            self.small.flush_all(&mut self.ready);
        }
    }

    /// Whether frames of the sidecar's own wait for the end of a frame of the caller.
    pub(super) fn has_own_frames(&self) -> bool {
        !self.own.is_empty()
    }

    /// Resets streams, as if the caller did: the library gives up what it holds for them.
    pub(super) fn reset(&mut self, streams: &[u32]) {
        for stream in streams {
            self.responses.finish(*stream);
            // Windows are for what has come on the stream, too.
            self.small.flush(*stream, &mut self.own);
            self.own.extend(short_frame(RST_STREAM, 0, *stream, &CANCEL.to_be_bytes()));
        }
        if self.passing == 0 {
            self.ready.append(&mut self.own);
        }
    }

    fn step(&mut self, bytes: &mut [u8], queue: &mut VecDeque<u32>) -> Step {
        if self.passing > 0 {
            let piece = self.passing.min(bytes.len());
            self.passing -= piece;
            return if piece == 0 { Step::Wait } else { Step::Pass(piece) };
        }
        if !self.own.is_empty() {
            self.ready.append(&mut self.own);
            return Step::Take(0);
        }
        if self.ended.is_some() {
            return Step::Wait;
        }
        let Some((frame, length)) = Frame::parse(bytes) else { return Step::Wait };
        match frame.kind {
            HEADERS | CONTINUATION => self.step_head(bytes, queue),
            DATA => self.step_data(frame, length, bytes),
            _ => self.step_other(frame, length, bytes),
        }
    }

    /// So many bytes go on, of which these have come.
    fn pass(&mut self, all: usize, bytes: &[u8]) -> Step {
        let piece = all.min(bytes.len());
        self.passing = all - piece;
        Step::Pass(piece)
    }

    /// What a stream has sent goes on before this frame of it, which is looked at once more.
    fn flush_before(&mut self, stream: u32) -> Option<Step> {
        if self.small.is_empty() || !self.small.has(stream) {
            return None;
        }
        self.small.flush(stream, &mut self.ready);
        Some(Step::Take(0))
    }

    fn step_other(&mut self, frame: Frame, length: usize, bytes: &[u8]) -> Step {
        let whole = FRAME_HEAD + length;
        if length > LONGEST_PAYLOAD {
            // The library ends the connection for it.
            self.flood.receive(frame, length, false);
            return self.pass(whole, bytes);
        }
        let Some(payload) = bytes.get(FRAME_HEAD..whole) else { return Step::Wait };
        if frame.kind == RST_STREAM
            && let Some(step) = self.flush_before(frame.stream)
        {
            return step;
        }
        self.flood.receive(frame, length, false);
        match frame.kind {
            SETTINGS if frame.flags & ACK == 0 => {
                self.note_settings(payload);
            }
            WINDOW_UPDATE => {
                if let Ok(by) = payload.try_into().map(u32::from_be_bytes) {
                    self.responses.widen(frame.stream, by & (u32::MAX >> 1));
                }
            }
            RST_STREAM => self.responses.finish(frame.stream),
            _ => {}
        }
        Step::Pass(whole)
    }

    fn step_data(&mut self, frame: Frame, length: usize, bytes: &[u8]) -> Step {
        let Frame { stream, flags, .. } = frame;
        let padding = match bytes.get(FRAME_HEAD) {
            _ if flags & PADDED == 0 || length == 0 => 0,
            Some(padding) => 1 + usize::from(*padding),
            None => return Step::Wait,
        };
        let (whole, data) = (FRAME_HEAD + length, length.saturating_sub(padding));
        let is_valid = padding <= length && length <= LONGEST_PAYLOAD && (1..=self.last).contains(&stream);
        let ends = flags & END_STREAM != 0;
        if is_valid && data < SMALL && (!ends || self.small.has(stream)) {
            if bytes.len() < whole {
                return Step::Wait;
            }
            self.flood.receive_data(data, padding);
            let from = FRAME_HEAD + usize::from(padding > 0);
            self.small.add(stream, &bytes[from..from + data], padding, ends, &mut self.ready);
            return Step::Take(whole);
        }
        if let Some(step) = self.flush_before(stream) {
            return step;
        }
        self.flood.receive_data(data, padding);
        self.pass(whole, bytes)
    }

    /// Reads a head, which goes on when it is whole. Most heads come at once in one frame.
    fn step_head(&mut self, bytes: &mut [u8], queue: &mut VecDeque<u32>) -> Step {
        loop {
            let (at, is_first) = (self.head.next, self.head.next == 0);
            let Some((frame, length)) = Frame::parse(&bytes[at..]) else { return self.wait_for_head(bytes) };
            let end = at + FRAME_HEAD + length;
            let is_next = length <= LONGEST_PAYLOAD && (frame.kind == HEADERS) == is_first;
            let first = if is_first { frame } else { Frame::parse(bytes).map_or(frame, |(first, _)| first) };
            if !is_next || first.stream != frame.stream || !matches!(frame.kind, HEADERS | CONTINUATION) {
                // The library ends the connection for it.
                if is_first {
                    self.flood.receive(frame, length, false);
                    return self.pass(end, bytes);
                }
                self.head = Head::default();
                return Step::Pass(at);
            }
            if is_first && let Some(step) = self.flush_before(frame.stream) {
                return step;
            }
            if bytes.len() < end {
                return self.wait_for_head(bytes);
            }
            let opens = is_first && frame.stream > self.last;
            self.flood.receive(frame, length, opens);
            if opens {
                self.last = frame.stream;
                if !self.responses.open(frame.stream) {
                    self.ended = Some(Ended::TooManyStreams);
                }
            }
            let part = at + FRAME_HEAD..end;
            let part = if is_first {
                let within = fragment(frame.flags, &bytes[part.clone()]);
                part.start + within.start..part.start + within.end
            } else {
                part
            };
            if is_first && frame.flags & END_HEADERS != 0 {
                let head = &mut bytes[part];
                if let Some((at, mended)) = self.paths.read(head) {
                    head[at].copy_from_slice(&mended);
                }
                self.note_expectation(head, opens, frame, queue);
                return Step::Pass(end);
            }
            self.head.parts.push(part);
            self.head.next = end;
            self.head.opens |= opens;
            if frame.flags & END_HEADERS != 0 {
                self.read_parts(bytes, first, queue);
                return Step::Pass(end);
            }
        }
    }

    fn wait_for_head(&mut self, bytes: &[u8]) -> Step {
        if bytes.len() > self.longest_head {
            self.ended = Some(Ended::HeadTooLong);
        }
        Step::Wait
    }

    /// Reads a head that came in several frames.
    fn read_parts(&mut self, bytes: &mut [u8], first: Frame, queue: &mut VecDeque<u32>) {
        let Head { parts, opens, .. } = std::mem::take(&mut self.head);
        let mut head = parts.iter().map(|part| &bytes[part.clone()]).collect::<Vec<_>>().concat();
        if let Some((at, mended)) = self.paths.read(&head) {
            head[at].copy_from_slice(&mended);
            let mut rest = &head[..];
            for part in parts {
                let (mended, others) = rest.split_at(part.len());
                bytes[part].copy_from_slice(mended);
                rest = others;
            }
        }
        self.note_expectation(&head, opens, first, queue);
    }

    /// Whoever opens a stream and is about to send a body is told to continue, from the first expectation on.
    fn note_expectation(&mut self, head: &[u8], opens: bool, frame: Frame, queue: &mut VecDeque<u32>) {
        let has_body = frame.flags & END_STREAM == 0;
        if self.expecting.note_head(head) && opens && has_body && queue.len() < LONGEST_QUEUE {
            queue.push_back(frame.stream);
        }
    }

    fn note_settings(&mut self, payload: &[u8]) {
        self.expecting.note_settings();
        for setting in payload.chunks_exact(SETTING) {
            let [a, b, value @ ..] = setting else { continue };
            let Ok(value) = value.try_into().map(u32::from_be_bytes) else { continue };
            match u16::from_be_bytes([*a, *b]) {
                HEADER_TABLE_SIZE => self.expecting.note_table(value),
                INITIAL_WINDOW_SIZE => self.responses.set_initial(value),
                _ => {}
            }
        }
    }
}
