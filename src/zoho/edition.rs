//! What an edition of Zoho CRM allows.

/// An edition, as far as it limits how many calls may be under way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Edition {
    /// Free.
    Free,
    /// Standard or Starter.
    Standard,
    /// Professional.
    Professional,
    /// Enterprise or Zoho One.
    Enterprise,
    /// Ultimate or CRM Plus.
    Ultimate,
}

impl Edition {
    /// All of them, smallest first.
    pub const ALL: [Self; 5] =
        [Self::Free, Self::Standard, Self::Professional, Self::Enterprise, Self::Ultimate];

    /// The name in configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Standard => "standard",
            Self::Professional => "professional",
            Self::Enterprise => "enterprise",
            Self::Ultimate => "ultimate",
        }
    }

    /// How many calls Zoho lets one application have under way at once (Zoho's API limits page and its
    /// community post 203).
    pub fn concurrent_calls(self) -> usize {
        match self {
            Self::Free => 5,
            Self::Standard => 10,
            Self::Professional => 15,
            Self::Enterprise => 20,
            Self::Ultimate => 25,
        }
    }
}
