//! The requests that are counted, and how the sidecar is configured for each.

use std::fmt::Write as _;

use http::Version;

/// A kind of request.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) path: &'static str,
    pub(crate) version: Version,
    pub(crate) headers: Headers,
    /// Configuration over the usual.
    pub(crate) more: fn() -> String,
    /// What the head of every answer that is counted says: its status, and where it came from.
    pub(crate) says: [&'static str; 2],
}

/// What a request says beside what all say.
#[derive(Clone, Copy)]
pub(crate) enum Headers {
    Usual,
    /// An id of its own.
    Id,
    /// Something of its own, so that no head is like another.
    Own,
    /// `If-None-Match` with the tag of an answer before.
    Tag,
    /// The token of the last of the callers.
    Token,
}

pub(crate) const HIT: &str = "hit";
const COUNT: &str = "/crm/v8/settings/territories/actions/associated_users_count";
const FROM_MEMORY: [&str; 2] = ["HTTP/1.1 200 ", "; hit"];

const KINDS_HIT: Kind = Kind {
    name: HIT,
    path: COUNT,
    version: Version::HTTP_11,
    headers: Headers::Usual,
    more: String::new,
    says: FROM_MEMORY,
};

pub(crate) const KINDS: [Kind; 9] = [
    KINDS_HIT,
    Kind { name: "hit, with an id of its own", headers: Headers::Id, ..KINDS_HIT },
    Kind { name: "hit, with a head of its own", headers: Headers::Own, ..KINDS_HIT },
    Kind { name: "hit, with a line of log", more: || "[log]\nrequests = true\n".to_owned(), ..KINDS_HIT },
    Kind {
        name: "hit, answered by 304",
        headers: Headers::Tag,
        says: ["HTTP/1.1 304 ", "; hit"],
        ..KINDS_HIT
    },
    Kind {
        name: "hit, by one of twelve callers",
        headers: Headers::Token,
        more: twelve_callers,
        ..KINDS_HIT
    },
    Kind {
        name: "hit, over HTTP/2",
        version: Version::HTTP_2,
        says: ["HTTP/2.0 200 ", "; hit"],
        ..KINDS_HIT
    },
    Kind { name: "hit, with the preset", more: || "presets = [\"crm-metadata\"]\n".to_owned(), ..KINDS_HIT },
    Kind { name: "pass-through", path: "/crm/v8/org", says: ["HTTP/1.1 200 ", "; fwd="], ..KINDS_HIT },
];

/// The token by which the last of the callers is known.
pub(crate) fn last_token() -> String {
    token(CALLERS)
}

const CALLERS: usize = 12;

fn token(number: usize) -> String {
    format!("made-up-token-of-caller-{number}")
}

fn twelve_callers() -> String {
    let mut text = String::new();
    for number in 1..=CALLERS {
        let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, token(number).as_bytes());
        write!(text, "[callers.service-{number}]\ntoken = \"sha256:").unwrap();
        for byte in hash.as_ref() {
            write!(text, "{byte:02x}").unwrap();
        }
        text.push_str("\"\n");
    }
    text
}
