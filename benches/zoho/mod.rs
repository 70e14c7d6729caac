//! What Zoho sends with an answer, for more than one benchmark.

use http::{HeaderMap, HeaderValue};

/// The headers of a usual answer that are kept.
pub(crate) fn zohos_headers() -> HeaderMap {
    let mut head = HeaderMap::new();
    for (name, value) in [
        ("server", "ZGS"),
        ("date", "Mon, 23 Nov 2026 08:00:00 GMT"),
        ("content-type", "application/json;charset=UTF-8"),
        ("referrer-policy", "strict-origin"),
        ("x-content-type-options", "nosniff"),
        ("x-xss-protection", "1; mode=block"),
        ("x-frame-options", "SAMEORIGIN"),
        ("clientversion", "6007735"),
        ("clientsubversion", "5f8a3c1e9b7d4f02a6c8e0b1d3f5a7c9"),
        ("content-disposition", "attachment; filename=response.json"),
        ("x-download-options", "noopen"),
        ("content-language", "en-US"),
        ("strict-transport-security", "max-age=63072000"),
    ] {
        head.insert(name, HeaderValue::from_static(value));
    }
    head
}
