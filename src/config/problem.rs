//! What is wrong with a configuration: where, what, and what would be right.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is served before it is mended.
    Problem,
    /// It works, but is likely not meant so.
    Warning,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// The file and line, unless it is about something that is not there.
    pub place: Option<Place>,
    /// The key, with dots between its parts.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub remedy: String,
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Place { file, line }) = &self.place {
            write!(f, "{file}:{line}  ")?;
        }
        let severity = if self.severity == Severity::Warning { "  (warning)" } else { "" };
        writeln!(f, "{}{severity}", self.key)?;
        writeln!(f, "  {}", self.what)?;
        write!(f, "  {}", self.remedy)
    }
}

/// Problems, collected while reading goes on.
#[derive(Debug, Default)]
pub(super) struct Problems {
    all: RefCell<Vec<Problem>>,
    has_unread: Cell<bool>,
    /// What others than their owner may do with files of the configuration.
    exposed: RefCell<BTreeMap<String, String>>,
}

impl Problems {
    pub(super) fn add(&self, problem: Problem) {
        self.all.borrow_mut().push(problem);
    }

    /// Adds why a file could not be read. Nothing is known of what stands in it.
    pub(super) fn add_unread(&self, problem: Problem) {
        self.has_unread.set(true);
        self.add(problem);
    }

    /// Whether there is a file that could not be read: what is missing elsewhere may stand in that one.
    pub(super) fn has_unread(&self) -> bool {
        self.has_unread.get()
    }

    /// Notes what others than its owner may do with a file.
    pub(super) fn note_exposed(&self, file: &str, how: String) {
        self.exposed.borrow_mut().insert(file.to_owned(), how);
    }

    /// What others than its owner may do with a file, if they may.
    pub(super) fn how_exposed(&self, file: &str) -> Option<String> {
        self.exposed.borrow().get(file).cloned()
    }

    /// Whether any of them is more than a warning.
    pub(super) fn has_problem(&self) -> bool {
        self.all.borrow().iter().any(|problem| problem.severity == Severity::Problem)
    }

    /// All of them, in the order of files and lines.
    pub(super) fn into_sorted(self) -> Vec<Problem> {
        let mut problems = self.all.into_inner();
        problems.sort_by_key(|problem| {
            let place = problem.place.as_ref();
            (place.map(|p| p.file.clone()), place.map(|p| p.line), problem.severity)
        });
        problems
    }
}
