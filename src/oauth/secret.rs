//! Where a secret comes from, and reading it anew.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest;
use prometheus_client::metrics::counter::Counter;
use secrecy::{ExposeSecret, SecretString};

use crate::files::{self, Contents, FileError};

/// Where a secret comes from.
#[derive(Clone)]
pub enum SecretSource {
    /// A file, read again whenever the secret is needed, without its final line end.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// The configuration itself. Clones share the one copy there is of it.
    Literal(Arc<SecretString>),
}

/// Why a secret cannot be had. Never holds the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the secret from {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: FileError,
    },
    /// The variable is not set.
    #[error("the environment variable {0} is not set")]
    Environment(String),
    /// There is nothing in it.
    #[error("the secret from {0} is empty")]
    Empty(String),
    /// It has a line end or another character inside that shows nothing, as when two lines were pasted.
    #[error("the secret from {0} has a control character or an invisible one inside; it must be one line")]
    Malformed(String),
}

/// A longer file is no secret of Zoho's, and no token of a person's.
const MOST_BYTES: usize = 64 * 1024;

impl SecretSource {
    /// A secret that is written out.
    pub fn literal(secret: &str) -> Self {
        Self::Literal(Arc::new(secret.into()))
    }

    /// Reads the secret.
    pub async fn read(&self) -> Result<SecretString, SecretError> {
        match self {
            Self::File(path) => self.in_file(path, files::read(path, MOST_BYTES).await),
            Self::Environment(name) => self.in_environment(name),
            Self::Literal(secret) => self.checked(secret.expose_secret()),
        }
    }

    /// The same where nothing is served yet: keeps this thread waiting for the file.
    pub fn read_now(&self) -> Result<SecretString, SecretError> {
        match self {
            Self::File(path) => self.in_file(path, files::read_now(path, MOST_BYTES)),
            Self::Environment(name) => self.in_environment(name),
            Self::Literal(secret) => self.checked(secret.expose_secret()),
        }
    }

    fn in_file(&self, path: &Path, read: Result<Contents, FileError>) -> Result<SecretString, SecretError> {
        let failed = |source| SecretError::File { path: path.to_owned(), source };
        let contents = read.map_err(failed)?;
        self.checked(contents.text().map_err(failed)?)
    }

    fn in_environment(&self, name: &str) -> Result<SecretString, SecretError> {
        let text = std::env::var(name).map_err(|_| SecretError::Environment(name.to_owned()))?;
        self.checked(SecretString::from(text).expose_secret())
    }

    fn checked(&self, text: &str) -> Result<SecretString, SecretError> {
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Err(SecretError::Empty(self.name()));
        }
        if trimmed.chars().any(|c| c.is_control() || is_invisible(c)) {
            return Err(SecretError::Malformed(self.name()));
        }
        Ok(SecretString::from(trimmed))
    }

    /// What to call it in messages.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Environment(name) => format!("the environment variable {name}"),
            Self::Literal(_) => "the configuration".to_owned(),
        }
    }

    /// Whether it can change while the sidecar runs.
    pub fn can_change(&self) -> bool {
        matches!(self, Self::File(_))
    }
}

/// Characters that come with a text that was copied from a page, and that no font shows.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A secret that is read anew each time it is asked for. One that cannot be read stays in force as it was read last:
/// whoever mends the file, or waits for its server, should not be locked out meanwhile.
#[derive(Debug)]
pub struct LastingSecret {
    source: SecretSource,
    failures: Counter,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    last: Option<SecretString>,
    /// Why the latest read failed, so that it is logged once.
    trouble: Option<String>,
}

impl LastingSecret {
    /// A secret of which nothing is known yet. `failures` counts reads that failed.
    pub fn new(source: SecretSource, failures: Counter) -> Self {
        Self { source, failures, known: Mutex::default() }
    }

    /// Reads the secret; where that fails, gives what was read last.
    pub async fn read(&self) -> Result<SecretString, SecretError> {
        let read = self.source.read().await;
        self.settle(read)
    }

    /// The same where nothing is served yet: keeps this thread waiting for the file.
    pub fn read_now(&self) -> Result<SecretString, SecretError> {
        self.settle(self.source.read_now())
    }

    /// The secret as it was read last, or one that cannot change. Nothing waits for a file.
    pub fn last(&self) -> Option<SecretString> {
        if self.source.can_change() {
            return self.known.lock().unwrap_or_else(PoisonError::into_inner).last.clone();
        }
        self.source.read_now().ok()
    }

    fn settle(&self, read: Result<SecretString, SecretError>) -> Result<SecretString, SecretError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match read {
            Ok(secret) => {
                if known.trouble.take().is_some() {
                    tracing::info!(secret = self.source.name(), "the secret can be read again");
                }
                // What cannot change is where it was.
                known.last = self.source.can_change().then(|| secret.clone());
                Ok(secret)
            }
            Err(error) => {
                self.failures.inc();
                let Some(last) = known.last.clone() else { return Err(error) };
                let why =
                    std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
                if known.trouble.as_deref() != Some(why.as_str()) {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "a secret cannot be read; what was read before stays in force");
                    known.trouble = Some(why);
                }
                Ok(last)
            }
        }
    }
}

/// The secrets of one credential, read together.
pub(super) struct Secrets {
    pub(super) client_secret: SecretString,
    pub(super) refresh_token: SecretString,
}

impl Secrets {
    /// Differs when one of them does.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut digest = digest::Context::new(&digest::SHA256);
        digest.update(self.client_secret.expose_secret().as_bytes());
        digest.update(&[0]);
        digest.update(self.refresh_token.expose_secret().as_bytes());
        digest.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
    }
}

impl std::fmt::Debug for SecretSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretSource({})", self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_file_is_read_without_its_line_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, "made-up-secret\r\n").unwrap();
        assert_eq!(SecretSource::File(path.clone()).read_now().unwrap().expose_secret(), "made-up-secret");
        std::fs::write(&path, "\u{feff}made-up-secret\n").unwrap();
        assert_eq!(SecretSource::File(path.clone()).read_now().unwrap().expose_secret(), "made-up-secret");
        for odd in ["made-\u{200b}up", "made-up\u{feff}", "\u{feff}\u{feff}made-up", "made\u{2028}up"] {
            std::fs::write(&path, odd).unwrap();
            let error = SecretSource::File(path.clone()).read_now().unwrap_err();
            assert!(matches!(error, SecretError::Malformed(_)), "{odd:?}: {error}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_secret_is_said_without_the_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, "made-up\nsecret").unwrap();
        let two_lines = SecretSource::File(path.clone()).read_now().unwrap_err().to_string();
        assert!(two_lines.contains("control character") && !two_lines.contains("made-up"), "{two_lines}");

        std::fs::write(&path, " \n").unwrap();
        assert!(matches!(SecretSource::File(path).read_now(), Err(SecretError::Empty(_))));
        let missing = SecretSource::Environment("NO_SUCH_VARIABLE_HERE".into()).read_now().unwrap_err();
        assert_eq!(missing.to_string(), "the environment variable NO_SUCH_VARIABLE_HERE is not set");
    }

    #[tokio::test]
    async fn a_secret_that_cannot_be_read_any_more_stays_in_force() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        let failures = Counter::default();
        let secret = LastingSecret::new(SecretSource::File(path.clone()), failures.clone());
        assert!(secret.read().await.is_err(), "nothing was ever read");
        std::fs::write(&path, "made-up-1").unwrap();
        assert_eq!(secret.read().await.unwrap().expose_secret(), "made-up-1");
        for broken in ["", "made-up\n2"] {
            std::fs::write(&path, broken).unwrap();
            assert_eq!(secret.read().await.unwrap().expose_secret(), "made-up-1");
        }
        std::fs::write(&path, "made-up-3").unwrap();
        assert_eq!(secret.read().await.unwrap().expose_secret(), "made-up-3");
        assert_eq!(failures.get(), 3);
    }
}
