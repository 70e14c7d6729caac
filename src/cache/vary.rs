//! Which request headers select among the answers of a URL, as the answers themselves say (`Vary`, RFC 9111
//! section 4.1).
//!
//! An answer that names such headers is stored under a longer key, in which they stand with their values, and a marker
//! takes its place under the plain key: it holds no answer but the names, from which the longer key of a request is made.
//! So an answer that names none, as all of Zoho's, costs its hits nothing.

use std::sync::Arc;

use http::HeaderMap;
use http::header::{HeaderName, VARY};

use super::key::{self, Key};

/// More names than this are taken for `*`: each is a part of every key of the URL.
const MOST_NAMES: usize = 16;

/// How an entry is selected beyond its plain key.
#[derive(Debug, Clone)]
pub struct Variant {
    names: Arc<[HeaderName]>,
    /// The longer key; `None` for a marker.
    key: Option<Key>,
}

impl Variant {
    /// Of an answer that was stored under this longer key.
    pub fn of(names: Vec<HeaderName>, key: Key) -> Self {
        Self { names: names.into(), key: Some(key) }
    }

    pub(super) fn marker(&self) -> Self {
        Self { names: self.names.clone(), key: None }
    }

    pub(super) fn is_marker(&self) -> bool {
        self.key.is_none()
    }

    /// The headers that select.
    pub fn names(&self) -> &Arc<[HeaderName]> {
        &self.names
    }

    /// The longer key.
    pub fn key(&self) -> Option<&Key> {
        self.key.as_ref()
    }

    /// What it costs in memory.
    pub(super) fn weight(&self) -> usize {
        let names: usize = self.names.iter().map(|name| name.as_str().len() + size_of::<HeaderName>()).sum();
        names + self.key.as_ref().map_or(0, Key::len)
    }
}

/// The request headers that the answer depends on; `None` for `*`, which no request ever matches, and for what cannot be
/// compared.
pub fn named(answer: &HeaderMap) -> Option<Vec<HeaderName>> {
    let mut names = Vec::new();
    for value in answer.get_all(VARY) {
        for name in value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii) {
            if name.is_empty() {
                continue;
            }
            // `*`, and what is no name: it cannot be compared.
            let name = HeaderName::from_bytes(name).ok().filter(|name| name.as_str() != "*")?;
            if !names.contains(&name) {
                // Not only counted in the end: looking each name up among tens of thousands takes seconds.
                if names.len() == MOST_NAMES {
                    return None;
                }
                names.push(name);
            }
        }
    }
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    Some(names)
}

/// The longer key of a request with these headers; `None` if their values have more bytes than a key may hold.
pub fn longer_key(
    plain: &[u8],
    names: &[HeaderName],
    headers: &HeaderMap,
    most_bytes_of_one: usize,
) -> Option<Key> {
    let mut bytes = plain.to_vec();
    for name in names {
        if key::values_length(headers, name) > most_bytes_of_one {
            return None;
        }
        key::push_named(headers, name, &mut bytes);
    }
    Some(Key::from_bytes(&bytes))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn names_are_read_from_any_number_of_headers_in_any_case() {
        let read = |values: &[&str]| {
            let pairs: Vec<_> = values.iter().map(|value| ("vary", *value)).collect();
            named(&headers(&pairs))
        };
        assert_eq!(read(&[]), Some(Vec::new()));
        assert_eq!(read(&["", " , "]), Some(Vec::new()));
        let two = vec![HeaderName::from_static("accept"), HeaderName::from_static("x-a")];
        assert_eq!(read(&["X-A, accept", "Accept"]), Some(two));
        for incomparable in ["*", "accept, *", "a b", "\"accept\""] {
            assert_eq!(read(&[incomparable]), None, "{incomparable}");
        }
        let many: Vec<String> = (0..=MOST_NAMES).map(|n| format!("x-{n}")).collect();
        assert_eq!(read(&[&many.join(",")]), None);
        // If each were looked up among all before it, this would take hours.
        let endless: Vec<String> = (0..1_000_000).map(|n| format!("x-{n}")).collect();
        assert_eq!(read(&[&endless.join(",")]), None);
    }

    #[test]
    fn a_longer_key_tells_names_and_values_apart() {
        let [accept, language] = [[http::header::ACCEPT], [http::header::ACCEPT_LANGUAGE]];
        let both = [http::header::ACCEPT, http::header::ACCEPT_LANGUAGE];
        let key = |names: &[HeaderName], pairs: &[(&'static str, &str)]| {
            longer_key(b"plain", names, &headers(pairs), 10)
        };
        let one = key(&accept, &[("accept", "x")]).unwrap();
        assert_eq!(Some(&one), key(&accept, &[("accept", "x"), ("accept-language", "y")]).as_ref());
        for other in [
            key(&accept, &[("accept", "y")]),
            key(&accept, &[]),
            key(&accept, &[("accept", "x"), ("accept", "")]),
            key(&language, &[("accept-language", "x")]),
            key(&both, &[("accept", "x")]),
        ] {
            assert_ne!(Some(&one), other.as_ref());
        }
        assert!(one.as_bytes().starts_with(b"plain") && one.len() > 5);
        assert_eq!(key(&accept, &[("accept", "xxxxxx"), ("accept", "xxxxx")]), None);
        assert_eq!(key(&accept, &[("x-long", "xxxxxxxxxxxxxxxxxxx")]).map(|_| ()), Some(()));
    }
}
