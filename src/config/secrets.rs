//! Reading where secrets come from. Their values are never reported.

use std::path::{Path, PathBuf};

use super::exposure;
use super::section::Section;
use super::tree::{Node, Table, Value};
use crate::causes::with_causes;
use crate::oauth::SecretSource;

impl Section<'_> {
    /// The file that a table of just `{ file = … }` names.
    pub(super) fn file(&self, key: &str) -> Option<PathBuf> {
        match reference(self.node(key).and_then(Node::table)?)? {
            SecretSource::File(path) => Some(path),
            SecretSource::Environment(_) | SecretSource::Literal(_) => None,
        }
    }

    /// Where a secret comes from. Its value is never reported.
    pub(super) fn secret(&self, key: &str) -> SecretSource {
        const HINT: &str = "write { file = \"/path\" } or { env = \"NAME\" }";
        let source = match self.value(key, HINT.trim_start_matches("write ")) {
            Some(Value::Text(secret)) => {
                self.doubtful_literal(key, "the secret itself stands in the configuration", HINT);
                SecretSource::literal(secret)
            }
            Some(Value::Table(table)) => match reference(table) {
                Some(source) => source,
                None => {
                    self.wrong(key, "this is not exactly one of { file = … } and { env = … }", HINT);
                    return SecretSource::Environment(String::new());
                }
            },
            Some(other) => {
                self.wrong(key, format!("this is {}, not a secret", other.kind()), HINT);
                return SecretSource::Environment(String::new());
            }
            None => return SecretSource::Environment(String::new()),
        };
        if let SecretSource::File(path) = &source {
            self.check_file_of_secret(key, path);
        }
        if let Err(error) = source.read_now() {
            self.doubtful(key, with_causes(&error), "provide it before the sidecar runs");
        }
        source
    }

    /// Warns if others may read the file of a secret, or change it.
    pub(super) fn check_file_of_secret(&self, key: &str, path: &Path) {
        if let Some(how) = exposure::of_secret_file(path) {
            let path = path.display();
            self.doubtful(
                key,
                format!("{path} holds a secret, and {how}"),
                format!(
                    "chmod 600 {path}, and let it belong to the user that runs the sidecar (Kubernetes: defaultMode 0440 and fsGroup)"
                ),
            );
        }
    }

    /// Warns of a secret that is written out in a file, and says so if others may read that file.
    pub(super) fn doubtful_literal(&self, key: &str, what: &str, remedy: &str) {
        match self.exposed(key) {
            Some((how, file)) => {
                self.doubtful(
                    key,
                    format!("{what}, and of this file {how}"),
                    format!("{remedy}; until then, chmod 600 {file}"),
                );
            }
            None => self.doubtful(key, what, remedy),
        }
    }
}

fn reference(table: &Table) -> Option<SecretSource> {
    let mut entries = table.iter();
    match (entries.next(), entries.next()) {
        (Some((key, Node { value: Value::Text(text), .. })), None) if !text.is_empty() => {
            match key.as_str() {
                "file" => Some(SecretSource::File(text.as_str().into())),
                "env" => Some(SecretSource::Environment(text.to_string())),
                _ => None,
            }
        }
        _ => None,
    }
}
