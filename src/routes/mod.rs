//! What a request is to the cache: a read that a rule covers, a write that makes entries untrue, or neither.
//!
//! - `known`: what a worker has lately found
//! - [`template`]: method and path patterns
//! - `tree`: many of them, looked through at once
//!
//! Order in configuration never matters: the most specific template wins.

mod known;
pub mod template;
mod tree;

use std::time::Duration;

use http::Method;

use crate::cache::rule::Rule;
use crate::zoho::lenient::readings;
use known::Known;
use template::{PathTemplate, Template};
use tree::Tree;

/// A route: requests that a template matches, and how they are cached.
#[derive(Debug)]
pub struct Route {
    /// Its name in configuration, metrics and logs.
    pub name: String,
    /// What it matches.
    pub template: Template,
    /// How it is cached.
    pub rule: Rule,
}

/// Writes, and the groups of entries they make untrue.
#[derive(Debug)]
pub struct Write {
    /// Their name in configuration.
    pub name: String,
    /// What they match.
    pub templates: Vec<Template>,
    /// The groups, by number.
    pub forgets: Vec<usize>,
    /// For writes that only begin a job: how long until the groups are forgotten once more.
    pub again_after: Option<Duration>,
}

/// What a request makes untrue, if it succeeds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Forgets {
    /// The groups, by number.
    pub groups: Vec<usize>,
    /// When to forget them once more.
    pub again_after: Option<Duration>,
}

impl Forgets {
    /// What two requests make untrue together.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.groups.extend(other.groups);
        self.groups.sort_unstable();
        self.groups.dedup();
        self.again_after = self.again_after.max(other.again_after);
        self
    }
}

/// All routes and writes.
#[derive(Debug, Default)]
pub struct Routes {
    cached: Vec<Route>,
    tree: Tree,
    known: Known,
    tree_of_writes: Tree,
    /// Of the paths at which is asked how far a job has got that a write began.
    tree_of_polls: Tree,
    /// Reads and writes with their literals as a lenient server decodes them.
    lenient_tree: Tree,
    lenient_tree_of_writes: Tree,
    writes: Vec<Write>,
    groups: Vec<String>,
}

/// The number of a route, for what is kept per route.
pub type RouteNumber = usize;

impl Routes {
    /// Routes in any order, writes, and the names of the groups that both speak of by number.
    pub fn new(mut routes: Vec<Route>, writes: Vec<Write>, groups: Vec<String>) -> Self {
        routes.sort_by_key(|route| route.template.path.specificity());
        let numbered = routes.iter().map(|route| &route.template).enumerate();
        let tree = Tree::of(numbered.map(|(number, template)| (number, &template.method, &template.path)));
        let by_write = || {
            let numbered = writes.iter().enumerate();
            numbered
                .flat_map(|(number, write)| write.templates.iter().map(move |template| (number, template)))
        };
        let tree_of_writes = Tree::of(by_write().map(|(number, it)| (number, &it.method, &it.path)));
        let jobs = by_write().filter(|(number, _)| writes[*number].again_after.is_some());
        let tree_of_polls = Tree::of(jobs.map(|(number, it)| (number, &Method::GET, &it.path)));
        let lenient_tree = lenient_tree_of(routes.iter().map(|route| &route.template).enumerate());
        let lenient_tree_of_writes = lenient_tree_of(by_write());
        Self {
            cached: routes,
            tree,
            known: Known::default(),
            tree_of_writes,
            tree_of_polls,
            lenient_tree,
            lenient_tree_of_writes,
            writes,
            groups,
        }
    }

    /// The route of a read. HEAD belongs to GET's route.
    pub fn route_of(&self, method: &Method, path: &str) -> Option<RouteNumber> {
        let find = |method| self.tree.find(method, path, path.as_bytes().contains(&b'%'));
        if matches!(*method, Method::GET | Method::HEAD) {
            self.known.route_of(path, || find(&Method::GET))
        } else {
            find(method)
        }
    }

    /// A route by its number.
    pub fn route(&self, number: RouteNumber) -> &Route {
        &self.cached[number]
    }

    /// All routes, the most specific first.
    pub fn all(&self) -> &[Route] {
        &self.cached
    }

    /// All writes.
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }

    /// What a request makes untrue: a write, or a read that asks how far a job has got which a write began.
    pub fn forgotten_by(&self, method: &Method, path: &str) -> Forgets {
        if matches!(*method, Method::HEAD | Method::OPTIONS) {
            return Forgets::default();
        }
        // A final slash changes nothing for Zoho's router, and forgetting too much is never wrong.
        let path = path.strip_suffix('/').unwrap_or(path);
        let is_poll = *method == Method::GET;
        let tree = if is_poll { &self.tree_of_polls } else { &self.tree_of_writes };
        let mut forgets = Forgets::default();
        tree.each(method, path, path.as_bytes().contains(&b'%'), &mut |number| {
            let write = &self.writes[number];
            forgets = std::mem::take(&mut forgets).and(Forgets {
                groups: write.forgets.clone(),
                // The answer to a poll may be that the job has ended: there is nothing to come.
                again_after: write.again_after.filter(|_| !is_poll),
            });
        });
        forgets
    }

    /// Like [`Self::forgotten_by`], plus the groups of every write for which a lenient server could take this one: no spelling
    /// of a path invalidates less than the usual one.
    pub fn forgotten_by_any_reading(&self, method: &Method, path: &str) -> Forgets {
        let mut forgets = self.forgotten_by(method, path);
        if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS) {
            return forgets;
        }
        for reading in readings(path) {
            self.lenient_tree_of_writes.each_that_could_match(method, &reading, &mut |number| {
                let write = &self.writes[number];
                let more = Forgets { groups: write.forgets.clone(), again_after: write.again_after };
                forgets = std::mem::take(&mut forgets).and(more);
            });
        }
        forgets
    }

    /// Returns true if a lenient server could take this path for one whose responses may be stored.
    pub fn covers_by_any_reading(&self, path: &str) -> bool {
        let mut covers = self.covers(path);
        for reading in readings(path) {
            self.lenient_tree.each_that_could_match(&Method::GET, &reading, &mut |_| covers = true);
        }
        covers
    }

    /// What a write that could be anything makes untrue.
    pub fn everything(&self) -> Forgets {
        let again_after = self.writes.iter().filter_map(|write| write.again_after).max();
        Forgets { groups: (0..self.groups.len()).collect(), again_after }
    }

    /// Whether answers to a GET of this path may be stored.
    pub fn covers(&self, path: &str) -> bool {
        self.route_of(&Method::GET, path).is_some()
    }

    /// The names of all groups, by number.
    pub fn groups(&self) -> &[String] {
        &self.groups
    }

    /// Routes that match exactly the same requests as another one, each with the first such.
    pub fn twins(&self) -> impl Iterator<Item = (&Route, &Route)> {
        self.cached.iter().enumerate().filter_map(|(n, twin)| {
            let first = self.cached[..n].iter().find(|other| twin.template.is_twin_of(&other.template))?;
            Some((first, twin))
        })
    }
}

fn lenient_tree_of<'a>(templates: impl Iterator<Item = (usize, &'a Template)>) -> Tree {
    let read: Vec<_> = templates.map(|(number, it)| (number, &it.method, it.path.leniently_read())).collect();
    Tree::of(read.iter().map(|(number, method, path)| (*number, *method, path)))
}

impl PathTemplate {
    /// What decides which of several matching templates wins: the first segment in which one is literal and
    /// the other is not.
    fn specificity(&self) -> Vec<u8> {
        self.segments().iter().map(template::Segment::rank).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn route(name: &str, template: &str) -> Route {
        let rule = Rule::lasting(Duration::from_secs(1));
        Route { name: name.to_owned(), template: template.parse().unwrap(), rule }
    }

    #[test]
    fn the_most_specific_route_wins_whatever_the_order() {
        let general = || route("general", "GET /crm/{version}/settings/{what}/{id}");
        let special = || route("special", "GET /crm/{version}/settings/territories/{id}");
        for routes in [vec![general(), special()], vec![special(), general()]] {
            let routes = Routes::new(routes, Vec::new(), Vec::new());
            let name_of = |path: &str| {
                routes.route_of(&Method::GET, path).map(|number| routes.route(number).name.as_str())
            };
            assert_eq!(name_of("/crm/v5/settings/territories/1"), Some("special"));
            assert_eq!(name_of("/crm/v5/settings/roles/1"), Some("general"));
            assert_eq!(name_of("/crm/v5/settings/roles"), None);
        }
    }

    #[test]
    fn reads_never_forget_and_writes_forget_each_group_once() {
        let write = |forgets| Write {
            name: "w".into(),
            templates: vec!["PUT /crm/{version}/users/{user}".parse().unwrap()],
            forgets,
            again_after: None,
        };
        let routes = Routes::new(Vec::new(), vec![write(vec![1, 0]), write(vec![1])], Vec::new());
        assert_eq!(routes.forgotten_by(&Method::PUT, "/crm/v8/users/7").groups, [0, 1]);
        assert_eq!(routes.forgotten_by(&Method::PUT, "/crm/v8/users/7/").groups, [0, 1]);
        assert!(routes.forgotten_by(&Method::GET, "/crm/v8/users/7").groups.is_empty());
        assert!(routes.forgotten_by(&Method::POST, "/crm/v8/users/7").groups.is_empty());
    }

    #[test]
    fn twins_are_found() {
        let twins = Routes::new(
            vec![route("a", "GET /crm/{version}/users/{id}"), route("b", "GET /crm/{version}/users/{user}")],
            Vec::new(),
            Vec::new(),
        );
        let names: Vec<_> = twins.twins().map(|(first, twin)| (&*first.name, &*twin.name)).collect();
        assert_eq!(names, [("a", "b")]);
    }
}
