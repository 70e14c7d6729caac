//! Who may ask the admin listener.

use http::header::{AUTHORIZATION, HOST};
use http::{Request, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::Access;
use crate::net::browser::{is_of_browser, is_of_page};
use crate::net::origin::is_loopback;

/// A request that is not answered at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    #[error(
        "a page of another site may not ask this listener; ask without Origin, Sec-Fetch-Site and Sec-Purpose"
    )]
    ForeignOrigin,
    #[error(
        "a browser may ask this listener only where it says that a person asked (Sec-Fetch-Site: none); a monitor must send another User-Agent, or set admin.token and show the token"
    )]
    Browser,
    #[error("this listener is asked by address: use 127.0.0.1 or localhost as Host, or set admin.token")]
    ForeignHost,
}

impl Refused {
    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::ForeignOrigin | Self::Browser => StatusCode::FORBIDDEN,
            Self::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
        }
    }
}

/// Keeps browsers' pages out. Where a token is needed, any `Host` and any browser will do: no page has the token. Where
/// none is needed, the host is this machine's, and to it browsers say whether a page or a person asks.
pub(super) fn check<B>(request: &Request<B>, access: &Access) -> Result<(), Refused> {
    let headers = request.headers();
    if is_of_page(headers) {
        return Err(Refused::ForeignOrigin);
    }
    let is_ours = |host: &str| {
        let bare = host.parse::<http::uri::Authority>().map(|authority| authority.host().to_owned());
        bare.is_ok_and(|host| is_loopback(&host))
    };
    let mut hosts = headers.get_all(HOST).iter();
    let all_ours = hosts.all(|host| host.to_str().is_ok_and(is_ours))
        && request.uri().authority().is_none_or(|target| is_ours(target.as_str()));
    let needs_no_token = access.is_local && access.token.is_none();
    if needs_no_token && !all_ours {
        return Err(Refused::ForeignHost);
    }
    if needs_no_token && is_of_browser(headers) && !headers.contains_key("sec-fetch-site") {
        return Err(Refused::Browser);
    }
    Ok(())
}

/// Whether the caller has shown the token, or none is needed.
pub(super) async fn is_trusted<B>(request: &Request<B>, access: &Access) -> bool {
    let Some(token) = &access.token else { return access.is_local };
    if !request.headers().contains_key(AUTHORIZATION) {
        return false;
    }
    // Read again for each request, so that a rotated token holds at once. Without a token no request is trusted.
    token.read().await.is_ok_and(|token| shows(request, &token))
}

/// Returns true if the request shows the token as it was last read. This protects the request from eviction while
/// [`is_trusted`] waits for the file, and grants nothing.
pub(super) fn shows_last_token<B>(request: &Request<B>, access: &Access) -> bool {
    let last = access.token.as_ref().and_then(|token| token.last());
    last.is_some_and(|token| shows(request, &token))
}

fn shows<B>(request: &Request<B>, token: &SecretString) -> bool {
    let shown = request.headers().get(AUTHORIZATION).map(http::HeaderValue::as_bytes).unwrap_or_default();
    let expected = Zeroizing::new(format!("Bearer {}", token.expose_secret()));
    // In constant time: how much of a guess was right must not show.
    aws_lc_rs::constant_time::verify_slices_are_equal(shown, expected.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::{LastingSecret, SecretSource};
    use prometheus_client::metrics::counter::Counter;
    use std::sync::Arc;

    fn request(headers: &[(&'static str, &'static str)]) -> Request<()> {
        let mut request = Request::new(());
        for (name, value) in headers {
            request.headers_mut().append(*name, http::HeaderValue::from_static(value));
        }
        request
    }

    #[test]
    fn pages_of_browsers_are_kept_out() {
        let local = Access { token: None, is_local: true };
        for host in ["127.0.0.1:9090", "localhost:9090", "[::1]:9090"] {
            assert_eq!(check(&request(&[("host", host)]), &local), Ok(()), "{host}");
        }
        assert_eq!(check(&request(&[]), &local), Ok(()));
        for host in ["evil.example", "127.0.0.1.evil.example", "10.0.0.1:9090", ""] {
            assert_eq!(check(&request(&[("host", host)]), &local), Err(Refused::ForeignHost), "{host}");
        }
        for sign in [
            ("origin", "http://127.0.0.1:9090"),
            ("sec-fetch-site", "cross-site"),
            ("sec-purpose", "prefetch"),
        ] {
            let of_page = request(&[("host", "127.0.0.1"), ("sec-fetch-mode", "navigate"), sign]);
            assert_eq!(check(&of_page, &local), Err(Refused::ForeignOrigin), "{sign:?}");
        }
        let mut target = request(&[]);
        *target.uri_mut() = "http://evil.example/metrics".parse().unwrap();
        assert_eq!(check(&target, &local), Err(Refused::ForeignHost));
    }

    #[test]
    fn a_person_may_ask_by_a_browser_that_says_so() {
        const BROWSER: (&str, &str) =
            ("user-agent", "Mozilla/5.0 (X11) AppleWebKit/537.36 (KHTML, like Gecko)");
        let local = Access { token: None, is_local: true };
        let person = request(&[("host", "127.0.0.1:9090"), BROWSER, ("sec-fetch-site", "none")]);
        assert_eq!(check(&person, &local), Ok(()));
        let silent = request(&[("host", "127.0.0.1:9090"), BROWSER]);
        assert_eq!(check(&silent, &local), Err(Refused::Browser));
        let secret = LastingSecret::new(SecretSource::literal("made-up"), Counter::default());
        let with_token = Access { token: Some(Arc::new(secret)), is_local: false };
        assert_eq!(check(&silent, &with_token), Ok(()));
    }

    #[tokio::test]
    async fn the_last_token_is_known_without_reading_it_anew() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("token");
        std::fs::write(&file, "made-up-one").unwrap();
        let of = |source| LastingSecret::new(source, Counter::default());
        let in_file = Arc::new(of(SecretSource::File(file.clone())));
        let access = Access { token: Some(in_file.clone()), is_local: false };
        let first = request(&[("authorization", "Bearer made-up-one")]);
        assert!(!shows_last_token(&first, &access), "nothing was read yet");
        assert!(is_trusted(&first, &access).await && shows_last_token(&first, &access));
        std::fs::write(&file, "made-up-two").unwrap();
        assert!(shows_last_token(&first, &access) && !is_trusted(&first, &access).await);
        assert!(!shows_last_token(&first, &access) && !shows_last_token(&request(&[]), &access));
        let literal =
            Access { token: Some(Arc::new(of(SecretSource::literal("made-up-one")))), is_local: false };
        assert!(shows_last_token(&first, &literal));
        assert!(!shows_last_token(&first, &Access { token: None, is_local: true }), "none is needed");
    }

    #[tokio::test]
    async fn the_token_must_be_shown_whole() {
        let source = SecretSource::literal("made-up-admin-token");
        let token = Some(Arc::new(LastingSecret::new(source, Counter::default())));
        let access = Access { token, is_local: false };
        let shown = async |value| is_trusted(&request(&[("authorization", value)]), &access).await;
        assert!(shown("Bearer made-up-admin-token").await);
        assert!(!shown("Bearer made-up-admin-toke").await);
        assert!(!shown("made-up-admin-token").await);
        assert!(!is_trusted(&request(&[]), &access).await);
        assert!(!is_trusted(&request(&[]), &Access { token: None, is_local: false }).await);
    }
}
