//! Zip files (PKWARE's APPNOTE): written without compression, read with or without.

use std::io::Read;

use flate2::Crc;
use flate2::read::DeflateDecoder;

/// How the parts of a zip file begin.
const FILE: &[u8] = b"PK\x03\x04";
const DIRECTORY: &[u8] = b"PK\x01\x02";
const END: &[u8] = b"PK\x05\x06";
/// How long the fixed part of each is.
const FILE_LENGTH: usize = 30;
const DIRECTORY_LENGTH: usize = 46;
const END_LENGTH: usize = 22;

/// Version 2.0 is needed; names are UTF-8.
const VERSION_AND_FLAGS: [u8; 4] = [20, 0, 0, 8];
/// Stored as it is, at the earliest time there is: midnight on the first of January 1980.
const STORED_IN_1980: [u8; 6] = [0, 0, 0, 0, 0x21, 0];

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// A zip file with one file in it.
pub(super) fn write(name: &str, content: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(content);
    let mut about = Vec::from(VERSION_AND_FLAGS);
    about.extend(STORED_IN_1980);
    about.extend(crc.sum().to_le_bytes());
    about.extend(long(content.len()));
    about.extend(long(content.len()));
    about.extend(short(name.len()));
    about.extend(short(0));

    let mut zip = Vec::with_capacity(content.len() + 2 * name.len() + 98);
    zip.extend(FILE);
    zip.extend(&about);
    zip.extend(name.as_bytes());
    zip.extend(content);
    let directory = zip.len();
    zip.extend(DIRECTORY);
    zip.extend([20, 0]);
    zip.extend(&about);
    // No comment, on the first disk, of no special kind, and the file begins at the beginning.
    zip.extend([0; 14]);
    zip.extend(name.as_bytes());
    let length = zip.len() - directory;
    zip.extend(END);
    zip.extend([0, 0, 0, 0, 1, 0, 1, 0]);
    zip.extend(long(length));
    zip.extend(long(directory));
    zip.extend(short(0));
    zip
}

/// The first file of a zip file: its name, and its content if that is not longer than `most`. `None` if it
/// is no zip file, is encrypted or broken, or has nothing in it.
pub(super) fn read(zip: &[u8], most: usize) -> Option<(String, Vec<u8>)> {
    let end = zip.windows(END.len()).rposition(|bytes| bytes == END)?;
    let end = zip.get(end..end + END_LENGTH)?;
    let entry = zip.get(number(end, 16, 4)?..)?;
    let entry = entry.starts_with(DIRECTORY).then_some(entry)?;
    let name = entry.get(DIRECTORY_LENGTH..DIRECTORY_LENGTH + number(entry, 28, 2)?)?;
    let file = zip.get(number(entry, 42, 4)?..)?;
    let file = file.starts_with(FILE).then_some(file)?;
    let start = FILE_LENGTH + number(file, 26, 2)? + number(file, 28, 2)?;
    let packed = file.get(start..start + number(entry, 20, 4)?)?;

    let mut content = Vec::new();
    let limit = most as u64 + 1;
    match u16::try_from(number(entry, 10, 2)?).ok()? {
        STORED => packed.take(limit).read_to_end(&mut content).ok()?,
        DEFLATED => DeflateDecoder::new(packed).take(limit).read_to_end(&mut content).ok()?,
        _ => return None,
    };
    let mut crc = Crc::new();
    crc.update(&content);
    let is_whole = content.len() <= most && crc.sum() as usize == number(entry, 16, 4)?;
    is_whole.then(|| (String::from_utf8_lossy(name).into_owned(), content))
}

fn number(bytes: &[u8], at: usize, length: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + length)?;
    Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | usize::from(byte)))
}

/// Lengths here are those of what the emulator keeps in memory, far below the format's limit.
fn long(number: usize) -> [u8; 4] {
    u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes()
}

fn short(number: usize) -> [u8; 2] {
    u16::try_from(number).unwrap_or(u16::MAX).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by Info-ZIP's `zip`: a deflated `a.csv` of fifty times `Last_Name,Email` and a newline.
    const DEFLATED_BY_OTHERS: &[u8] =
        b"PK\x03\x04\x14\x00\x00\x00\x08\x00\xb3\xacx]\x22\x81\xf7\x8b\x1a\x00\x00\x00 \x03\x00\
        \x00\x05\x00\x00\x00a.csv\xf3I,.\x89\xf7K\xccM\xd5q\xcdM\xcc\xcc\xe1\xf2\x19\xe5\x8f\xf2\
        G\xf9p>\x00PK\x01\x02\x1e\x03\x14\x00\x00\x00\x08\x00\xb3\xacx]\x22\x81\xf7\x8b\x1a\x00\
        \x00\x00 \x03\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\xa4\x81\x00\x00\
        \x00\x00a.csvPK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x003\x00\x00\x00=\x00\x00\x00\x00\
        \x00";

    #[test]
    fn what_was_written_is_read_again() {
        for content in [&b""[..], b"a", b"Id,Last_Name\n1,Doe\n"] {
            let zip = write("a b.csv", content);
            assert_eq!(read(&zip, 1_000), Some(("a b.csv".to_owned(), content.to_vec())));
        }
    }

    #[test]
    fn a_zip_file_has_the_layout_that_every_reader_expects() {
        let zip = write("a.csv", b"123456789");
        // The check value of CRC-32 that its definition gives for these nine digits.
        assert_eq!(zip[14..18], 0xcbf4_3926_u32.to_le_bytes());
        assert_eq!((&zip[..4], &zip[30..35], &zip[35..44]), (FILE, &b"a.csv"[..], &b"123456789"[..]));
        assert_eq!(&zip[44..48], DIRECTORY);
        assert_eq!(zip.len(), 44 + DIRECTORY_LENGTH + 5 + END_LENGTH);
    }

    #[test]
    fn a_compressed_file_of_another_program_is_read() {
        let (name, content) = read(DEFLATED_BY_OTHERS, 10_000).unwrap();
        assert_eq!(name, "a.csv");
        assert_eq!(content, b"Last_Name,Email\n".repeat(50));
    }

    #[test]
    fn a_file_that_is_too_long_or_broken_is_none() {
        let mut zip = write("a.csv", b"12345");
        assert_eq!(read(&zip, 4), None);
        zip[36] = b'x';
        assert_eq!(read(&zip, 1_000), None);
        for length in 0..zip.len() {
            assert_eq!(read(&zip[..length], 1_000), None);
        }
        assert_eq!(read(b"Last_Name\nDoe\n", 1_000), None);
    }
}
