//! What a caller may show: a user id, a name in a certificate, a bearer token.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::files::{self, Contents, FileError};
use crate::net::peer::SubjectName;

/// How a caller is known; any one of these is enough.
#[derive(Debug, Default)]
pub struct Credential {
    /// Users whose processes it is, at the other end of a unix socket.
    pub uids: Vec<u32>,
    /// Names in its certificate.
    pub names: Vec<SubjectName>,
    /// Where the hashes of its tokens are.
    pub tokens: Option<TokenSource>,
    /// Whether everybody is it who is nobody else.
    pub anybody: bool,
}

/// Where the hashes of a caller's tokens are.
#[derive(Debug, Clone)]
pub enum TokenSource {
    /// A file, read again when it changes: one hash a line, several while one token follows another.
    File(PathBuf),
    /// The configuration itself.
    Listed(Vec<TokenHash>),
}

/// The SHA-256 of a token. A token is long and random, so that nobody can find it by trying, and a slow hash
/// would protect nothing. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

/// Not the hash of a token. Holds nothing of what was read instead: it may be the token itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not \"sha256:\" and 64 hexadecimal digits")]
pub struct NotAHash;

/// Why the hashes of a caller's tokens cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TokensError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: FileError,
    },
    /// A line of the file is no hash.
    #[error("line {line} of {} is not \"sha256:\" and 64 hexadecimal digits", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Which line.
        line: usize,
    },
    /// There is no hash in the file.
    #[error("{} holds no hash of a token", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

impl Credential {
    /// By what kinds of things the caller is known, in the words of the configuration.
    pub fn kinds(&self) -> Vec<&'static str> {
        let kinds = [
            ("uid", !self.uids.is_empty()),
            ("token", self.tokens.is_some()),
            ("certificate", !self.names.is_empty()),
            ("anybody", self.anybody),
        ];
        kinds.into_iter().filter_map(|(kind, is_used)| is_used.then_some(kind)).collect()
    }
}

/// Thousands of tokens; a caller has two at most, while one follows the other.
const MOST_BYTES: usize = 256 * 1024;

impl TokenSource {
    /// Reads the hashes. Empty lines and those that begin with `#` say nothing.
    pub async fn read(&self) -> Result<Vec<TokenHash>, TokensError> {
        match self {
            Self::Listed(hashes) => Ok(hashes.clone()),
            Self::File(path) => hashes_in(path, files::read(path, MOST_BYTES).await),
        }
    }

    /// The same where nothing is served yet: keeps this thread waiting for the file.
    pub fn read_now(&self) -> Result<Vec<TokenHash>, TokensError> {
        match self {
            Self::Listed(hashes) => Ok(hashes.clone()),
            Self::File(path) => hashes_in(path, files::read_now(path, MOST_BYTES)),
        }
    }
}

fn hashes_in(path: &Path, read: Result<Contents, FileError>) -> Result<Vec<TokenHash>, TokensError> {
    let failed = |source| TokensError::File { path: path.to_owned(), source };
    let contents = read.map_err(failed)?;
    let text = contents.text().map_err(failed)?;
    let said = |(_, line): &(usize, &str)| !line.is_empty() && !line.starts_with('#');
    let hash = |(n, line): (usize, &str)| {
        line.parse().map_err(|NotAHash| TokensError::Line { path: path.to_owned(), line: n + 1 })
    };
    let lines = text.lines().map(str::trim).enumerate();
    let hashes = lines.filter(said).map(hash).collect::<Result<Vec<TokenHash>, _>>()?;
    if hashes.is_empty() {
        return Err(TokensError::Empty { path: path.to_owned() });
    }
    Ok(hashes)
}

impl TokenHash {
    /// The hash of a token.
    pub fn of(token: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(hash)
    }

    /// Whether both are of the same token, in a time that does not tell how much of them is the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl FromStr for TokenHash {
    type Err = NotAHash;

    fn from_str(text: &str) -> Result<Self, NotAHash> {
        let digits = text.strip_prefix("sha256:").ok_or(NotAHash)?.as_bytes();
        let value = |digit: u8| char::from(digit).to_digit(16).ok_or(NotAHash);
        let (mut hash, (pairs, rest)) = ([0; 32], digits.as_chunks::<2>());
        if pairs.len() != hash.len() || !rest.is_empty() {
            return Err(NotAHash);
        }
        for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
            *byte = u8::try_from(value(*high)? * 16 + value(*low)?).map_err(|_| NotAHash)?;
        }
        Ok(Self(hash))
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The token that a request shows: `Authorization: Bearer …` (RFC 6750 section 2.1), or `Zoho-oauthtoken …`, as
/// Zoho's SDKs say. Of two such headers none counts.
pub fn token_in(headers: &HeaderMap) -> Option<&str> {
    let mut shown = headers.get_all(AUTHORIZATION).iter();
    let (Some(value), None) = (shown.next(), shown.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let is_ours = ["bearer", "zoho-oauthtoken"].into_iter().any(|ours| scheme.eq_ignore_ascii_case(ours));
    Some(token.trim()).filter(|token| is_ours && !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    /// `printf %s made-up-token | sha256sum`
    const HASH: &str = "sha256:b28d90dd2009728f9f1a3f92402671e4f457b50544013dd7d9f36cdda575fdfe";

    fn shown(values: &[&'static str]) -> Option<String> {
        let value = |value: &&'static str| (AUTHORIZATION, HeaderValue::from_static(value));
        let mut headers = HeaderMap::new();
        for (name, value) in values.iter().map(value) {
            headers.append(name, value);
        }
        token_in(&headers).map(str::to_owned)
    }

    #[test]
    fn a_hash_is_what_standard_tools_make() {
        assert_eq!(HASH.parse(), Ok(TokenHash::of("made-up-token")));
        assert_eq!(
            HASH.to_ascii_uppercase().replace("SHA", "sha").parse(),
            Ok(TokenHash::of("made-up-token"))
        );
        assert!(TokenHash::of("a").is_same(&TokenHash::of("a")));
        assert!(!TokenHash::of("a").is_same(&TokenHash::of("b")));
    }

    #[test]
    fn what_is_no_hash_is_told_without_it() {
        for bad in ["", "made-up-token", "sha256:", &HASH[7..], &HASH[..70], "sha256:é"] {
            assert_eq!(bad.parse::<TokenHash>(), Err(NotAHash), "{bad}");
        }
        assert_eq!(format!("{HASH}0").parse::<TokenHash>(), Err(NotAHash));
        assert_eq!(format!("{:?}", TokenHash::of("a")), "[redacted]");
    }

    #[test]
    fn a_file_holds_several_hashes_and_remarks() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        let source = TokenSource::File(path.clone());
        assert!(matches!(source.read_now(), Err(TokensError::File { .. })));
        std::fs::write(&path, format!("# the new one\n{HASH}\n\n# the old one\n  {HASH}  \n")).unwrap();
        assert_eq!(source.read_now().unwrap().len(), 2);
        std::fs::write(&path, format!("{HASH}\nmade-up-token\n")).unwrap();
        let told = source.read_now().unwrap_err().to_string();
        assert!(told.starts_with("line 2 of ") && !told.contains("made-up"), "{told}");
        std::fs::write(&path, "# none\n").unwrap();
        assert!(matches!(source.read_now(), Err(TokensError::Empty { .. })));
    }

    #[test]
    fn a_token_is_shown_by_either_scheme_in_any_case() {
        for value in ["Bearer t", "bearer  t ", "Zoho-oauthtoken t", "ZOHO-OAUTHTOKEN t"] {
            assert_eq!(shown(&[value]).as_deref(), Some("t"), "{value}");
        }
        for values in [&[][..], &["t"], &["Basic t"], &["Bearer "], &["Bearer"], &["Bearer t", "Bearer t"]] {
            assert_eq!(shown(values), None, "{values:?}");
        }
    }
}
