//! Where a secret comes from, and reading it anew.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

/// Where a secret comes from.
#[derive(Clone)]
pub enum SecretSource {
    /// A file, read again whenever the secret is needed, without its final line end.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
    /// The configuration itself.
    Literal(SecretString),
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
        source: std::io::Error,
    },
    /// The variable is not set.
    #[error("the environment variable {0} is not set")]
    Environment(String),
    /// There is nothing in it.
    #[error("the secret from {0} is empty")]
    Empty(String),
    /// It has a line end or another control character inside, as when two lines were pasted.
    #[error("the secret from {0} has a control character inside; it must be one line")]
    Malformed(String),
}

impl SecretSource {
    /// Reads the secret.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        let text = match self {
            Self::File(path) => {
                let failed = |source| SecretError::File { path: path.clone(), source };
                SecretString::from(std::fs::read_to_string(path).map_err(failed)?)
            }
            Self::Environment(name) => {
                SecretString::from(std::env::var(name).map_err(|_| SecretError::Environment(name.clone()))?)
            }
            Self::Literal(secret) => secret.clone(),
        };
        let trimmed = text.expose_secret().trim();
        if trimmed.is_empty() {
            return Err(SecretError::Empty(self.name()));
        }
        if trimmed.chars().any(char::is_control) {
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
        assert_eq!(SecretSource::File(path).read().unwrap().expose_secret(), "made-up-secret");
    }

    #[test]
    fn what_is_wrong_with_a_secret_is_said_without_the_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        std::fs::write(&path, "made-up\nsecret").unwrap();
        let two_lines = SecretSource::File(path.clone()).read().unwrap_err().to_string();
        assert!(two_lines.contains("control character") && !two_lines.contains("made-up"), "{two_lines}");

        std::fs::write(&path, " \n").unwrap();
        assert!(matches!(SecretSource::File(path).read(), Err(SecretError::Empty(_))));
        let missing = SecretSource::Environment("NO_SUCH_VARIABLE_HERE".into()).read().unwrap_err();
        assert_eq!(missing.to_string(), "the environment variable NO_SUCH_VARIABLE_HERE is not set");
    }
}
