//! The request as Zoho must see it.

use http::header::{
    ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, COOKIE, ETAG, EXPECT, HOST, HeaderName, HeaderValue,
    IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, LAST_MODIFIED, MAX_FORWARDS, RANGE, VIA,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Request, Uri, Version};
use http_body::Body as HttpBody;

use super::via;
use crate::net::body::Body;
use crate::net::headers::{REQUEST_ID, is_hop_by_hop};
use crate::net::origin::Origin;
use crate::net::overrides::{Override, overridden_by};

/// What goes out, apart from token and body.
#[derive(Debug, Clone)]
pub struct Outbound {
    method: Method,
    origin: Origin,
    path_and_query: PathAndQuery,
    /// A list, since nothing is looked up in it: each attempt makes a map of its own from it.
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// So many headers Zoho's answers have, and a few more. hyper reads the answer's into the map of the request's, which
/// would have to grow for them.
const ANSWERS_HEADERS: usize = 24;

/// What a caller sent that decides what goes out.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// The version of HTTP that it speaks.
    pub version: Version,
}

/// Whom the answer is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// The caller: what it asked for goes out as it is.
    Caller,
    /// The caller, for a path that a rule covers: headers that name another method or target do not go out.
    CallerOfRoute,
    /// Whoever asks with the same values of the headers that the answer says it depends on. All but conditions
    /// and ranges go out.
    AlikeByVary,
    /// All who take gzip. Conditions, ranges and wishes of the one who happened to ask do not go out.
    AllWithGzip,
    /// All who take no coding; the rest likewise.
    AllPlain,
}

impl Outbound {
    /// A call of a caller's request, from which the headers that its `Connection` names are gone already. Path and query
    /// go out byte for byte.
    pub fn new(
        method: Method,
        origin: Origin,
        path_and_query: PathAndQuery,
        callers: Received<'_>,
        request_id: &HeaderValue,
        audience: Audience,
        vary_by: &[HeaderName],
    ) -> Self {
        let goes_out = |name: &HeaderName| {
            let is_anothers = match audience {
                Audience::Caller => false,
                Audience::CallerOfRoute => overrides(name).is_some(),
                Audience::AlikeByVary => is_condition(name) || is_doubtful(name),
                Audience::AllWithGzip | Audience::AllPlain => {
                    !is_for_everybody(name) && !vary_by.contains(name) || overrides(name).is_some()
                }
            };
            !(is_never_forwarded(name) || is_anothers)
        };
        let mut headers = Vec::with_capacity(callers.headers.len() + 3);
        for (name, value) in callers.headers {
            if goes_out(name) {
                headers.push((name.clone(), value.clone()));
            }
        }
        match audience {
            Audience::Caller | Audience::CallerOfRoute | Audience::AlikeByVary => {}
            Audience::AllWithGzip => set(&mut headers, ACCEPT_ENCODING, HeaderValue::from_static("gzip")),
            Audience::AllPlain => set(&mut headers, ACCEPT_ENCODING, HeaderValue::from_static("identity")),
        }
        if method == Method::OPTIONS {
            count_down(&mut headers);
        }
        // Neither is among them: a caller's own is never forwarded.
        headers.push((VIA, via::extended(callers.headers, callers.version)));
        headers.push((REQUEST_ID, request_id.clone()));
        Self { method, origin, path_and_query, headers }
    }

    /// The request with a token and a body; can be made again with another token.
    pub fn request(&self, authorization: &HeaderValue, body: Body) -> Request<Body> {
        let mut headers = HeaderMap::with_capacity(ANSWERS_HEADERS.max(self.headers.len() + 3));
        for (name, value) in &self.headers {
            // `try_append` because the count comes from outside; `append` would panic at 32,768 names.
            let _ = headers.try_append(name.clone(), value.clone());
        }
        if body.is_end_stream() && matches!(self.method, Method::POST | Method::PUT | Method::PATCH) {
            // RFC 9110 section 8.6; hyper says nothing of a body that is not there.
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        headers.insert(AUTHORIZATION, authorization.clone());
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.origin.uri(self.path_and_query.clone());
        *request.headers_mut() = headers;
        request
    }

    /// The same question, to be answered with 304 if the answer with these headers is still right (RFC 9110
    /// section 13.1).
    #[must_use]
    pub fn validating(&self, head: &HeaderMap) -> Self {
        let mut outbound = self.clone();
        for (validator, condition) in [(ETAG, IF_NONE_MATCH), (LAST_MODIFIED, IF_MODIFIED_SINCE)] {
            if let Some(value) = head.get(validator) {
                set(&mut outbound.headers, condition, value.clone());
            }
        }
        outbound
    }

    /// The same question by GET, without a body.
    pub fn as_get(&self, authorization: &HeaderValue) -> Request<Body> {
        let mut request = self.request(authorization, Body::empty());
        *request.method_mut() = Method::GET;
        request
    }

    /// Path and query of a URL that an answer names, if it is on the host that was asked.
    pub fn on_same_origin(&self, url: &str) -> Option<String> {
        let url = url.split_once('#').map_or(url, |(url, _fragment)| url);
        let (path, query) = url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
        let path = if path.starts_with("//") || path.contains("://") {
            let absolute = if path.starts_with("//") { format!("https:{path}") } else { path.to_owned() };
            let uri = absolute.parse::<Uri>().ok()?;
            let default_port = if uri.scheme_str() == Some("http") { ":80" } else { ":443" };
            let authority = uri.authority()?.as_str().to_ascii_lowercase();
            let bare = authority.strip_suffix(default_port).unwrap_or(&authority);
            (bare == self.origin.authority().as_str()).then(|| uri.path().to_owned())?
        } else if path.starts_with('/') {
            path.to_owned()
        } else if path.is_empty() {
            self.path_and_query.path().to_owned()
        } else {
            // Relative to the folder of what was asked.
            let folder = self.path_and_query.path().rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{folder}/{path}")
        };
        let path = without_dot_segments(&path);
        Some(query.map_or(path.clone(), |query| format!("{path}?{query}")))
    }

    /// The headers of the caller that go out.
    pub fn headers(&self) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        self.headers.iter().map(|(name, value)| (name, value))
    }

    /// Its method.
    pub fn method(&self) -> &Method {
        &self.method
    }
}

/// A path in which `.` and `..` are resolved (RFC 3986 section 5.2.4).
fn without_dot_segments(path: &str) -> String {
    let mut kept = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    if path.ends_with("/.") || path.ends_with("/..") {
        kept.push("");
    }
    format!("/{}", kept.join("/"))
}

/// Whether a header of a caller never reaches Zoho, whoever the answer is for.
pub fn stays_here(name: &HeaderName) -> bool {
    is_never_forwarded(name)
}

/// Headers of a caller that never reach Zoho: the caller's credentials, what belongs to one hop only, what
/// tells of the network behind the sidecar, and what hyper sets itself. A header that differs from one of
/// these only by what stands for the hyphens, as underscores or dots, counts as the same, since servers behind
/// CGI-like gateways cannot tell them apart.
fn is_never_forwarded(name: &HeaderName) -> bool {
    if is_hop_by_hop(name)
        || [AUTHORIZATION, COOKIE, HOST, CONTENT_LENGTH, EXPECT, VIA].contains(name)
        || is_of_this_network(name.as_str())
    {
        return true;
    }
    has_odd_separator(name) && {
        let hyphenated = name.as_str().replace(|c: char| !c.is_ascii_alphanumeric(), "-");
        HeaderName::from_bytes(hyphenated.as_bytes()).is_ok_and(|twin| is_never_forwarded(&twin))
    }
}

/// What a header of this name changes about the request in the eyes of some server, if it goes out.
pub fn overrides(name: &HeaderName) -> Option<Override> {
    overridden_by(name.as_str()).filter(|_| !is_never_forwarded(name))
}

/// Byte by byte: a search that is made for long texts costs more than a short one has.
fn has_odd_separator(name: &HeaderName) -> bool {
    name.as_str().bytes().any(|byte| ODD_IN_NAME[usize::from(byte)])
}

/// What is neither a letter or digit nor a hyphen.
const ODD_IN_NAME: [bool; 256] = {
    let mut odd = [true; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        odd[byte as usize] = !byte.is_ascii_alphanumeric() && byte != b'-';
        byte += 1;
    }
    odd
};

/// Puts a header in the place of those that have its name.
fn set(headers: &mut Vec<(HeaderName, HeaderValue)>, name: HeaderName, value: HeaderValue) {
    headers.retain(|(other, _)| *other != name);
    headers.push((name, value));
}

/// One hop fewer is left (RFC 9110 section 7.6.2); other methods are free to ignore it.
fn count_down(headers: &mut Vec<(HeaderName, HeaderValue)>) {
    let first = headers.iter().find(|(name, _)| *name == MAX_FORWARDS);
    let left = first.and_then(|(_, left)| left.to_str().ok()?.parse::<u32>().ok());
    if let Some(left) = left {
        set(headers, MAX_FORWARDS, HeaderValue::from(left.saturating_sub(1)));
    }
}

/// Conditions and ranges of one caller.
fn is_condition(name: &HeaderName) -> bool {
    [IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_RANGE, RANGE].contains(name)
}

/// Headers that some servers take for others, which the answer's `Vary` then does not name.
fn is_doubtful(name: &HeaderName) -> bool {
    has_odd_separator(name) || overridden_by(name.as_str()).is_some()
}

/// Headers that cannot make the answer another one for the next who asks: those in every cache key, and those
/// that only identify. All others stay behind, but for the ones that the rule names.
fn is_for_everybody(name: &HeaderName) -> bool {
    matches!(name.as_str(), "x-crm-org" | "x-external" | "user-agent" | "traceparent" | "tracestate")
}

fn is_of_this_network(name: &str) -> bool {
    name == "forwarded"
        || name.starts_with("x-forwarded-")
        || name.starts_with("x-envoy-")
        || name.starts_with("proxy-")
        || name == "cookie2"
        || name == "x-zoho-tenant"
        || name == "x-request-id"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(headers: &[(&'static str, &'static str)], audience: Audience) -> HeaderMap {
        let mut callers = HeaderMap::new();
        for (name, value) in headers {
            callers.append(*name, HeaderValue::from_static(value));
        }
        let outbound = Outbound::new(
            Method::GET,
            "https://www.zohoapis.eu".parse().unwrap(),
            PathAndQuery::from_static("/crm/v5/users?a=%2F"),
            Received { headers: &callers, version: Version::HTTP_11 },
            &HeaderValue::from_static("id-1"),
            audience,
            &[HeaderName::from_static("x-named-by-rule"), HeaderName::from_static("x-original-url")],
        );
        let request = outbound.request(&HeaderValue::from_static("Zoho-oauthtoken made-up"), Body::empty());
        assert_eq!(request.uri(), "https://www.zohoapis.eu/crm/v5/users?a=%2F");
        request.headers().clone()
    }

    #[test]
    fn credentials_and_headers_of_the_hop_never_go_out() {
        let never = [
            ("authorization", "Zoho-oauthtoken callers"),
            ("cookie", "crmcsr=made-up"),
            ("proxy-authorization", "Basic made-up"),
            ("proxy-connection", "keep-alive"),
            ("forwarded", "for=10.0.0.1"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x_forwarded_for", "10.0.0.1"),
            ("x.forwarded.uri", "/crm/v8/org"),
            ("x-envoy-original-path", "/inside"),
            ("cookie2", "$Version=1"),
            ("x-forwarded_host", "inside.example"),
            ("proxy_authorization", "Basic made-up"),
            ("connection", "close"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("keep-alive", "timeout=5"),
            ("host", "sidecar.example"),
            ("expect", "100-continue"),
            ("content-length", "7"),
            ("x-zoho-tenant", "acme"),
            ("via", "1.1 proxy.inside.example"),
        ];
        let headers = sent(&never, Audience::Caller);
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["authorization", "via", "x-request-id"]);
        assert_eq!(headers["via"], "1.1 internal, 1.1 zoho-sidecar");
        assert_eq!(headers["authorization"], "Zoho-oauthtoken made-up");
    }

    #[test]
    fn everything_else_goes_out_untouched() {
        let kept = [
            ("accept", "application/json"),
            ("accept-encoding", "gzip, deflate, br"),
            ("content-type", "multipart/form-data; boundary=x"),
            ("if-modified-since", "2019-07-25T15:26:49+05:30"),
            ("x-crm-org", "1"),
            ("x-external", "Leads.External"),
            ("x-zoho-sdk", "Linux/6.1/python-5.0/3.11:2.0.0"),
            ("feature", "bulk-write"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("x_custom", "1"),
        ];
        let headers = sent(&kept, Audience::Caller);
        for (name, value) in kept {
            assert_eq!(headers[name], value);
        }
    }

    #[test]
    fn for_an_answer_that_is_kept_the_coding_is_ours_to_choose() {
        let asked = [("accept-encoding", "gzip, deflate, br")];
        assert_eq!(sent(&asked, Audience::AllWithGzip)["accept-encoding"], "gzip");
        assert_eq!(sent(&asked, Audience::AllPlain)["accept-encoding"], "identity");
    }

    #[test]
    fn what_only_one_caller_wants_does_not_shape_what_all_get() {
        let asked = [
            ("if-none-match", "\"x\""),
            ("if-modified-since", "Mon, 23 Nov 2026 08:00:00 GMT"),
            ("range", "bytes=0-1"),
            ("if-range", "\"x\""),
            ("cache-control", "no-cache"),
            ("pragma", "no-cache"),
            ("accept", "text/csv"),
            ("accept-language", "de"),
            ("x_crm_org", "1"),
        ];
        let kept = [("x-crm-org", "1"), ("x-named-by-rule", "1"), ("traceparent", "00-1-1-01")];
        for (name, _) in kept {
            assert!(sent(&kept, Audience::AllPlain).contains_key(name), "{name}");
        }
        for (name, _) in asked {
            assert!(!sent(&asked, Audience::AllPlain).contains_key(name), "{name}");
            assert!(sent(&asked, Audience::Caller).contains_key(name), "{name}");
        }
    }

    #[test]
    fn what_some_servers_take_for_another_header_shapes_no_answer_that_is_kept_by_its_vary() {
        let asked = [("x_crm_org", "1"), ("x-http-method-override", "DELETE"), ("accept-language", "de")];
        let headers = sent(&asked, Audience::AlikeByVary);
        assert!(!headers.contains_key("x_crm_org") && !headers.contains_key("x-http-method-override"));
        assert!(headers.contains_key("accept-language"));
    }

    #[test]
    fn what_names_another_method_or_target_never_shapes_an_answer_that_is_stored() {
        for name in ["x-http-method-override", "x-original-url", "x_rewrite_url", "x.http.method"] {
            assert!(sent(&[(name, "x")], Audience::Caller).contains_key(name), "{name}");
            for audience in
                [Audience::CallerOfRoute, Audience::AlikeByVary, Audience::AllWithGzip, Audience::AllPlain]
            {
                assert!(!sent(&[(name, "x")], audience).contains_key(name), "{name} {audience:?}");
            }
        }
    }
}
