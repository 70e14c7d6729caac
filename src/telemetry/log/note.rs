//! Lines that come past `tracing`, in the form of the events around them: what the log writes about itself, panics, and what a
//! command has to say.

use std::fmt::Write as _;

use serde_json::Value;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

use super::Stream;
use crate::telemetry::Format;
use crate::telemetry::printable::{Layout, printable};

/// A line that does not come through `tracing`, which may be what has just failed.
pub(super) struct Note<'a> {
    /// The stream it is written to, whose name for the time it uses.
    pub(super) stream: Stream,
    pub(super) level: &'static str,
    pub(super) message: &'a str,
    pub(super) fields: &'a [(&'static str, Value)],
}

impl Note<'_> {
    /// Appends the line.
    pub(super) fn write(&self, format: Format, to: &mut Vec<u8>) {
        let line = match format {
            Format::Json => self.json(),
            Format::Text => self.text(),
        };
        to.extend_from_slice(printable(&line, Layout::Line).as_bytes());
        to.push(b'\n');
    }

    fn json(&self) -> String {
        let time = match self.stream {
            Stream::Events => "timestamp",
            Stream::Requests => "time",
        };
        let own = [(time, now()), ("level", self.level.to_owned()), ("message", self.message.to_owned())];
        let own = own.map(|(name, text)| (name, Value::String(text)));
        let fields = own.iter().chain(self.fields).map(|(name, value)| format!("\"{name}\":{value}"));
        format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
    }

    fn text(&self) -> String {
        let mut line = format!("{} {:>5} {}", now(), self.level, self.message);
        for (name, value) in self.fields {
            let _ = write!(line, " {name}={value}");
        }
        line
    }
}

/// As events tell it.
fn now() -> String {
    let mut text = String::new();
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(format: Format, stream: Stream) -> String {
        let fields = [("lost", Value::from(3)), ("text", Value::from("a \"b\"\nc"))];
        let note = Note { stream, level: "WARN", message: "log lines were lost", fields: &fields };
        let mut text = Vec::new();
        note.write(format, &mut text);
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn a_note_is_one_line_of_json_with_the_time_as_its_stream_names_it() {
        for (stream, time) in [(Stream::Events, "timestamp"), (Stream::Requests, "time")] {
            let line = written(Format::Json, stream);
            assert!(line.ends_with("}\n"), "{line}");
            let json: Value = serde_json::from_str(&line).unwrap();
            assert!(json[time].as_str().unwrap().ends_with('Z'), "{line}");
            assert_eq!((&json["lost"], &json["text"]), (&Value::from(3), &Value::from("a \"b\"\nc")));
        }
    }

    #[test]
    fn a_note_shows_what_it_says_in_either_format() {
        let odd = "a\u{9b}\u{202e}\u{2028}\n\u{7f}";
        let fields = [("text", Value::from(odd))];
        for format in [Format::Json, Format::Text] {
            let mut line = Vec::new();
            Note { stream: Stream::Events, level: "WARN", message: odd, fields: &fields }
                .write(format, &mut line);
            let line = String::from_utf8(line).unwrap();
            let text = line.strip_suffix('\n').unwrap();
            assert!(text.chars().all(crate::telemetry::printable::is_printable), "{line:?}");
            if format == Format::Json {
                let json: Value = serde_json::from_str(text).unwrap();
                assert_eq!((&json["message"], &json["text"]), (&odd.into(), &odd.into()));
            }
        }
    }

    #[test]
    fn a_note_is_one_line_of_text() {
        let line = written(Format::Text, Stream::Events);
        assert!(line.ends_with("  WARN log lines were lost lost=3 text=\"a \\\"b\\\"\\nc\"\n"), "{line}");
        assert_eq!(line.lines().count(), 1);
    }
}
