//! What was asked of the emulator, for assertions and for people who wonder.
//!
//! Credentials are never kept: a token is called by its number.

pub(super) mod redaction;
mod tap;

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::lock::held;
use super::places::Role;
pub(super) use tap::{Seen, tap};

/// How many entries are kept; the counters go on.
const ENTRIES: usize = 10_000;
/// How many bytes of paths and headers they may have together.
const BYTES: usize = 32 << 20;

/// One request.
#[derive(Clone, Debug, Serialize)]
pub struct Entry {
    /// When it arrived, in milliseconds since 1970.
    pub at: u64,
    /// The data centre where it arrived; `*` for a listener that serves all.
    pub data_center: String,
    /// The host it arrived at.
    pub role: Role,
    /// The organisation, as far as token or client id tell.
    pub organisation: Option<String>,
    /// The method.
    pub method: String,
    /// Path and query, byte by byte except for credentials.
    pub path_and_query: String,
    /// The headers in order, without credentials.
    pub headers: Vec<(String, String)>,
    /// How many bytes of the body were read.
    pub body_length: u64,
    /// Their SHA-256 in hexadecimal digits.
    pub body_sha256: String,
    /// The status answered; `None` while there is no answer, and for ever if none was given.
    pub status: Option<u16>,
    /// When an access token was minted for it, in milliseconds since 1970; whether its answer said so or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minted: Option<u64>,
}

impl Entry {
    /// How many bytes the caller decided.
    fn bytes(&self) -> usize {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        self.path_and_query.len() + headers.sum::<usize>()
    }

    /// The path without the query.
    pub fn path(&self) -> &str {
        self.path_and_query.split('?').next().unwrap_or_default()
    }

    /// The first value of a header; its name in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// What was asked of the emulator.
#[derive(Default)]
pub struct Ledger {
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    entries: VecDeque<Entry>,
    /// The number of the first of `entries`.
    first: u64,
    /// The bytes of `entries`, as far as callers decide them.
    bytes: usize,
    calls: usize,
    mints: usize,
    mint_attempts: usize,
}

/// The number of an entry, to complete it later.
pub(super) struct Line(u64);

impl Ledger {
    /// The last 10,000 requests, oldest first, those still under way among them.
    pub fn entries(&self) -> Vec<Entry> {
        held(&self.book).entries.iter().cloned().collect()
    }

    /// How many of the last 10,000 requests are of this kind.
    pub fn count(&self, of_this_kind: impl Fn(&Entry) -> bool) -> usize {
        held(&self.book).entries.iter().filter(|entry| of_this_kind(entry)).count()
    }

    /// How many requests were meant for the API and uploads hosts, those that the script refused or broke
    /// among them.
    pub fn calls(&self) -> usize {
        held(&self.book).calls
    }

    /// How many access tokens were given out to requests.
    pub fn mints(&self) -> usize {
        held(&self.book).mints
    }

    /// How many requests asked for an access token, successfully or not.
    pub fn mint_attempts(&self) -> usize {
        held(&self.book).mint_attempts
    }

    /// Forgets everything.
    pub fn clear(&self) {
        let mut book = held(&self.book);
        let next = book.first + book.entries.len() as u64;
        *book = Book { first: next, ..Book::default() };
    }

    /// Notes a request that has arrived.
    pub(super) fn open(&self, entry: Entry) -> Line {
        let mut book = held(&self.book);
        match entry.role {
            Role::Api | Role::Uploads => book.calls += 1,
            Role::Accounts if is_mint(&entry) => book.mint_attempts += 1,
            Role::Accounts | Role::Control => {}
        }
        book.bytes += entry.bytes();
        book.entries.push_back(entry);
        while book.entries.len() > ENTRIES || book.bytes > BYTES {
            let Some(oldest) = book.entries.pop_front() else { break };
            book.bytes -= oldest.bytes();
            book.first += 1;
        }
        Line(book.first + book.entries.len() as u64 - 1)
    }

    /// Notes whose it turned out to be.
    pub(super) fn name(&self, line: &Line, organisation: Option<&str>) {
        let mut book = held(&self.book);
        if let Some(entry) = book.entry(line) {
            entry.organisation = organisation.map(str::to_owned);
        }
    }

    /// Notes how it ended.
    pub(super) fn close(&self, line: &Line, status: Option<u16>, seen: &Seen) {
        let (length, sha256) = seen.summary();
        let mut book = held(&self.book);
        if let Some(entry) = book.entry(line) {
            (entry.body_length, entry.body_sha256, entry.status) = (length, sha256, status);
        }
    }

    /// Notes that an access token was minted for a request.
    pub(super) fn minted(&self, line: &Line, wall: SystemTime) {
        let wall = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut book = held(&self.book);
        book.mints += 1;
        if let Some(entry) = book.entry(line) {
            entry.minted = u64::try_from(wall.as_millis()).ok();
        }
    }
}

impl Book {
    /// The entry of a line, unless it is forgotten.
    fn entry(&mut self, line: &Line) -> Option<&mut Entry> {
        let at = usize::try_from(line.0.checked_sub(self.first)?).ok()?;
        self.entries.get_mut(at)
    }
}

fn is_mint(entry: &Entry) -> bool {
    entry.method == "POST" && entry.path() == "/oauth/v2/token"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(role: Role, path: &str) -> Entry {
        Entry {
            at: 0,
            data_center: "us".to_owned(),
            role,
            organisation: None,
            method: "POST".to_owned(),
            path_and_query: path.to_owned(),
            headers: Vec::new(),
            body_length: 0,
            body_sha256: String::new(),
            status: None,
            minted: None,
        }
    }

    #[test]
    fn entries_are_bounded_and_counters_are_not() {
        let ledger = Ledger::default();
        for _ in 0..ENTRIES + 5 {
            ledger.open(entry(Role::Api, "/crm/v8/Leads"));
        }
        assert_eq!(ledger.entries().len(), ENTRIES);
        assert_eq!(ledger.calls(), ENTRIES + 5);
    }

    #[test]
    fn entries_are_bounded_in_bytes_too() {
        let ledger = Ledger::default();
        let long = format!("/crm/v8/Leads?{}", "x".repeat(1 << 20));
        for _ in 0..100 {
            ledger.open(entry(Role::Api, &long));
        }
        assert_eq!(ledger.entries().len(), BYTES / long.len());
    }

    #[test]
    fn an_entry_is_there_from_the_start_and_completed_at_the_end() {
        let ledger = Ledger::default();
        let line = ledger.open(entry(Role::Accounts, "/oauth/v2/token?a=b"));
        assert_eq!(ledger.count(|entry| entry.status.is_none()), 1);
        ledger.close(&line, Some(200), &Seen::default());
        assert_eq!(ledger.entries()[0].status, Some(200));
        assert_eq!((ledger.mint_attempts(), ledger.mints(), ledger.calls()), (1, 0, 0));
    }

    #[test]
    fn completing_an_entry_that_is_forgotten_touches_no_other() {
        let ledger = Ledger::default();
        let line = ledger.open(entry(Role::Api, "/"));
        ledger.clear();
        ledger.open(entry(Role::Api, "/"));
        ledger.close(&line, Some(200), &Seen::default());
        assert_eq!(ledger.entries()[0].status, None);
    }
}
