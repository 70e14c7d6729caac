//! What the sidecar answers in the place of Zoho's accounts server.
//!
//! Zoho's SDKs insist on fetching a token themselves. Here they get one at once: a placeholder that is worth
//! nothing elsewhere, since the sidecar puts its own token into their calls; or, where callers are known by tokens,
//! the caller's own, which it sends in the place of Zoho's. What they send for it is neither kept nor sent on.
//!
//! Nothing here but the user's name depends on Zoho, so it is answered also while Zoho is down; and no path of the accounts server
//! ever reaches an API host, which has no business with a client's secret.
//!
//! - [`base_url`]: the sidecar's own URL, as the caller sees it
//! - `form`: the form in the body, read within bounds
//! - [`token`]: what a request for a token is told
//! - [`user`]: whom a token is for

mod base_url;
mod form;
mod token;
mod user;

use std::borrow::Cow;
use std::pin::pin;

use http::header::{CONTENT_TYPE, HeaderMap};
use http::uri::{PathAndQuery, Scheme};
use http::{Method, Request};
use http_body::Body as HttpBody;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::account::{Facts, Label};
use super::call::choose;
use super::ending::Unanswered;
use super::panics::refused_on_panic;
use super::refusal::Refusal;
use super::room::Room;
use super::{Arrival, Handling, Proxy, rest};
use crate::callers::Identity;
use crate::net::body::Body;
use crate::net::form::Form;
use crate::net::whole::whole;
use crate::zoho::path::Area;

/// What is asked of the accounts server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    /// A token.
    Token,
    /// That a token be worth nothing from now on.
    Revocation,
    /// Whose token it is.
    User,
}

impl Question {
    /// `None` for all that the sidecar has no answer to. Zoho documents two paths for a revocation.
    fn of(method: &Method, path: &str) -> Option<Self> {
        match (method.as_str(), path) {
            ("POST", "/oauth/v2/token") => Some(Self::Token),
            ("POST", "/oauth/v2/token/revoke" | "/oauth/v2/revoke/token") => Some(Self::Revocation),
            ("GET", "/oauth/user/info") => Some(Self::User),
            _ => None,
        }
    }
}

/// A request to the accounts server, without its body.
pub(super) struct Ask {
    question: Option<Question>,
    /// Wiped from memory, as clients may send secrets in its query.
    target: Zeroizing<String>,
    /// What remains of it without the base by which a tenant is chosen.
    bare: Zeroizing<String>,
    query: Zeroizing<String>,
    /// `None` if the request does not say at which host it was made.
    base_url: Option<String>,
    caller: Identity,
    facts: Facts<'static>,
}

/// How long the form of a request of this caller may be.
fn form_limit(caller: Identity) -> usize {
    match caller {
        Identity::Unknown => form::LIMIT_OF_UNIDENTIFIED,
        Identity::Everybody | Identity::Caller(_) => form::LIMIT,
    }
}

/// What is held of a request beside its head and its form.
const BESIDE: usize = 4 * 1024;

impl Ask {
    /// How many bytes a request takes while its form is waited for. Only what is not known to be a caller's is measured.
    pub(super) fn bytes_of<B: HttpBody>(request: &Request<B>, caller: Identity) -> usize {
        if caller != Identity::Unknown {
            return 0;
        }
        let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len());
        // The target is kept whole, and so are its path and its query.
        let target = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
        BESIDE + headers.sum::<usize>() + 3 * target + form::bytes_of(request.body(), form_limit(caller))
    }

    /// What the log tells of it.
    pub(super) fn into_facts(self) -> Facts<'static> {
        self.facts
    }

    fn form_limit(&self) -> usize {
        form_limit(self.caller)
    }

    /// Reads the head of a request, which came by TLS or in the clear. `bare` is what remains of its target
    /// without the base by which it chooses a tenant.
    pub(super) fn read<B>(
        is_tls: bool,
        request: &Request<B>,
        bare: &str,
        caller: Identity,
        arrival: &Arrival,
    ) -> Self {
        let scheme = if is_tls { Scheme::HTTPS } else { Scheme::HTTP };
        let target = request.uri().path_and_query().map_or("", PathAndQuery::as_str);
        let base_path = target.strip_suffix(bare).unwrap_or_default();
        let (path, query) = bare.split_once('?').unwrap_or((bare, ""));
        let facts = Proxy::facts_unread(request, caller, arrival);
        Self {
            question: Question::of(request.method(), path),
            target: Zeroizing::new(target.to_owned()),
            bare: Zeroizing::new(bare.to_owned()),
            query: Zeroizing::new(query.to_owned()),
            base_url: base_url::of(&scheme, request, base_path),
            caller,
            facts: Facts { path: Cow::Borrowed(path), ..facts }.into_owned(),
        }
    }
}

impl Proxy {
    /// Answers a request to the accounts server.
    pub(super) fn stand_in<B>(
        &self,
        mut ask: Ask,
        room: Room,
        request: Request<B>,
        arrival: Arrival,
    ) -> Handling
    where
        B: HttpBody + Into<Body>,
    {
        if ask.question == Some(Question::User) {
            return self.tell_user(ask, &request, &arrival);
        }
        let (proxy, (head, body)) = (self.clone(), request.into_parts());
        let body = whole(head.version, body.into());
        Handling::Later(Box::pin(async move {
            let facts = ask.facts.clone();
            let unanswered = Unanswered::new(&proxy, || facts.clone());
            let said = async {
                let said = room.hold(proxy.say(&mut ask, &head.headers, body, &arrival)).await;
                said.unwrap_or_else(|crowded| Err(crowded.into()))
            };
            let said = refused_on_panic(&arrival, pin!(said)).await;
            unanswered.answered();
            drop(room);
            ask.facts.would_refuse = Cow::Owned(arrival.would_refuse);
            match said {
                Ok(said) => proxy.answer_told(&ask.facts, &said),
                Err(refusal) => proxy.answer_refusal(ask.facts, &head.headers, &refusal),
            }
        }))
    }

    /// What is answered. Who asks and for which tenant is clear only when the form has been read: an SDK that
    /// cannot show a token of its own choice sends it there.
    async fn say(
        &self,
        ask: &mut Ask,
        headers: &HeaderMap,
        body: Body,
        arrival: &Arrival,
    ) -> Result<Value, Refusal> {
        // Read also where nothing in it matters: an answer before the end of a body breaks the connection.
        let form = self.read_form(ask.form_limit(), &ask.query, headers, body).await?;
        let rules = &self.shared.rules;
        let sent = ["refresh_token", "code", "client_secret"].into_iter().filter_map(|name| form.value(name));
        let own = sent.into_iter().find_map(|token| Some((token, rules.callers.tokens().owner(token)?)));
        let caller = own.map_or(ask.caller, |(_, number)| Identity::Caller(number));
        if caller == Identity::Unknown {
            self.count_unknown();
            return Err(Refusal::CallerUnknown);
        }
        let is_anybody = rules.callers.is_anybody(caller);
        if !is_anybody {
            self.standing.identify();
        }
        ask.facts.caller = caller.number();
        let tenant = choose(rules, caller, headers, &ask.target)?.tenant;
        (ask.facts.tenant, ask.facts.label) = (Some(tenant), Label::Area(Area::Accounts));
        self.permit_tenant(caller, tenant, arrival)?;
        if is_anybody {
            self.standing.admit();
        }
        match ask.question {
            None | Some(Question::User) => Err(Refusal::OfAccounts),
            // The placeholder opens nothing, so nothing has to be closed.
            Some(Question::Revocation) => Ok(json!({ "status": "success" })),
            Some(Question::Token) => {
                let base_url = ask.base_url.as_deref().ok_or(Refusal::Ambiguous(
                    "its Host is not a plain host with or without a port, and the answer has to name it",
                ))?;
                // The caller's own, so that it comes with every call from now on.
                Ok(token::answer(&form, base_url, own.map_or(token::PLACEHOLDER, |(token, _)| token)))
            }
        }
    }

    /// The parameters of body and query; SDKs use the one, some clients the other.
    async fn read_form(
        &self,
        limit: usize,
        query: &str,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Form, Refusal> {
        let body = self.upstream.paced_request(body, self.upstream.deadline());
        let bytes = match form::read(body, limit).await {
            Ok(form::Form::Whole(bytes)) => bytes,
            Ok(form::Form::TooLong(body)) => {
                rest::discard(body).await;
                return Err(Refusal::FormTooLong(limit));
            }
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
    fn only_known_paths_are_answered_each_by_its_method() {
        let asked = |method, path| Question::of(&method, path);
        assert_eq!(asked(Method::POST, "/oauth/v2/token"), Some(Question::Token));
        assert_eq!(asked(Method::POST, "/oauth/v2/token/revoke"), Some(Question::Revocation));
        assert_eq!(asked(Method::POST, "/oauth/v2/revoke/token"), Some(Question::Revocation));
        assert_eq!(asked(Method::GET, "/oauth/user/info"), Some(Question::User));
        for (method, path) in [
            (Method::GET, "/oauth/v2/token"),
            (Method::HEAD, "/oauth/v2/token"),
            (Method::POST, "/oauth/v2/token/"),
            (Method::GET, "/oauth/v2/auth"),
            (Method::POST, "/oauth/user/info"),
            (Method::POST, "/oauth/v2/tokens"),
        ] {
            assert_eq!(asked(method.clone(), path), None, "{method} {path}");
        }
    }
}
