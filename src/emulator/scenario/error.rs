//! Why a text is no scenario.

/// Why a text is no scenario: a sentence, and the line if it is about one.
#[derive(Debug, thiserror::Error)]
#[error("{}{message}", line.map(|line| format!("line {line}: ")).unwrap_or_default())]
pub struct ScenarioError {
    line: Option<usize>,
    message: String,
}

impl ScenarioError {
    pub(super) fn about(message: impl Into<String>) -> Self {
        Self { line: None, message: message.into() }
    }

    pub(super) fn of_toml(error: &toml::de::Error, text: &str) -> Self {
        let line_of =
            |offset: usize| text.as_bytes().iter().take(offset).filter(|&&b| b == b'\n').count() + 1;
        Self {
            line: error.span().map(|span| line_of(span.start)),
            message: error.message().trim_end().replace('\n', ", "),
        }
    }

    /// The line it is about, counted from 1.
    pub fn line(&self) -> Option<usize> {
        self.line
    }
}
