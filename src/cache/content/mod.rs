//! Validity of a 200: is its body an answer?
//!
//! Gateways, login pages and overloaded servers say 200 to things that are no answer: nothing, a page of HTML, an error
//! envelope. Stored, it would be served for as long as the rule says, in the place of a good answer. Type and first
//! bytes tell: [`check`] is a pure function of them.

use std::borrow::Cow;
use std::fmt;
use std::io::Read;

use flate2::read::{DeflateDecoder, GzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::media::{ContentTypes, is_json};
use crate::net::coding::{End, read_up_to};

/// So many bytes of a decoded body are looked at. Zoho's error envelopes have some 100.
pub const LOOKED_AT: usize = 4 * 1024;

/// Why a 200 is not stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It has no bytes, or nothing but white space.
    #[error("its body is empty")]
    Empty,
    /// It is of another type than the rule stores.
    #[error("its Content-Type is not one that the route stores")]
    ContentType,
    /// It is a page for people, whatever its type says.
    #[error("its body is HTML")]
    Html,
    /// It is coded so that it cannot be looked into, or is not what its coding says.
    #[error("its Content-Encoding cannot be decoded")]
    Coding,
    /// It is not JSON, or JSON that was cut off.
    #[error("its body is not valid JSON")]
    NotJson,
    /// It is a text, a number, a truth value or `null`.
    #[error("its body is neither a JSON object nor an array")]
    Scalar,
    /// It says that it is an error: `{"code":…,"status":"error"}`.
    #[error("its body is an error envelope")]
    ErrorEnvelope,
}

/// How much of a body there is to check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// Its first bytes, of a body too long to be held.
    Beginning,
}

/// Checks that a 200 with this head and body is an answer, for a rule that stores these types.
pub fn check(types: &ContentTypes, head: &HeaderMap, body: &[u8], extent: Extent) -> Result<(), Invalid> {
    // Before the type, which is often missing where there is nothing.
    if body.is_empty() {
        return Err(Invalid::Empty);
    }
    let essence = essence(head);
    // Several fields contradict each other.
    if !types.allow(essence.as_deref()) || head.get_all(CONTENT_TYPE).iter().count() > 1 {
        return Err(Invalid::ContentType);
    }
    let beginning = beginning(head, body, extent)?;
    let text = beginning.text();
    let Some(first) = text.first() else {
        return Err(Invalid::Empty);
    };
    let is_json = essence.as_deref().map_or(!types.covers_anything(), is_json);
    if is_json {
        return check_json(*first, text, &beginning);
    }
    let is_for_people =
        essence.as_deref().is_some_and(|it| it == "text/html" || it == "application/xhtml+xml");
    if !is_for_people && looks_like_html(text) { Err(Invalid::Html) } else { Ok(()) }
}

/// The media type of an answer without its parameters, in small letters.
fn essence(head: &HeaderMap) -> Option<String> {
    let value = head.get(CONTENT_TYPE)?;
    let essence = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
    Some(String::from_utf8_lossy(essence.trim_ascii()).to_ascii_lowercase())
}

/// The first bytes of a body, decoded.
struct Beginning<'a> {
    bytes: Cow<'a, [u8]>,
    /// Whether these bytes are the whole body.
    is_whole: bool,
    /// The last byte of the whole body that is no white space, if the body is not coded.
    last: Option<u8>,
}

impl Beginning<'_> {
    /// Without a byte order mark and white space.
    fn text(&self) -> &[u8] {
        self.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&self.bytes).trim_ascii_start()
    }
}

fn beginning<'a>(head: &HeaderMap, body: &'a [u8], extent: Extent) -> Result<Beginning<'a>, Invalid> {
    let mut codings = head.get_all(CONTENT_ENCODING).iter();
    let (coding, more) = (codings.next(), codings.next());
    let coding = coding.map(|value| value.as_bytes().trim_ascii().to_ascii_lowercase()).unwrap_or_default();
    match &*coding {
        _ if more.is_some() => Err(Invalid::Coding),
        b"" | b"identity" => {
            let bytes = Cow::Borrowed(&body[..body.len().min(LOOKED_AT)]);
            let is_whole = extent == Extent::Whole;
            let last = body.trim_ascii_end().last().copied().filter(|_| is_whole);
            Ok(Beginning { bytes, is_whole: is_whole && body.len() <= LOOKED_AT, last })
        }
        b"gzip" | b"x-gzip" => decoded(GzDecoder::new(body), extent),
        // By the standard it is wrapped (RFC 9110 section 8.4.1.2), but some servers send it bare.
        b"deflate" => {
            decoded(ZlibDecoder::new(body), extent).or_else(|_| decoded(DeflateDecoder::new(body), extent))
        }
        _ => Err(Invalid::Coding),
    }
}

fn decoded(decoder: impl Read, extent: Extent) -> Result<Beginning<'static>, Invalid> {
    let (bytes, end) = read_up_to(decoder, LOOKED_AT);
    let is_whole = match (extent, end) {
        // The first bytes of a coded body end anywhere; what was decoded until then can be looked at.
        (Extent::Beginning, End::Malformed) if !bytes.is_empty() => false,
        (_, End::Malformed) => return Err(Invalid::Coding),
        (extent, end) => extent == Extent::Whole && matches!(end, End::Reached),
    };
    Ok(Beginning { bytes: Cow::Owned(bytes), is_whole, last: None })
}

fn looks_like_html(text: &[u8]) -> bool {
    let begins =
        |with: &str| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with.as_bytes()));
    ["<!doctype html", "<html", "<head", "<body"].into_iter().any(begins)
}

fn check_json(first: u8, text: &[u8], beginning: &Beginning<'_>) -> Result<(), Invalid> {
    if looks_like_html(text) {
        return Err(Invalid::Html);
    }
    // JSON is UTF-8 (RFC 8259 section 8.1); what is looked at may end in the middle of a character.
    if std::str::from_utf8(text).is_err_and(|error| beginning.is_whole || error.error_len().is_some()) {
        return Err(Invalid::NotJson);
    }
    let mut says_error = false;
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = Outline(&mut says_error).read(&mut reader).and_then(|()| reader.end());
    if says_error {
        return Err(Invalid::ErrorEnvelope);
    }
    match read {
        // Of a longer body the end of what is looked at is not the end.
        Err(error) if beginning.is_whole || !error.is_eof() => return Err(Invalid::NotJson),
        _ => {}
    }
    let closing = match first {
        b'{' => b'}',
        b'[' => b']',
        _ => return Err(Invalid::Scalar),
    };
    let is_cut_off = beginning.last.is_some_and(|last| last != closing);
    if is_cut_off { Err(Invalid::NotJson) } else { Ok(()) }
}

/// Reads a JSON text, and notes whether it is an object that says of itself to be an error.
struct Outline<'a>(&'a mut bool);

impl Outline<'_> {
    fn read<'de, D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Outline<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON text")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if name == "status" {
                let status = map.next_value::<&RawValue>()?.get();
                let status: Option<Cow<'_, str>> = serde_json::from_str(status).ok();
                *self.0 |= status.is_some_and(|status| status.eq_ignore_ascii_case("error"));
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
