//! Undoing the content coding of a short body within a bound, to look at it.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

/// A body without its content coding.
pub struct Decoded<'a> {
    /// At most as many bytes as were asked for.
    pub bytes: Cow<'a, [u8]>,
    /// True if these are all bytes: the body is not longer, and nothing in it was malformed.
    pub is_whole: bool,
}

/// Decodes a body that is coded in gzip or deflate (RFC 9110 section 8.4.1). A body that begins as gzip does is
/// taken for gzip whatever its headers say; any other coding leaves the bytes as they are.
pub fn decoded<'a>(headers: &HeaderMap, body: &'a [u8], limit: usize) -> Decoded<'a> {
    let is_coded = |name: &str| {
        let coding = headers.get(CONTENT_ENCODING).map(|coding| coding.as_bytes().trim_ascii());
        coding.is_some_and(|coding| coding.eq_ignore_ascii_case(name.as_bytes()))
    };
    if body.starts_with(&[0x1f, 0x8b]) || is_coded("gzip") || is_coded("x-gzip") {
        return inflated(MultiGzDecoder::new(body), limit);
    }
    if is_coded("deflate") {
        // The standard means zlib; some servers send the bare stream.
        let is_zlib = matches!(body, [first, second, ..]
            if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]) % 31 == 0);
        return if is_zlib {
            inflated(ZlibDecoder::new(body), limit)
        } else {
            inflated(DeflateDecoder::new(body), limit)
        };
    }
    let is_whole = body.len() <= limit;
    Decoded { bytes: Cow::Borrowed(&body[..body.len().min(limit)]), is_whole }
}

/// Whether [`decoded`] can undo the content coding that the headers name.
pub fn is_understood(headers: &HeaderMap) -> bool {
    const UNDERSTOOD: [&[u8]; 5] = [b"", b"identity", b"gzip", b"x-gzip", b"deflate"];
    let is_known = |coding: &[u8]| UNDERSTOOD.iter().any(|known| known.eq_ignore_ascii_case(coding));
    let mut codings = headers.get_all(CONTENT_ENCODING).iter().map(|coding| coding.as_bytes().trim_ascii());
    codings.next().is_none_or(is_known) && codings.next().is_none()
}

fn inflated(coded: impl Read, limit: usize) -> Decoded<'static> {
    let (bytes, end) = read_up_to(coded, limit);
    Decoded { bytes: Cow::Owned(bytes), is_whole: matches!(end, End::Reached) }
}

/// How far reading came.
pub enum End {
    /// To the end.
    Reached,
    /// To the limit; there is more.
    Beyond,
    /// To bytes that are malformed.
    Malformed,
}

/// Reads at most `limit` bytes of what a decoder makes.
pub fn read_up_to(decoder: impl Read, limit: usize) -> (Vec<u8>, End) {
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let end = match decoder.take(most).read_to_end(&mut bytes) {
        Err(_) => End::Malformed,
        Ok(_) if bytes.len() > limit => End::Beyond,
        Ok(_) => End::Reached,
    };
    bytes.truncate(limit);
    (bytes, end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::read::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use http::HeaderValue;

    fn all(mut coded: impl Read) -> Vec<u8> {
        let mut bytes = Vec::new();
        coded.read_to_end(&mut bytes).unwrap();
        bytes
    }

    fn coding(name: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(name))])
    }

    #[test]
    fn gzip_and_both_kinds_of_deflate_are_decoded() {
        let (text, level) = (&b"{\"a\":1}"[..], Compression::default());
        for (headers, body) in [
            (HeaderMap::new(), text.to_vec()),
            (coding("gzip"), all(GzEncoder::new(text, level))),
            (coding("X-GZIP "), all(GzEncoder::new(text, level))),
            (HeaderMap::new(), all(GzEncoder::new(text, level))),
            (coding("deflate"), all(ZlibEncoder::new(text, level))),
            (coding("deflate"), all(DeflateEncoder::new(text, level))),
            (coding("br"), text.to_vec()),
        ] {
            let decoded = decoded(&headers, &body, 100);
            assert_eq!(&*decoded.bytes, text, "{headers:?}");
            assert!(decoded.is_whole, "{headers:?}");
        }
    }

    #[test]
    fn only_codings_that_can_be_undone_are_understood() {
        assert!(is_understood(&HeaderMap::new()));
        for name in ["gzip", "X-GZIP ", "deflate", "identity", ""] {
            assert!(is_understood(&coding(name)), "{name}");
        }
        for name in ["br", "zstd", "gzip, br", "gzip, gzip"] {
            assert!(!is_understood(&coding(name)), "{name}");
        }
    }

    #[test]
    fn what_inflates_without_end_stops_at_the_limit() {
        let bomb = all(GzEncoder::new(std::io::repeat(b' ').take(8 << 20), Compression::best()));
        let decoded = decoded(&coding("gzip"), &bomb, 1000);
        assert_eq!((decoded.bytes.len(), decoded.is_whole), (1000, false));
        assert!(decoded.bytes.len() < bomb.len());
    }

    #[test]
    fn what_is_malformed_is_not_whole() {
        let mut body = all(GzEncoder::new(&b"some text"[..], Compression::default()));
        body.truncate(body.len() - 5);
        assert!(!decoded(&coding("gzip"), &body, 100).is_whole);
        assert!(!decoded(&coding("gzip"), b"plain", 100).is_whole);
    }
}
