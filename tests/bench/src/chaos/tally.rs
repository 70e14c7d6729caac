//! What was seen, and whether it is as it must be.

use std::collections::BTreeMap;
use std::fmt;
use std::process::ExitStatus;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::log::LogSeen;
use super::stage::{Stage, lock};

/// How many wrong responses are printed in full.
const SHOWN: usize = 20;

/// Growth that is no leak: what an allocator holds on to.
const ALLOWED_SHARE: f64 = 0.10;
const ALLOWED_MIB: f64 = 10.0;

/// What all activities report to.
#[derive(Default)]
pub(super) struct Tally(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// By what was asked, and how it ended: a status and the code of a refusal, or an error of the connection.
    ends: BTreeMap<(String, String), u64>,
    troubles: BTreeMap<&'static str, u64>,
    nuisances: BTreeMap<&'static str, (u64, u64)>,
    wrong: Vec<String>,
    unexpected: Vec<String>,
}

impl Tally {
    /// Counts a complete response. A 401 is Zoho's word about a credential that callers do not have; of those only a scope that
    /// is missing may reach them.
    pub(super) fn answered(&self, what: &str, status: u16, body: &str) {
        let code = serde_json::from_str::<Value>(body)
            .ok()
            .and_then(|json| json["code"].as_str().map(str::to_owned));
        let end = code.map_or_else(|| status.to_string(), |code| format!("{status} {code}"));
        if status == 401 && !end.contains("OAUTH_SCOPE_MISMATCH") {
            self.wrong(format!("{what} is answered with {end}"));
        }
        *lock(&self.0).ends.entry((what.to_owned(), end)).or_default() += 1;
    }

    /// Counts a response that did not come, or not whole.
    pub(super) fn failed(&self, what: &str, error: &ureq::Error) {
        *lock(&self.0).ends.entry((what.to_owned(), error.to_string())).or_default() += 1;
        if matches!(error, ureq::Error::Timeout(_)) {
            self.wrong(format!("{what} gets no response: {error}"));
        }
    }

    /// Notes a response that must not be.
    pub(super) fn wrong(&self, what: String) {
        lock(&self.0).wrong.push(what);
    }

    /// Notes that the run itself did not go as planned.
    pub(super) fn unexpected(&self, what: String) {
        lock(&self.0).unexpected.push(what);
    }

    pub(super) fn trouble(&self, name: &'static str) {
        *lock(&self.0).troubles.entry(name).or_default() += 1;
    }

    pub(super) fn nuisance(&self, name: &'static str, came_to_its_end: bool) {
        let mut seen = lock(&self.0);
        let (ended, cut) = seen.nuisances.entry(name).or_default();
        *if came_to_its_end { ended } else { cut } += 1;
    }
}

/// The outcome of a run.
pub(super) struct Verdict {
    table: String,
    problems: Vec<String>,
}

impl Verdict {
    /// Looks at everything, and stops the sidecar.
    pub(super) fn of(tally: &Tally, stage: &Stage, memory: &[u64], is_healthy: bool) -> Result<Self> {
        let mut problems = Vec::new();
        if !stage.is_alive() {
            problems.push("the sidecar has ended by itself".to_owned());
            return Ok(Self { table: lock(&tally.0).table(), problems });
        }
        if !is_healthy {
            problems.push("after all trouble is over, reads are not answered with 200".to_owned());
        }
        problems.extend(growth(memory));
        // Lines that are still on their way are written within moments.
        std::thread::sleep(Duration::from_secs(1));
        let metrics = Metrics::read(&stage.metrics()?);
        let restarts = metrics.sum("zoho_sidecar_task_restarts_total");
        if restarts > 0.0 {
            problems.push(format!("{restarts} tasks were restarted"));
        }
        let status = stage.stop()?;
        let (out, err) = end_of_logs(stage)?;
        problems.extend(accounting(&metrics, out, err));
        if !status.is_some_and(|status: ExitStatus| status.success()) {
            problems.push(format!("it ended with {status:?} after SIGTERM"));
        }
        let seen = lock(&tally.0);
        problems.extend(seen.wrong.iter().take(SHOWN).cloned());
        if seen.wrong.len() > SHOWN {
            problems.push(format!("and {} more of these", seen.wrong.len() - SHOWN));
        }
        problems.extend(seen.unexpected.iter().take(SHOWN).map(|what| format!("the run itself: {what}")));
        let table = format!(
            "{}\nlog lines: {} of requests read, {} dropped and counted; memory {}\n",
            seen.table(),
            out.requests,
            metrics.dropped("requests"),
            memory.last().map_or(String::new(), |bytes| format!("{:.1} MiB at the end", mebibytes(*bytes))),
        );
        Ok(Self { table, problems })
    }

    pub(super) fn is_bad(&self) -> bool {
        !self.problems.is_empty()
    }
}

fn end_of_logs(stage: &Stage) -> Result<(LogSeen, LogSeen)> {
    let end = |reader: &Mutex<Option<super::log::LogReader>>| {
        lock(reader).take().map(super::log::LogReader::end).context("a log is read to its end once")
    };
    Ok((end(&stage.stdout)?, end(&stage.stderr)?))
}

/// Every request is in the log, or among the lines that are counted as dropped.
fn accounting(metrics: &Metrics, out: LogSeen, err: LogSeen) -> Vec<String> {
    let mut problems = Vec::new();
    let (requests, dropped) = (metrics.sum("zoho_sidecar_requests_total"), metrics.dropped("requests"));
    // Connections that drain after the metrics were read may add a few lines.
    let (least, most) = (requests, requests + 50.0);
    let accounted = out.requests as f64 + dropped;
    if accounted < least || accounted > most {
        problems.push(format!("{requests} requests, but {} lines and {dropped} dropped ones", out.requests));
    }
    if out.malformed + err.malformed > 0 {
        problems.push(format!("{} log lines are torn", out.malformed + err.malformed));
    }
    if out.panics + err.panics > 0 {
        problems.push(format!("{} panics are in the log", out.panics + err.panics));
    }
    problems
}

/// Compares the second quarter of the run with the last.
fn growth(memory: &[u64]) -> Option<String> {
    let mean =
        |part: &[u64]| part.iter().map(|bytes| mebibytes(*bytes)).sum::<f64>() / part.len().max(1) as f64;
    let quarter = memory.len() / 4;
    let (early, late) = (mean(&memory[quarter..2 * quarter]), mean(&memory[3 * quarter..]));
    let is_level = late <= early + (early * ALLOWED_SHARE).max(ALLOWED_MIB);
    (!is_level)
        .then(|| format!("memory grows: {early:.1} MiB in the second quarter, {late:.1} MiB in the last"))
}

pub(super) fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The series of `/metrics`.
struct Metrics(Vec<(String, f64)>);

impl Metrics {
    fn read(text: &str) -> Self {
        let series = |line: &str| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.to_owned(), value.parse().ok()?))
        };
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(series).collect())
    }

    /// All series of a name together.
    fn sum(&self, name: &str) -> f64 {
        let is_meant = |series: &str| series.split('{').next() == Some(name);
        self.0.iter().filter(|(series, _)| is_meant(series)).map(|(_, value)| value).sum()
    }

    fn dropped(&self, stream: &str) -> f64 {
        let series = format!("zoho_sidecar_log_lines_dropped_total{{stream=\"{stream}\"}}");
        self.0.iter().filter(|(name, _)| *name == series).map(|(_, value)| value).sum()
    }
}

impl Seen {
    fn table(&self) -> String {
        use fmt::Write as _;
        let mut text = String::from("| request | end | times |\n|---|---|---:|\n");
        for ((what, end), times) in &self.ends {
            let _ = writeln!(text, "| {what} | {end} | {times} |");
        }
        for (name, times) in &self.troubles {
            let _ = writeln!(text, "| trouble | {name} | {times} |");
        }
        for (name, (ended, cut)) in &self.nuisances {
            let _ = writeln!(text, "| nuisance | {name} | {ended}, and {cut} cut off |");
        }
        text
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.table)?;
        if self.problems.is_empty() {
            return writeln!(f, "Every response was right, and the sidecar is as it was.");
        }
        self.problems.iter().try_for_each(|problem| writeln!(f, "PROBLEM: {problem}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEEN: LogSeen = LogSeen { requests: 90, malformed: 0, panics: 0 };

    fn metrics(requests: u64, dropped: u64) -> Metrics {
        Metrics::read(&format!(
            "# HELP x\nzoho_sidecar_requests_total{{status=\"2xx\"}} {requests}\nzoho_sidecar_requests_total{{status=\"5xx\"}} 0\nzoho_sidecar_log_lines_dropped_total{{stream=\"requests\"}} {dropped}\n"
        ))
    }

    #[test]
    fn a_line_that_is_neither_written_nor_counted_as_dropped_is_a_problem() {
        assert!(accounting(&metrics(100, 10), SEEN, SEEN).is_empty());
        assert_eq!(accounting(&metrics(100, 9), SEEN, SEEN).len(), 1);
        assert_eq!(accounting(&metrics(100, 10), LogSeen { malformed: 1, panics: 1, ..SEEN }, SEEN).len(), 2);
    }

    #[test]
    fn growth_is_a_problem_and_an_allocators_habits_are_not() {
        let run = |last: u64| [[50 << 20; 10], [50 << 20; 10], [last << 20; 10], [last << 20; 10]].concat();
        assert_eq!(growth(&run(59)), None);
        assert!(growth(&run(65)).is_some());
    }

    #[test]
    fn a_401_is_wrong_unless_a_scope_is_missing() {
        let tally = Tally::default();
        tally.answered("count", 401, r#"{"code":"OAUTH_SCOPE_MISMATCH"}"#);
        assert!(lock(&tally.0).wrong.is_empty());
        tally.answered("count", 401, r#"{"code":"INVALID_TOKEN"}"#);
        assert_eq!(lock(&tally.0).wrong.len(), 1);
    }
}
