//! Files of TOML, laid over each other, each value knowing the line it came from.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::problem::{Place, Problem, Problems, Severity};

/// A value with the place it came from.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

#[derive(Debug, Clone)]
pub(super) enum Value {
    /// Wiped when dropped: it may be a secret.
    Text(Zeroizing<String>),
    Integer(i64),
    Boolean(bool),
    Array(Vec<Node>),
    Table(Table),
    /// A float, a date, or a text of several lines, which no key takes.
    Other(&'static str),
}

impl Node {
    /// The table, if it is one.
    pub(super) fn table(&self) -> Option<&Table> {
        match &self.value {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }
}

pub(super) type Table = BTreeMap<String, Node>;

impl Value {
    /// What it is, with its article.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
            Self::Other(kind) => kind,
        }
    }
}

/// Parses a file, or reports all that keeps it from being TOML, and nothing that stands in it.
///
/// What a broken file seems to say is not looked at: a quote without its fellow makes keys of values, and values
/// of the lines below it, and what is wrong with those would be told with secrets in it.
pub(super) fn parse(file: &str, text: &str, problems: &Problems) -> Table {
    let source = Source::new(file, text);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        problems.add_unread(Problem {
            severity: Severity::Problem,
            place: Some(source.place(&error.span().unwrap_or_default())),
            key: "(syntax)".to_owned(),
            what: error.message().to_owned(),
            remedy: "write it as TOML, see https://toml.io".to_owned(),
        });
    }
    if errors.is_empty() { source.table(table.into_inner()) } else { Table::new() }
}

struct Source<'a> {
    file: Rc<str>,
    text: &'a str,
    /// Where its lines end. Each value has a place; counting the lines before it anew would take long.
    ends: Vec<usize>,
}

impl<'a> Source<'a> {
    fn new(file: &str, text: &'a str) -> Self {
        let ends = text.match_indices('\n').map(|(at, _)| at).collect();
        Self { file: Rc::from(file), text, ends }
    }

    fn place(&self, span: &Range<usize>) -> Place {
        let before = self.ends.partition_point(|end| *end < span.start);
        Place { file: self.file.to_string(), line: 1 + before }
    }

    fn table(&self, table: DeTable<'_>) -> Table {
        let entry = |(key, value): (Spanned<_>, Spanned<DeValue<'_>>)| {
            let place = self.place(&key.span());
            let key: std::borrow::Cow<'_, str> = key.into_inner();
            (key.into_owned(), Node { place, ..self.node(value) })
        };
        table.into_iter().map(entry).collect()
    }

    fn node(&self, value: Spanned<DeValue<'_>>) -> Node {
        let written = value.span();
        let place = self.place(&written);
        let value = match value.into_inner() {
            // With three quotes too many at either end, the lines between them are one text.
            DeValue::String(_) if self.text[written].contains('\n') => {
                Value::Other("a text of several lines")
            }
            DeValue::String(text) => Value::Text(Zeroizing::new(text.into_owned())),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .map_or(Value::Other("a number with too many digits"), Value::Integer),
            DeValue::Boolean(boolean) => Value::Boolean(boolean),
            DeValue::Float(_) => Value::Other("a fraction"),
            DeValue::Datetime(_) => Value::Other("a date"),
            DeValue::Array(array) => Value::Array(array.into_iter().map(|value| self.node(value)).collect()),
            DeValue::Table(table) => Value::Table(self.table(table)),
        };
        Node { value, place }
    }
}

/// Lays `upper` over `lower`: tables key by key, anything else as a whole. A secret is one value, even where
/// it is written as a table: `{ env = … }` over `{ file = … }` replaces it.
pub(super) fn overlay(lower: &mut Table, upper: Table) {
    for (key, node) in upper {
        match (lower.get_mut(&key), node) {
            (
                Some(Node { value: Value::Table(below), place }),
                Node { value: Value::Table(above), place: new },
            ) if !is_reference(below) && !is_reference(&above) => {
                overlay(below, above);
                *place = new;
            }
            (_, node) => {
                lower.insert(key, node);
            }
        }
    }
}

/// Whether a key is a list that holds this text.
pub(super) fn list_holds(table: &Table, key: &str, text: &str) -> bool {
    let Some(Value::Array(items)) = table.get(key).map(|node| &node.value) else { return false };
    items.iter().any(|item| matches!(&item.value, Value::Text(item) if **item == text))
}

fn is_reference(table: &Table) -> bool {
    table.keys().any(|key| matches!(key.as_str(), "file" | "env"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_layers_win_key_by_key_and_keep_their_lines() {
        let problems = Problems::default();
        let mut lower = parse("lower.toml", "[a]\nx = 1\ny = 2\ns = { file = \"f\" }\n", &problems);
        overlay(&mut lower, parse("upper.toml", "\n\n[a]\ny = 3\ns = { env = \"E\" }\n", &problems));
        assert!(problems.into_sorted().is_empty());

        let Value::Table(a) = &lower["a"].value else { panic!("a is a table") };
        let at = |key: &str| (a[key].place.file.as_str(), a[key].place.line);
        assert_eq!((at("x"), at("y"), at("s")), (("lower.toml", 2), ("upper.toml", 4), ("upper.toml", 5)));
        let Value::Table(secret) = &a["s"].value else { panic!("s is a table") };
        assert_eq!(secret.keys().collect::<Vec<_>>(), ["env"]);
    }

    #[test]
    fn a_text_stands_in_one_line() {
        for (text, kind) in [
            ("a = \"b\"", "a text"),
            ("a = 'b'", "a text"),
            ("a = \"\"\"b\"\"\"", "a text"),
            ("a = \"\"\"\nb\"\"\"", "a text of several lines"),
            ("a = \"\"\"\\\n  b = 'c'\"\"\"", "a text of several lines"),
            ("a = '''b\r\n'''", "a text of several lines"),
        ] {
            let table = parse("x.toml", text, &Problems::default());
            assert_eq!(table["a"].value.kind(), kind, "{text}");
        }
    }

    #[test]
    fn nothing_stands_in_a_file_that_is_no_toml() {
        for text in [
            "a = 1\nb = \"c",
            "a = 1\nb = \"\"\"\nc = \"d\"",
            "a = 1\nb = [1,\n",
            "a = 1\n[b\nc = 1",
            "a = 1\na = 2",
        ] {
            let problems = Problems::default();
            assert!(parse("x.toml", text, &problems).is_empty(), "{text}");
            assert!(problems.has_unread() && !problems.into_sorted().is_empty(), "{text}");
        }
    }

    #[test]
    fn all_errors_of_syntax_are_reported() {
        let problems = Problems::default();
        parse("broken.toml", "a = \nb = 1\nc = [1,\n", &problems);
        let lines: Vec<_> =
            problems.into_sorted().into_iter().filter_map(|p| p.place.map(|place| place.line)).collect();
        assert!(lines.len() >= 2 && lines[0] == 1, "{lines:?}");
    }
}
