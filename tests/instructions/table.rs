//! The baseline: a table of kinds and counts, and who made what was counted. And the comparison with it.

use std::fmt;
use std::path::Path;

/// Said with every complaint.
pub(crate) const HOW_TO_RECORD: &str =
    "If that is meant, say why in the commit message and record it: CONTRIBUTING.md has the command.";

/// A count may be this much off, in percent.
const TOLERATED: u64 = 5;
/// And, where counts are small, this much.
const TOLERATED_AT_LEAST: u64 = 1;

/// What a count depends on beside the sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Made(String);

/// Counts by kind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Table {
    made: Made,
    counts: Vec<(String, u64)>,
}

/// What is to be said of new counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// Each fails the test.
    pub(crate) complaints: Vec<String>,
    /// These do not.
    pub(crate) hints: Vec<String>,
}

impl Made {
    /// The compiler as it has written itself into an executable, and the processor.
    pub(crate) fn by(executable: &Path) -> Self {
        const MARK: &[u8] = b"rustc version ";
        let bytes = std::fs::read(executable).unwrap();
        let start = memchr::memmem::find(&bytes, MARK).expect("every compiler signs its work");
        let version = bytes[start + MARK.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
        Self(format!("rustc {}, {}", String::from_utf8_lossy(version), std::env::consts::ARCH))
    }
}

impl Table {
    pub(crate) fn of(made: Made) -> Self {
        Self { made, counts: Vec::new() }
    }

    pub(crate) fn note(&mut self, kind: &str, count: u64) {
        self.counts.push((kind.to_owned(), count));
    }

    /// Reads what [`fmt::Display`] wrote.
    pub(crate) fn parse(text: &str) -> Self {
        let (comments, lines): (Vec<_>, Vec<_>) = text.lines().partition(|line| line.starts_with('#'));
        let made =
            comments.last().and_then(|line| line.strip_prefix("# ")).expect("the last says who made it");
        let counts = lines.into_iter().map(|line| {
            let (kind, count) = line.split_once('\t').expect("a line has a kind and a count");
            (kind.to_owned(), count.parse().expect("a count is a number"))
        });
        Self { made: Made(made.to_owned()), counts: counts.collect() }
    }

    fn count(&self, kind: &str) -> Option<u64> {
        self.counts.iter().find(|(name, _)| name == kind).map(|(_, count)| *count)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            to,
            "# Instructions of one request. CONTRIBUTING.md says how they are counted and recorded."
        )?;
        writeln!(to, "# {}", self.made.0)?;
        self.counts.iter().try_for_each(|(kind, count)| writeln!(to, "{kind}\t{count}"))
    }
}

/// Holds counts against the baseline. Those of another compiler or processor say nothing.
pub(crate) fn compare(baseline: &Table, counted: &Table) -> Comparison {
    let mut comparison = Comparison::default();
    let (old, new) = (&baseline.made.0, &counted.made.0);
    if old != new {
        comparison.hints.push(format!("not compared: the baseline is of {old}, this is {new}"));
        return comparison;
    }
    for (kind, new) in &counted.counts {
        match baseline.count(kind) {
            None => comparison.complaints.push(format!("{kind}: {new}, and no baseline")),
            Some(old) => compare_one(kind, old, *new, &mut comparison),
        }
    }
    for (kind, _) in baseline.counts.iter().filter(|(kind, _)| counted.count(kind).is_none()) {
        comparison.complaints.push(format!("{kind}: in the baseline, and no longer counted"));
    }
    comparison
}

fn compare_one(kind: &str, old: u64, new: u64, comparison: &mut Comparison) {
    let tolerated = (old * TOLERATED / 100).max(TOLERATED_AT_LEAST);
    let tenths = old.abs_diff(new) * 1000 / old.max(1);
    let percent = format!("{}.{} %", tenths / 10, tenths % 10);
    if new > old + tolerated {
        comparison.complaints.push(format!("{kind}: dearer by {percent}, {new} and not {old}"));
    } else if new + tolerated < old {
        let hint =
            format!("{kind}: cheaper by {percent}, {new} and not {old}; record it, so that it stays so");
        comparison.hints.push(hint);
    }
}

fn table(made: &str, counts: &[(&str, u64)]) -> Table {
    let counts = counts.iter().map(|(kind, count)| ((*kind).to_owned(), *count)).collect();
    Table { made: Made(made.to_owned()), counts }
}

#[test]
fn a_table_is_read_as_it_was_written() {
    let written = table("rustc 1.0.0, x86_64", &[("hit", 20_000), ("hit, locked instructions", 30)]);
    assert_eq!(Table::parse(&written.to_string()), written);
}

#[test]
fn what_is_dearer_by_more_than_a_twentieth_is_a_complaint() {
    let counted = table("x", &[("hit", 21_001), ("pass-through", 42_000)]);
    let comparison = compare(&table("x", &[("hit", 20_000), ("pass-through", 40_000)]), &counted);
    assert_eq!(comparison.complaints, ["hit: dearer by 5.0 %, 21001 and not 20000"]);
    assert_eq!(comparison.hints, [""; 0]);
}

#[test]
fn what_is_cheaper_by_more_than_a_twentieth_is_a_hint() {
    let comparison = compare(&table("x", &[("hit", 20_000)]), &table("x", &[("hit", 15_000)]));
    assert_eq!(comparison.complaints, [""; 0]);
    let hint = "hit: cheaper by 25.0 %, 15000 and not 20000; record it, so that it stays so";
    assert_eq!(comparison.hints, [hint]);
}

#[test]
fn one_more_of_few_is_tolerated_and_two_are_not() {
    let compared = |new| compare(&table("x", &[("locked", 10)]), &table("x", &[("locked", new)]));
    assert_eq!(compared(11), Comparison::default());
    assert_eq!(compared(12).complaints, ["locked: dearer by 20.0 %, 12 and not 10"]);
}

#[test]
fn another_compiler_or_processor_is_told_and_nothing_compared() {
    let comparison =
        compare(&table("rustc 1, x86_64", &[("hit", 1)]), &table("rustc 2, x86_64", &[("hit", 9)]));
    assert_eq!(comparison.complaints, [""; 0]);
    assert_eq!(
        comparison.hints,
        ["not compared: the baseline is of rustc 1, x86_64, this is rustc 2, x86_64"]
    );
}

#[test]
fn a_kind_on_one_side_only_is_a_complaint() {
    let comparison = compare(&table("x", &[("old", 1)]), &table("x", &[("new", 1)]));
    assert_eq!(
        comparison.complaints,
        ["new: 1, and no baseline", "old: in the baseline, and no longer counted"]
    );
}
