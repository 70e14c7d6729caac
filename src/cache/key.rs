//! What makes two requests the same.

use std::borrow::Borrow;

use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, HeaderName, HeaderValue};

/// What an entry is found by: tenant, credential, path, query, and the request headers that change the
/// answer. Cannot be made without a tenant and its credential, so that no tenant is ever served another's
/// bytes. The method is not in it: HEAD shares GET's entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key(Box<[u8]>);

impl Key {
    /// A key of bytes that [`write()`] made.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Never; a key holds at least its tenant.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The number of the tenant it belongs to.
    pub fn tenant(&self) -> usize {
        self.0
            .first_chunk()
            .map_or(usize::MAX, |bytes| usize::try_from(u64::from_be_bytes(*bytes)).unwrap_or(usize::MAX))
    }

    /// The credential whose answers it stands for.
    pub fn identity(&self) -> u64 {
        self.0.get(8..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }

    /// The path it is for, without the query.
    pub fn path(&self) -> &[u8] {
        let target = self.0.get(HEAD..).and_then(|rest| {
            let (length, rest) = rest.split_first_chunk()?;
            rest.get(..usize::try_from(u64::from_be_bytes(*length)).ok()?)
        });
        target.unwrap_or_default().split(|byte| *byte == b'?').next().unwrap_or_default()
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Tenant, credential and coding, before the path.
const HEAD: usize = 8 + 8 + 1;

impl Borrow<[u8]> for Key {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// What a key is made of.
#[derive(Debug)]
pub struct Parts<'a> {
    /// The tenant's number.
    pub tenant: usize,
    /// Its credential: an answer depends on the token's user, so a new refresh token begins anew.
    pub identity: u64,
    /// Path and query as they came: Zoho's queries have an order that may matter.
    pub path_and_query: &'a str,
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// Which further headers change the answer, by the rule.
    pub vary_by: &'a [HeaderName],
}

/// Headers that change Zoho's answer on some endpoint or other; in every key, so that no rule can forget
/// them. `X-CRM-ORG` names an organisation, `X-EXTERNAL` makes an external field the record's id.
const ALWAYS: [HeaderName; 2] = [HeaderName::from_static("x-crm-org"), HeaderName::from_static("x-external")];

/// Writes the key of a request into a buffer, which is cleared first. Every part carries its length, so that
/// no two requests run together into the same bytes.
pub fn write(parts: &Parts<'_>, to: &mut Vec<u8>) {
    to.clear();
    to.extend_from_slice(&(parts.tenant as u64).to_be_bytes());
    to.extend_from_slice(&parts.identity.to_be_bytes());
    to.push(u8::from(accepts_gzip(parts.headers)));
    push(parts.path_and_query.as_bytes(), to);
    for name in &ALWAYS {
        push_values(parts.headers, name, to);
    }
    for name in parts.vary_by {
        push_values(parts.headers, name, to);
    }
}

/// The first header whose values put more than `limit` bytes into the key of a request.
pub fn overlong_header(key: &[u8], parts: &Parts<'_>, limit: usize) -> Option<HeaderName> {
    // All values together have fewer bytes than the key, so that most requests need no further look.
    if key.len() <= HEAD + parts.path_and_query.len() + limit {
        return None;
    }
    let is_overlong = |name: &&HeaderName| values_length(parts.headers, name) > limit;
    ALWAYS.iter().chain(parts.vary_by).find(is_overlong).cloned()
}

/// How many bytes the values of a header have together.
pub(super) fn values_length(headers: &HeaderMap, name: &HeaderName) -> usize {
    headers.get_all(name).iter().map(HeaderValue::len).sum()
}

/// Lengthens a key by a header that an answer has named. Names stand in it too, since answers may come to name others.
pub(super) fn push_named(headers: &HeaderMap, name: &HeaderName, to: &mut Vec<u8>) {
    to.push(2);
    push(name.as_str().as_bytes(), to);
    push_values(headers, name, to);
}

/// Whether a header's value stands in every key.
pub fn is_in_every_key(name: &HeaderName) -> bool {
    ALWAYS.contains(name) || *name == ACCEPT_ENCODING
}

/// Looks through all headers, which are few: a look-up would cost a hash of the name.
fn push_values(headers: &HeaderMap, name: &HeaderName, to: &mut Vec<u8>) {
    for (_, value) in headers.iter().filter(|(its, _)| *its == name) {
        to.push(1);
        push(value.as_bytes(), to);
    }
    to.push(0);
}

fn push(bytes: &[u8], to: &mut Vec<u8>) {
    to.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
    to.extend_from_slice(bytes);
}

/// Whether a caller takes gzip (RFC 9110 section 12.5.3). For a cached route Zoho is asked for gzip or for
/// no coding, so that all spellings of `Accept-Encoding` share two entries.
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    let codings = || {
        let values = headers.iter().filter(|(name, _)| **name == ACCEPT_ENCODING);
        values.flat_map(|(_, value)| value.as_bytes().split(|byte| *byte == b','))
    };
    let is_accepted = |wanted: &[u8]| {
        codings().find_map(|coding| {
            let mut parts = coding.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
            let is_it = parts.next()?.eq_ignore_ascii_case(wanted);
            is_it.then(|| !parts.any(is_no_weight))
        })
    };
    let [gzip, x_gzip, any] = [&b"gzip"[..], b"x-gzip", b"*"];
    is_accepted(gzip).or_else(|| is_accepted(x_gzip)).or_else(|| is_accepted(any)).unwrap_or(false)
}

/// Whether this is a weight of zero, which refuses (RFC 9110 section 12.4.2).
fn is_no_weight(parameter: &[u8]) -> bool {
    let [b'q' | b'Q', b'=', weight @ ..] = parameter else { return false };
    std::str::from_utf8(weight).ok().and_then(|q| q.parse::<f32>().ok()).is_some_and(|q| q <= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(tenant: usize, identity: u64, path: &str, headers: &[(&'static str, &'static str)]) -> Vec<u8> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        let vary_by = [HeaderName::from_static("x-vary")];
        let mut to = b"left over".to_vec();
        write(&Parts { tenant, identity, path_and_query: path, headers: &map, vary_by: &vary_by }, &mut to);
        to
    }

    #[test]
    fn whatever_changes_the_answer_changes_the_key() {
        let plain = key(0, 7, "/crm/v5/x", &[]);
        for (what, other) in [
            ("tenant", key(1, 7, "/crm/v5/x", &[])),
            ("credential", key(0, 8, "/crm/v5/x", &[])),
            ("version", key(0, 7, "/crm/v6/x", &[])),
            ("query", key(0, 7, "/crm/v5/x?page=2", &[])),
            ("organisation", key(0, 7, "/crm/v5/x", &[("x-crm-org", "1")])),
            ("coding", key(0, 7, "/crm/v5/x", &[("accept-encoding", "gzip, deflate")])),
            ("rule's header", key(0, 7, "/crm/v5/x", &[("x-vary", "1")])),
        ] {
            assert_ne!(plain, other, "{what}");
        }
    }

    #[test]
    fn a_key_tells_its_tenant_and_path() {
        let key = Key::from_bytes(&key(3, 7, "/crm/v5/x?page=2", &[("x-crm-org", "1")]));
        assert_eq!((key.tenant(), key.identity(), key.path()), (3, 7, &b"/crm/v5/x"[..]));
        assert_eq!(Key::from_bytes(b"short").path(), b"");
    }

    #[test]
    fn what_does_not_change_the_answer_does_not_change_the_key() {
        let plain = key(0, 7, "/crm/v5/x", &[]);
        for header in [
            ("x-zoho-sdk", "Linux/6.1/python-5.0/3.11:2.0.0"),
            ("user-agent", "python-requests/2.32"),
            ("accept-encoding", "identity"),
            ("accept-encoding", "br"),
            ("accept-encoding", "gzip;q=0"),
            ("authorization", "Zoho-oauthtoken placeholder"),
        ] {
            assert_eq!(plain, key(0, 7, "/crm/v5/x", &[header]), "{header:?}");
        }
        let gzip = key(0, 7, "/crm/v5/x", &[("accept-encoding", "gzip")]);
        for spelling in ["gzip, deflate", "deflate, GZIP;q=0.5", "*", "br, gzip;q=1.0, *;q=0"] {
            assert_eq!(gzip, key(0, 7, "/crm/v5/x", &[("accept-encoding", spelling)]), "{spelling}");
        }
    }

    #[test]
    fn values_do_not_run_together() {
        let one = key(0, 7, "/x", &[("x-crm-org", "1"), ("x-vary", "")]);
        let other = key(0, 7, "/x", &[("x-crm-org", ""), ("x-vary", "1")]);
        assert_ne!(one, other);
        assert_ne!(
            key(0, 7, "/x", &[("x-vary", "a"), ("x-vary", "b")]),
            key(0, 7, "/x", &[("x-vary", "ab")])
        );
        assert_ne!(key(0, 7, "/x", &[("x-crm-org", "1")]), key(0, 7, "/x", &[("x-vary", "1")]));
    }
}
