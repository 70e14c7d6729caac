//! The directives of `Cache-Control` and its kin: a list of names, some with a value (RFC 9111 section 5.2).

use std::time::Duration;

use http::HeaderMap;
use http::header::HeaderName;

/// One directive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Directive {
    /// Its name in lower case.
    pub(super) name: String,
    /// Its value, without the quotes if it had any.
    pub(super) value: Option<String>,
}

/// More than a lifetime; what a number beyond 2^31 stands for (RFC 9111 section 1.2.2).
const MOST_SECONDS: u64 = 1 << 31;

impl Directive {
    pub(super) fn is(&self, name: &str) -> bool {
        self.name == name
    }

    /// The value as delta-seconds.
    pub(super) fn seconds(&self) -> Option<Duration> {
        let text = self.value.as_deref()?;
        if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        // Only digits, so the one way to fail is to be too large.
        Some(Duration::from_secs(text.parse().unwrap_or(MOST_SECONDS).min(MOST_SECONDS)))
    }
}

/// The directives of all headers of this name, in order. A comma inside quotes does not end a directive.
pub(super) fn of(headers: &HeaderMap, name: &HeaderName) -> impl Iterator<Item = Directive> {
    let texts = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    texts.flat_map(|text| split(text).into_iter().filter_map(parse))
}

fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

fn parse(text: &str) -> Option<Directive> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(unquoted(value.trim()))),
        None => (text, None),
    };
    let name = name.trim();
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    (!name.is_empty() && name.bytes().all(is_token))
        .then(|| Directive { name: name.to_ascii_lowercase(), value })
}

fn unquoted(text: &str) -> String {
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\\\"", "\"").replace("\\\\", "\\"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use http::header::CACHE_CONTROL;

    #[test]
    fn a_comma_in_quotes_ends_nothing() {
        let mut headers = HeaderMap::new();
        let value = r#"private="set-cookie, x\"y", max-age=5,no-cache"#;
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(value));
        let read: Vec<_> = of(&headers, &CACHE_CONTROL).map(|d| (d.name, d.value)).collect();
        assert_eq!(
            read,
            [
                ("private".to_owned(), Some("set-cookie, x\"y".to_owned())),
                ("max-age".to_owned(), Some("5".to_owned())),
                ("no-cache".to_owned(), None)
            ]
        );
    }
}
