//! Figures, several of each, and the tables of their medians.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What a figure is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Figure {
    /// Microseconds of a core for a request.
    Cpu(Answers, Manner),
    /// Requests in a second.
    Rate(Answers, Manner),
    /// The share of its core that was busy meanwhile.
    Busy(Answers, Manner),
    /// Microseconds within which so many of 10,000 had their answer.
    Latency(u16),
    /// MiB in use when idle.
    Idle,
    /// KiB more for each of so many idle connections.
    Connection(u16),
    /// Seconds of a core for a GiB.
    Down,
    /// The same, from the caller to the origin.
    Up,
    /// Milliseconds to the first answer.
    Start,
    /// MiB of the executable.
    Binary,
    /// Calls at the origin.
    StormCalls,
    /// Milliseconds until everybody had an answer.
    StormWait,
}

/// Where answers come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Answers {
    Kept,
    Passed,
}

/// How they are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Manner {
    Plain,
    /// Each head with an id of its own, so that none is like another.
    Anew,
    Logged,
    Http2,
}

/// How a column shows its figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// With so many digits after the point.
    Value(usize),
    /// As a multiple of what nginx has.
    OfNginx,
    /// A rate, with a mark where the peer could have done more.
    Rate,
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column {
    pub(crate) title: &'static str,
    pub(crate) figure: Figure,
    pub(crate) shown: Shown,
}

/// All figures of all peers.
#[derive(Debug, Default)]
pub(crate) struct Sheet(BTreeMap<(usize, Figure), Vec<f64>>);

/// A core that is less idle than the rest is what sets the rate.
const BUSY: f64 = 0.95;

impl Sheet {
    /// Takes a figure of a peer.
    pub(crate) fn note(&mut self, peer: usize, figure: Figure, value: f64) {
        self.0.entry((peer, figure)).or_default().push(value);
    }

    /// The median of what was taken; `None` if nothing was.
    pub(crate) fn median(&self, peer: usize, figure: Figure) -> Option<f64> {
        let mut values = self.0.get(&(peer, figure))?.clone();
        values.sort_by(f64::total_cmp);
        let (below, above) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(below.midpoint(above))
    }

    /// Markdown: a row for each of the peers that has a figure here; empty if none has.
    pub(crate) fn table(
        &self,
        title: &str,
        names: &[String],
        nginx: Option<usize>,
        columns: &[Column],
    ) -> String {
        let row = |peer: usize| -> Option<String> {
            let cells: Vec<String> = columns.iter().map(|column| self.cell(peer, nginx, *column)).collect();
            cells
                .iter()
                .any(|cell| cell != "-")
                .then(|| format!("| {} | {} |\n", names[peer], cells.join(" | ")))
        };
        let rows: String = (0..names.len()).filter_map(row).collect();
        if rows.is_empty() {
            return String::new();
        }
        let titles: Vec<&str> = columns.iter().map(|column| column.title).collect();
        let mut table = String::new();
        let _ = writeln!(
            table,
            "**{title}**\n\n| | {} |\n|---|{}",
            titles.join(" | "),
            "---:|".repeat(columns.len())
        );
        table + &rows
    }

    fn cell(&self, peer: usize, nginx: Option<usize>, column: Column) -> String {
        let Some(value) = self.median(peer, column.figure) else { return "-".into() };
        match (column.shown, column.figure) {
            (Shown::Value(digits), _) => format!("{value:.digits$}"),
            (Shown::OfNginx, figure) => {
                let nginx = nginx.and_then(|nginx| self.median(nginx, figure));
                nginx.map_or("-".into(), |nginx| format!("{:.2}", value / nginx))
            }
            (Shown::Rate, Figure::Rate(answers, manner)) => {
                let busy = self.median(peer, Figure::Busy(answers, manner)).unwrap_or(1.0);
                format!("{}{}", if busy < BUSY { "≥ " } else { "" }, thousands(value))
            }
            (Shown::Rate, _) => thousands(value),
        }
    }
}

/// Three digits and a comma.
pub(crate) fn thousands(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 2] = [
        Column { title: "MiB", figure: Figure::Idle, shown: Shown::Value(1) },
        Column { title: "x nginx", figure: Figure::Idle, shown: Shown::OfNginx },
    ];

    #[test]
    fn a_table_has_the_medians_and_what_they_are_of_nginx() {
        let mut sheet = Sheet::default();
        for value in [3.0, 1.0, 2.0] {
            sheet.note(0, Figure::Idle, value);
        }
        sheet.note(1, Figure::Idle, 4.0);
        let names = ["sidecar".to_owned(), "nginx".to_owned(), "nobody".to_owned()];
        assert_eq!(
            sheet.table("Memory", &names, Some(1), &COLUMNS),
            "**Memory**\n\n| | MiB | x nginx |\n|---|---:|---:|\n| sidecar | 2.0 | 0.50 |\n| nginx | 4.0 | 1.00 |\n"
        );
    }

    #[test]
    fn large_numbers_have_commas() {
        assert_eq!([999.0, 1000.4, 1_234_567.0].map(thousands), ["999", "1,000", "1,234,567"]);
    }
}
