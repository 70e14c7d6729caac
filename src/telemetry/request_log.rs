//! The one line per request.
//!
//! A line is formatted by hand, directly into the worker's part of the log's queue, without waiting. Queries, header
//! values and bodies are never logged, since they may hold credentials or people's data.

use std::cell::RefCell;
use std::io::Write;
use std::time::{Duration, SystemTime};

use http::Method;
use prometheus_client::metrics::counter::Counter;

use super::Format;
use super::log::{self, Bounds, Log, Queue};
use super::outcome::Outcome;
use super::printable::{self, is_printable};

/// What a line tells.
#[derive(Debug)]
pub struct Line<'a> {
    /// When the request came.
    pub time: SystemTime,
    /// Its `X-Request-Id`.
    pub request_id: &'a str,
    /// Which configured caller asked.
    pub caller: Option<&'a str>,
    /// Whose request, if that was found out.
    pub tenant: Option<&'a str>,
    /// Its method.
    pub method: &'a Method,
    /// Its path, without the query.
    pub path: &'a str,
    /// The route it matched.
    pub route: &'a str,
    /// The status of the answer.
    pub status: u16,
    /// What the cache had to do with it.
    pub cache: Outcome,
    /// The code of a refusal.
    pub refusal: Option<&'static str>,
    /// What the request would be refused for if its caller were not in shadow mode.
    pub would_refuse: Option<&'static str>,
    /// How many bytes of body went out.
    pub bytes: u64,
    /// From the request's head to the end of the answer.
    pub took: Duration,
    /// Of that, waiting for Zoho's answer.
    pub upstream: Option<Duration>,
    /// Whether the answer broke off, or the caller left, before its end.
    pub cut_short: bool,
}

/// Takes the lines of requests.
#[derive(Clone)]
pub struct RequestLog {
    queue: Option<Queue>,
    format: Format,
}

/// The thread that writes, where it writes nothing else. It ends when this is dropped.
pub struct Writer(log::Threads);

impl RequestLog {
    /// Adds its lines to the log.
    pub(crate) fn of(log: &Log) -> Self {
        Self { queue: Some(log.requests().clone()), format: log.format() }
    }

    /// Writes to `out`, and counts what is dropped because too much waits for it.
    pub fn new(
        format: Format,
        buffer: Bounds,
        dropped: Counter,
        out: impl Write + Send + 'static,
    ) -> std::io::Result<(Self, Writer)> {
        let (queue, threads) = log::requests_to(format, buffer, dropped, out)?;
        Ok((Self { queue: Some(queue), format }, Writer(threads)))
    }

    /// Writes nothing.
    pub fn off() -> Self {
        Self { queue: None, format: Format::Text }
    }

    /// Whether lines go anywhere; making one can be saved otherwise.
    pub fn is_on(&self) -> bool {
        self.queue.is_some()
    }

    /// Hands a line over without waiting.
    pub fn write(&self, line: &Line<'_>) {
        let Some(queue) = &self.queue else { return };
        queue.put(|text| match self.format {
            Format::Json => line.json(text),
            Format::Text => line.text(text),
        });
    }
}

impl Writer {
    /// Waits until all lines are written, or nobody reads them.
    pub fn finish(self) {
        let _unwritten = self.0.finish();
    }
}

impl Line<'_> {
    fn json(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(br#"{"time":""#);
        timestamp(self.time, to);
        let texts = [
            ("request_id", Some(self.request_id)),
            ("caller", self.caller),
            ("tenant", self.tenant),
            ("method", Some(self.method.as_str())),
            ("path", Some(self.path)),
            ("route", Some(self.route)),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                push(to, [r#"",""#, name, r#"":""#]);
                escape(text, to);
            }
        }
        push(to, [r#"","status":"#, itoa::Buffer::new().format(self.status)]);
        push(to, [r#","cache":""#, self.cache.as_str(), r#"","bytes":"#]);
        push(to, [itoa::Buffer::new().format(self.bytes), r#","took_us":"#]);
        push(to, [itoa::Buffer::new().format(self.took.as_micros())]);
        if let Some(upstream) = self.upstream {
            push(to, [r#","upstream_us":"#, itoa::Buffer::new().format(upstream.as_micros())]);
        }
        for (name, text) in [("refusal", self.refusal), ("would_refuse", self.would_refuse)] {
            if let Some(text) = text {
                push(to, [r#",""#, name, r#"":""#, text, r#"""#]);
            }
        }
        push(to, [if self.cut_short { ",\"cut_short\":true}\n" } else { "}\n" }]);
    }

    fn text(&self, to: &mut Vec<u8>) {
        timestamp(self.time, to);
        push(to, [" ", itoa::Buffer::new().format(self.status), " ", self.method.as_str(), " "]);
        escape(self.path, to);
        push(to, [" ", self.cache.as_str(), " route="]);
        escape(self.route, to);
        for (name, text) in [(" caller=", self.caller), (" tenant=", self.tenant)] {
            if let Some(text) = text {
                push(to, [name]);
                escape(text, to);
            }
        }
        push(to, [" bytes=", itoa::Buffer::new().format(self.bytes)]);
        push(to, [" took=", itoa::Buffer::new().format(self.took.as_micros()), "us"]);
        if let Some(upstream) = self.upstream {
            push(to, [" upstream=", itoa::Buffer::new().format(upstream.as_micros()), "us"]);
        }
        for (name, text) in [(" refusal=", self.refusal), (" would_refuse=", self.would_refuse)] {
            push(to, text.map(|text| [name, text]).into_iter().flatten());
        }
        push(to, [if self.cut_short { " cut_short request_id=" } else { " request_id=" }]);
        escape(self.request_id, to);
        to.push(b'\n');
    }
}

fn push<'a>(to: &mut Vec<u8>, texts: impl IntoIterator<Item = &'a str>) {
    texts.into_iter().for_each(|text| to.extend_from_slice(text.as_bytes()));
}

/// RFC 3339 with microseconds, as everywhere in the log. All but those are the same for a whole second, and are
/// written once in it.
fn timestamp(time: SystemTime, to: &mut Vec<u8>) {
    thread_local! {
        static SECOND: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SECOND.with_borrow_mut(|(second, written)| {
        if *second != since.as_secs() || written.is_empty() {
            *second = since.as_secs();
            let whole = SystemTime::UNIX_EPOCH + Duration::from_secs(*second);
            let whole = jiff::Timestamp::try_from(whole).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
            format!("{whole:.0}").trim_end_matches('Z').clone_into(written);
        }
        push(to, [written.as_str(), "."]);
    });
    // A million more makes six digits of any number of microseconds, after a first one that is left out.
    let micros = 1_000_000 + since.subsec_micros();
    push(to, [&itoa::Buffer::new().format(micros)[1..], "Z"]);
}

/// Makes text safe inside a JSON string, and a line of either format one that shows what it says.
fn escape(text: &str, to: &mut Vec<u8>) {
    if !may_need_escape(text.as_bytes()) {
        to.extend_from_slice(text.as_bytes());
        return;
    }
    for character in text.chars() {
        match character {
            '"' => to.extend_from_slice(br#"\""#),
            '\\' => to.extend_from_slice(br"\\"),
            character if is_printable(character) => {
                to.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            }
            character => printable::escape(character, to),
        }
    }
}

/// Whether any of these bytes needs an escape, or is part of a character that may. Blocks of a fixed length, and sums
/// without a branch, let the compiler judge all bytes of a block at once.
fn may_need_escape(bytes: &[u8]) -> bool {
    let of_byte = |byte: u8| {
        u8::from(byte < 0x20) | u8::from(byte == b'"') | u8::from(byte == b'\\') | u8::from(byte >= 0x7f)
    };
    let of_block = |block: &[u8]| block.iter().fold(0, |any, byte| any | of_byte(*byte));
    let (blocks, rest) = bytes.as_chunks::<16>();
    blocks.iter().any(|block| of_block(block) != 0) || of_block(rest) != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    const BUFFER: Bounds = Bounds { lines: 8, bytes: 4096 };

    fn written(format: Format, path: &str) -> String {
        let paper = Paper::default();
        let (log, writer) = RequestLog::new(format, BUFFER, Counter::default(), paper.clone()).unwrap();
        log.write(&Line {
            time: SystemTime::UNIX_EPOCH + Duration::from_millis(1_800_000_000_250),
            request_id: "0123456789abcdef",
            caller: Some("billing"),
            tenant: Some("acme"),
            method: &Method::GET,
            path,
            route: "associated-users-count",
            status: 200,
            cache: Outcome::Miss,
            refusal: None,
            would_refuse: Some("path"),
            bytes: 162,
            took: Duration::from_micros(1_500),
            upstream: Some(Duration::from_micros(1_200)),
            cut_short: false,
        });
        drop(log);
        writer.finish();
        let text = paper.0.lock().unwrap().clone();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_json_line_is_json_whatever_the_path() {
        let path = "/crm/v5/\"\\\u{1}é";
        let line: serde_json::Value = serde_json::from_str(&written(Format::Json, path)).unwrap();
        assert_eq!(line["path"], path);
        for at in 0..40 {
            for odd in ["\"", "\\", "\n", "\u{7f}", "\u{9b}", "\u{1}", "é", "\u{202e}", "😀", "\u{10ffff}"]
            {
                let path = format!("/{}{odd}{}", "a".repeat(at), "b".repeat(39 - at));
                let line: serde_json::Value = serde_json::from_str(&written(Format::Json, &path)).unwrap();
                assert_eq!(line["path"], path);
            }
        }
        assert_eq!(line["time"], "2027-01-15T08:00:00.250000Z");
        assert_eq!(line["upstream_us"], 1200);
        assert_eq!(line["would_refuse"], "path");
        assert_eq!((&line["caller"], &line["tenant"]), (&"billing".into(), &"acme".into()));
    }

    #[test]
    fn a_text_line_is_one_line_whatever_the_path() {
        let text = written(Format::Text, "/a\r\nb");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.starts_with("2027-01-15T08:00:00.250000Z 200 GET "), "{text}");
        assert!(text.contains(" would_refuse=path "), "{text}");
    }

    #[test]
    fn a_line_shows_what_it_says_for_all_of_unicode_in_its_path() {
        let all: Vec<char> = ('\0'..=char::MAX).collect();
        for some in all.chunks(4000) {
            let path: String = some.iter().collect();
            let (mut text, mut json) = (Vec::new(), Vec::new());
            escape(&path, &mut text);
            let text = String::from_utf8(text).unwrap();
            assert!(text.chars().all(is_printable), "{text}");
            json.extend_from_slice(b"\"");
            escape(&path, &mut json);
            json.extend_from_slice(b"\"");
            assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), path);
        }
        let text = written(Format::Text, "/crm/v8/\u{9b}31m\u{202e}\u{2028}é");
        assert!(text.contains(r" /crm/v8/\u009b31m\u202e\u2028é "), "{text}");
    }
}
