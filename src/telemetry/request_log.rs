//! The one line per request, written by a thread of its own.
//!
//! A line is made by hand into one buffer and handed over without waiting: when the log cannot keep up,
//! lines are dropped and counted rather than requests delayed. Queries, header values and bodies are never
//! logged, since they may hold credentials or people's data.

use std::io::Write;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, SystemTime};

use http::Method;
use prometheus_client::metrics::counter::Counter;

use super::Format;
use super::outcome::Outcome;

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

/// Takes lines, and writes them elsewhere.
#[derive(Clone)]
pub struct RequestLog {
    lines: Option<SyncSender<Vec<u8>>>,
    format: Format,
    dropped: Counter,
}

/// The thread that writes. It ends once all [`RequestLog`]s are gone and their lines are written.
pub struct Writer {
    /// Nothing is ever sent; it closes with the thread.
    ended: Receiver<()>,
}

/// How long the end waits for the last lines. Whoever has not read them by then will not read them.
const LAST_LINES: Duration = Duration::from_secs(2);

impl RequestLog {
    /// Writes to `out`, with at most `buffer_lines` waiting.
    pub fn new(
        format: Format,
        buffer_lines: usize,
        dropped: Counter,
        out: impl Write + Send + 'static,
    ) -> std::io::Result<(Self, Writer)> {
        let (lines, waiting) = sync_channel::<Vec<u8>>(buffer_lines.max(1));
        let (at_the_end, ended) = sync_channel(0);
        std::thread::Builder::new().name("request-log".into()).spawn(move || {
            let _closes_when_this_thread_ends = at_the_end;
            let mut out = std::io::BufWriter::with_capacity(64 * 1024, out);
            // Write while lines keep coming, flush when they pause: full buffers under load, no delay else.
            while let Ok(line) = waiting.recv() {
                let mut failed = out.write_all(&line).is_err();
                while let Ok(line) = waiting.try_recv() {
                    failed |= out.write_all(&line).is_err();
                }
                failed |= out.flush().is_err();
                if failed {
                    // Whoever read the log is gone. Requests matter more; their lines are dropped.
                    return;
                }
            }
        })?;
        Ok((Self { lines: Some(lines), format, dropped }, Writer { ended }))
    }

    /// Writes nothing.
    pub fn off() -> Self {
        Self { lines: None, format: Format::Text, dropped: Counter::default() }
    }

    /// Whether lines go anywhere; making one can be saved otherwise.
    pub fn is_on(&self) -> bool {
        self.lines.is_some()
    }

    /// Hands a line over without waiting.
    pub fn write(&self, line: &Line<'_>) {
        let Some(lines) = &self.lines else { return };
        let mut text = Vec::with_capacity(384);
        match self.format {
            Format::Json => line.json(&mut text),
            Format::Text => line.text(&mut text),
        }
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = lines.try_send(text) {
            self.dropped.inc();
        }
    }
}

impl Writer {
    /// Waits until all lines are written, or nobody reads them.
    pub fn finish(self) {
        let _ = self.ended.recv_timeout(LAST_LINES);
    }
}

impl Line<'_> {
    fn json(&self, to: &mut Vec<u8>) {
        let _ = write!(to, r#"{{"time":"{}","request_id":""#, timestamp(self.time));
        escape(self.request_id, to);
        if let Some(caller) = self.caller {
            to.extend_from_slice(br#"","caller":""#);
            escape(caller, to);
        }
        if let Some(tenant) = self.tenant {
            to.extend_from_slice(br#"","tenant":""#);
            escape(tenant, to);
        }
        let _ = write!(to, r#"","method":"{}","path":""#, self.method);
        escape(self.path, to);
        to.extend_from_slice(br#"","route":""#);
        escape(self.route, to);
        let _ = write!(
            to,
            r#"","status":{},"cache":"{}","bytes":{},"took_us":{}"#,
            self.status,
            self.cache.as_str(),
            self.bytes,
            self.took.as_micros()
        );
        if let Some(upstream) = self.upstream {
            let _ = write!(to, r#","upstream_us":{}"#, upstream.as_micros());
        }
        if let Some(code) = self.refusal {
            let _ = write!(to, r#","refusal":"{code}""#);
        }
        if let Some(reason) = self.would_refuse {
            let _ = write!(to, r#","would_refuse":"{reason}""#);
        }
        if self.cut_short {
            to.extend_from_slice(br#","cut_short":true"#);
        }
        to.extend_from_slice(b"}\n");
    }

    fn text(&self, to: &mut Vec<u8>) {
        let _ = write!(to, "{} {} {} ", timestamp(self.time), self.status, self.method);
        escape(self.path, to);
        let _ = write!(to, " {} route=", self.cache.as_str());
        escape(self.route, to);
        if let Some(caller) = self.caller {
            to.extend_from_slice(b" caller=");
            escape(caller, to);
        }
        if let Some(tenant) = self.tenant {
            to.extend_from_slice(b" tenant=");
            escape(tenant, to);
        }
        let _ = write!(to, " bytes={} took={}us", self.bytes, self.took.as_micros());
        if let Some(upstream) = self.upstream {
            let _ = write!(to, " upstream={}us", upstream.as_micros());
        }
        if let Some(code) = self.refusal {
            let _ = write!(to, " refusal={code}");
        }
        if let Some(reason) = self.would_refuse {
            let _ = write!(to, " would_refuse={reason}");
        }
        if self.cut_short {
            to.extend_from_slice(b" cut_short");
        }
        to.extend_from_slice(b" request_id=");
        escape(self.request_id, to);
        to.push(b'\n');
    }
}

/// RFC 3339 with microseconds, as everywhere in the log.
fn timestamp(time: SystemTime) -> impl std::fmt::Display {
    let time = jiff::Timestamp::try_from(time).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    std::fmt::from_fn(move |f| write!(f, "{time:.6}"))
}

/// Makes text safe inside a JSON string, and a text line one line.
fn escape(text: &str, to: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'"' => to.extend_from_slice(br#"\""#),
            b'\\' => to.extend_from_slice(br"\\"),
            0..0x20 | 0x7f => {
                let _ = write!(to, r"\u{byte:04x}");
            }
            _ => to.push(byte),
        }
    }
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

    fn written(format: Format, path: &str) -> String {
        let paper = Paper::default();
        let (log, writer) = RequestLog::new(format, 8, Counter::default(), paper.clone()).unwrap();
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
    fn lines_beyond_the_buffer_are_dropped_and_counted() {
        /// Paper that is never free.
        struct Stuck(std::sync::mpsc::Receiver<()>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                let _ = self.0.recv();
                Ok(bytes.len())
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let (release, stuck) = std::sync::mpsc::channel();
        let dropped = Counter::default();
        let (log, writer) = RequestLog::new(Format::Text, 1, dropped.clone(), Stuck(stuck)).unwrap();
        // More than the line buffer and the writer's own 64 KiB can take.
        let path = "x".repeat(32 * 1024);
        for _ in 0..8 {
            log.write(&Line {
                time: SystemTime::UNIX_EPOCH,
                request_id: "",
                caller: None,
                tenant: None,
                method: &Method::GET,
                path: &path,
                route: "",
                status: 200,
                cache: Outcome::Bypass,
                refusal: None,
                would_refuse: None,
                bytes: 0,
                took: Duration::ZERO,
                upstream: None,
                cut_short: false,
            });
        }
        assert!(dropped.get() >= 4, "{}", dropped.get());
        drop((release, log));
        writer.finish();
    }
}
