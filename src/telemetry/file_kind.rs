//! What files are for, as metrics say it.

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A client secret or a refresh token.
    Secret,
    /// The token of the admin listener.
    AdminToken,
    /// The hashes of a caller's tokens.
    CallerTokens,
    /// The certificate of a listener, its key, or the authorities for certificates of callers.
    Certificate,
    /// The authorities for the certificates of Zoho.
    CaFile,
    /// Tokens and times of mints that outlive the process.
    State,
}

impl FileKind {
    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::AdminToken => "admin_token",
            Self::CallerTokens => "caller_tokens",
            Self::Certificate => "certificate",
            Self::CaFile => "ca_file",
            Self::State => "state",
        }
    }
}
