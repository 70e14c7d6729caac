//! How the most lenient of servers reads a path.
//!
//! Such a server decodes percent-encodings until none is left, overlong forms of UTF-8 and `%u006f` included, takes
//! backslashes for slashes, drops the parameters of segments, and does not mind case or width of letters. What a path
//! could be to it decides only what is refused and what is invalidated, never where a request goes.

use super::path::{decoded, is_version, with_plain_slashes};
use crate::net::overrides::{Override, overridden_by};

/// The path as such a server reads it, in lower case. Takes time in proportion to its length.
pub fn leniently_read(path: &str) -> String {
    let octets = decoded_throughout(path.as_bytes());
    String::from_utf8_lossy(&octets).chars().map(folded).collect()
}

/// The path that such a server acts on: as it reads it, without empty segments, parameters, and white space around names.
pub fn acted_on(path: &str) -> String {
    let read = leniently_read(path);
    let mut acted_on = String::with_capacity(read.len());
    for name in read.split('/').map(name_of).filter(|name| !matches!(*name, "" | ".")) {
        acted_on.push('/');
        acted_on.push_str(name);
    }
    acted_on
}

/// The segments of the path that such a server acts on, by both ways to read an encoded slash: as one that separates
/// segments, and as a part of one.
pub fn readings(path: &str) -> [Vec<String>; 2] {
    let by_all = acted_on(path).split('/').skip(1).map(str::to_owned).collect();
    let by_segment = path.split('/').map(|segment| name_of(&leniently_read(segment)).to_owned());
    [by_all, by_segment.filter(|name| !matches!(name.as_str(), "" | ".")).collect()]
}

/// Whether such a server acts on another path than one that decodes once, and merges slashes, but for the case of letters.
pub fn is_oddly_spelled(path: &str) -> bool {
    let plain = with_plain_slashes(path);
    let plain = decoded(plain.as_deref().unwrap_or(path)).to_lowercase();
    acted_on(path) != plain.trim_end_matches('/')
}

/// Whether such a server could take a segment of [`acted_on`] for this name.
pub fn could_be(segment: &str, name: &str) -> bool {
    // What is not ASCII some server may fold to a letter, or drop.
    is_called(segment, name) || !segment.is_ascii()
}

/// Whether such a server could take a segment of [`acted_on`] for a version.
pub fn could_be_version(segment: &str) -> bool {
    let end = segment.find(|c: char| !c.is_ascii_alphanumeric() && c != '.').unwrap_or(segment.len());
    is_version(segment[..end].trim_end_matches('.')) || !segment.is_ascii()
}

/// Whether such a server could take this path for one of the accounts server, `/oauth/…`. Requests to it hold clients'
/// secrets.
#[cold]
pub fn could_be_of_accounts(path: &str) -> bool {
    let read = leniently_read(path);
    let mut first = None;
    let mut depth = 0_usize;
    for segment in read.split('/') {
        match name_of(segment) {
            "" | "." => {}
            ".." => depth = depth.saturating_sub(1),
            _ => {
                if depth == 0 {
                    first = Some(segment);
                }
                depth += 1;
            }
        }
    }
    // No path of Zoho's begins with anything but ASCII, and what is left of it here some server may fold to a letter.
    first.is_some_and(|first| is_called(first, "oauth") || !first.is_ascii())
}

/// Whether such a server could take any segment of this path for `functions`.
pub fn could_call_function(path: &str) -> bool {
    let read = leniently_read(path);
    let mut segments = read.split('/').filter(|segment| !segment.is_empty());
    // As in `/crm/{version}/functions`: what is not ASCII there some server may fold to a letter, or drop.
    segments.clone().take(3).any(|segment| !segment.is_ascii())
        || segments.any(|segment| is_called(segment, "functions"))
}

/// Whether a query has a parameter by which forms name another method than theirs, as `_method`.
pub fn query_names_method(query: &str) -> bool {
    let mut names = query.split(['&', ';']).filter_map(|parameter| parameter.split('=').next());
    names.any(parameter_names_method)
}

/// Whether a parameter of this name does.
pub fn parameter_names_method(name: &str) -> bool {
    let name = leniently_read(name);
    let letters = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.trim_matches(|c| !letters(c)) == "_method" || overridden_by(&name) == Some(Override::Method)
}

/// Whether a path, once decoded, still has an octet in code or what could be one, or has parameters in a segment
/// (RFC 3986 section 3.3): to a server that decodes again, or takes them off, it is another path. No path of Zoho's
/// needs either.
pub fn is_doubtful(path: &str) -> bool {
    if !path.contains(['%', ';']) {
        return false;
    }
    let once = decoded(path);
    let is_code = |window: &[u8]| {
        window[0] == b'%'
            && (window[1..].iter().all(u8::is_ascii_hexdigit) || window[1].eq_ignore_ascii_case(&b'u'))
    };
    // What does not decode to UTF-8 is left as it is, and so still has octets in code.
    once.contains(';') || once.as_bytes().windows(3).any(is_code)
}

/// A segment without its parameters and the white space around it.
fn name_of(segment: &str) -> &str {
    segment.split(';').next().unwrap_or_default().trim()
}

/// Whether a segment is this name, or begins with it and goes on with what some server cuts off: a parameter, a query, an
/// extension, a control character.
fn is_called(segment: &str, name: &str) -> bool {
    let rest = segment.trim_start().strip_prefix(name);
    rest.is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '-')))
}

/// Decodes until nothing is left to decode. Each octet in code is replaced as soon as its last digit has come, so that
/// its result can be part of another one.
fn decoded_throughout(text: &[u8]) -> Vec<u8> {
    let mut read = Vec::with_capacity(text.len());
    for byte in text {
        read.push(*byte);
        while let Some((length, octet)) = code_at_end(&read) {
            read.truncate(read.len() - length);
            read.push(octet);
        }
    }
    read
}

/// The octet that the last bytes are a code for, and how many bytes those are.
fn code_at_end(read: &[u8]) -> Option<(usize, u8)> {
    encoded_octet(read).or_else(|| encoded_character(read)).or_else(|| overlong_octet(read))
}

/// `%6f`
fn encoded_octet(read: &[u8]) -> Option<(usize, u8)> {
    let [.., b'%', high, low] = read else { return None };
    Some((3, u8::try_from(hexadecimal(&[*high, *low])?).ok()?))
}

/// `%u006f`, also of a full-width letter, which stands for the plain one.
fn encoded_character(read: &[u8]) -> Option<(usize, u8)> {
    let [.., b'%', b'u' | b'U', a, b, c, d] = read else { return None };
    let value = hexadecimal(&[*a, *b, *c, *d])?;
    let plain = if (0xff01..=0xff5e).contains(&value) { value - 0xfee0 } else { value };
    Some((6, u8::try_from(plain).ok().filter(u8::is_ascii)?))
}

/// Two octets for what is one in UTF-8.
fn overlong_octet(read: &[u8]) -> Option<(usize, u8)> {
    let [.., first @ (0xc0 | 0xc1), second @ 0x80..=0xbf] = read else { return None };
    Some((2, (first & 1) << 6 | second & 0x3f))
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value << 4 | char::from(*digit).to_digit(16)?))
}

/// A character without its case and width; slashes of all kinds as one.
fn folded(c: char) -> char {
    let narrow = match u32::from(c) {
        wide @ 0xff01..=0xff5e => char::from_u32(wide - 0xfee0).unwrap_or(c),
        _ => c,
    };
    match narrow {
        '\\' => '/',
        c if c.is_ascii() => c.to_ascii_lowercase(),
        // By way of the capital letter, as comparisons without case do: the long s is an s.
        c => c.to_uppercase().flat_map(char::to_lowercase).next().unwrap_or(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_path_is_read() {
        for path in [
            "/crm/v8",
            "/CRM/V8",
            "/%63rm/v8",
            "/%2563rm/v8",
            "/%25252563rm/v8",
            "/%%36%33rm/v8",
            "/%u0063rm/v8",
            "/%uff43rm/v8",
            "/%c1%a3rm/v8",
            "/%EF%BD%83rm/v8",
            "/crm\\v8",
            "/crm%2fv8",
            "/crm%c0%afv8",
            "/crm%255cv8",
        ] {
            assert_eq!(leniently_read(path), "/crm/v8", "{path}");
        }
        assert_eq!(leniently_read("/100%/%zz/%u12"), "/100%/%zz/%u12");
    }

    #[test]
    fn whatever_could_be_read_as_oauth_is_found() {
        for path in [
            "/oauth",
            "/OAuth/v2/token",
            "/oauth;x/v2/token",
            "/;x/oauth/v2/token",
            "/oauth%3bx/v2/token",
            "/oauth%20/v2/token",
            "/%20oauth/v2/token",
            "/oauth./v2/token",
            "/oauth%3fx/v2/token",
            "/oauth%2500/v2/token",
            "/oauth.json",
            "/%6fauth/v2/token",
            "/%256fauth/v2/token",
            "/%u006fauth/v2/token",
            "/%c1%afauth/v2/token",
            "/%EF%BD%8Fauth/v2/token",
            "//oauth/v2/token",
            "/\\oauth/v2/token",
            "/oauth%5cv2/token",
            "/oauth%255cv2/token",
            "/crm/%252e%252e/oauth/v2/token",
            "/crm/..%253bx/oauth/v2/token",
            "/crm/%2e%2e%2foauth/v2/token",
            "/%252foauth/v2/token",
        ] {
            assert!(could_be_of_accounts(path), "{path}");
        }
        for path in [
            "/",
            "/crm/oauth",
            "/oauthentic",
            "/oauth_apps",
            "/crm/v8/Leads/oauth",
            "/crm/v8/%252e%252e/oauth",
        ] {
            assert!(!could_be_of_accounts(path), "{path}");
        }
    }

    #[test]
    fn functions_are_found_in_every_spelling() {
        for path in [
            "/crm/v8/functions/f",
            "/crm/v8/FUNCTIONS/f",
            "/crm/v8/functions%20/f",
            "/crm/v8/functions./f",
            "/crm/v8/functions%3b/f",
            "/crm/v8/function%C5%BF/f",
            "/crm/v8/%66unctions/f",
            "/crm/v8%255cfunctions",
        ] {
            assert!(could_call_function(path), "{path}");
        }
        for path in ["/crm/v8/functionality", "/crm/v8/my_functions", "/crm/v8/Leads"] {
            assert!(!could_call_function(path), "{path}");
        }
    }

    #[test]
    fn what_a_lenient_server_acts_on_has_one_spelling() {
        for path in [
            "/crm/v8/settings/territories/1",
            "/CRM/V8/Settings/Territories/1",
            "/crm/v8/settings/territories%20/1",
            "/crm/v8/settings/%09territories/1",
            "/crm/v8/settings/territories/1/",
            "//crm/v8//settings/territories/1//",
            "/crm/v8/settings/territories;x/1",
            "/crm/v8/settings\\territories%2f1",
            "/crm/v8/settings/%2574erritories/1",
            "/crm/v8/settings/territories%C2%A0/1",
        ] {
            assert_eq!(acted_on(path), "/crm/v8/settings/territories/1", "{path}");
        }
        for path in ["/crm/v8/Leads", "/crm/v8/%4Ceads/", "/crm/v8/Leads/a%20b", "/crm//v8/L%C3%BC"] {
            assert!(!is_oddly_spelled(path), "{path}");
        }
        for path in ["/crm/v8/Leads%20", "/crm/v8/Leads;x", "/crm/v8/%254Ceads", "/crm/v8/%20Leads"] {
            assert!(is_oddly_spelled(path), "{path}");
        }
    }

    #[test]
    fn a_segment_is_taken_for_a_name_by_what_some_server_cuts_off() {
        for segment in ["users", "users.json", "users.", "users,", "users?x", "u\u{17f}ers"] {
            assert!(could_be(segment, "users"), "{segment}");
        }
        for segment in ["user", "users2", "users_x", "users-x", "leads"] {
            assert!(!could_be(segment, "users"), "{segment}");
        }
        for segment in ["v8", "v2.1", "v8.", "v8,", "v8~x", "v\u{ff18}"] {
            assert!(could_be_version(segment), "{segment}");
        }
        for segment in ["v", "8", "v8x", "leads", ""] {
            assert!(!could_be_version(segment), "{segment}");
        }
    }

    #[test]
    fn a_parameter_that_names_the_method_is_found() {
        for query in
            ["_method=DELETE", "a=b&_METHOD=put", "%5Fmethod=x", "X-HTTP-Method-Override=PUT", "_method"]
        {
            assert!(query_names_method(query), "{query}");
        }
        for query in ["", "a=_method", "method=email", "payment_method=card", "x=y&z"] {
            assert!(!query_names_method(query), "{query}");
        }
    }

    #[test]
    fn a_path_that_a_second_reader_decodes_again_is_doubtful() {
        for path in ["/a%252Fb", "/a;b", "/a%3Bb", "/%c1%afauth", "/%u006f", "/%25u006f", "/a%ff"] {
            assert!(is_doubtful(path), "{path}");
        }
        for path in ["/crm/v8/Leads", "/a%20b", "/50%25", "/%E4%BD%A0"] {
            assert!(!is_doubtful(path), "{path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_is_left_to_decode(path in "(/|%|2|5|f|F|u|0|6|c|o|%25|%c1){0,24}") {
            let read = decoded_throughout(path.as_bytes());
            proptest::prop_assert_eq!(decoded_throughout(&read), read);
        }

        #[test]
        fn no_path_makes_reading_panic(path in "\\PC{0,60}") {
            let _ = leniently_read(&path);
            let _ = (could_be_of_accounts(&path), could_call_function(&path), is_doubtful(&path));
        }
    }
}
