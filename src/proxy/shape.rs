//! What heads have in common that differ only in how their callers tell one request from another: by an id, or a place in
//! a trace. No such value decides an answer from memory, unless a rule names it in `vary_by`.

use http::HeaderName;
use memchr::memchr;

/// Headers whose values are left out: ids, Trace Context and Baggage of the W3C, and what was there before them.
const LEFT_OUT: [&str; 10] = [
    REQUEST_ID_NAME,
    "traceparent",
    "tracestate",
    "baggage",
    "b3",
    "sentry-trace",
    "uber-trace-id",
    "x-amzn-trace-id",
    "x-cloud-trace-context",
    "x-correlation-id",
];
const REQUEST_ID_NAME: &str = "x-request-id";
/// The same for families of headers.
const LEFT_OUT_FAMILIES: [&str; 2] = ["x-b3-", "x-datadog-"];

/// What the values that are left out say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeftOut<'a> {
    /// That of the first `X-Request-Id`.
    pub(super) request_id: Option<&'a [u8]>,
}

/// Writes a head, which is one as the server lets it pass, without values that decide nothing. `None`, with nothing
/// written, if there is no such value in it.
pub(super) fn write<'a>(head: &'a [u8], shape: &mut Vec<u8>) -> Option<LeftOut<'a>> {
    shape.clear();
    let (mut copied, mut start) = (0, 0);
    let mut left_out = LeftOut { request_id: None };
    while let Some(length) = memchr(b'\n', &head[start..]) {
        let line = &head[start..start + length];
        if let Some(name) = name_of(line).filter(|name| decides_nothing(name)) {
            let value = line[name.len() + 1..].trim_ascii();
            shape.extend_from_slice(&head[copied..=start + name.len()]);
            copied = start + line.strip_suffix(b"\r").unwrap_or(line).len();
            if name.eq_ignore_ascii_case(REQUEST_ID_NAME.as_bytes()) {
                left_out.request_id.get_or_insert(value);
            }
        }
        start += length + 1;
    }
    if copied == 0 {
        return None;
    }
    shape.extend_from_slice(&head[copied..]);
    Some(left_out)
}

/// Whether heads that differ in this header may have the same shape.
pub(super) fn leaves_out(name: &HeaderName) -> bool {
    decides_nothing(name.as_str().as_bytes())
}

/// The name of a header's line, if it can be one of those; few lines begin as they do.
fn name_of(line: &[u8]) -> Option<&[u8]> {
    let can_be = matches!(line.first()? | 0x20, b'b' | b's' | b't' | b'u' | b'x');
    can_be.then(|| memchr(b':', line).map(|end| &line[..end])).flatten()
}

fn decides_nothing(name: &[u8]) -> bool {
    let begins = |family: &str| {
        name.get(..family.len()).is_some_and(|start| start.eq_ignore_ascii_case(family.as_bytes()))
    };
    LEFT_OUT.iter().any(|one| name.eq_ignore_ascii_case(one.as_bytes()))
        || LEFT_OUT_FAMILIES.into_iter().any(begins)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::headers::REQUEST_ID;

    fn shape(head: &str) -> Option<(String, Option<&str>)> {
        let mut shape = b"left from before".to_vec();
        let left_out = write(head.as_bytes(), &mut shape)?;
        let request_id = left_out.request_id.map(|id| std::str::from_utf8(id).unwrap());
        Some((String::from_utf8(shape).unwrap(), request_id))
    }

    #[test]
    fn only_what_tells_requests_apart_is_left_out() {
        let head = "GET /x-request-id:1 HTTP/1.1\r\nhost: a\r\nX-Request-ID:  one \r\naccept: */*\r\ntraceparent:00-1\r\n\
                    X-B3-TraceId: 2\r\nx-requested-with: x\r\nb3: 0\r\nx-request-id: two\r\n\r\n";
        let (shape, request_id) = shape(head).unwrap();
        assert_eq!(
            shape,
            "GET /x-request-id:1 HTTP/1.1\r\nhost: a\r\nX-Request-ID:\r\naccept: */*\r\ntraceparent:\r\n\
             X-B3-TraceId:\r\nx-requested-with: x\r\nb3:\r\nx-request-id:\r\n\r\n"
        );
        assert_eq!(request_id, Some("one"));
    }

    #[test]
    fn a_head_without_such_a_header_has_no_other_shape() {
        for head in [
            "GET / HTTP/1.1\r\nhost: a\r\nuser-agent: traceparent: 1\r\n\r\n",
            "GET / HTTP/1.1\r\nbearer: 1\r\nx: x-request-id: 1\r\ntraceparents: 1\r\nb33: 1\r\nx-b3: 1\r\n\r\n",
        ] {
            assert_eq!(shape(head), None, "{head}");
        }
    }

    #[test]
    fn a_value_that_is_empty_already_is_left_out_like_any_other() {
        let empty = "GET / HTTP/1.1\r\nx-request-id:\r\ntracestate: \t\r\n\r\n";
        let expected = "GET / HTTP/1.1\r\nx-request-id:\r\ntracestate:\r\n\r\n";
        assert_eq!(shape(empty), Some((expected.to_owned(), Some(""))));
    }

    #[test]
    fn every_name_in_the_list_can_be_found() {
        assert_eq!(REQUEST_ID, REQUEST_ID_NAME);
        for name in LEFT_OUT.into_iter().chain(["x-b3-spanid", "x-datadog-parent-id"]) {
            let (one, other) = (format!("GET / HTTP/1.1\r\n{name}: 1\r\n\r\n"), name.to_ascii_uppercase());
            assert_eq!(shape(&one).unwrap().0, format!("GET / HTTP/1.1\r\n{name}:\r\n\r\n"));
            assert!(shape(&one.replace(name, &other)).is_some(), "{other}");
            assert!(leaves_out(&HeaderName::from_static(name)));
        }
        assert!(!leaves_out(&http::header::ACCEPT));
    }
}
