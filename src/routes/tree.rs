//! Templates as a tree of segments, so that finding one does not cost more the more there are.

use http::Method;

use super::RouteNumber;
use super::template::{Segment, Template};
use crate::zoho::path::{decoded, is_version};

/// What may follow a path that has been matched so far. The most specific is tried first, as the order of
/// [`Segment::rank`] has it.
#[derive(Debug, Default)]
pub(super) struct Tree {
    literals: Vec<(Box<str>, Tree)>,
    version: Option<Box<Tree>>,
    any: Option<Box<Tree>>,
    /// Those that take whatever lies below.
    rest: Vec<(Method, RouteNumber)>,
    /// Those that end here.
    here: Vec<(Method, RouteNumber)>,
}

impl Tree {
    /// A tree of these templates by their numbers; the first of several alike wins.
    pub(super) fn of<'a>(templates: impl Iterator<Item = &'a Template>) -> Self {
        let mut tree = Self::default();
        for (number, template) in templates.enumerate() {
            let leaf = (template.method.clone(), number);
            let below = template.path.segments().iter();
            let mut node = &mut tree;
            let mut takes_rest = false;
            for segment in below {
                match segment {
                    Segment::Rest => takes_rest = true,
                    Segment::Literal(text) => node = node.literal(text),
                    Segment::Version => node = node.version.get_or_insert_default(),
                    Segment::Any(_) => node = node.any.get_or_insert_default(),
                }
            }
            if takes_rest { node.rest.push(leaf) } else { node.here.push(leaf) }
        }
        tree
    }

    fn literal(&mut self, text: &str) -> &mut Self {
        let known = self.literals.iter().position(|(known, _)| **known == *text);
        let place = known.unwrap_or_else(|| {
            self.literals.push((text.into(), Self::default()));
            self.literals.len() - 1
        });
        &mut self.literals[place].1
    }

    /// The number of the most specific template that matches. `path` is what follows the segments so far, with its
    /// slash; `is_encoded` says whether octets in it may be percent-encoded.
    pub(super) fn find(&self, method: &Method, path: &str, is_encoded: bool) -> Option<RouteNumber> {
        let among = |leaves: &[(Method, RouteNumber)]| {
            leaves.iter().find(|(its, _)| its == method).map(|(_, number)| *number)
        };
        let Some(below) = path.strip_prefix('/') else {
            return if path.is_empty() { among(&self.here) } else { None };
        };
        let end = below.bytes().position(|byte| byte == b'/').unwrap_or(below.len());
        let (segment, after) = below.split_at(end);
        let plain;
        let segment = if is_encoded {
            plain = decoded(segment);
            &*plain
        } else {
            segment
        };
        let literal = || self.literals.iter().find(|(text, _)| **text == *segment).map(|(_, tree)| tree);
        let version = || self.version.as_deref().filter(|_| is_version(segment));
        let any = || self.any.as_deref().filter(|_| !segment.is_empty());
        let next = |tree: &Self| tree.find(method, after, is_encoded);
        literal()
            .and_then(next)
            .or_else(|| version().and_then(next))
            .or_else(|| any().and_then(next))
            .or_else(|| among(&self.rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::rule::Rule;
    use crate::routes::{Route, Routes};
    use proptest::prelude::*;
    use std::time::Duration;

    fn route(template: &Template) -> Route {
        let rule = Rule::lasting(Duration::from_secs(1));
        Route { name: template.to_string(), template: template.clone(), rule }
    }

    proptest! {
        #[test]
        fn a_tree_finds_what_trying_one_after_the_other_finds(
            templates in proptest::collection::vec("(GET|POST) (/(crm|a|\\{version\\}|\\{x\\}|\\{y\\})){1,4}(/\\*\\*)?", 0..12),
            path in "(/(crm|a|v2|v8\\.1|%61|b||x%2fy|%ff)){0,5}",
            method in prop_oneof![Just(Method::GET), Just(Method::POST), Just(Method::HEAD)],
        ) {
            let templates: Vec<Template> = templates.iter().filter_map(|text| text.parse().ok()).collect();
            let routes = Routes::new(templates.iter().map(route).collect(), Vec::new(), Vec::new());
            let asked = if method == Method::HEAD { &Method::GET } else { &method };
            let one_by_one = routes.all().iter().position(|route| route.template.matches(asked, &path));
            prop_assert_eq!(routes.route_of(&method, &path), one_by_one, "{} {}", method, path);
        }
    }
}
