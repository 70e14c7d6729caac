//! What a request path says about where it goes.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;

/// Which host of a data centre serves a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// The API host of the tenant's environment.
    Api,
    /// The host that takes bulk-write uploads.
    Uploads,
}

/// Bulk-write uploads, `POST /crm/{version}/upload`, go to a host of their own; all else to the API host.
pub fn destination(method: &Method, path: &str) -> Destination {
    let mut segments = segments(path).map(decoded);
    let is_upload = method == Method::POST
        && segments.next().as_deref() == Some("crm")
        && segments.next().as_deref().is_some_and(is_version)
        && segments.next().as_deref() == Some("upload")
        && segments.next().is_none();
    if is_upload { Destination::Uploads } else { Destination::Api }
}

/// Whether a path belongs to the accounts server, in any case: requests to it hold clients' secrets, and no API
/// host has such a path.
pub fn is_of_accounts(path: &str) -> bool {
    first_segment(path).is_some_and(|(segment, _)| decoded(segment).eq_ignore_ascii_case("oauth"))
}

/// Whether a path segment is an API version: `v2`, `v2.1`, `v8` …, as in Zoho's own pattern for composite
/// request URIs, `v[0-9]+([.][0-9]+)?`.
pub fn is_version(segment: &str) -> bool {
    let [b'v', number @ ..] = segment.as_bytes() else { return false };
    let mut parts = number.split(|byte| *byte == b'.');
    let mut is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    parts.next().is_some_and(&mut is_number) && parts.next().is_none_or(is_number) && parts.next().is_none()
}

/// Whether a path, with or without a tenant's base, is the one at which clients ask for tokens: they show their
/// users the member `error` of an answer, and nothing else.
pub fn is_token_path(path: &str) -> bool {
    path.ends_with("/oauth/v2/token")
}

/// The first segment of a path that begins with a slash, and what follows it, with its slash. Byte by byte, since a search
/// that is made for long texts costs more than a segment has.
pub fn first_segment(path: &str) -> Option<(&str, &str)> {
    let below = path.strip_prefix('/')?;
    Some(below.split_at(below.bytes().position(|byte| byte == b'/').unwrap_or(below.len())))
}

/// What is between the slashes of a path that begins with one.
pub fn segments(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = path;
    std::iter::from_fn(move || {
        let (segment, after) = first_segment(rest)?;
        rest = after;
        Some(segment)
    })
}

/// The text that a path or a segment of one stands for (RFC 3986 section 2.1); what is no valid encoding stays as it
/// is.
pub fn decoded(segment: &str) -> Cow<'_, str> {
    if !segment.as_bytes().contains(&b'%') {
        return Cow::Borrowed(segment);
    }
    percent_decode_str(segment).decode_utf8().unwrap_or(Cow::Borrowed(segment))
}

/// What kind of resource a path speaks of; a closed list, so that it can label metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Area {
    /// `/crm/{version}/{module}…`
    Records,
    /// `/crm/{version}/settings/…`
    Settings,
    /// `/crm/{version}/users…`
    Users,
    /// `/crm/{version}/org…`
    Organisation,
    /// `/crm/{version}/coql`
    Query,
    /// `/crm/{version}/files` and `/crm/{version}/upload`
    Files,
    /// `/crm/{version}/actions/watch`
    Notifications,
    /// `/crm/{version}/__composite_requests`
    Composite,
    /// `/crm/bulk/{version}/…`
    Bulk,
    /// `/oauth/…`, which the sidecar answers itself.
    Accounts,
    /// Anything else.
    Other,
}

impl Area {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 11] = [
        Self::Records,
        Self::Settings,
        Self::Users,
        Self::Organisation,
        Self::Query,
        Self::Files,
        Self::Notifications,
        Self::Composite,
        Self::Bulk,
        Self::Accounts,
        Self::Other,
    ];

    /// The area of a path.
    pub fn of(path: &str) -> Self {
        let mut segments = segments(path).map(decoded);
        if segments.next().as_deref() != Some("crm") {
            return if is_of_accounts(path) { Self::Accounts } else { Self::Other };
        }
        match (segments.next().as_deref(), segments.next().as_deref()) {
            (Some("bulk"), _) => Self::Bulk,
            (Some(version), Some(name)) if is_version(version) => match name {
                "settings" => Self::Settings,
                "users" => Self::Users,
                "org" => Self::Organisation,
                "coql" => Self::Query,
                "files" | "upload" => Self::Files,
                "actions" => Self::Notifications,
                "__composite_requests" => Self::Composite,
                _ if name.starts_with(|c: char| c.is_ascii_alphabetic()) => Self::Records,
                _ => Self::Other,
            },
            _ => Self::Other,
        }
    }

    /// Its name in metrics and logs, where it stands for the route of a request that no rule covers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Records => "pass/records",
            Self::Settings => "pass/settings",
            Self::Users => "pass/users",
            Self::Organisation => "pass/org",
            Self::Query => "pass/coql",
            Self::Files => "pass/files",
            Self::Notifications => "pass/notifications",
            Self::Composite => "pass/composite",
            Self::Bulk => "pass/bulk",
            Self::Accounts => "accounts",
            Self::Other => "pass/other",
        }
    }
}

/// Whether a path can be read in one way only: nothing in it is encoded, it has no backslash, and no segment of it but
/// the last is empty or begins with a dot. The other questions about its spelling need not be asked then.
pub fn is_plain(path: &str) -> bool {
    let Some((b'/', rest)) = path.as_bytes().split_first() else { return false };
    let is = |byte: &u8, wanted: u8| u8::from(*byte == wanted);
    let is_odd = |(before, byte): (&u8, &u8)| {
        is(byte, b'%') | is(byte, b'\\') | is(before, b'/') & (is(byte, b'/') | is(byte, b'.'))
    };
    // Without an early end, and with numbers for truth, the compiler looks at sixteen bytes at once.
    path.as_bytes().iter().zip(rest).map(is_odd).fold(0, |odd, this| odd | this) == 0
}

/// The path with encoded slashes and backslashes as slashes, and repeated slashes as one; `None` if that is the path
/// itself. Both are compared, and a request whose meaning differs between them is refused. All other liberties that a server
/// may take with a path are in [`super::lenient`], and never refuse a request for its spelling alone.
pub fn with_plain_slashes(path: &str) -> Option<String> {
    if is_plain(path) {
        return None;
    }
    let has_encoded = path.as_bytes().windows(3).any(is_encoded_separator);
    if !has_encoded && !path.contains("//") && !path.contains('\\') {
        return None;
    }
    let bytes = path.as_bytes();
    let (mut reading, mut at) = (String::with_capacity(path.len()), 0);
    while at < bytes.len() {
        let rest = &path[at..];
        let (c, width) = match rest.as_bytes() {
            [_, _, _, ..] if is_encoded_separator(&rest.as_bytes()[..3]) => ('/', 3),
            [b'\\', ..] => ('/', 1),
            _ => {
                let c = rest.chars().next().expect("`at` stays on character boundaries");
                (c, c.len_utf8())
            }
        };
        if c != '/' || !reading.ends_with('/') {
            reading.push(c);
        }
        at += width;
    }
    Some(reading)
}

fn is_encoded_separator(bytes: &[u8]) -> bool {
    matches!(bytes, [b'%', b'2', b'f' | b'F'] | [b'%', b'5', b'c' | b'C'])
}

/// Whether a path holds `.` or `..` as a segment, plain or encoded: to some servers it is another path.
pub fn has_dot_segment(path: &str) -> bool {
    path.split('/').any(|segment| {
        let mut rest = segment;
        let mut dots = 0;
        while let Some(next) = rest.strip_prefix('.').or_else(|| strip_encoded_dot(rest)) {
            (rest, dots) = (next, dots + 1);
        }
        // `..;x` is `..` to servers that know path parameters.
        (1..=2).contains(&dots) && (rest.is_empty() || rest.starts_with(';'))
    })
}

fn strip_encoded_dot(text: &str) -> Option<&str> {
    text.strip_prefix("%2e").or_else(|| text.strip_prefix("%2E"))
}

/// Whether a path holds an encoded control character, as no path of Zoho's does.
pub fn has_encoded_control(path: &str) -> bool {
    path.as_bytes().windows(3).any(|window| match window {
        [b'%', b'0' | b'1', low] => low.is_ascii_hexdigit(),
        [b'%', b'7', b'f' | b'F'] => true,
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_upload_of_a_bulk_write_goes_to_the_uploads_host() {
        assert_eq!(destination(&Method::POST, "/crm/v5/upload"), Destination::Uploads);
        assert_eq!(destination(&Method::POST, "/%63rm/v5/%75pload"), Destination::Uploads);
        for (method, path) in [
            (Method::GET, "/crm/v5/upload"),
            (Method::POST, "/crm/v5/upload/1"),
            (Method::POST, "/crm/upload"),
            (Method::POST, "/crm/v5/files"),
            (Method::POST, "/crm/bulk/v5/write"),
            (Method::POST, "/crm/Leads/upload"),
        ] {
            assert_eq!(destination(&method, path), Destination::Api, "{method} {path}");
        }
    }

    #[test]
    fn versions_are_told_from_names() {
        for version in ["v2", "v2.1", "v8", "v10"] {
            assert!(is_version(version), "{version}");
        }
        for name in ["v", "v.", "v2.", "v2.x", "2", "version", "", "V8"] {
            assert!(!is_version(name), "{name}");
        }
    }

    #[test]
    fn every_path_has_an_area() {
        for (path, area) in [
            ("/crm/v5/Leads/1", Area::Records),
            ("/crm/v8/settings/territories", Area::Settings),
            ("/crm/v2.1/users", Area::Users),
            ("/crm/v5/org/currencies", Area::Organisation),
            ("/crm/bulk/v5/read", Area::Bulk),
            ("/crm/v5/__composite_requests", Area::Composite),
            ("/crm/v5/%5F%5fcomposite_requests", Area::Composite),
            ("/crm/v5/__features", Area::Other),
            ("/crm/email/v8/settings/compose", Area::Other),
            ("/oauth/v2/token", Area::Accounts),
            ("/OAuth", Area::Accounts),
            ("/%6Fauth/v2/token", Area::Accounts),
            ("/oauthentic", Area::Other),
            ("/", Area::Other),
        ] {
            assert_eq!(Area::of(path), area, "{path}");
        }
    }

    #[test]
    fn a_path_that_could_be_read_otherwise_is_read_so() {
        assert_eq!(with_plain_slashes("/crm/v5/users"), None);
        assert_eq!(with_plain_slashes("/crm/v5/Leads/a%20b"), None);
        for path in ["/crm//v5/users", "/crm%2fv5/users", "/crm/%2Fv5\\users", "//crm/v5%5Cusers"] {
            assert_eq!(with_plain_slashes(path).as_deref(), Some("/crm/v5/users"), "{path}");
        }
    }

    #[test]
    fn a_plain_path_has_one_reading() {
        for path in ["/", "/crm/v2.1/users", "/crm/v8/Leads/", "/crm/v8/a..b", "/a;b/c"] {
            assert!(is_plain(path), "{path}");
        }
        for path in ["", "*", "crm", "//crm", "/crm//v8", "/crm/.", "/.well-known", "/a%20b", "/a\\b"] {
            assert!(!is_plain(path), "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_question_about_its_spelling_is_left_for_a_plain_path(path in "/?([a-z0-9.;%/\\\\]{0,4}|%2[eEfF]|%5c|%0d){0,8}") {
            if is_plain(&path) {
                proptest::prop_assert!(!has_dot_segment(&path) && !has_encoded_control(&path));
                proptest::prop_assert!(!path.contains("//") && path.split('/').all(|one| decoded(one) == one));
            }
        }

        #[test]
        fn a_version_is_what_zohos_pattern_says(text in "v?[0-9v.]{0,6}") {
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let by_parts = text.strip_prefix('v').is_some_and(|number| match number.split_once('.') {
                Some((major, minor)) => digits(major) && digits(minor),
                None => digits(number),
            });
            proptest::prop_assert_eq!(is_version(&text), by_parts);
        }
    }

    #[test]
    fn dot_segments_are_found_in_every_spelling() {
        for path in ["/crm/../x", "/./x", "/crm/%2e%2E/x", "/crm/.%2e", "/crm/..;a/x", "/.."] {
            assert!(has_dot_segment(path), "{path}");
        }
        for path in ["/crm/v2.1/x", "/crm/.../x", "/crm/..x", "/crm/a..", "/crm/v5/x.y"] {
            assert!(!has_dot_segment(path), "{path}");
        }
    }

    #[test]
    fn encoded_control_characters_are_found() {
        for path in ["/%00", "/a%0d%0a", "/%1f", "/%7F"] {
            assert!(has_encoded_control(path), "{path}");
        }
        assert!(!has_encoded_control("/%20%2f%80%7e"));
    }
}
