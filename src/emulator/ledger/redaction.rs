//! Leaving credentials out.

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION};

use crate::net::form;

/// Parameters that are credentials.
const SECRET: [&str; 6] = ["client_secret", "refresh_token", "access_token", "code", "token", "auth_token"];

/// The headers as they may be kept. `token` is what to call the token in `Authorization`.
pub(in crate::emulator) fn headers(headers: &HeaderMap, token: Option<&str>) -> Vec<(String, String)> {
    let shown = |name: &http::HeaderName, value: &http::HeaderValue| {
        let value = String::from_utf8_lossy(value.as_bytes());
        if name == AUTHORIZATION {
            let scheme = value.split(' ').next().filter(|scheme| scheme.len() < value.len());
            format!("{} [{}]", scheme.unwrap_or("[no scheme]"), token.unwrap_or("unknown token"))
        } else if name == COOKIE || name == PROXY_AUTHORIZATION {
            "[redacted]".to_owned()
        } else {
            value.into_owned()
        }
    };
    headers.iter().map(|(name, value)| (name.to_string(), shown(name, value))).collect()
}

/// Path and query as they may be kept: byte by byte, except for the values of credentials.
pub(in crate::emulator) fn path_and_query(text: &str) -> String {
    let Some((path, query)) = text.split_once('?') else {
        return text.to_owned();
    };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if SECRET.contains(&form::decode(name).as_str()) => format!("{name}=[redacted]"),
        _ => pair.to_owned(),
    });
    format!("{path}?{}", pairs.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_token_is_called_by_its_number() {
        let mut map = HeaderMap::new();
        map.insert(AUTHORIZATION, HeaderValue::from_static("Zoho-oauthtoken 1000.secret"));
        map.insert(COOKIE, HeaderValue::from_static("a=b"));
        map.insert("x-crm-org", HeaderValue::from_static("7"));
        let kept = headers(&map, Some("token #3 of acme"));
        assert_eq!(kept[0].1, "Zoho-oauthtoken [token #3 of acme]");
        assert_eq!(kept[1].1, "[redacted]");
        assert_eq!(kept[2].1, "7");
        map.insert(AUTHORIZATION, HeaderValue::from_static("1000.secret"));
        assert_eq!(headers(&map, None)[0].1, "[no scheme] [unknown token]");
    }

    #[test]
    fn credentials_in_a_query_are_left_out_and_nothing_else() {
        assert_eq!(
            path_and_query("/oauth/v2/token?client_id=c&client%5Fsecret=s&x=%7B&refresh_token=r"),
            "/oauth/v2/token?client_id=c&client%5Fsecret=[redacted]&x=%7B&refresh_token=[redacted]"
        );
        assert_eq!(path_and_query("/crm?a=1,2&&b"), "/crm?a=1,2&&b");
    }
}
