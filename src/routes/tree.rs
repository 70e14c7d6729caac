//! Templates as a tree of segments, so that finding one does not cost more the more there are.

use std::borrow::Cow;

use http::Method;

use super::RouteNumber;
use super::template::{PathTemplate, Segment};
use crate::zoho::lenient::{could_be, could_be_version};
use crate::zoho::path::{self, decoded, is_version};

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
    /// A tree of templates with their numbers; the first of several alike wins.
    pub(super) fn of<'a>(
        templates: impl Iterator<Item = (RouteNumber, &'a Method, &'a PathTemplate)>,
    ) -> Self {
        let mut tree = Self::default();
        for (number, method, path) in templates {
            let leaf = (method.clone(), number);
            let below = path.segments().iter();
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

    /// Shows the numbers of all templates that match, in no particular order. What is asked of it is as [`Self::find`] has
    /// it.
    pub(super) fn each(
        &self,
        method: &Method,
        path: &str,
        is_encoded: bool,
        show: &mut impl FnMut(RouteNumber),
    ) {
        let mut among = |leaves: &[(Method, RouteNumber)]| {
            leaves.iter().filter(|(its, _)| its == method).for_each(|(_, number)| show(*number));
        };
        let Some((segment, after)) = first_segment(path, is_encoded) else {
            if path.is_empty() {
                among(&self.here);
            }
            return;
        };
        among(&self.rest);
        for next in self.nexts(&segment).into_iter().flatten() {
            next.each(method, after, is_encoded, show);
        }
    }

    /// Calls `show` with the numbers of all templates of a method that a lenient server could match to a path, in no particular
    /// order. The tree's literals and the segments are as such a server decodes them.
    pub(super) fn each_that_could_match(
        &self,
        method: &Method,
        segments: &[String],
        show: &mut impl FnMut(RouteNumber),
    ) {
        let mut among = |leaves: &[(Method, RouteNumber)]| {
            leaves.iter().filter(|(its, _)| its == method).for_each(|(_, number)| show(*number));
        };
        // `**` also matches an empty remainder: a final slash may have been dropped.
        among(&self.rest);
        let [segment, after @ ..] = segments else { return among(&self.here) };
        let literals = self.literals.iter().filter(|(text, _)| could_be(segment, text)).map(|(_, tree)| tree);
        let version = self.version.as_deref().filter(|_| could_be_version(segment));
        for next in literals.chain(version).chain(self.any.as_deref()) {
            next.each_that_could_match(method, after, show);
        }
    }

    /// The number of the most specific template that matches. `path` is what follows the segments so far, with its
    /// slash; `is_encoded` says whether octets in it may be percent-encoded.
    pub(super) fn find(&self, method: &Method, path: &str, is_encoded: bool) -> Option<RouteNumber> {
        let among = |leaves: &[(Method, RouteNumber)]| {
            leaves.iter().find(|(its, _)| its == method).map(|(_, number)| *number)
        };
        let Some((segment, after)) = first_segment(path, is_encoded) else {
            return if path.is_empty() { among(&self.here) } else { None };
        };
        let next = |tree: &Self| tree.find(method, after, is_encoded);
        self.nexts(&segment).into_iter().flatten().find_map(next).or_else(|| among(&self.rest))
    }

    /// What a segment leads to, the most specific first.
    fn nexts(&self, segment: &str) -> [Option<&Self>; 3] {
        [
            self.literals.iter().find(|(text, _)| **text == *segment).map(|(_, tree)| tree),
            self.version.as_deref().filter(|_| is_version(segment)),
            self.any.as_deref().filter(|_| !segment.is_empty()),
        ]
    }
}

/// The first segment of a path as what it stands for, and the rest with its slash.
fn first_segment(path: &str, is_encoded: bool) -> Option<(Cow<'_, str>, &str)> {
    let (segment, after) = path::first_segment(path)?;
    Some((if is_encoded { decoded(segment) } else { Cow::Borrowed(segment) }, after))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::rule::Rule;
    use crate::routes::template::Template;
    use crate::routes::{Route, Routes, Write};
    use proptest::prelude::*;
    use std::time::Duration;

    /// A write of a group of its own, that begins a job if its number is even.
    fn write((number, template): (usize, &Template)) -> Write {
        let again_after = number.is_multiple_of(2).then_some(Duration::from_secs(1));
        Write { name: String::new(), templates: vec![template.clone()], forgets: vec![number], again_after }
    }

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
            let writes = templates.iter().enumerate().map(write).collect();
            let routes = Routes::new(templates.iter().map(route).collect(), writes, Vec::new());
            let asked = if method == Method::HEAD { &Method::GET } else { &method };
            let one_by_one = routes.all().iter().position(|route| route.template.matches(asked, &path));
            prop_assert_eq!(routes.route_of(&method, &path), one_by_one, "{} {}", method, path);

            let bare = path.strip_suffix('/').unwrap_or(&path);
            let forgotten: Vec<usize> = templates.iter().enumerate().filter(|(number, template)| match method {
                Method::HEAD => false,
                Method::GET => number.is_multiple_of(2) && template.path.matches(bare),
                _ => template.matches(&method, bare),
            }).map(|(number, _)| number).collect();
            prop_assert_eq!(&routes.forgotten_by(&method, &path).groups, &forgotten, "{} {}", method, path);
            // In other spellings that mean the same to some server no less is invalidated, and no read covers less.
            for spelled in [path.clone(), path.to_uppercase(), path.replace('/', "//"), format!("{path}%20/")] {
                let by_any_reading = routes.forgotten_by_any_reading(&method, &spelled).groups;
                if method != Method::GET {
                    prop_assert!(forgotten.iter().all(|group| by_any_reading.contains(group)), "{} {}", method, spelled);
                }
                let covers = routes.covers_by_any_reading(&spelled);
                prop_assert!(covers || path.is_empty() || !routes.covers(&path), "{}", spelled);
            }
        }
    }
}
