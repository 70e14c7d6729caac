//! Which callers wait to be told to continue, and the frame that tells them.

use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::frames::{END_HEADERS, HEADERS, short_frame};

/// The expectation as it stands in a head: its text, and the same in Huffman's code (RFC 7541 appendix B).
pub(super) const EXPECTATIONS: [&[u8]; 2] =
    [b"100-continue", &[0x08, 0x00, 0xb1, 0x0f, 0x52, 0x4d, 0x55, 0xa5]];

static FINDERS: LazyLock<[Finder<'static>; 2]> = LazyLock::new(|| EXPECTATIONS.map(Finder::new));

/// `:status: 100` as a literal that is not indexed, by the name of entry 8 of the static table.
pub(super) const STATUS_100: [u8; 5] = [0x08, 3, b'1', b'0', b'0'];

/// What a caller's table for compressed heads holds if its settings do not say otherwise.
const USUAL_TABLE: u32 = 4096;

/// What is known of a caller's expectations.
#[derive(Default)]
pub(super) struct Expecting {
    /// Whether a head has held one.
    has_expected: bool,
    /// How often settings have come.
    settings: u32,
    pub(super) table: Table,
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

impl Expecting {
    /// Whether this head or one before holds the expectation.
    pub(super) fn note_head(&mut self, head: &[u8]) -> bool {
        self.has_expected = self.has_expected || FINDERS.iter().any(|text| text.find(head).is_some());
        self.has_expected
    }

    /// Settings have come.
    pub(super) fn note_settings(&mut self) {
        self.settings += 1;
    }

    /// They say how large the table is.
    pub(super) fn note_table(&mut self, size: u32) {
        self.table = match self.table {
            Table::Usual if size >= USUAL_TABLE => Table::Usual,
            Table::Usual => Table::Small { size, since: self.settings },
            Table::Small { size: before, .. } if before == size => self.table,
            Table::Small { .. } | Table::Changing => Table::Changing,
        };
    }
}

/// The frame that tells a stream to continue.
pub(super) fn frame(stream: u32, table: Table) -> Vec<u8> {
    let update = match table {
        Table::Small { size, .. } => size_update(size),
        Table::Usual | Table::Changing => Vec::new(),
    };
    short_frame(HEADERS, END_HEADERS, stream, &[&update, &STATUS_100[..]].concat())
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
