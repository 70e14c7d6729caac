//! Small DATA frames of the same stream, joined into one.
//!
//! A client may put each byte of a body into a frame of its own. The HTTP/2 library keeps frames as they come, at some
//! hundred bytes each beside their data, and ends the connection when it holds too many that are short of 256 bytes. So
//! the bytes of such frames wait here until they are as many, or the body ends, or a moment has passed.
//!
//! Windows are kept to the byte: the library learns of all padding by the padding of the frame that it gets instead.

use super::frames::{DATA, END_STREAM, FRAME_HEAD, PADDED};

/// A frame with so much data is not small for the library.
pub(super) const SMALL: usize = 256;

/// The most padding that a frame can have, with its length (RFC 9113 section 6.1).
const MOST_PADDING: usize = 256;

/// So many streams may have data here. Nobody has more of them open by default.
const MOST_STREAMS: usize = 256;

/// What a stream's data takes here at most.
pub(super) const STREAM_BYTES: usize = 2 * SMALL;

/// The data that waits.
#[derive(Default)]
pub(super) struct SmallData {
    streams: Vec<Joined>,
}

/// What has come on one stream.
struct Joined {
    stream: u32,
    data: Vec<u8>,
    /// Bytes of padding, the length of each included.
    padding: usize,
}

impl SmallData {
    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// How many bytes may be held.
    pub(super) fn held(&self) -> usize {
        self.streams.len() * STREAM_BYTES
    }

    pub(super) fn has(&self, stream: u32) -> bool {
        self.streams.iter().any(|joined| joined.stream == stream)
    }

    /// Adds what a frame carries to that of its stream, and writes to `out` what need not wait any longer.
    pub(super) fn add(&mut self, stream: u32, data: &[u8], padding: usize, ends: bool, out: &mut Vec<u8>) {
        let known = self.streams.iter().position(|joined| joined.stream == stream);
        let at = known.unwrap_or_else(|| {
            if self.streams.len() == MOST_STREAMS {
                self.flush_all(out);
            }
            self.streams.push(Joined { stream, data: Vec::new(), padding: 0 });
            self.streams.len() - 1
        });
        let joined = &mut self.streams[at];
        if joined.padding + padding > MOST_PADDING {
            joined.write(0, out);
        }
        joined.data.extend_from_slice(data);
        joined.padding += padding;
        if ends || joined.data.len() >= SMALL {
            self.streams.swap_remove(at).write(if ends { END_STREAM } else { 0 }, out);
        }
    }

    /// Writes what waits of this stream to `out`.
    pub(super) fn flush(&mut self, stream: u32, out: &mut Vec<u8>) {
        if let Some(at) = self.streams.iter().position(|joined| joined.stream == stream) {
            self.streams.swap_remove(at).write(0, out);
        }
    }

    /// Writes all that waits to `out`.
    pub(super) fn flush_all(&mut self, out: &mut Vec<u8>) {
        for mut joined in self.streams.drain(..) {
            joined.write(0, out);
        }
    }
}

impl Joined {
    /// Writes it as one frame, and is empty then.
    fn write(&mut self, flags: u8, out: &mut Vec<u8>) {
        let length = self.data.len() + self.padding;
        if length == 0 && flags & END_STREAM == 0 {
            return;
        }
        let flags = if self.padding == 0 { flags } else { flags | PADDED };
        let [.., a, b, c] = length.to_be_bytes();
        out.reserve(FRAME_HEAD + length);
        out.extend_from_slice(&[a, b, c, DATA, flags]);
        out.extend_from_slice(&self.stream.to_be_bytes());
        if let Some(padding) = self.padding.checked_sub(1) {
            out.push(u8::try_from(padding).expect("there is never more padding than a frame can have"));
            out.extend_from_slice(&self.data);
            out.resize(out.len() + padding, 0);
        } else {
            out.extend_from_slice(&self.data);
        }
        self.data.clear();
        self.padding = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::super::frames::short_frame;
    use super::*;

    fn joined(frames: &[(u32, &[u8], usize, bool)]) -> (SmallData, Vec<u8>) {
        let (mut small, mut out) = (SmallData::default(), Vec::new());
        for (stream, data, padding, ends) in frames {
            small.add(*stream, data, *padding, *ends, &mut out);
        }
        (small, out)
    }

    #[test]
    fn small_frames_of_a_stream_become_one_when_they_are_enough_or_the_body_ends() {
        let (mut small, mut out) =
            joined(&[(1, b"a", 0, false), (3, b"x", 0, false), (1, b"b", 0, false), (1, b"", 0, true)]);
        assert_eq!(out, short_frame(DATA, END_STREAM, 1, b"ab"));
        assert!(small.has(3) && !small.has(1));
        out.clear();
        small.flush_all(&mut out);
        assert_eq!(out, short_frame(DATA, 0, 3, b"x"));

        let (small, out) = joined(&[(1, &[7; 200], 0, false), (1, &[7; 200], 0, false)]);
        assert_eq!(out, short_frame(DATA, 0, 1, &[7; 400]));
        assert!(small.is_empty());
    }

    #[test]
    fn padding_is_kept_to_the_byte() {
        let (_, out) = joined(&[(1, b"a", 1, false), (1, b"b", 4, false), (1, b"", 0, true)]);
        assert_eq!(out, short_frame(DATA, END_STREAM | PADDED, 1, &[4, b'a', b'b', 0, 0, 0, 0]));
        // More than one frame can have.
        let (mut small, mut out) = joined(&[(1, b"a", 200, false), (1, b"b", 200, false)]);
        small.flush(1, &mut out);
        let one = |byte| short_frame(DATA, PADDED, 1, &[&[199, byte][..], &[0; 199]].concat());
        assert_eq!(out, [one(b'a'), one(b'b')].concat());
    }

    #[test]
    fn empty_frames_vanish_and_few_streams_wait() {
        let (mut small, mut out) = joined(&[(1, b"", 0, false)]);
        small.flush_all(&mut out);
        assert!(out.is_empty());
        for stream in 0..1000 {
            small.add(stream, b"a", 0, false, &mut out);
            assert!(small.streams.len() <= MOST_STREAMS);
        }
    }
}
