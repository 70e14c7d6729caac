//! What a request path says about where it goes.

use http::Method;

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
    let mut segments = path.split('/').skip(1);
    let is_upload = method == Method::POST
        && segments.next() == Some("crm")
        && segments.next().is_some_and(is_version)
        && segments.next() == Some("upload")
        && segments.next().is_none();
    if is_upload { Destination::Uploads } else { Destination::Api }
}

/// Whether a path segment is an API version: `v2`, `v2.1`, `v8` …, as in Zoho's own pattern for composite
/// request URIs, `v[0-9]+([.][0-9]+)?`.
pub fn is_version(segment: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let Some(number) = segment.strip_prefix('v') else {
        return false;
    };
    match number.split_once('.') {
        Some((major, minor)) => digits(major) && digits(minor),
        None => digits(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_upload_of_a_bulk_write_goes_to_the_uploads_host() {
        assert_eq!(destination(&Method::POST, "/crm/v5/upload"), Destination::Uploads);
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
}
