//! What the sidecar answers in the place of Zoho's accounts server.
//!
//! Zoho's SDKs insist on fetching a token themselves. Here they get one at once: a placeholder that is worth
//! nothing elsewhere, since the sidecar puts its own token into their calls; or, where callers are known by tokens,
//! the caller's own, which it sends in the place of Zoho's. What they send for it is neither kept nor sent on. Nothing here depends on Zoho, so it is answered also while Zoho is down; and
//! no path of the accounts server ever reaches an API host, which has no business with a client's secret.
//!
//! - [`base_url`]: the sidecar's own URL, as the caller sees it
//! - [`token`]: what a request for a token is told

mod base_url;
mod token;

use http::header::{CONTENT_TYPE, HeaderMap};
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Request, Response};
use serde_json::{Value, json};

use super::account::Facts;
use super::call::Reading;
use super::ending::Unanswered;
use super::refusal::Refusal;
use super::{Arrival, Proxy};
use crate::callers::Identity;
use crate::net::body::{Body, Prefix};
use crate::net::form::Form;

/// How long the form of a request may be. Real ones have a few hundred bytes.
const FORM_LIMIT: usize = 64 * 1024;

/// What is asked of the accounts server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// A token.
    Token,
    /// That a token be worth nothing from now on.
    Revocation,
}

impl Question {
    /// `None` for all that the sidecar has no answer to. Zoho documents two paths for a revocation.
    fn of(method: &Method, path: &str) -> Option<Self> {
        match (method.as_str(), path) {
            ("POST", "/oauth/v2/token") => Some(Self::Token),
            ("POST", "/oauth/v2/token/revoke" | "/oauth/v2/revoke/token") => Some(Self::Revocation),
            _ => None,
        }
    }
}

/// A request to the accounts server, without its body.
pub(super) struct Ask {
    question: Option<Question>,
    query: String,
    /// `None` if the request does not say at which host it was made.
    base_url: Option<String>,
    caller: Identity,
    facts: Facts<'static>,
}

impl Ask {
    /// Reads the head of a request, which came by TLS or in the clear.
    pub(super) fn read<B>(
        is_tls: bool,
        request: &Request<B>,
        reading: &Reading<'_>,
        arrival: &Arrival,
    ) -> Self {
        let scheme = if is_tls { Scheme::HTTPS } else { Scheme::HTTP };
        let target = request.uri().path_and_query().map_or("", PathAndQuery::as_str);
        // What Zoho's path was cut from is the base by which the tenant was chosen.
        let base_path = target.strip_suffix(reading.path_and_query).unwrap_or_default();
        let query = reading.path_and_query.split_once('?').map_or("", |(_, query)| query);
        Self {
            question: Question::of(request.method(), reading.path),
            query: query.to_owned(),
            base_url: base_url::of(&scheme, request, base_path),
            caller: reading.caller,
            facts: Proxy::facts(request.method(), reading, arrival).into_owned(),
        }
    }
}

impl Proxy {
    /// Answers a request to the accounts server.
    pub(super) async fn stand_in(self, ask: Ask, headers: HeaderMap, body: Body) -> Response<Body> {
        let unanswered = Unanswered::new(&self, &ask.facts);
        let said = self.say(&ask, &headers, body).await;
        unanswered.answered();
        match said {
            Ok(said) => self.answer_told(&ask.facts, &said),
            Err(refusal) => self.answer_refusal(ask.facts, &headers, &refusal),
        }
    }

    async fn say(&self, ask: &Ask, headers: &HeaderMap, body: Body) -> Result<Value, Refusal> {
        // Read also where nothing in it matters: an answer before the end of a body breaks the connection.
        let form = self.read_form(&ask.query, headers, body).await?;
        match ask.question {
            None => Err(Refusal::OfAccounts),
            // The placeholder opens nothing, so nothing has to be closed.
            Some(Question::Revocation) => Ok(json!({ "status": "success" })),
            Some(Question::Token) => {
                let base_url = ask.base_url.as_deref().ok_or(Refusal::Ambiguous(
                    "its Host is not a plain host with or without a port, and the answer has to name it",
                ))?;
                Ok(token::answer(&form, base_url, self.token_for(ask.caller, &form)))
            }
        }
    }

    /// The token to hand out: the caller's own, if it has sent it for a token of Zoho's, so that it comes with every
    /// call from now on; else the placeholder, unless such a caller would be unknown with it.
    fn token_for<'a>(&self, caller: Identity, form: &'a Form) -> Option<&'a str> {
        let known = self.shared.rules.callers.tokens();
        let sent = ["refresh_token", "code", "client_secret"].into_iter().filter_map(|name| form.value(name));
        let own = sent.into_iter().find(|token| known.owner(token).is_some());
        if own.is_none() && caller == Identity::Unknown {
            self.count_unknown();
            return None;
        }
        Some(own.unwrap_or(token::PLACEHOLDER))
    }

    /// The parameters of body and query; SDKs use the one, some clients the other.
    async fn read_form(&self, query: &str, headers: &HeaderMap, body: Body) -> Result<Form, Refusal> {
        let body = self.upstream.paced_request(body, self.upstream.deadline());
        let bytes = match body.read_up_to(FORM_LIMIT).await {
            Ok(Prefix::Whole(bytes)) => bytes,
            Ok(Prefix::Partial(_)) => return Err(Refusal::FormTooLong(FORM_LIMIT)),
            Err(error) => return Err(Refusal::of_request_body(&error)),
        };
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Ok(Form::body(content_type, &bytes).and(Form::urlencoded(query)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_posts_to_known_paths_are_answered() {
        let asked = |method, path| Question::of(&method, path);
        assert_eq!(asked(Method::POST, "/oauth/v2/token"), Some(Question::Token));
        assert_eq!(asked(Method::POST, "/oauth/v2/token/revoke"), Some(Question::Revocation));
        assert_eq!(asked(Method::POST, "/oauth/v2/revoke/token"), Some(Question::Revocation));
        for (method, path) in [
            (Method::GET, "/oauth/v2/token"),
            (Method::HEAD, "/oauth/v2/token"),
            (Method::POST, "/oauth/v2/token/"),
            (Method::GET, "/oauth/v2/auth"),
            (Method::POST, "/oauth/v2/tokens"),
        ] {
            assert_eq!(asked(method.clone(), path), None, "{method} {path}");
        }
    }
}
