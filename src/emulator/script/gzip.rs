//! Just enough of gzip (RFC 1952) to send it: bytes in its frame, not made smaller.

/// The most bytes of one stored block (RFC 1951 section 3.2.4).
const BLOCK: usize = 65_535;

/// These bytes as a gzip file.
pub(super) fn stored(bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let blocks = bytes.len().div_ceil(BLOCK).max(1);
    for number in 0..blocks {
        let block = &bytes[number * BLOCK..bytes.len().min((number + 1) * BLOCK)];
        let length = u16::try_from(block.len()).expect("a block is cut to what 16 bits can count");
        file.push(u8::from(number + 1 == blocks));
        file.extend_from_slice(&length.to_le_bytes());
        file.extend_from_slice(&(!length).to_le_bytes());
        file.extend_from_slice(block);
    }
    file.extend_from_slice(&crc32(bytes).to_le_bytes());
    #[expect(clippy::cast_possible_truncation, reason = "the format holds the length modulo 2^32")]
    file.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard_and_the_bytes_are_in_the_file() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let file = stored(b"abc");
        assert_eq!(&file[10..15], [1, 3, 0, 0xfc, 0xff]);
        assert_eq!(&file[15..18], b"abc");
        assert_eq!(file.len(), 18 + 8);
        assert_eq!(stored(&vec![7; BLOCK + 1]).len(), 10 + 5 + BLOCK + 5 + 1 + 8);
    }
}
