//! Method and path patterns: `GET /crm/{version}/settings/territories/{territory}/users`.

use std::fmt;
use std::str::FromStr;

use http::Method;

use crate::zoho::lenient::leniently_read;
use crate::zoho::path::{decoded, is_version};

/// A method and a path template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The method.
    pub method: Method,
    /// The path.
    pub path: PathTemplate,
}

/// A path in which `{name}` stands for one segment, `{version}` for an API version, and `**` at the end for
/// whatever lies below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate(Vec<Segment>);

/// A segment of a path template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// Exactly this.
    Literal(String),
    /// An API version: `v2`, `v2.1`, `v8` …
    Version,
    /// Anything that is not empty, by this name.
    Any(String),
    /// All that follows: one segment or more.
    Rest,
}

/// Why a text is not a template. Each message says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// No method before the path.
    #[error("a template is a method, a space and a path, as in \"GET /crm/{{version}}/users\"")]
    Shape,
    /// Not a method that Zoho's API has.
    #[error("\"{0}\" is not a method; Zoho's API has GET, POST, PUT, PATCH and DELETE")]
    Method(String),
    /// The path does not begin with a slash.
    #[error("the path must begin with /")]
    NoSlash,
    /// A query or fragment.
    #[error("a template matches the path only; leave out everything from {0:?} on")]
    Query(char),
    /// Nothing between two slashes, or after the last one.
    #[error("the path has an empty segment")]
    EmptySegment,
    /// Braces that do not enclose exactly a name.
    #[error("\"{0}\" is neither text nor a {{name}} in braces")]
    Braces(String),
    /// A percent-encoding. Paths are compared decoded, so it would never match.
    #[error("\"{0}\" is percent-encoded; write what it stands for, or a {{name}}")]
    Encoded(String),
    /// The same name twice.
    #[error("{{{0}}} stands in it twice")]
    Repeated(String),
    /// `**` elsewhere than at the end.
    #[error("** may only be the last segment")]
    Rest,
}

impl Template {
    /// Whether a request matches.
    pub fn matches(&self, method: &Method, path: &str) -> bool {
        self.method == *method && self.path.matches(path)
    }

    /// Whether both match exactly the same requests.
    pub(super) fn is_twin_of(&self, other: &Self) -> bool {
        self.method == other.method
            && self.path.0.len() == other.path.0.len()
            && self.path.0.iter().zip(&other.path.0).all(|(a, b)| match (a, b) {
                (Segment::Any(_), Segment::Any(_)) => true,
                (a, b) => a == b,
            })
    }
}

impl PathTemplate {
    /// Whether a path matches. Percent-encoded octets are read as what they stand for: to Zoho
    /// `/%75sers` is `/users`.
    pub fn matches(&self, path: &str) -> bool {
        let mut rest = path;
        for expected in &self.0 {
            let Some(below) = rest.strip_prefix('/') else { return false };
            let matched = match expected {
                Segment::Rest => return true,
                // Most literals are told by their first bytes, and need no looking for their end.
                Segment::Literal(text) if below.as_bytes().starts_with(text.as_bytes()) => text.len(),
                _ => 0,
            };
            let end = end_of_segment(below, matched);
            if !expected.matches(&decoded(&below[..end])) {
                return false;
            }
            rest = &below[end..];
        }
        rest.is_empty()
    }

    /// The same with its literals as a lenient server reads them.
    pub(super) fn leniently_read(&self) -> Self {
        let read = |segment: &Segment| match segment {
            Segment::Literal(text) => Segment::Literal(leniently_read(text)),
            other => other.clone(),
        };
        Self(self.0.iter().map(read).collect())
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.0
    }
}

/// Where the segment ends that `path` begins with, if it does not end before `from`.
fn end_of_segment(path: &str, from: usize) -> usize {
    path.as_bytes()[from..].iter().position(|byte| *byte == b'/').map_or(path.len(), |found| from + found)
}

impl Segment {
    /// Smaller is more specific.
    pub(super) fn rank(&self) -> u8 {
        match self {
            Self::Literal(_) => 0,
            Self::Version => 1,
            Self::Any(_) => 2,
            Self::Rest => 3,
        }
    }

    fn matches(&self, segment: &str) -> bool {
        match self {
            Self::Literal(text) => text == segment,
            Self::Version => is_version(segment),
            Self::Any(_) => !segment.is_empty(),
            Self::Rest => true,
        }
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let (method, path) = text.split_once(' ').ok_or(TemplateError::Shape)?;
        let known = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        let method = known
            .into_iter()
            .find(|known| known.as_str() == method)
            .ok_or_else(|| TemplateError::Method(method.to_owned()))?;
        Ok(Self { method, path: path.parse()? })
    }
}

impl FromStr for PathTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        if let Some(extra) = text.chars().find(|c| matches!(c, '?' | '#')) {
            return Err(TemplateError::Query(extra));
        }
        let path = text.strip_prefix('/').ok_or(TemplateError::NoSlash)?;
        let segments = path.split('/').map(segment).collect::<Result<Vec<_>, _>>()?;
        for (n, one) in segments.iter().enumerate() {
            if let Segment::Any(name) = one
                && segments[..n].contains(one)
            {
                return Err(TemplateError::Repeated(name.clone()));
            }
            if *one == Segment::Rest && n + 1 < segments.len() {
                return Err(TemplateError::Rest);
            }
        }
        Ok(Self(segments))
    }
}

fn segment(text: &str) -> Result<Segment, TemplateError> {
    let name = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
    };
    match name {
        Some("version") => Ok(Segment::Version),
        None if text == "**" => Ok(Segment::Rest),
        Some(name) if is_name(name) => Ok(Segment::Any(name.to_owned())),
        None if text.is_empty() => Err(TemplateError::EmptySegment),
        None if decoded(text) != text => Err(TemplateError::Encoded(text.to_owned())),
        None if !text.contains(['{', '}', ' ']) => Ok(Segment::Literal(text.to_owned())),
        _ => Err(TemplateError::Braces(text.to_owned())),
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.0 {
            match segment {
                Segment::Literal(text) => write!(f, "/{text}")?,
                Segment::Version => f.write_str("/{version}")?,
                Segment::Any(name) => write!(f, "/{{{name}}}")?,
                Segment::Rest => f.write_str("/**")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COUNT: &str = "GET /crm/{version}/settings/territories/actions/associated_users_count";

    #[test]
    fn the_count_matches_in_every_version_and_its_look_alike_never() {
        let count: Template = COUNT.parse().unwrap();
        for version in ["v2", "v2.1", "v3", "v4", "v5", "v6", "v7", "v8", "v9"] {
            let path = format!("/crm/{version}/settings/territories/actions/associated_users_count");
            assert!(count.matches(&Method::GET, &path), "{path}");
        }
        for path in [
            "/crm/v5/settings/user_groups/actions/associated_users_count",
            "/crm/vX/settings/territories/actions/associated_users_count",
            "/crm/v5/settings/territories/actions/associated_users_count/",
            "/crm/v5/settings/territories/actions/associated_users_count/1",
            "/crm/v5//settings/territories/actions/associated_users_count",
            "crm/v5/settings/territories/actions/associated_users_count",
            "/crm/bulk/v5/settings/territories/actions/associated_users_count",
            "",
            "/",
        ] {
            assert!(!count.matches(&Method::GET, path), "{path}");
        }
        let path = "/crm/v5/settings/territories/actions/associated_users_count";
        assert!(!count.matches(&Method::POST, path));
    }

    #[test]
    fn encoded_octets_are_read_as_what_they_stand_for() {
        let users: Template = "PUT /crm/{version}/users/{user}".parse().unwrap();
        assert!(users.matches(&Method::PUT, "/crm/v5/%75s%65rs/1"));
        assert!(!users.matches(&Method::PUT, "/crm/v5/users%/1"));
        assert!(!users.matches(&Method::PUT, "/crm/v5/%ff/1"));
    }

    #[test]
    fn two_stars_stand_for_all_that_lies_below() {
        let settings: PathTemplate = "/crm/{version}/settings/**".parse().unwrap();
        for path in ["/crm/v8/settings/roles", "/crm/v8/settings/roles/1/x", "/crm/v8/settings/"] {
            assert!(settings.matches(path), "{path}");
        }
        for path in ["/crm/v8/settings", "/crm/v8/Leads/settings/roles", "/crm/vX/settings/roles"] {
            assert!(!settings.matches(path), "{path}");
        }
        assert_eq!(settings.to_string(), "/crm/{version}/settings/**");
    }

    #[test]
    fn what_is_no_template_is_told_so() {
        for (text, error) in [
            ("/crm/{version}/users", TemplateError::Shape),
            ("FETCH /crm", TemplateError::Method("FETCH".into())),
            ("get /crm", TemplateError::Method("get".into())),
            ("GET crm", TemplateError::NoSlash),
            ("GET /crm?page=1", TemplateError::Query('?')),
            ("GET /crm//users", TemplateError::EmptySegment),
            ("GET /crm/", TemplateError::EmptySegment),
            ("GET /crm/{version", TemplateError::Braces("{version".into())),
            ("GET /crm/v{version}", TemplateError::Braces("v{version}".into())),
            ("GET /crm/{}", TemplateError::Braces("{}".into())),
            ("GET /crm/%75sers", TemplateError::Encoded("%75sers".into())),
            ("GET /{a}/{a}", TemplateError::Repeated("a".into())),
            ("GET /crm/**/users", TemplateError::Rest),
        ] {
            assert_eq!(text.parse::<Template>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_template_prints_as_it_reads(path in "(/([a-z_]{1,8}|\\{[a-z]{1,5}\\}[0-9]{0}))(/[a-z_]{1,8}){0,4}") {
            if let Ok(template) = format!("GET {path}").parse::<Template>() {
                prop_assert_eq!(template.to_string(), format!("GET {path}"));
            }
        }

        #[test]
        fn no_text_makes_parsing_or_matching_panic(template in "\\PC{0,40}", path in "\\PC{0,40}") {
            let _ = template.parse::<Template>();
            let users: PathTemplate = "/crm/{version}/users/{user}".parse().unwrap();
            let _ = users.matches(&path);
            let _ = users.matches(&format!("/crm/v5/users/{path}"));
        }

        #[test]
        fn one_segment_stands_for_one_name(segment in "[^/%]{1,20}") {
            let users: PathTemplate = "/crm/{version}/users/{user}".parse().unwrap();
            let path = format!("/crm/v5/users/{segment}");
            prop_assert!(users.matches(&path));
            prop_assert!(!users.matches(&(path + "/more")));
        }
    }
}
