//! The sidecar's own URL, as the caller sees it.

use std::net::Ipv6Addr;

use http::Request;
use http::header::HOST;
use http::uri::{Authority, Scheme};

/// `scheme://host[:port]`, and the base path by which the caller chose a tenant.
///
/// The host is the one that was asked at, and no header but `Host` can name another. `None` if there is none, or
/// none that is a plain host with or without a port.
pub(super) fn of<B>(scheme: &Scheme, request: &Request<B>, base_path: &str) -> Option<String> {
    let authority = match request.uri().authority() {
        Some(authority) => Authority::as_str(authority),
        None => request.headers().get(HOST)?.to_str().ok()?,
    };
    is_plain(authority).then(|| format!("{scheme}://{authority}{base_path}"))
}

/// Whether a text is a host name or an address, with or without a port, and nothing else.
fn is_plain(authority: &str) -> bool {
    let (host, port) = match authority.rsplit_once(':') {
        // The last colon of an address in brackets may be within them.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_port = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    let is_name_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(is_name_byte),
    };
    is_host && port.is_none_or(is_port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn seen(host: &'static str, base_path: &str) -> Option<String> {
        let mut request = Request::new(());
        request.headers_mut().insert(HOST, HeaderValue::from_static(host));
        of(&Scheme::HTTP, &request, base_path)
    }

    #[test]
    fn it_is_where_the_caller_asked() {
        for host in ["sidecar", "sidecar:8080", "127.0.0.1:8080", "[::1]", "[::1]:8080", "a_b.example"] {
            assert_eq!(seen(host, ""), Some(format!("http://{host}")));
        }
        assert_eq!(seen("sidecar:8080", "/tenants/acme").unwrap(), "http://sidecar:8080/tenants/acme");
    }

    #[test]
    fn an_authority_of_the_target_comes_first() {
        let request = Request::builder().uri("http://[::1]:8080/oauth/v2/token").body(()).unwrap();
        assert_eq!(of(&Scheme::HTTPS, &request, "").unwrap(), "https://[::1]:8080");
    }

    #[test]
    fn what_is_no_plain_host_is_not_repeated() {
        for host in [
            "",
            ":8080",
            "sidecar:",
            "sidecar:x",
            "sidecar:65536",
            "sidecar:+80",
            "evil@sidecar",
            "a/b",
            "a?b",
            "a#b",
            "a b",
            "a,b",
            "[::1",
            "::1",
            "[::1]x",
            "[x]:80",
            "a:1:2",
        ] {
            assert_eq!(seen(host, ""), None, "{host}");
        }
        assert_eq!(of(&Scheme::HTTP, &Request::new(()), ""), None);
    }
}
