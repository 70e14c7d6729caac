//! Parameters in a form, a query, or a multipart body.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};
use zeroize::Zeroizing;

use super::multipart;

/// Names and values, in order. Values may be secrets, so they are wiped from memory on drop.
#[derive(Default)]
pub struct Form(Vec<(String, Zeroizing<String>)>);

impl Form {
    /// Names and values that are decoded already.
    pub fn of(pairs: impl Iterator<Item = (String, String)>) -> Self {
        Self(pairs.map(|(name, value)| (name, Zeroizing::new(value))).collect())
    }

    /// Reads `a=b&c=d`.
    pub fn urlencoded(text: &str) -> Self {
        Self::urlencoded_bytes(text.as_bytes())
    }

    /// Parses like `form_urlencoded`, without the copies that it leaves in memory.
    fn urlencoded_bytes(text: &[u8]) -> Self {
        let pairs = text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
            let end = pair.iter().position(|byte| *byte == b'=');
            let (name, value) =
                (&pair[..end.unwrap_or(pair.len())], end.map_or(&[][..], |end| &pair[end + 1..]));
            (decoded(name).to_string(), decoded(value))
        });
        Self(pairs.collect())
    }

    /// Reads a body by its content type; what is not multipart is taken for a form.
    pub fn body(content_type: Option<&str>, body: &[u8]) -> Self {
        let boundary = content_type.and_then(multipart::boundary);
        let Some(boundary) = boundary else {
            return Self::urlencoded_bytes(body);
        };
        let text = |bytes: &[u8]| Zeroizing::new(String::from_utf8_lossy(bytes).into_owned());
        let parts = multipart::parts(body, &boundary);
        Self(parts.into_iter().map(|part| (part.name, text(part.content))).collect())
    }

    /// These, and those of another after them.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// The first value of a name.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The comma-separated values of a name.
    pub fn list(&self, name: &str) -> Vec<&str> {
        let values = self.value(name).unwrap_or_default().split(',');
        values.map(str::trim).filter(|value| !value.is_empty()).collect()
    }
}

/// Decodes percent encoding, and `+` as a space, into memory that is wiped on drop and never grows: growing would leave a
/// copy of the secret behind. Invalid sequences stay unchanged.
fn decoded(text: &[u8]) -> Zeroizing<String> {
    let mut octets = Zeroizing::new(Vec::with_capacity(text.len()));
    for (n, piece) in text.split(|byte| *byte == b'+').enumerate() {
        octets.extend((n > 0).then_some(b' '));
        octets.extend(percent_decode(piece));
    }
    Zeroizing::new(String::from_utf8_lossy(&octets).into_owned())
}

/// Decodes percent encoding, and `+` as a space. Invalid sequences stay unchanged.
pub fn decode(text: &str) -> String {
    std::mem::take(&mut *decoded(text.as_bytes()))
}

/// Percent-encodes all but the unreserved characters of RFC 3986 section 2.3: letters, digits and `-._~`.
pub fn encode(text: &str) -> String {
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let form = Form::urlencoded("a=1000.x%2Ey&b=one+two&c&ids=1,%202");
        assert_eq!(form.value("a"), Some("1000.x.y"));
        assert_eq!(form.value("b"), Some("one two"));
        assert_eq!(form.value("c"), Some(""));
        assert_eq!(form.list("ids"), ["1", "2"]);
        assert_eq!(decode("100%"), "100%");
        assert_eq!(decode(&encode("ü/ &")), "ü/ &");
    }

    proptest::proptest! {
        #[test]
        fn a_form_is_read_as_form_urlencoded_reads_it(text in "([a-c]|&|=|\\+|%2B|%|%c3%bc|%ff|ü){0,24}") {
            let expected: Vec<(String, String)> = form_urlencoded::parse(text.as_bytes()).into_owned().collect();
            let pair = |(name, value): &(String, Zeroizing<String>)| (name.clone(), value.to_string());
            let read: Vec<(String, String)> = Form::urlencoded(&text).0.iter().map(pair).collect();
            proptest::prop_assert_eq!(read, expected);
        }
    }

    #[test]
    fn a_multipart_body_holds_parameters_too() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"code\"\r\n\r\n1000.c\r\n--b--\r\n";
        let form = Form::body(Some("multipart/form-data; boundary=b"), body.as_bytes());
        assert_eq!(form.value("code"), Some("1000.c"));
    }
}
