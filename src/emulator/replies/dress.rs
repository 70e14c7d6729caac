//! The headers that Zoho's servers put on their answers, as captured.

use std::time::{Duration, SystemTime};

use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, DATE, EXPIRES, PRAGMA, REFERRER_POLICY, SERVER, SET_COOKIE, STRICT_TRANSPORT_SECURITY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS, X_XSS_PROTECTION,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use jiff::Timestamp;
use jiff::tz::Offset;

use super::{Content, Reply};
use crate::emulator::random;
use crate::net::body::Body;
use crate::net::headers::visible;

/// Who answers, which decides the headers.
#[derive(Clone, Copy)]
pub(in crate::emulator) enum Dress {
    /// The accounts server.
    Accounts,
    /// The API.
    Api {
        /// When the token of the request expires.
        token_expires: Option<SystemTime>,
        /// The credits left, once it is told.
        credits_left: Option<u64>,
    },
    /// A load balancer before them, or the emulator itself.
    Plain,
}

/// The offset that times are told in, in minutes: that of the user who owns the token.
const OFFSET_MINUTES: i32 = 5 * 60 + 30;

impl Dress {
    /// The answer with its headers. `method` tells whether a body may be sent.
    pub(in crate::emulator) fn put_on(
        self,
        reply: Reply,
        method: &Method,
        wall: SystemTime,
    ) -> Response<Body> {
        let mut headers = HeaderMap::with_capacity(32);
        headers.insert(SERVER, HeaderValue::from_static("ZGS"));
        headers.insert(DATE, visible(&http_date(wall)));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
        match self {
            Self::Accounts => accounts(&mut headers),
            Self::Api { token_expires, credits_left } => api(&mut headers, token_expires, credits_left),
            Self::Plain => {}
        }
        for (name, value) in reply.headers {
            headers.insert(name, value);
        }
        let (body, length) = match reply.content {
            Content::Bytes(bytes) => (Body::full(bytes.clone()), Some(bytes.len() as u64)),
            Content::Stream(body, length) => (body, length),
        };
        let bodiless = reply.status == StatusCode::NO_CONTENT || reply.status == StatusCode::NOT_MODIFIED;
        if let Some(length) = length.filter(|_| !bodiless) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        let body = if bodiless || method == Method::HEAD { Body::empty() } else { body };
        let mut response = Response::new(body);
        *response.status_mut() = reply.status;
        *response.headers_mut() = headers;
        response
    }
}

fn accounts(headers: &mut HeaderMap) {
    let id = random::uuid();
    put_cookies(
        headers,
        &[
            format!("zalb_{}={}; Path=/", random::hex(10), random::hex(32)),
            format!("iamcsr={id};path=/;SameSite=None;Secure;priority=high"),
            format!("_zcsr_tmp={id};path=/;SameSite=Strict;Secure;priority=high"),
        ],
    );
    put(
        headers,
        &[
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (X_XSS_PROTECTION, "1"),
            (X_FRAME_OPTIONS, "SAMEORIGIN"),
            (CONTENT_LANGUAGE, "en-US"),
            (STRICT_TRANSPORT_SECURITY, "max-age=63072000"),
        ],
    );
}

fn api(headers: &mut HeaderMap, token_expires: Option<SystemTime>, credits_left: Option<u64>) {
    let id = random::uuid();
    put_cookies(
        headers,
        &[
            format!("zalb_{}={}; Path=/", random::hex(10), random::hex(32)),
            format!("crmcsr={id};path=/;SameSite=None;Secure;priority=high"),
            format!("_zcsr_tmp={id};path=/;SameSite=Strict;Secure;priority=high"),
            format!("JSESSIONID={}; Path=/; Secure", random::hex(32).to_ascii_uppercase()),
        ],
    );
    put(
        headers,
        &[
            (REFERRER_POLICY, "strict-origin"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (X_XSS_PROTECTION, "1; mode=block"),
            (CACHE_CONTROL, "no-store, no-cache, must-revalidate, private"),
            (PRAGMA, "no-cache"),
            (EXPIRES, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (X_FRAME_OPTIONS, "SAMEORIGIN"),
            (HeaderName::from_static("clientversion"), "6007735"),
            (HeaderName::from_static("clientsubversion"), "5f8a3c1e9b7d4f02a6c8e0b1d3f5a7c9"),
            (CONTENT_DISPOSITION, "attachment; filename=response.json"),
            (HeaderName::from_static("x-download-options"), "noopen"),
            (CONTENT_LANGUAGE, "en-US"),
            (STRICT_TRANSPORT_SECURITY, "max-age=63072000"),
            (
                CONTENT_SECURITY_POLICY,
                "default-src 'none';frame-ancestors 'self'; report-uri https://logsapi.zoho.com/csplog?service=crm",
            ),
        ],
    );
    if let Some(expires) = token_expires {
        headers.insert("x-accesstoken-reset", visible(&iso(expires)));
    }
    if let Some(left) = credits_left {
        headers.insert("x-api-credits-remaining", HeaderValue::from(left));
    }
}

fn put(headers: &mut HeaderMap, pairs: &[(HeaderName, &'static str)]) {
    for (name, value) in pairs {
        headers.insert(name.clone(), HeaderValue::from_static(value));
    }
}

fn put_cookies(headers: &mut HeaderMap, cookies: &[String]) {
    for cookie in cookies {
        headers.append(SET_COOKIE, visible(cookie));
    }
}

/// ISO 8601 with an offset, as Zoho writes times.
pub(in crate::emulator) fn iso(at: SystemTime) -> String {
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let at = Timestamp::from_second(i64::try_from(seconds).unwrap_or(0)).unwrap_or_default();
    let offset = Offset::from_seconds(OFFSET_MINUTES * 60).unwrap_or(Offset::UTC);
    format!("{}+{:02}:{:02}", offset.to_datetime(at), OFFSET_MINUTES / 60, OFFSET_MINUTES % 60)
}

fn http_date(at: SystemTime) -> String {
    let at = Timestamp::try_from(at).unwrap_or_default();
    jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const API: Dress = Dress::Api { token_expires: Some(SystemTime::UNIX_EPOCH), credits_left: None };

    #[test]
    fn an_answer_of_the_api_has_four_cookies_and_forbids_caching() {
        let reply = Reply::ok(&serde_json::json!({}));
        let response = API.put_on(reply, &Method::GET, SystemTime::UNIX_EPOCH);
        assert_eq!(response.headers().get_all(SET_COOKIE).iter().count(), 4);
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store, no-cache, must-revalidate, private");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json;charset=UTF-8");
        assert_eq!(response.headers()["x-accesstoken-reset"], "1970-01-01T05:30:00+05:30");
        assert_eq!(response.headers()[DATE], "Thu, 01 Jan 1970 00:00:00 GMT");
        assert_eq!(response.headers()[CONTENT_LENGTH], "3");
    }

    #[test]
    fn head_has_the_length_and_not_the_body_and_204_has_neither() {
        use http_body::Body as _;
        let head = API.put_on(Reply::ok(&1), &Method::HEAD, SystemTime::UNIX_EPOCH);
        assert_eq!(head.headers()[CONTENT_LENGTH], "2");
        assert!(head.body().is_end_stream());
        let none = API.put_on(Reply::empty(StatusCode::NO_CONTENT), &Method::GET, SystemTime::UNIX_EPOCH);
        assert!(!none.headers().contains_key(CONTENT_LENGTH));
        assert!(none.headers().contains_key(CONTENT_TYPE));
    }
}
