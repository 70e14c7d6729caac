//! What a caller sends: whose head says that it waits to be told to continue, and the frame that tells it; and whose path has
//! a `#`.

use std::collections::VecDeque;
use std::io;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::flood::Flood;
use super::frames::{ACK, CONTINUATION, END_HEADERS, END_STREAM, Frame, Frames, HEADERS, SETTINGS, fragment};
use super::hpack::mended_path;

const PREFACE: usize = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len();

/// The expectation as it stands in a head: its text, and the same in Huffman's code (RFC 7541 appendix B).
pub(super) const EXPECTATIONS: [&[u8]; 2] =
    [b"100-continue", &[0x08, 0x00, 0xb1, 0x0f, 0x52, 0x4d, 0x55, 0xa5]];

static FINDERS: LazyLock<[Finder<'static>; 2]> = LazyLock::new(|| EXPECTATIONS.map(Finder::new));

/// `:status: 100` as a literal that is not indexed, by the name of entry 8 of the static table.
pub(super) const STATUS_100: [u8; 5] = [0x08, 3, b'1', b'0', b'0'];

/// What a caller's table for compressed heads holds if its settings do not say otherwise, and that setting.
const USUAL_TABLE: u32 = 4096;
pub(super) const HEADER_TABLE_SIZE: u16 = 1;
const SETTING: usize = 6;

/// More of one head is not looked through; heads have limits of their own.
const LONGEST_HEAD: usize = 64 * 1024;

/// So many may wait to be told at a caller that does not read. Beyond it nobody is told.
const LONGEST_QUEUE: usize = 1000;

/// What comes from the caller, frame by frame.
#[derive(Default)]
pub(super) struct Came {
    frames: Frames,
    has_preface: bool,
    preface: usize,
    /// Whether a head has held the expectation.
    expects: bool,
    /// The last stream that was opened.
    pub(super) last: u32,
    /// The stream whose head is coming, and whether a body follows it.
    opening: Option<(u32, bool)>,
    /// What has come of a head that does not come at once.
    head: Vec<u8>,
    /// How long a head is that is coming, trailers included.
    head_bytes: usize,
    /// How often settings have come, and the beginning of one that is not whole.
    settings: u32,
    setting: Vec<u8>,
    pub(super) table: Table,
    pub(super) flood: Flood,
}

/// A caller's table for compressed heads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Table {
    /// As large as usual, or larger.
    #[default]
    Usual,
    /// Smaller, since so many settings have come.
    Small { size: u32, since: u32 },
    /// Another size more than once: the updates that it needs are not followed here, and nobody is told to continue.
    Changing,
}

impl Came {
    /// How much has come of a head that is not whole.
    pub(super) fn head_bytes(&self) -> usize {
        self.head_bytes
    }

    /// Reads on; streams that are to be told to continue go to `queue`. Paths with a `#` are mended so that they are refused.
    pub(super) fn read(&mut self, came: &mut [u8], queue: &mut VecDeque<u32>) -> io::Result<()> {
        let mut at = 0;
        if !self.has_preface {
            at = came.len().min(PREFACE - self.preface);
            self.preface += at;
            self.has_preface = self.preface == PREFACE;
        }
        while at < came.len() {
            let was_head = self.frames.is_in_head();
            let mut rest = &came[at..];
            let (frame, payload) = self.frames.next(&mut rest);
            let end = came.len() - rest.len();
            let payload = end - payload.len()..end;
            at = end;
            let Some(frame) = frame else { return Ok(()) };
            let opens = was_head && frame.kind == HEADERS && frame.stream > self.last;
            if was_head {
                self.flood.receive(frame, payload.len() + self.frames.left, opens);
            }
            match frame.kind {
                SETTINGS if frame.flags & ACK == 0 => {
                    self.settings += u32::from(was_head);
                    self.note_settings(&came[payload]);
                }
                HEADERS | CONTINUATION => {
                    if opens {
                        self.opening = Some((frame.stream, frame.flags & END_STREAM == 0));
                        self.last = frame.stream;
                    }
                    self.read_head(frame, was_head, &mut came[payload], queue)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads a part of a head. Most heads come at once, and need not be copied.
    fn read_head(
        &mut self,
        frame: Frame,
        was_head: bool,
        payload: &mut [u8],
        queue: &mut VecDeque<u32>,
    ) -> io::Result<()> {
        let is_whole_frame = self.frames.is_in_head();
        let ends = is_whole_frame && frame.flags & END_HEADERS != 0;
        self.head_bytes = if ends { 0 } else { self.head_bytes + payload.len() };
        if frame.kind == HEADERS && was_head && ends {
            let at = fragment(frame.flags, payload);
            let head = &mut payload[at];
            self.note_expectation(head);
            if let Some((at, mended)) = mended_path(head) {
                head[at].copy_from_slice(&mended);
            }
        } else {
            if self.head.len() + payload.len() <= LONGEST_HEAD {
                self.head.extend_from_slice(payload);
            }
            if frame.kind == HEADERS && is_whole_frame {
                self.head = self.head[fragment(frame.flags, &self.head)].to_vec();
            }
            if ends {
                let head = std::mem::take(&mut self.head);
                self.note_expectation(&head);
                if mended_path(&head).is_some() {
                    // Its beginning has gone on already.
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "a path has a fragment"));
                }
            }
        }
        if ends
            && let Some((stream, has_body)) = self.opening.take()
            && self.expects
            && has_body
            && queue.len() < LONGEST_QUEUE
        {
            queue.push_back(stream);
        }
        Ok(())
    }

    fn note_expectation(&mut self, head: &[u8]) {
        self.expects = self.expects || FINDERS.iter().any(|text| text.find(head).is_some());
    }

    fn note_settings(&mut self, payload: &[u8]) {
        self.setting.extend_from_slice(payload);
        for setting in self.setting.chunks_exact(SETTING) {
            let [a, b, value @ ..] = setting else { continue };
            let Ok(value) = value.try_into().map(u32::from_be_bytes) else { continue };
            if u16::from_be_bytes([*a, *b]) != HEADER_TABLE_SIZE {
                continue;
            }
            self.table = match self.table {
                Table::Usual if value >= USUAL_TABLE => Table::Usual,
                Table::Usual => Table::Small { size: value, since: self.settings },
                Table::Small { size, .. } if size == value => self.table,
                Table::Small { .. } | Table::Changing => Table::Changing,
            };
        }
        self.setting.drain(..self.setting.len() / SETTING * SETTING);
    }
}

/// The frame that tells a stream to continue.
pub(super) fn frame(stream: u32, table: Table) -> Vec<u8> {
    let update = match table {
        Table::Small { size, .. } => size_update(size),
        Table::Usual | Table::Changing => Vec::new(),
    };
    let length = u8::try_from(update.len() + STATUS_100.len()).expect("both have few bytes");
    let head = [0, 0, length, HEADERS, END_HEADERS];
    [&head[..], &stream.to_be_bytes(), &update, &STATUS_100].concat()
}

/// An update of a table's size (RFC 7541 section 6.3): a number with a prefix of five bits (section 5.1).
fn size_update(size: u32) -> Vec<u8> {
    const MARK: u8 = 0b0010_0000;
    const MOST: u8 = 0b0001_1111;
    let Some(mut left) = size.checked_sub(u32::from(MOST)) else {
        return vec![MARK | size.to_be_bytes()[3]];
    };
    let mut update = vec![MARK | MOST];
    while left >= 128 {
        update.push(left.to_be_bytes()[3] | 128);
        left >>= 7;
    }
    update.push(left.to_be_bytes()[3]);
    update
}
