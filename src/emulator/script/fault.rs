//! What can go wrong, by name.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::emulator::span;

/// Something that goes wrong with one request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// Waits, then does what was asked.
    Delay(#[serde(with = "span")] Duration),
    /// Does what was asked at once, and waits before answering.
    DelayAnswer(#[serde(with = "span")] Duration),
    /// Sends the head at once, and waits before the body.
    DelayBody(#[serde(with = "span")] Duration),
    /// Sends the body in pieces of so many bytes, with a pause before each.
    Drip {
        /// Bytes of one piece.
        bytes: usize,
        /// The pause before each piece.
        #[serde(with = "span")]
        every: Duration,
    },
    /// Sends the body without saying how long it is.
    Chunked,
    /// Breaks off after so many bytes of the body.
    CutBody(usize),
    /// Sends the body in gzip, whether or not it was asked for.
    Gzip,
    /// Adds headers to the answer, in place of those of the same name; an empty one takes those away.
    Headers(Vec<(String, String)>),

    /// Answers this instead.
    Status {
        /// The status.
        status: u16,
        /// The body.
        #[serde(default)]
        body: String,
        /// Headers in place of the usual ones of the same name.
        #[serde(default)]
        headers: Vec<(String, String)>,
    },
    /// 429 in the API's words for too many calls at once.
    Throttle,
    /// 429 as after the last of the day's credits.
    CreditsExhausted,
    /// 401 `INVALID_TOKEN`, although the token is fine.
    InvalidToken,
    /// 500 in the API's words.
    InternalError,
    /// 200 with a page in HTML.
    Html200,
    /// 500 with a page in HTML.
    Html500,
    /// 502 with a page in HTML, as from a load balancer.
    Html502,
    /// 200 without a body.
    Empty200,
    /// 503 without a body.
    Empty503,
    /// 200 with bytes that are no text.
    Garbage,
    /// 200 with 10 MB of JSON that never comes to the point.
    HugeBody,
    /// 302 to this location.
    Redirect(String),

    /// The connection breaks before anything is done.
    Drop,
    /// What was asked is done, but the connection breaks before the answer.
    DropAfter,
    /// No connection can be made.
    Refuse,
    /// No answer ever comes.
    Hang,

    /// A mint is denied as after too many, whatever the count.
    AccessDenied,
    /// The same in Chinese.
    LocalisedThrottle,
    /// A mint is answered 200 with this error.
    OauthError(String),
    /// A token is minted, and this is answered instead, with the token in the place of `{token}`.
    MintAnswer {
        /// The status.
        status: u16,
        /// The body.
        body: String,
    },
    /// A mint's answer has no `access_token`.
    MissingAccessToken,
    /// A mint's answer has no `expires_in`.
    MissingExpiresIn,
    /// A mint's answer has `expires_in_sec`, and `expires_in` in milliseconds.
    LegacyExpiry,
    /// A mint's answer tells this lifetime in seconds, whatever it is.
    ExpiresIn(u64),
    /// A mint's answer names this API domain.
    WrongApiDomain(String),

    /// All of these with the same request.
    Together(Vec<Fault>),
}

impl Fault {
    /// The names by which files and the control endpoint call them.
    pub(in crate::emulator) const NAMES: &'static [&'static str] = &[
        "delay",
        "delay_answer",
        "delay_body",
        "drip",
        "chunked",
        "cut_body",
        "gzip",
        "headers",
        "status",
        "throttle",
        "credits_exhausted",
        "invalid_token",
        "internal_error",
        "html200",
        "html500",
        "html502",
        "empty200",
        "empty503",
        "garbage",
        "huge_body",
        "redirect",
        "drop",
        "drop_after",
        "refuse",
        "hang",
        "access_denied",
        "localised_throttle",
        "oauth_error",
        "mint_answer",
        "missing_access_token",
        "missing_expires_in",
        "legacy_expiry",
        "expires_in",
        "wrong_api_domain",
        "together",
    ];

    /// This fault and another with the same request.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self::Together(vec![self, other])
    }
}
