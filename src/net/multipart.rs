//! Taking apart a multipart body (RFC 7578) that is in memory.

use percent_encoding::percent_decode_str;

/// One part.
pub struct Part<'a> {
    /// The name of the form's field.
    pub name: String,
    /// The name of the file, if it is one.
    pub file_name: Option<String>,
    /// The bytes.
    pub content: &'a [u8],
}

/// RFC 2046 section 5.1.1.
const LONGEST_BOUNDARY: usize = 70;

/// The boundary of a content type, if that is multipart.
pub fn boundary(content_type: &str) -> Option<String> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().to_ascii_lowercase().starts_with("multipart/") {
        return None;
    }
    parameter(parameters, "boundary").filter(|boundary| boundary.len() <= LONGEST_BOUNDARY)
}

/// The parts of a body, as many as are whole.
pub fn parts<'a>(body: &'a [u8], boundary: &str) -> Vec<Part<'a>> {
    let marker = format!("--{boundary}");
    let mut parts = Vec::new();
    let Some(start) = find(body, marker.as_bytes()) else {
        return parts;
    };
    let mut rest = &body[start + marker.len()..];
    let end = format!("\r\n{marker}");
    while let Some(part) = rest.strip_prefix(b"\r\n") {
        let Some(length) = find(part, end.as_bytes()) else { break };
        parts.extend(self::part(&part[..length]));
        rest = &part[length + end.len()..];
    }
    parts
}

/// A part is headers, an empty line, and content.
pub fn part(bytes: &[u8]) -> Option<Part<'_>> {
    let split = find(bytes, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..split]).into_owned();
    let disposition = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-disposition").then_some(value)
    })?;
    Some(Part {
        name: parameter(disposition, "name").unwrap_or_default(),
        file_name: parameter(disposition, "filename"),
        content: &bytes[split + 4..],
    })
}

/// The value of `name=value` or `name="value"` among parameters.
fn parameter(parameters: &str, name: &str) -> Option<String> {
    parameters.split(';').find_map(|parameter| {
        let (key, value) = parameter.split_once('=')?;
        let value = value.trim().trim_matches('"');
        let decoded = || percent_decode_str(value).decode_utf8_lossy().into_owned();
        key.trim().eq_ignore_ascii_case(name).then(decoded)
    })
}

/// Where a sequence of bytes begins.
pub fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut from = 0;
    loop {
        let at = from + bytes.get(from..)?.iter().position(|&byte| byte == first)?;
        if bytes[at..].starts_with(wanted) {
            return Some(at);
        }
        from = at + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_found_with_their_names_and_exact_bytes() {
        let body =
            b"preamble\r\n--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a b.bin\"\r\n\
            Content-Type: application/octet-stream\r\n\r\n\x00\r\n\xff--\r\n--x\r\n\
            content-disposition: form-data; name=other\r\n\r\n\r\n--x--\r\n";
        let parts = parts(body, "x");
        assert_eq!(parts.len(), 2);
        assert_eq!(parts[0].file_name.as_deref(), Some("a b.bin"));
        assert_eq!(parts[0].content, b"\x00\r\n\xff--");
        assert_eq!((parts[1].name.as_str(), parts[1].content), ("other", &b""[..]));
    }

    #[test]
    fn only_multipart_types_have_a_boundary() {
        assert_eq!(boundary("multipart/form-data; boundary=\"a b\"").as_deref(), Some("a b"));
        assert_eq!(boundary("application/json; boundary=x"), None);
        assert!(boundary(&format!("multipart/form-data; boundary={}", "x".repeat(70))).is_some());
        assert_eq!(boundary(&format!("multipart/form-data; boundary={}", "x".repeat(71))), None);
        assert!(parts(b"--x\r\nnever ends", "x").is_empty());
    }
}
