//! Bytes nobody can guess, as text.

use std::fmt::Write;

/// So many random hexadecimal digits.
pub(super) fn hex(digits: usize) -> String {
    let mut bytes = [0; 32];
    let bytes = &mut bytes[..digits.div_ceil(2).min(32)];
    aws_lc_rs::rand::fill(bytes).expect("the library's random source does not fail");
    let mut text = to_hex(bytes);
    text.truncate(digits);
    text
}

/// Bytes as hexadecimal digits.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A token in Zoho's form: `1000.` and twice 32 hexadecimal digits.
pub(super) fn token() -> String {
    format!("1000.{}.{}", hex(32), hex(32))
}

/// A random UUID.
pub(super) fn uuid() -> String {
    let hex = hex(32);
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_have_zohos_form_and_differ() {
        let (one, other) = (token(), token());
        assert_ne!(one, other);
        assert_eq!(one.len(), "1000.".len() + 32 + 1 + 32);
        assert_eq!(hex(5).len(), 5);
        assert_eq!(uuid().len(), 36);
    }
}
