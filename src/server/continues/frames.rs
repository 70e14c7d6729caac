//! The frames of HTTP/2 (RFC 9113 section 4.1).

use std::ops::Range;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const PRIORITY: u8 = 32;

pub(super) const FRAME_HEAD: usize = 9;

/// The longest payload of a frame that the sidecar accepts, which is the least that it may accept (RFC 9113 section 4.2).
pub(super) const LONGEST_PAYLOAD: usize = 16 * 1024;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
}

impl Frame {
    /// The frame that begins here and the length of its payload, if the nine bytes of its head are there.
    #[inline]
    pub(super) fn parse(bytes: &[u8]) -> Option<(Self, usize)> {
        let [a, b, c, kind, flags, stream @ ..] = *bytes.first_chunk::<FRAME_HEAD>()?;
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        Some((Self { kind, flags, stream }, u32::from_be_bytes([0, a, b, c]) as usize))
    }
}

/// A frame with a short payload.
pub(super) fn short_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).expect("short payloads have few bytes").to_be_bytes();
    [&[0, length[0], length[1], kind, flags], &stream.to_be_bytes()[..], payload].concat()
}

/// Where the part of a head stands in the payload of a HEADERS frame, between priority and padding (RFC 9113 section 6.2).
pub(super) fn fragment(flags: u8, payload: &[u8]) -> Range<usize> {
    let is_padded = flags & PADDED != 0;
    let padding = if is_padded { payload.first().map_or(0, |length| usize::from(*length)) } else { 0 };
    let start = usize::from(is_padded) + if flags & PRIORITY != 0 { 5 } else { 0 };
    let end = payload.len().saturating_sub(padding);
    // What has more padding than bytes is no frame, and hyper says so.
    start.min(end)..end
}

/// Takes a stream of bytes apart into frames.
#[derive(Default)]
pub(super) struct Frames {
    head: [u8; FRAME_HEAD],
    /// How much of the head has come.
    pub(super) got: usize,
    /// How much of the payload is to come.
    pub(super) left: usize,
    frame: Frame,
}

impl Frames {
    /// Whether nothing has come of the next frame.
    pub(super) fn is_at_start(&self) -> bool {
        self.got == 0
    }

    /// Whether what comes next belongs to the head of a frame.
    pub(super) fn is_in_head(&self) -> bool {
        self.got < FRAME_HEAD
    }

    /// Takes from `bytes` what belongs to one frame: the frame, once its head is whole, and a part of its payload.
    pub(super) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> (Option<Frame>, &'a [u8]) {
        if self.is_in_head() {
            let (part, rest) = bytes.split_at(bytes.len().min(FRAME_HEAD - self.got));
            self.head[self.got..self.got + part.len()].copy_from_slice(part);
            self.got += part.len();
            *bytes = rest;
            if self.is_in_head() {
                return (None, &[]);
            }
            (self.frame, self.left) = Frame::parse(&self.head).expect("the head is whole");
        }
        let (payload, rest) = bytes.split_at(bytes.len().min(self.left));
        *bytes = rest;
        self.left -= payload.len();
        if self.left == 0 {
            self.got = 0;
        }
        (Some(self.frame), payload)
    }
}
