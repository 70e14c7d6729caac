//! Spellings of a URL that mean the same to Zoho have one normal form here.
//!
//! It only decides what is invalidated or purged together, never what is served: to take two URLs for one costs no
//! more than a fetch.

use std::borrow::Cow;

use crate::zoho::path::with_plain_slashes;

/// The normal form of a URL that begins with this path: no final slash, which changes nothing for Zoho's router, and
/// nothing percent-encoded that need not be.
pub(super) fn of_url<'a>(path: &str, path_and_query: &'a str) -> Cow<'a, str> {
    if path.ends_with('/') {
        return Cow::Owned(of_url_with_final_slash(path, path_and_query));
    }
    decoded_where_equal(path_and_query)
}

#[cold]
fn of_url_with_final_slash(path: &str, path_and_query: &str) -> String {
    let query = path_and_query.get(path.len()..).unwrap_or_default();
    decoded_where_equal(&format!("{}{query}", path.trim_end_matches('/'))).into_owned()
}

/// The normal form of a path, in which encoded slashes, backslashes and repeated slashes are plain single slashes too.
pub(super) fn of_path(path: &str) -> Cow<'_, str> {
    match with_plain_slashes(path) {
        Some(lenient) => Cow::Owned(decoded_where_equal(lenient.trim_end_matches('/')).into_owned()),
        None => decoded_where_equal(path.trim_end_matches('/')),
    }
}

/// A path and query in which nothing is percent-encoded that need not be, and the rest in capitals (RFC 9110 section
/// 4.2.3).
fn decoded_where_equal(path_and_query: &str) -> Cow<'_, str> {
    if !path_and_query.as_bytes().contains(&b'%') {
        return Cow::Borrowed(path_and_query);
    }
    let mut plain = String::with_capacity(path_and_query.len());
    let mut rest = path_and_query;
    while let Some((before, after)) = rest.split_once('%') {
        plain.push_str(before);
        let digits = after.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        let octet = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match octet {
            Some(octet) if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) => {
                plain.push(char::from(octet));
            }
            Some(octet) => plain.extend(["%", &format!("{octet:02X}")]),
            None => plain.push('%'),
        }
        rest = if octet.is_some() { &after[2..] } else { after };
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_differ_keep_different_forms() {
        let form = |url: &'static str| of_url(url.split('?').next().unwrap(), url);
        for (one, other) in
            [("/a%2Fb", "/a/b"), ("/a?x=1", "/a"), ("/a?x=/", "/a?x="), ("/a%3Fx", "/a?x"), ("/a%25", "/a%")]
        {
            assert_ne!(form(one), form(other), "{one}");
        }
    }

    #[test]
    fn every_spelling_of_a_path_has_the_same_form() {
        for path in ["/a/b", "/a/b/", "/%61/b", "/a//b", "/a%2fb", "/a\\b", "/a/b%2F", "//a/b//"] {
            assert_eq!(of_path(path), "/a/b", "{path}");
        }
        for path in ["/a/c", "/A/b", "/a%20b", "/a/b/c", "/"] {
            assert_ne!(of_path(path), "/a/b", "{path}");
        }
    }
}
