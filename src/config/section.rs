//! Reading a table key by key: every value is checked, every mistake reported, and reading goes on.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use super::problem::{Place, Problem, Problems, Severity};
use super::tree::{Node, Table, Value};
use super::units;

/// A table of the configuration, with another below it for the keys it lacks.
///
/// A key that is missing or wrong is reported, and a value is returned that lets reading go on; nothing is
/// built from a configuration with problems.
pub(super) struct Section<'a> {
    table: Option<&'a Table>,
    below: Option<&'a Table>,
    path: String,
    place: Option<Place>,
    problems: &'a Problems,
    known: RefCell<BTreeSet<String>>,
    /// It, or what lies below it, is no table at all. That was reported; that keys are missing is no news.
    is_no_table: bool,
}

/// Keys further from each other than this are not suggested for each other.
const FURTHEST_HINT: usize = 3;

impl<'a> Section<'a> {
    /// The whole configuration.
    pub(super) fn root(table: &'a Table, problems: &'a Problems) -> Self {
        Self {
            table: Some(table),
            below: None,
            path: String::new(),
            place: None,
            problems,
            known: RefCell::default(),
            is_no_table: false,
        }
    }

    /// A section that has its keys from the defaults.
    pub(super) fn section(&self, key: &str) -> Self {
        self.open(key, self.node(key), None)
    }

    /// Sections named by the user, with one below all of them for the keys they lack.
    pub(super) fn named(&self, key: &str, defaults: Option<&'a str>) -> Vec<(String, Self)> {
        let below = defaults.and_then(|key| match self.node(key).map(|node| &node.value) {
            Some(Value::Table(table)) => Some(table),
            _ => None,
        });
        let is_no_table = defaults.is_some_and(|key| self.has(key)) && below.is_none();
        let all = self.section(key);
        let names: Vec<String> = all.table.map(|table| table.keys().cloned().collect()).unwrap_or_default();
        names
            .into_iter()
            .map(|name| {
                let mut section = all.open(&name, all.node(&name), below);
                section.is_no_table |= is_no_table;
                (name, section)
            })
            .collect()
    }

    fn open(&self, key: &str, node: Option<&'a Node>, below: Option<&'a Table>) -> Self {
        let mut is_no_table = self.is_no_table;
        let table = match node.map(|node| &node.value) {
            Some(Value::Table(table)) => Some(table),
            Some(other) => {
                let table = format!("write a table: [{}]", self.name_of(key));
                self.wrong(key, format!("this is {}", other.kind()), table);
                is_no_table = true;
                None
            }
            None => None,
        };
        Section {
            table,
            below,
            path: self.name_of(key),
            place: node.map(|node| node.place.clone()),
            problems: self.problems,
            known: RefCell::default(),
            is_no_table,
        }
    }

    /// What stands at a key, if anything.
    pub(super) fn node(&self, key: &str) -> Option<&'a Node> {
        self.known.borrow_mut().insert(key.to_owned());
        self.table.and_then(|table| table.get(key)).or_else(|| self.below.and_then(|table| table.get(key)))
    }

    fn name_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Reports a problem with a key.
    pub(super) fn wrong(&self, key: &str, what: impl Into<String>, remedy: impl Into<String>) {
        self.report(Severity::Problem, key, what.into(), remedy.into());
    }

    /// Reports a warning about a key.
    pub(super) fn doubtful(&self, key: &str, what: impl Into<String>, remedy: impl Into<String>) {
        self.report(Severity::Warning, key, what.into(), remedy.into());
    }

    /// Reports that something is missing, unless a file could not be read: it may stand there.
    pub(super) fn missing(&self, key: &str, what: impl Into<String>, remedy: impl Into<String>) {
        if self.is_whole() {
            self.wrong(key, what, remedy);
        }
    }

    /// Whether no error has been found so far. After one, a value may be a stand-in for the one that was wrong.
    pub(super) fn is_sound_so_far(&self) -> bool {
        !self.problems.has_problem()
    }

    /// Whether all files could be read, so that what is not here is nowhere.
    pub(super) fn is_whole(&self) -> bool {
        !self.problems.has_unread()
    }

    fn report(&self, severity: Severity, key: &str, what: String, remedy: String) {
        let node = self.table.and_then(|table| table.get(key));
        if node.is_none() && self.is_no_table || self.is_told_below(key) {
            return;
        }
        let place = node.map(|node| node.place.clone()).or_else(|| self.place.clone());
        self.problems.add(Problem { severity, place, key: self.name_of(key), what, remedy });
    }

    /// Whether a key stands in the defaults for all: what is wrong with it is told there, once.
    fn is_told_below(&self, key: &str) -> bool {
        let has = |table: Option<&Table>| table.is_some_and(|table| table.contains_key(key));
        !has(self.table) && has(self.below)
    }

    /// What stands at a key; that it is missing is reported.
    pub(super) fn value(&self, key: &str, wanted: &str) -> Option<&'a Value> {
        let node = self.node(key);
        if node.is_none() {
            self.missing(key, "this key is missing", format!("write {wanted}"));
        }
        node.map(|node| &node.value)
    }

    /// A text.
    pub(super) fn text(&self, key: &str, example: &str) -> String {
        match self.value(key, example) {
            Some(Value::Text(text)) => text.to_string(),
            Some(other) => {
                self.wrong(key, format!("this is {}, not a text", other.kind()), format!("write {example}"));
                String::new()
            }
            None => String::new(),
        }
    }

    /// A text that `parse` understands.
    fn parsed<T>(&self, key: &str, what: &str, hint: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        match self.value(key, hint.trim_start_matches("write "))? {
            Value::Text(text) => {
                let parsed = parse(text);
                if parsed.is_none() {
                    self.wrong(key, format!("\"{}\" is not {what}", **text), hint);
                }
                parsed
            }
            Value::Integer(number) => {
                self.wrong(key, format!("{number} has no unit"), hint);
                None
            }
            other => {
                self.wrong(key, format!("this is {}, not {what}", other.kind()), hint);
                None
            }
        }
    }

    /// A duration.
    pub(super) fn duration(&self, key: &str) -> Duration {
        self.parsed(key, "a duration", units::DURATION_HINT, units::duration).unwrap_or_default()
    }

    /// A duration that may not be zero: nothing can happen within it.
    pub(super) fn limit(&self, key: &str) -> Duration {
        let duration = self.parsed(key, "a duration", units::DURATION_HINT, units::duration);
        if duration == Some(Duration::ZERO) {
            self.wrong(key, "within no time at all nothing can happen", "write a longer duration, as \"5s\"");
        }
        duration.unwrap_or(Duration::from_secs(1))
    }

    /// A size in bytes.
    pub(super) fn size(&self, key: &str) -> u64 {
        self.parsed(key, "a size", units::SIZE_HINT, units::size).unwrap_or_default()
    }

    /// A size that has to fit into memory, within bounds.
    pub(super) fn memory_size(&self, key: &str, least: usize, most: usize) -> usize {
        let Some(size) = self.parsed(key, "a size", units::SIZE_HINT, units::size) else { return least };
        match usize::try_from(size) {
            Ok(size) if (least..=most).contains(&size) => size,
            Ok(size) if size < least => {
                let remedy = format!("write at least \"{}\"", units::written(least));
                self.wrong(key, "this is too small", remedy);
                least
            }
            _ => {
                let remedy = format!("write at most \"{}\"", units::written(most));
                self.wrong(key, "this is too large", remedy);
                most
            }
        }
    }

    /// A whole number within bounds.
    pub(super) fn number(&self, key: &str, least: usize, most: usize) -> usize {
        let hint = format!("write a whole number from {least} to {most}");
        match self.value(key, hint.trim_start_matches("write ")) {
            Some(Value::Integer(number)) => match usize::try_from(*number) {
                Ok(number) if (least..=most).contains(&number) => number,
                _ => {
                    self.wrong(key, format!("{number} is out of bounds"), hint);
                    least
                }
            },
            Some(other) => {
                self.wrong(key, format!("this is {}", other.kind()), hint);
                least
            }
            None => least,
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, key: &str) -> bool {
        match self.value(key, "true or false") {
            Some(Value::Boolean(flag)) => *flag,
            Some(other) => {
                self.wrong(key, format!("this is {}", other.kind()), "write true or false");
                false
            }
            None => false,
        }
    }

    /// A list of texts, each understood by `T`.
    pub(super) fn list<T>(&self, key: &str, example: &str) -> Vec<T>
    where
        T: FromStr<Err: Display>,
    {
        let Some(value) = self.value(key, &format!("a list, as [{example}]")) else {
            return Vec::new();
        };
        let Value::Array(items) = value else {
            self.wrong(key, format!("this is {}, not a list", value.kind()), format!("write [{example}]"));
            return Vec::new();
        };
        items.iter().filter_map(|item| self.item(key, item, example)).collect()
    }

    fn item<T>(&self, key: &str, item: &Node, example: &str) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        let what = match &item.value {
            Value::Text(text) => match text.parse() {
                Ok(parsed) => return Some(parsed),
                Err(error) => format!("\"{}\": {error}", **text),
            },
            other => format!("this is {}, not a text", other.kind()),
        };
        if self.is_told_below(key) {
            return None;
        }
        self.problems.add(Problem {
            severity: Severity::Problem,
            place: Some(item.place.clone()),
            key: self.name_of(key),
            what,
            remedy: format!("write it as in {example}"),
        });
        None
    }

    /// One of several words.
    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let words: Vec<String> = choices.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let hint = format!("write one of {}", words.join(", "));
        let found = self.parsed(key, "known here", &hint, |text| {
            choices.iter().find(|(word, _)| *word == text).map(|(_, choice)| *choice)
        });
        found.or_else(|| choices.first().map(|(_, choice)| *choice))
    }

    /// Whether the key is `"none"`.
    pub(super) fn is_none(&self, key: &str) -> bool {
        self.is_word(key, "none")
    }

    /// Whether the key is this word.
    pub(super) fn is_word(&self, key: &str, word: &str) -> bool {
        matches!(self.node(key).map(|node| &node.value), Some(Value::Text(text)) if **text == word)
    }

    /// Whether the key is written at all.
    pub(super) fn has(&self, key: &str) -> bool {
        self.node(key).is_some()
    }

    /// Whether the key's value is a text.
    pub(super) fn is_text(&self, key: &str) -> bool {
        matches!(self.node(key).map(|node| &node.value), Some(Value::Text(_)))
    }

    /// What others than its owner may do with the file in which the key stands, and that file.
    pub(super) fn exposed(&self, key: &str) -> Option<(String, &'a str)> {
        let file = &self.node(key)?.place.file;
        Some((self.problems.how_exposed(file)?, file))
    }

    /// The same for the root, whose keys are asked for in several places.
    pub(super) fn finish_known(self, sections: &[&str]) {
        self.known.borrow_mut().extend(sections.iter().map(|name| (*name).to_owned()));
        self.finish();
    }

    /// Reports the keys that nobody asked for, each with the nearest known one.
    pub(super) fn finish(self) {
        let known = self.known.borrow();
        let unknown = self.table.into_iter().flat_map(Table::keys).filter(|key| !known.contains(*key));
        for key in unknown {
            let nearest = known
                .iter()
                .map(|known| (strsim::damerau_levenshtein(key, known), known))
                .filter(|(distance, known)| *distance <= FURTHEST_HINT.min(known.len() / 2))
                .min();
            let remedy = match nearest {
                Some((_, known)) => format!("did you mean \"{known}\"?"),
                None => {
                    format!("known here: {}", known.iter().map(String::as_str).collect::<Vec<_>>().join(", "))
                }
            };
            self.wrong(key, "there is no such key", remedy);
        }
    }
}
