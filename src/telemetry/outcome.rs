//! The words for what the cache had to do with an answer.

/// What the cache had to do with an answer. A closed list; the names are those of metrics and logs, and of the
/// `detail` in `Cache-Status` where that has no word of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Answered from a fresh entry.
    Hit,
    /// The same, and the entry is being renewed before its freshness is over.
    RefreshAhead,
    /// The same; the caller wanted a newer one sooner than the rule lets anybody have it.
    MinRefreshInterval,
    /// Answered from a stale entry while a new one is fetched.
    StaleWhileRevalidate,
    /// Answered from a stale entry because Zoho could not answer.
    StaleIfError,
    /// Answered from a stale entry, which the caller said will do.
    MaxStale,
    /// Answered from an entry that a write made untrue, because Zoho could not answer.
    StaleAfterWrite,
    /// Fetched and stored: there was nothing.
    Miss,
    /// Fetched and stored in place of a stale entry.
    Renewed,
    /// Fetched and stored because the caller insisted.
    Forced,
    /// Answered from a fetch that another request had begun.
    Collapsed,
    /// Fetched, and not stored: an error, or another status that is never stored.
    NotStorable,
    /// Fetched, and not stored: a write or a purge came in between.
    Overtaken,
    /// Fetched, and not stored: longer than an entry may be.
    TooLong,
    /// Fetched, and not stored: a 200 that holds no answer.
    InvalidResponse,
    /// Passed through: the last answer of this key was too long.
    Uncacheable,
    /// Passed through: no rule covers the route.
    Bypass,
    /// Passed through: not a read.
    Method,
    /// Passed through: a header or parameter names another method or target, so that it may be any write.
    Override,
    /// Passed through: a condition that only Zoho can judge.
    Conditional,
    /// Passed through: a read with a body.
    Body,
    /// Passed through: the caller wants nothing of it stored.
    NoStore,
    /// Answered in the place of Zoho's accounts server, or about the sidecar itself.
    StandIn,
    /// Answered by the sidecar itself.
    Refused,
    /// Not answered: the caller left before that.
    Abandoned,
}

impl Outcome {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 25] = [
        Self::Hit,
        Self::RefreshAhead,
        Self::MinRefreshInterval,
        Self::StaleWhileRevalidate,
        Self::StaleIfError,
        Self::MaxStale,
        Self::StaleAfterWrite,
        Self::Miss,
        Self::Renewed,
        Self::Forced,
        Self::Collapsed,
        Self::NotStorable,
        Self::Overtaken,
        Self::TooLong,
        Self::InvalidResponse,
        Self::Uncacheable,
        Self::Bypass,
        Self::Method,
        Self::Override,
        Self::Conditional,
        Self::Body,
        Self::NoStore,
        Self::StandIn,
        Self::Refused,
        Self::Abandoned,
    ];

    /// The name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::RefreshAhead => "refresh-ahead",
            Self::MinRefreshInterval => "min-refresh-interval",
            Self::StaleWhileRevalidate => "stale-while-revalidate",
            Self::StaleIfError => "stale-if-error",
            Self::MaxStale => "max-stale",
            Self::StaleAfterWrite => "stale-after-write",
            Self::Miss => "miss",
            Self::Renewed => "renewed",
            Self::Forced => "forced",
            Self::Collapsed => "collapsed",
            Self::NotStorable => "not-storable",
            Self::Overtaken => "overtaken",
            Self::TooLong => "too-long",
            Self::InvalidResponse => "invalid-response",
            Self::Uncacheable => "uncacheable",
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::Override => "override",
            Self::Conditional => "conditional",
            Self::Body => "body",
            Self::NoStore => "no-store",
            Self::StandIn => "stand-in",
            Self::Refused => "refused",
            Self::Abandoned => "abandoned",
        }
    }
}
