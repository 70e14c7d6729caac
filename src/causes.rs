//! Errors as one line of text.

use std::error::Error;

/// The message of an error, followed by those of its sources.
pub fn with_causes(error: &dyn Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read it")]
    struct Outer(#[source] std::fmt::Error);

    #[test]
    fn an_error_is_told_with_its_causes() {
        assert_eq!(with_causes(&Outer(std::fmt::Error)), format!("cannot read it: {}", std::fmt::Error));
    }
}
