//! Requests that could mean one thing to the sidecar and another to Zoho are refused before they touch
//! cache or credential.

use http::header::{CONNECTION, CONTENT_LENGTH, EXPECT, HOST, HeaderName, TRANSFER_ENCODING, UPGRADE};
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Version};

use super::kinds::Kinds;
use super::refusal::Refusal;
use crate::net::browser::{is_beyond_rebinding, is_of_browser, is_of_page, without_port};
use crate::net::headers::{self, ConnectionNamed, has_more_connection_options};
use crate::net::http1::Fault;
use crate::net::http1::request_line::LONGEST_METHOD;
use crate::net::origin::is_address;
use crate::routes::{Forgets, Routes};
use crate::upstream::outbound::stays_here;
use crate::zoho::composite::{is_composite, is_documented_path};
use crate::zoho::path::{
    Destination, destination, has_dot_segment, has_encoded_control, is_of_accounts, is_plain,
    with_plain_slashes,
};

/// Checks method, target, host and framing.
pub(super) fn check<B>(request: &Request<B>, kinds: Kinds) -> Result<(), Refusal> {
    if let Some(fault) = request.extensions().get::<Fault>() {
        return Err(Refusal::Malformed(*fault));
    }
    check_method(request.method())?;
    check_host(request)?;
    if kinds.have(Kinds::INSPECTED) {
        check_upgrade(request.headers())?;
        check_connection(kinds)?;
        check_expectation(request.headers())?;
        check_framing(request.headers())?;
    }
    let path = request.uri().path();
    let is_about_us = path == "*" && *request.method() == Method::OPTIONS;
    if !path.starts_with('/') && !is_about_us {
        return Err(Refusal::Ambiguous("its target is not a path"));
    }
    if is_plain(path) {
        return Ok(());
    }
    if has_dot_segment(path) || with_plain_slashes(path).is_some_and(|path| has_dot_segment(&path)) {
        return Err(Refusal::Ambiguous("its path has a dot segment"));
    }
    if has_encoded_control(path) {
        return Err(Refusal::Ambiguous("its path has an encoded control character"));
    }
    Ok(())
}

/// Checks that encoded or repeated slashes do not hide another meaning of the path from the rules.
pub(super) fn check_meaning(routes: &Routes, method: &Method, path: &str) -> Result<(), Refusal> {
    let Some(other) = with_plain_slashes(path) else { return Ok(()) };
    let meaning = |path: &str| -> (Option<usize>, Forgets, Destination, (bool, bool, bool)) {
        let destination = destination(method, path);
        let forgets = routes.forgotten_by(method, path);
        let is_special = (is_of_accounts(path), is_documented_path(path), is_composite(path));
        (routes.route_of(method, path), forgets, destination, is_special)
    };
    if meaning(path) == meaning(&other) {
        Ok(())
    } else {
        Err(Refusal::Ambiguous("with its slashes read plainly its path means something else"))
    }
}

/// Methods that a proxy with credentials must not pass on, and those that could be taken for another one.
fn check_method(method: &Method) -> Result<(), Refusal> {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::OPTIONS => Ok(()),
        // `CONNECT` would make a tunnel, `TRACE` would send our credential back.
        Method::CONNECT | Method::TRACE => Err(Refusal::Method),
        ref other => check_extension_method(other.as_str()),
    }
}

/// Methods are case-sensitive (RFC 9110 section 9.1), but not to every server: `post` is a write to one and no known
/// method to another.
#[cold]
fn check_extension_method(method: &str) -> Result<(), Refusal> {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"];
    if method.len() > LONGEST_METHOD {
        return Err(Refusal::Malformed(Fault::MethodTooLong(LONGEST_METHOD)));
    }
    let is_variant = KNOWN.iter().any(|known| known.eq_ignore_ascii_case(method));
    if is_variant { Err(Refusal::Method) } else { Ok(()) }
}

/// One of both says where the body ends (RFC 9112 section 6.1).
fn check_framing(headers: &HeaderMap) -> Result<(), Refusal> {
    if headers.contains_key(TRANSFER_ENCODING) && headers.contains_key(CONTENT_LENGTH) {
        return Err(Refusal::Ambiguous("it has both Content-Length and Transfer-Encoding"));
    }
    Ok(())
}

/// A protocol upgrade would leave HTTP. An offer of `h2c` may be ignored (RFC 9110 section 7.8), and clients
/// make it without needing it.
fn check_upgrade(headers: &HeaderMap) -> Result<(), Refusal> {
    let asks_upgrade = headers.contains_key(UPGRADE)
        && headers
            .get_all(CONNECTION)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.to_ascii_lowercase().contains("upgrade"));
    let is_h2c = headers.get_all(UPGRADE).iter().all(|value| value.as_bytes().eq_ignore_ascii_case(b"h2c"));
    if asks_upgrade && !is_h2c {
        return Err(Refusal::Ambiguous("it asks for a protocol upgrade"));
    }
    Ok(())
}

/// One host, said once (RFC 9112 section 3.2).
fn check_host<B>(request: &Request<B>) -> Result<(), Refusal> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let target = request.uri().authority();
    if target.is_some_and(|target| target.as_str().contains('@')) {
        // RFC 9110 section 4.2.4, RFC 9113 section 8.3.1.
        return Err(Refusal::Ambiguous("its target has user information before the host"));
    }
    match (hosts.next(), hosts.next(), target) {
        (_, Some(_), _) => Err(Refusal::Ambiguous("it has several Host headers")),
        (Some(host), None, _) if !is_host(host.as_bytes()) => {
            Err(Refusal::Ambiguous("its Host header is not a host with a port"))
        }
        (Some(host), None, Some(target)) if !is_same(host.as_bytes(), target) => {
            Err(Refusal::Ambiguous("its target names another host than its Host header"))
        }
        // To HTTP/1 an absolute target is a question to a proxy for all hosts, as after `http_proxy=…`; this
        // one would answer it with credentials.
        (_, None, Some(target)) if request.version() < Version::HTTP_2 && !is_address(target.host()) => {
            Err(Refusal::Ambiguous("its target is a URL of another host"))
        }
        (None, None, None) if request.version() == Version::HTTP_11 => {
            Err(Refusal::Ambiguous("it has no Host header"))
        }
        _ => Ok(()),
    }
}

/// Whether this can be a `Host`: a name or an address, and a port (RFC 9110 section 7.2). What would make it
/// more to some reader, as user information, a path or a list, is not among its bytes.
fn is_host(value: &[u8]) -> bool {
    value.iter().all(|byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'%' | b':' | b'[' | b']')
    })
}

/// Continuing is all that a caller may expect (RFC 9110 section 10.1.1).
fn check_expectation(headers: &HeaderMap) -> Result<(), Refusal> {
    let is_known = |value: &http::HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if headers.get_all(EXPECT).iter().all(is_known) { Ok(()) } else { Err(Refusal::Expectation) }
}

/// How a request comes, as far as it matters to what a browser could do by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// By a network, without a credential: that it arrives is all that it needs, so a page could have it sent.
    Open,
    /// With a credential, or by a unix socket.
    Shown,
}

/// Refuses browsers: a page that a person happens to visit could use the credentials of a sidecar which that person's
/// machine reaches. Where a credential is shown, only what certainly comes from a page is refused: a browser adds
/// a certificate by itself.
pub(super) fn check_not_a_browser(headers: &HeaderMap, kinds: Kinds, access: Access) -> Result<(), Refusal> {
    let is_refused = kinds.have(Kinds::INSPECTED)
        && match access {
            Access::Open => is_of_browser(headers),
            Access::Shown => is_of_page(headers),
        };
    if is_refused { Err(Refusal::Browser) } else { Ok(()) }
}

/// `Connection` may name so many headers. Each costs work, and no client has more than a few to name.
const MOST_CONNECTION_OPTIONS: usize = 32;

/// What [`strip_connection_named`] found.
pub(super) struct Stripped {
    /// Whether it removed a header.
    pub(super) has_removed: bool,
    /// Why the request is to be refused, if it is.
    pub(super) fault: Kinds,
}

/// Removes what `Connection` names, but for what is meant for the sidecar itself and never goes out. Where it names too
/// much, nothing is removed. Neither that nor taking back a header that decides the answer is let pass: [`check`] refuses it.
pub(super) fn strip_connection_named(headers: &mut HeaderMap) -> Stripped {
    if has_more_connection_options(headers, MOST_CONNECTION_OPTIONS) {
        return Stripped { has_removed: false, fault: Kinds::CONNECTION_TOO_LONG };
    }
    let named = ConnectionNamed::of(headers);
    let decides = |name| named.contains(&HeaderName::from_static(name));
    let fault = if ["x-crm-org", "x-external"].into_iter().any(decides) {
        Kinds::CONNECTION_TAKES_BACK
    } else {
        Kinds::NONE
    };
    Stripped { has_removed: headers::remove_connection_named(headers, &named, stays_here), fault }
}

fn check_connection(kinds: Kinds) -> Result<(), Refusal> {
    if kinds.have(Kinds::CONNECTION_TOO_LONG) {
        return Err(Refusal::Ambiguous("its Connection header has more than 32 options"));
    }
    if kinds.have(Kinds::CONNECTION_TAKES_BACK) {
        return Err(Refusal::Ambiguous("its Connection header takes back a header that decides the answer"));
    }
    Ok(())
}

/// Refuses a host that somebody else's name server could have made to lead here. A page of a browser that was
/// loaded from such a host may read what it gets from it, and its reads carry none of the headers by which pages
/// are known (DNS rebinding). An address, `localhost` and a name without a dot are in nobody else's hands.
pub(super) fn check_host_is_ours<B>(request: &Request<B>, ours: &[String]) -> Result<(), Refusal> {
    let authority = match (request.uri().authority(), request.headers().get(HOST)) {
        (Some(authority), _) => authority.as_str(),
        (None, Some(host)) => host.to_str().unwrap_or("."),
        (None, None) => return Ok(()),
    };
    let is_ours = is_beyond_rebinding(authority)
        || ours.iter().any(|name| without_port(authority).eq_ignore_ascii_case(name));
    if is_ours { Ok(()) } else { Err(Refusal::ForeignHost) }
}

fn is_same(host: &[u8], target: &Authority) -> bool {
    host.eq_ignore_ascii_case(target.as_str().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::Arrival;
    use super::*;
    use crate::clock::Clock;
    use http::HeaderValue;

    fn checked(
        method: Method,
        target: &str,
        headers: &[(&'static str, &'static str)],
    ) -> Result<(), Refusal> {
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = target.parse().unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        let kinds = Arrival::of(&mut request, Clock::system().boot_time()).kinds;
        check(&request, kinds)
    }

    fn method(name: &str) -> Method {
        Method::from_bytes(name.as_bytes()).unwrap()
    }

    #[test]
    fn methods_that_are_no_variant_of_a_known_one_pass() {
        for name in ["QUERY", "query", "M-SEARCH", "GETS"] {
            assert_eq!(checked(method(name), "/", &[HOSTED]), Ok(()), "{name}");
        }
    }

    #[test]
    fn connection_has_few_options() {
        let options = |count: usize| -> &'static str { "x,".repeat(count - 1).leak() };
        assert_eq!(checked(Method::GET, "/", &[HOSTED, ("connection", options(32))]), Ok(()));
        let one_more = [HOSTED, ("connection", options(32)), ("connection", "y")];
        assert!(checked(Method::GET, "/", &one_more).is_err());
        assert!(checked(Method::GET, "/", &[HOSTED, ("connection", options(30_000))]).is_err());
    }

    const HOSTED: (&str, &str) = ("host", "sidecar:8080");

    #[test]
    fn plain_requests_pass() {
        for target in ["/", "/crm/v5/users?criteria=((Last_Name:equals:X)and(..))", "/crm/v5/Leads/a%20b"] {
            assert_eq!(checked(Method::GET, target, &[HOSTED]), Ok(()), "{target}");
        }
        let local = ("host", "127.0.0.1:8080");
        assert_eq!(checked(Method::GET, "http://127.0.0.1:8080/crm", &[local]), Ok(()));
        assert_eq!(
            checked(
                Method::GET,
                "/",
                &[HOSTED, ("upgrade", "h2c"), ("connection", "Upgrade, HTTP2-Settings")]
            ),
            Ok(())
        );
    }

    #[test]
    fn ambiguous_requests_do_not() {
        for (method, target, headers) in [
            (Method::GET, "/crm/../x", &[HOSTED][..]),
            (Method::GET, "/crm/%2e%2e/x", &[HOSTED]),
            (Method::GET, "/crm/..%2fx", &[HOSTED]),
            (Method::GET, "/crm/%00", &[HOSTED]),
            (Method::GET, "*", &[HOSTED]),
            (Method::GET, "http://www.zohoapis.com/crm", &[HOSTED]),
            (Method::GET, "http://sidecar:8080/crm", &[HOSTED]),
            (Method::GET, "http://www.zohoapis.com/crm", &[("host", "www.zohoapis.com")]),
            (Method::GET, "/", &[HOSTED, ("connection", "X-CRM-ORG"), ("x-crm-org", "1")]),
            (Method::GET, "/", &[]),
            (Method::GET, "/", &[HOSTED, HOSTED]),
            (Method::GET, "/", &[("host", "user@sidecar")]),
            (Method::GET, "/", &[("host", "sidecar/crm")]),
            (Method::GET, "/", &[("host", "sidecar, other")]),
            (Method::GET, "/", &[HOSTED, ("upgrade", "websocket"), ("connection", "Upgrade")]),
            (Method::POST, "/", &[HOSTED, ("transfer-encoding", "chunked"), ("content-length", "3")]),
            (Method::CONNECT, "www.zohoapis.com:443", &[HOSTED]),
            (Method::TRACE, "/", &[HOSTED]),
            (method("get"), "/", &[HOSTED]),
            (method("Post"), "/", &[HOSTED]),
            (method("dELETE"), "/", &[HOSTED]),
            (method("trace"), "/", &[HOSTED]),
            (method(&"M".repeat(33)), "/", &[HOSTED]),
        ] {
            let refused = checked(method.clone(), target, headers);
            assert!(refused.is_err(), "{method} {target} {headers:?}");
            assert_eq!(refused.unwrap_err().status(), 400, "{method} {target}");
        }
    }

    #[test]
    fn an_encoded_slash_is_refused_only_where_it_hides_a_meaning() {
        let write = crate::routes::Write {
            name: "w".into(),
            templates: vec!["PUT /crm/{version}/users/{user}".parse().unwrap()],
            forgets: vec![0],
            again_after: None,
        };
        let routes = Routes::new(Vec::new(), vec![write], vec!["g".into()]);
        assert_eq!(check_meaning(&routes, &Method::GET, "/crm/v5/Leads/a%2Fb"), Ok(()));
        for path in ["/crm/v5/users%2F1", "/crm//v5/users/1", "/crm/v5%5cusers/1", "//oauth/v2/token"] {
            assert!(check_meaning(&routes, &Method::PUT, path).is_err(), "{path}");
        }
        // What a composite request does would not be looked into.
        assert!(check_meaning(&routes, &Method::POST, "/crm/v5//__composite_requests").is_err());
    }

    #[test]
    fn a_host_that_somebody_elses_name_server_may_know_is_refused() {
        let ours = ["sidecar.internal.example".to_owned()];
        let checked = |host: &'static str| {
            let mut request = Request::new(());
            request.headers_mut().insert(HOST, HeaderValue::from_static(host));
            check_host_is_ours(&request, &ours)
        };
        for host in
            ["localhost:8080", "a.localhost", "127.0.0.1", "10.0.0.1:80", "[::1]:8080", "sidecar:8080", ""]
        {
            assert_eq!(checked(host), Ok(()), "{host}");
        }
        assert_eq!(checked("Sidecar.Internal.Example:8080"), Ok(()));
        for host in ["evil.example", "evil.example:8080", "127.0.0.1.evil.example", "localhost.", "a.b:c"] {
            assert_eq!(checked(host), Err(Refusal::ForeignHost), "{host}");
        }
        let mut request = Request::new(());
        *request.uri_mut() = "http://evil.example/crm".parse().unwrap();
        assert_eq!(check_host_is_ours(&request, &ours), Err(Refusal::ForeignHost));
    }

    #[test]
    fn browsers_are_refused_and_with_a_credential_only_their_pages() {
        let checked = |access, (name, value): (&'static str, &'static str)| {
            let headers =
                HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static(value))]);
            check_not_a_browser(&headers, Kinds::of(&headers), access)
        };
        for sign in [("origin", "null"), ("sec-fetch-site", "cross-site"), ("sec-purpose", "prefetch")] {
            assert_eq!(checked(Access::Open, sign), Err(Refusal::Browser), "{sign:?}");
            assert_eq!(checked(Access::Shown, sign), Err(Refusal::Browser), "{sign:?}");
        }
        for sign in [
            ("sec-fetch-site", "none"),
            ("sec-fetch-dest", "document"),
            ("sec-fetch-user", "?1"),
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"),
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ] {
            assert_eq!(checked(Access::Open, sign), Err(Refusal::Browser), "{sign:?}");
            assert_eq!(checked(Access::Shown, sign), Ok(()), "{sign:?}");
        }
        for no_sign in [("sec-fetch-mode", "cors"), ("referer", "http://a.example/"), ("user-agent", "node")]
        {
            assert_eq!(checked(Access::Open, no_sign), Ok(()), "{no_sign:?}");
        }
    }
}
