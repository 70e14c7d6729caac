//! The fields of a compressed head (RFC 7541), as far as a `:path` with a `#` in it has to be found.
//!
//! A target has no fragment (RFC 9113 section 8.3.1). hyper's types cut one off where they find it, so that nobody behind
//! them can tell. Here the `#` is replaced by a character that no target may have either, and the request is refused for
//! that in the usual way. Fields are passed over by their lengths: neither the dynamic table nor most of Huffman's code
//! is needed for that.

use std::ops::Range;

use memchr::memchr;

/// The entries of the static table that are named `:path`.
const PATHS: [usize; 2] = [4, 5];
/// That name as it is, and in Huffman's code.
const NAMES: [&[u8]; 2] = [b":path", &[0xb9, 0x58, 0xd3, 0x3f]];

/// `#` in Huffman's code, and two characters that are refused later: `|`, which is one bit shorter, and `}`, which is two
/// bits longer.
const NUMBER_SIGN: (u32, usize) = (0xffa, 12);
const BAR: (u32, usize) = (0x7fc, 11);
const BRACE: (u32, usize) = (0x3ffd, 14);

/// Where the codes of each length end: the first code that is not of this length or a shorter one, with its first bit
/// foremost. Longer ones are for characters that no target may have.
const LENGTHS: [(u32, usize); 10] = [
    (0x5000_0000, 5),
    (0xb800_0000, 6),
    (0xf800_0000, 7),
    (0xfe00_0000, 8),
    (0xff40_0000, 10),
    (0xffa0_0000, 11),
    (0xffc0_0000, 12),
    (0xfff0_0000, 13),
    (0xfff8_0000, 14),
    (0xfffe_0000, 15),
];

/// The value of a `:path` that has a `#`: where it stands, and the bytes to put there.
pub(super) type Mended = (Range<usize>, Vec<u8>);

/// The first index of the dynamic table (RFC 7541 section 2.3.3).
const FIRST_DYNAMIC: usize = 62;

/// Which entries of a connection's dynamic table are named `:path`: a bit for each, that of the newest entry lowest.
///
/// An entry has at least 32 bytes and the table at most 4096, so there are never more than 128. Bits of entries that were
/// evicted stay: a head that refers to one of them is an error of the connection.
#[derive(Debug, Default)]
pub(super) struct Paths(u128);

impl Paths {
    /// Reads the next head and finds its first `:path` with a `#`. What is no valid head is an error of the connection
    /// that hyper reports.
    pub(super) fn read(&mut self, block: &[u8]) -> Option<Mended> {
        let mut found = None;
        let mut at = 0;
        while let Some(first) = block.get(at) {
            if first & 0x80 != 0 {
                // An entry of a table, without a text of its own.
                at = integer(block, at, 7)?.1;
                continue;
            }
            if first & 0xe0 == 0x20 {
                // An update of the table's size.
                at = integer(block, at, 5)?.1;
                continue;
            }
            let is_added = first & 0x40 != 0;
            let (index, next) = integer(block, at, if is_added { 6 } else { 4 })?;
            let (is_path, next) = match index {
                0 => {
                    let name = text(block, next)?;
                    (NAMES[usize::from(name.is_huffman)] == &block[name.at.clone()], name.at.end)
                }
                index => (self.is_path(index), next),
            };
            let value = text(block, next)?;
            at = value.at.end;
            if is_added {
                self.0 = self.0 << 1 | u128::from(is_path);
            }
            if is_path && found.is_none() {
                found = value.mended(block);
            }
        }
        found
    }

    /// Whether the entry of this index is named `:path`.
    fn is_path(&self, index: usize) -> bool {
        match index.checked_sub(FIRST_DYNAMIC) {
            Some(age) => age < 128 && self.0 >> age & 1 == 1,
            None => PATHS.contains(&index),
        }
    }
}

/// A text in a head.
struct Text {
    is_huffman: bool,
    at: Range<usize>,
}

/// A number with a prefix of so many bits, and where it ends (RFC 7541 section 5.1).
#[inline]
fn integer(block: &[u8], at: usize, prefix: u32) -> Option<(usize, usize)> {
    let most = (1_usize << prefix) - 1;
    let number = usize::from(*block.get(at)?) & most;
    if number < most {
        return Some((number, at + 1));
    }
    let mut number = most;
    // As many as h2 takes, and one more; the last of them may be zero.
    for (n, byte) in block.get(at + 1..)?.iter().take(5).enumerate() {
        number += usize::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return Some((number, at + 2 + n));
        }
    }
    None
}

fn text(block: &[u8], at: usize) -> Option<Text> {
    let is_huffman = block.get(at)? & 0x80 != 0;
    let (length, start) = integer(block, at, 7)?;
    (length <= block.len() - start).then(|| Text { is_huffman, at: start..start + length })
}

impl Text {
    fn mended(&self, block: &[u8]) -> Option<Mended> {
        let bytes = &block[self.at.clone()];
        let mended = if self.is_huffman {
            if !has_nine_ones(bytes) {
                return None;
            }
            mended_in_code(bytes)?
        } else {
            let sign = memchr(b'#', bytes)?;
            let mut mended = bytes.to_vec();
            mended[sign] = b'|';
            mended
        };
        Some((self.at.clone(), mended))
    }
}

/// Whether nine bits in a row are set, as at the beginning of a `#` and of little else in usual paths.
fn has_nine_ones(bytes: &[u8]) -> bool {
    let is_in = |word: u64| {
        let two = word & word >> 1;
        let four = two & two >> 2;
        let eight = four & four >> 4;
        eight & word >> 8 != 0
    };
    // Each word begins with the last byte of the one before.
    let mut rest = bytes;
    while let Some(word) = rest.first_chunk::<8>() {
        if is_in(u64::from_be_bytes(*word)) {
            return true;
        }
        rest = &rest[7..];
    }
    let word = rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
    is_in(word)
}

/// A text in Huffman's code in which the first `#` is replaced, in as many bytes; `None` if it has none.
#[cold]
fn mended_in_code(bytes: &[u8]) -> Option<Vec<u8>> {
    let all = bytes.len() * 8;
    // The next 32 bits; what follows the end is padding.
    let window = |at: usize| {
        let rest = &bytes[at / 8..];
        let word = rest.first_chunk::<8>().copied().unwrap_or_else(|| {
            let mut word = [0xff; 8];
            word[..rest.len()].copy_from_slice(rest);
            word
        });
        u32::try_from(u64::from_be_bytes(word) << (at % 8) >> 32).expect("32 bits are left")
    };
    let (mut at, mut sign) = (0, None);
    while at < all
        && let next = window(at)
        && let Some((_, length)) = LENGTHS.into_iter().find(|(end, _)| next < *end)
        && at + length <= all
    {
        if sign.is_none() && (next >> (32 - length), length) == NUMBER_SIGN {
            sign = Some(at);
        }
        at += length;
    }
    let sign = sign?;
    let bits: Vec<bool> =
        bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1 == 1)).collect();
    // What is left is padding, of less than a byte, and must stay so.
    let (code, length) = if bits.len() - at < 7 { BAR } else { BRACE };
    let replaced = (0..length).rev().map(|bit| code >> bit & 1 == 1);
    let before = bits[..sign].iter().copied();
    let after = bits[sign + NUMBER_SIGN.1..at].iter().copied();
    let mended: Vec<bool> =
        before.chain(replaced).chain(after).chain(std::iter::repeat(true)).take(bits.len()).collect();
    let byte = |bits: &[bool]| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit));
    Some(mended.chunks(8).map(byte).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Codes of the characters below, with their lengths.
    fn in_code(text: &str) -> Vec<u8> {
        let code = |c: char| match c {
            '/' => (0x18_u32, 6),
            'a' => (0x3, 5),
            'x' => (0x79, 7),
            'Z' => (0xfd, 8),
            '?' => (0x3fc, 10),
            '|' => BAR,
            '#' => (0xffa, 12),
            '}' => (0x3ffd, 14),
            other => panic!("no code for {other}"),
        };
        let mut bits: Vec<bool> = text
            .chars()
            .map(code)
            .flat_map(|(code, length)| (0..length).rev().map(move |bit| code >> bit & 1 == 1))
            .collect();
        bits.resize(bits.len().next_multiple_of(8), true);
        bits.chunks(8).map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit))).collect()
    }

    fn literal(first: &[u8], is_huffman: bool, value: &[u8]) -> Vec<u8> {
        let length = u8::try_from(value.len()).unwrap() | if is_huffman { 0x80 } else { 0 };
        [first, &[length], value].concat()
    }

    /// The head with its path mended.
    fn mended(block: &[u8]) -> Option<Vec<u8>> {
        let (at, value) = Paths::default().read(block)?;
        let mut block = block.to_vec();
        block[at].copy_from_slice(&value);
        Some(block)
    }

    #[test]
    fn a_number_sign_is_found_in_every_form_of_a_path() {
        let around = |field: &[u8]| [&[0x82, 0x3f, 0xe1, 0x1f, 0x87][..], field, &[0x41, 1, b'h']].concat();
        for first in [
            &[0x04][..],
            &[0x44],
            &[0x14],
            &[0x05],
            &[0x00, 5, b':', b'p', b'a', b't', b'h'],
            &[0x40, 0x84, 0xb9, 0x58, 0xd3, 0x3f],
        ] {
            let with = |is_huffman, path: &[u8]| around(&literal(first, is_huffman, path));
            assert_eq!(mended(&with(false, b"/a#x")), Some(with(false, b"/a|x")), "{first:?}");
            assert_eq!(mended(&with(false, b"/a")), None);
            assert_eq!(mended(&with(true, &in_code("/a"))), None);
            assert!(mended(&with(true, &in_code("/a#x"))).is_some(), "{first:?}");
        }
        // A length of 127 with bytes that add nothing.
        let long = [&b"/a#"[..], &[b'x'; 124]].concat();
        assert!(mended(&[&[0x04, 0x7f, 0x80, 0x80, 0x80, 0x00], &long[..]].concat()).is_some());
        // Another field may have one.
        assert_eq!(mended(&around(&literal(&[0x40, 1, b'x'], false, b"/a#x"))), None);
        assert_eq!(mended(&around(&literal(&[0x7e], false, b"/a#x"))), None);
    }

    #[test]
    fn a_path_that_is_named_by_the_dynamic_table_is_found_until_the_entry_is_evicted() {
        let is_mended = |paths: &mut Paths, index: u8| {
            // A literal that is not indexed, by the name of an entry after the fifteenth.
            paths.read(&[&[0x0f, index - 15, 4][..], b"/a#x"].concat()).is_some()
        };
        for added in [
            literal(&[0x44], false, b"/a"),
            literal(&[0x40, 5, b':', b'p', b'a', b't', b'h'], false, b"/a"),
            // Those with a fragment of their own name it too.
            literal(&[0x44], false, b"/a#x"),
        ] {
            let mut paths = Paths::default();
            paths.read(&added);
            assert!(is_mended(&mut paths, 62) && !is_mended(&mut paths, 63));
            // One by the name of that one, and others that are no paths.
            paths.read(&literal(&[0x7e], false, b"/b"));
            assert!(is_mended(&mut paths, 62) && is_mended(&mut paths, 63) && !is_mended(&mut paths, 64));
            for n in 1..79 {
                paths.read(&literal(&[0x40, 1, b'x'], false, b"1"));
                assert!(!is_mended(&mut paths, 61 + n));
                assert!(is_mended(&mut paths, 62 + n) && is_mended(&mut paths, 63 + n), "{n}");
            }
            // Literals that are not indexed add nothing.
            paths.read(&literal(&[0x04], false, b"/a"));
            assert!(!is_mended(&mut paths, 62) && is_mended(&mut paths, 141));
        }
    }

    #[test]
    fn in_code_a_number_sign_becomes_another_character_whatever_stands_around_it() {
        let mut paddings = [false; 8];
        for before in 0..9 {
            for after in 0..9 {
                let path = |sign: &str| {
                    format!("/{}{}{sign}{}?ZZ", "a".repeat(before), "x".repeat(before), "a".repeat(after))
                };
                let value = in_code(&path("#"));
                let bits = 6 + 12 * before + 12 + 5 * after + 26;
                let padding = bits.next_multiple_of(8) - bits;
                paddings[padding] = true;
                let mended = mended_in_code(&value).unwrap();
                let replaced = if padding == 7 { "}" } else { "|" };
                assert_eq!(mended, in_code(&path(replaced)), "{before} {after}");
                assert_eq!(mended.len(), value.len());
                assert!(has_nine_ones(&value));
                assert_eq!(mended_in_code(&in_code(&path("?"))), None);
            }
        }
        assert_eq!(paddings, [true; 8]);
    }

    #[test]
    fn nine_ones_are_found_wherever_they_are() {
        for at in 0..200 {
            let mut bits = vec![false; 216];
            bits[at..at + 8].fill(true);
            let bytes = |bits: &[bool]| -> Vec<u8> {
                bits.chunks(8)
                    .map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit)))
                    .collect()
            };
            assert!(!has_nine_ones(&bytes(&bits)), "{at}");
            bits[at + 8] = true;
            assert!(has_nine_ones(&bytes(&bits)), "{at}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..60)) {
            if let Some((at, value)) = Paths::default().read(&bytes) {
                proptest::prop_assert_eq!(at.len(), value.len());
            }
            let _ = mended_in_code(&bytes);
        }
    }
}
