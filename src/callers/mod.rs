//! Who may use what: callers, how each is known, and what it may ask for.
//!
//! - [`credential`]: what a caller may show
//! - [`known`]: the tokens in force, read again when their files change
//! - [`policy`]: what a caller may ask for
//!
//! Without any configured caller everybody may do everything; where the sidecar listens is then all there is to
//! keep others out.

pub mod credential;
pub mod known;
pub mod policy;

use std::collections::HashMap;

use http::HeaderMap;

use crate::net::peer::{Peer, SubjectName};
use credential::Credential;
use known::KnownTokens;
use policy::Policy;

/// The number of a caller, for what is kept per caller.
pub type CallerNumber = usize;

/// An internal service, as configured.
#[derive(Debug)]
pub struct Caller {
    /// Its name in configuration, metrics and logs.
    pub name: String,
    /// How it is known.
    pub credential: Credential,
    /// What it may ask for.
    pub policy: Policy,
    /// What happens when it asks for more.
    pub mode: Mode,
}

/// What happens when a caller asks for more than it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is refused.
    Enforce,
    /// It is served; the log and the metrics say what would have been refused.
    Shadow,
}

impl Mode {
    /// Its name in configuration, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// No caller is configured, so that nobody is told from anybody.
    Everybody,
    /// A configured caller.
    Caller(CallerNumber),
    /// Callers are configured, and it has shown itself to be none of them.
    Unknown,
}

impl Identity {
    /// The configured caller, if it is one.
    pub fn number(self) -> Option<CallerNumber> {
        match self {
            Self::Caller(number) => Some(number),
            Self::Everybody | Self::Unknown => None,
        }
    }
}

/// All callers.
#[derive(Debug, Default)]
pub struct Callers {
    all: Vec<Caller>,
    by_uid: HashMap<u32, CallerNumber>,
    by_name: HashMap<SubjectName, CallerNumber>,
    anybody: Option<CallerNumber>,
    tokens: KnownTokens,
}

impl Callers {
    /// Callers, with the tokens of those whose files can be read now.
    pub fn new(all: Vec<Caller>) -> Self {
        let numbered = || all.iter().map(|caller| &caller.credential).enumerate();
        let uids = numbered().flat_map(|(n, credential)| credential.uids.iter().map(move |uid| (*uid, n)));
        let names = numbered().flat_map(|(n, shown)| shown.names.iter().map(move |name| (name.clone(), n)));
        let tokens = numbered().filter_map(|(n, shown)| Some((n, shown.tokens.clone()?)));
        Self {
            by_uid: uids.collect(),
            by_name: names.collect(),
            anybody: all.iter().position(|caller| caller.credential.anybody),
            tokens: KnownTokens::read(tokens.collect()),
            all,
        }
    }

    /// All of them, by their numbers.
    pub fn all(&self) -> &[Caller] {
        &self.all
    }

    /// Whether somebody with this identity has shown nothing that tells it from others who can connect.
    pub fn is_anonymous(&self, identity: Identity) -> bool {
        match identity {
            Identity::Everybody | Identity::Unknown => true,
            Identity::Caller(number) => self.anybody == Some(number),
        }
    }

    /// Returns true for the configured caller without a credential (`anybody = true`).
    pub fn is_anybody(&self, identity: Identity) -> bool {
        identity.number().is_some() && identity.number() == self.anybody
    }

    /// A caller by its number.
    pub fn caller(&self, number: CallerNumber) -> &Caller {
        &self.all[number]
    }

    /// The tokens in force.
    pub fn tokens(&self) -> &KnownTokens {
        &self.tokens
    }

    /// Who asks. A token is shown with intent and comes first; a token that is nobody's counts for nothing, since
    /// Zoho's SDKs always send one. Then what the connection shows, then the caller that anybody is. No part of
    /// this allocates, locks, or depends on how many callers there are, but for the tokens.
    pub fn identify(&self, peer: &Peer, headers: &HeaderMap) -> Identity {
        if self.all.is_empty() {
            return Identity::Everybody;
        }
        let by_token = || self.tokens.owner(credential::token_in(headers)?);
        let by_certificate = || peer.names.iter().find_map(|name| self.by_name.get(name).copied());
        let by_uid = || self.by_uid.get(&peer.uid?).copied();
        let found = by_token().or_else(by_certificate).or_else(by_uid).or(self.anybody);
        found.map_or(Identity::Unknown, Identity::Caller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use credential::{TokenHash, TokenSource};
    use http::HeaderValue;
    use http::header::AUTHORIZATION;

    fn caller(name: &str, credential: Credential) -> Caller {
        Caller { name: name.to_owned(), credential, policy: Policy::default(), mode: Mode::Enforce }
    }

    fn three() -> Callers {
        let token = TokenSource::Listed(vec![TokenHash::of("made-up-token")]);
        let name = "spiffe://example.org/web".parse().unwrap();
        Callers::new(vec![
            caller("by-uid", Credential { uids: vec![1000], ..Credential::default() }),
            caller("by-name", Credential { names: vec![name], ..Credential::default() }),
            caller("by-token", Credential { tokens: Some(token), ..Credential::default() }),
        ])
    }

    fn showing(token: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(token))])
    }

    #[test]
    fn without_callers_everybody_is_the_same() {
        let callers = Callers::default();
        assert_eq!(callers.identify(&Peer::default(), &showing("Bearer x")), Identity::Everybody);
    }

    #[test]
    fn a_caller_is_known_by_what_it_shows() {
        let callers = three();
        let nobody = Peer::default();
        let user = Peer { uid: Some(1000), ..Peer::default() };
        let web = "spiffe://example.org/web".parse().unwrap();
        let certified = Peer { is_tls: true, names: vec![SubjectName::dns("other"), web], uid: None };
        let none = HeaderMap::new();
        assert_eq!(callers.identify(&user, &none), Identity::Caller(0));
        assert_eq!(callers.identify(&certified, &none), Identity::Caller(1));
        assert_eq!(callers.identify(&nobody, &showing("Bearer made-up-token")), Identity::Caller(2));
        assert_eq!(callers.identify(&nobody, &none), Identity::Unknown);
        assert_eq!(callers.identify(&Peer { uid: Some(0), ..Peer::default() }, &none), Identity::Unknown);
    }

    #[test]
    fn a_token_comes_before_the_connection_unless_it_is_nobodys() {
        let callers = three();
        let user = Peer { uid: Some(1000), ..Peer::default() };
        assert_eq!(callers.identify(&user, &showing("Bearer made-up-token")), Identity::Caller(2));
        assert_eq!(callers.identify(&user, &showing("Zoho-oauthtoken of-an-sdk")), Identity::Caller(0));
    }

    #[test]
    fn who_shows_nothing_is_the_caller_that_anybody_is() {
        let mut all = three().all;
        all.push(caller("others", Credential { anybody: true, ..Credential::default() }));
        let callers = Callers::new(all);
        assert_eq!(callers.identify(&Peer::default(), &HeaderMap::new()), Identity::Caller(3));
        assert_eq!(callers.identify(&Peer::default(), &showing("Bearer wrong")), Identity::Caller(3));
    }
}
