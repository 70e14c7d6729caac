//! What a caller may ask for. Asked before cache and credential are touched, for every request, also one that
//! would be answered from the cache.

use std::fmt;
use std::str::FromStr;

use http::{HeaderMap, Method};

use crate::net::overrides::Override;
use crate::routes::template::{PathTemplate, Template, TemplateError};
use crate::upstream::outbound::overrides;
use crate::zoho::composite::{self, Part};
use crate::zoho::effect::only_reads;
use crate::zoho::lenient::is_doubtful;
use crate::zoho::path::{has_dot_segment, has_encoded_control, with_plain_slashes};

/// What a caller may ask for: whatever none of these takes away. HEAD counts as GET.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// The organisations, by number; `None` for all.
    pub tenants: Option<Vec<usize>>,
    /// The methods; `None` for all.
    pub methods: Option<Vec<Method>>,
    /// The paths; `None` for all.
    pub paths: Option<Vec<PathRule>>,
    /// Whether it may only ask what changes nothing.
    pub read_only: bool,
}

/// Requests that a caller may make: a path template, with or without a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathRule {
    method: Option<Method>,
    path: PathTemplate,
}

/// What a caller may not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// Use this organisation.
    Tenant,
    /// Use this method.
    Method,
    /// Ask for this path.
    Path,
    /// Change anything.
    ReadOnly,
    /// Make a composite request that cannot be looked into.
    Composite,
}

impl Excess {
    /// Its name in metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant",
            Self::Method => "method",
            Self::Path => "path",
            Self::ReadOnly => "read-only",
            Self::Composite => "composite",
        }
    }
}

impl Policy {
    /// The organisations, by number; `None` for all. If there is only one, it is meant where none is named.
    pub fn tenants(&self) -> Option<&[usize]> {
        self.tenants.as_deref()
    }

    /// Whether this request is within it, the calls in a composite request apart: such a request counts as the
    /// calls that are in it, no more and no less.
    pub fn permits(
        &self,
        tenant: usize,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Result<(), Excess> {
        if self.tenants.as_ref().is_some_and(|tenants| !tenants.contains(&tenant)) {
            return Err(Excess::Tenant);
        }
        if !self.judges_calls() {
            return Ok(());
        }
        match headers.keys().find_map(overrides) {
            Some(Override::Method) => return Err(Excess::Method),
            Some(Override::Target) => return Err(Excess::Path),
            None => {}
        }
        if is_doubtful(path) {
            return Err(Excess::Path);
        }
        if composite::is_composite(path) {
            let is_documented = *method == Method::POST && composite::is_documented_path(path);
            return if is_documented { Ok(()) } else { Err(Excess::Composite) };
        }
        self.permits_call(method, path)
    }

    /// Whether it depends on method or path what is permitted, so that composite requests must be looked into.
    pub fn judges_calls(&self) -> bool {
        self.methods.is_some() || self.paths.is_some() || self.read_only
    }

    /// Whether the calls in a composite request are within it. `None` are calls that could not be read.
    pub fn permits_parts(&self, parts: Option<&[Part]>) -> Result<(), Excess> {
        if !self.judges_calls() {
            return Ok(());
        }
        for part in parts.ok_or(Excess::Composite)? {
            // What could be read otherwise, or holds calls itself, could be anything. Of a request of its own some
            // of this is looked at before.
            let other = with_plain_slashes(&part.path);
            let is_ambiguous = |path: &str| has_dot_segment(path) || has_encoded_control(path);
            if !part.is_plain
                || is_doubtful(&part.path)
                || is_ambiguous(&part.path)
                || other.as_deref().is_some_and(is_ambiguous)
                || composite::is_composite(&part.path)
            {
                return Err(Excess::Composite);
            }
            self.permits_call(&part.method, &part.path)?;
        }
        Ok(())
    }

    /// The path must be within it both as it stands and as a lenient server reads it.
    fn permits_call(&self, method: &Method, path: &str) -> Result<(), Excess> {
        let method_as_listed = if *method == Method::HEAD { &Method::GET } else { method };
        if self.methods.as_ref().is_some_and(|methods| !methods.contains(method_as_listed)) {
            return Err(Excess::Method);
        }
        let other = with_plain_slashes(path);
        let readings = || std::iter::once(path).chain(other.as_deref());
        if self.read_only && !readings().all(|path| only_reads(method, path)) {
            return Err(Excess::ReadOnly);
        }
        let Some(rules) = &self.paths else { return Ok(()) };
        let is_within = |path| rules.iter().any(|rule| rule.matches(method_as_listed, path));
        if readings().all(is_within) { Ok(()) } else { Err(Excess::Path) }
    }
}

impl PathRule {
    fn matches(&self, method: &Method, path: &str) -> bool {
        self.method.as_ref().is_none_or(|own| own == method) && self.path.matches(path)
    }
}

impl FromStr for PathRule {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if text.starts_with('/') {
            return Ok(Self { method: None, path: text.parse()? });
        }
        let Template { method, path } = text.parse()?;
        Ok(Self { method: Some(method), path })
    }
}

impl fmt::Display for PathRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(method) = &self.method {
            write!(f, "{method} ")?;
        }
        self.path.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(rules: &[&str]) -> Policy {
        let rules = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        Policy { paths: Some(rules), ..Policy::default() }
    }

    fn asked(policy: &Policy, method: &Method, path: &str) -> Result<(), Excess> {
        policy.permits(0, method, path, &HeaderMap::new())
    }

    #[test]
    fn without_rules_everything_is_permitted() {
        assert_eq!(asked(&Policy::default(), &Method::DELETE, "/crm/v8/Leads"), Ok(()));
        assert_eq!(Policy::default().permits_parts(None), Ok(()));
    }

    #[test]
    fn tenants_and_methods_are_held_to_their_lists() {
        let one = Policy {
            tenants: Some(vec![1]),
            methods: Some(vec![Method::GET, Method::PUT]),
            ..Policy::default()
        };
        let ask = |tenant, method| one.permits(tenant, &method, "/x", &HeaderMap::new());
        assert_eq!(ask(0, Method::GET), Err(Excess::Tenant));
        assert_eq!(ask(1, Method::GET), Ok(()));
        assert_eq!(ask(1, Method::HEAD), Ok(()), "HEAD counts as GET");
        assert_eq!(ask(1, Method::OPTIONS), Err(Excess::Method));
        assert_eq!(ask(1, Method::DELETE), Err(Excess::Method));
    }

    #[test]
    fn paths_are_held_to_templates_in_every_spelling() {
        let policy = paths(&["GET /crm/{version}/{module}/{record}", "/crm/{version}/settings/**"]);
        for (method, path) in [
            (Method::GET, "/crm/v8/Leads/1"),
            (Method::HEAD, "/crm/v8/Leads/1"),
            (Method::GET, "/crm/v8/%4Ceads/1"),
            (Method::GET, "/crm/v8/Leads/50%25"),
            (Method::DELETE, "/crm/v8/settings/roles/1"),
        ] {
            assert_eq!(asked(&policy, &method, path), Ok(()), "{method} {path}");
        }
        for (method, path) in [
            (Method::PUT, "/crm/v8/Leads/1"),
            (Method::GET, "/crm/v8/Leads/1/Notes"),
            (Method::GET, "/crm/v8/Leads/1%2FNotes"),
            (Method::GET, "/crm/v8/Leads/1%5cNotes"),
            (Method::GET, "/crm/v8/Leads/1%252FNotes"),
            (Method::GET, "/crm/v8/Leads/1%25252FNotes"),
            (Method::GET, "/crm/v8/settings/%252e%252e/Leads"),
            (Method::GET, "/crm/v8/Leads/1;Notes"),
            (Method::GET, "/crm/v8/settings/a%3Bb"),
            (Method::GET, "/crm//v8/Leads/1"),
            (Method::GET, "/crm/v8/Leads//1"),
            (Method::GET, "/crm/v8/settings"),
            (Method::GET, "/CRM/v8/Leads/1"),
            (Method::GET, "/"),
        ] {
            assert_eq!(asked(&policy, &method, path), Err(Excess::Path), "{method} {path}");
        }
    }

    #[test]
    fn read_only_looks_through_every_spelling() {
        let reader = Policy { read_only: true, ..Policy::default() };
        assert_eq!(asked(&reader, &Method::GET, "/crm/v8/Leads"), Ok(()));
        assert_eq!(asked(&reader, &Method::POST, "/crm/v8/coql"), Ok(()));
        assert_eq!(asked(&reader, &Method::POST, "/crm/v8/Leads"), Err(Excess::ReadOnly));
        assert_eq!(asked(&reader, &Method::POST, "/crm/v8/Leads/actions%2Fcount"), Err(Excess::ReadOnly));
        assert_eq!(asked(&reader, &Method::POST, "/crm/v8/Leads%2F1/actions/count"), Err(Excess::ReadOnly));
        assert_eq!(
            asked(&reader, &Method::GET, "/crm/v8//functions/f/actions/execute"),
            Err(Excess::ReadOnly)
        );
        for path in ["/crm/v8/functions;x/f/actions/execute", "/crm/v8/%2566unctions/f/actions/execute"] {
            assert_eq!(asked(&reader, &Method::GET, path), Err(Excess::Path), "{path}");
        }
        assert_eq!(asked(&reader, &Method::POST, "/crm/v8/functions/actions/count"), Err(Excess::ReadOnly));
        for (name, excess) in [("x_http_method_override", Excess::Method), ("x.original.url", Excess::Path)] {
            let renamed = HeaderMap::from_iter([(
                http::HeaderName::from_static(name),
                http::HeaderValue::from_static("DELETE"),
            )]);
            assert_eq!(reader.permits(0, &Method::GET, "/crm/v8/Leads", &renamed), Err(excess), "{name}");
        }
    }

    #[test]
    fn a_composite_request_counts_as_the_calls_in_it() {
        const OUTER: &str = "/crm/v8/__composite_requests";
        let policy = Policy { read_only: true, ..paths(&["/crm/{version}/Leads/**"]) };
        assert_eq!(asked(&policy, &Method::POST, OUTER), Ok(()), "its calls are judged, and only they");
        for method in [Method::GET, Method::PUT, Method::from_bytes(b"QUERY").unwrap()] {
            assert_eq!(asked(&policy, &method, OUTER), Err(Excess::Composite), "{method}");
        }
        let parts = |items: &str| {
            let body = format!(r#"{{"__composite_requests":[{items}]}}"#);
            policy.permits_parts(composite::parts(OUTER, body.as_bytes()).as_deref())
        };
        assert_eq!(parts(r#"{"uri":"/crm/v8/Leads/1"},{"uri":"/crm/v8/Leads/2","method":"GET"}"#), Ok(()));
        for (items, excess) in [
            (r#"{"uri":"/crm/v8/Leads/1"},{"uri":"/crm/v8/Deals/1"}"#, Excess::Path),
            (r#"{"uri":"/crm/v8/Leads/1","method":"PUT"}"#, Excess::ReadOnly),
            (r#"{"uri":"/crm/v8/Leads/../Deals"}"#, Excess::Composite),
            (r#"{"uri":"/crm/v8/Leads/..%2fDeals"}"#, Excess::Composite),
            (r#"{"uri":"/crm/v8/Leads/@{1:$.id}"}"#, Excess::Composite),
            (r#"{"uri":"/crm/v8/Leads/%40%7b1:$.id%7D"}"#, Excess::Composite),
            (r#"{"uri":"/crm/v8/Leads/1","headers":{"X_Original_URL":"/crm/v8/Deals"}}"#, Excess::Composite),
            (r#"{"uri":"/crm/v8/Leads/1;a=b"}"#, Excess::Composite),
            (r#"{"uri":"Leads/1"}"#, Excess::Composite),
            (r#"{"uri":"/crm/v8/__composite_requests","method":"POST"}"#, Excess::Composite),
            ("1", Excess::Composite),
        ] {
            assert_eq!(parts(items), Err(excess), "{items}");
        }
    }

    #[test]
    fn a_rule_prints_as_it_reads() {
        for text in ["GET /crm/{version}/Leads/{id}", "/crm/{version}/settings/**"] {
            assert_eq!(text.parse::<PathRule>().unwrap().to_string(), text);
        }
        assert!("crm/x".parse::<PathRule>().is_err());
    }
}
