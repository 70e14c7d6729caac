//! Which requests a fault happens to.

use http::Method;
use serde::{Deserialize, Serialize};

use crate::emulator::places::Role;

/// Which requests a fault happens to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// All.
    Any,
    /// All to the accounts server.
    Accounts,
    /// Those that ask for a token.
    Mints,
    /// All to the API host.
    Api,
    /// All to the host that takes uploads.
    Uploads,
    /// Those of one organisation, as far as it can be told.
    Organisation(String),
    /// Those whose path begins so, on any host.
    Path(String),
    /// Those of a method whose path begins so.
    Call {
        /// The method, in capitals.
        method: String,
        /// How the path begins.
        path: String,
    },
}

/// A request, as far as targets look at it.
pub(in crate::emulator) struct Asked<'a> {
    pub(in crate::emulator) role: Role,
    pub(in crate::emulator) method: &'a Method,
    pub(in crate::emulator) path: &'a str,
    pub(in crate::emulator) organisation: Option<&'a str>,
}

impl Target {
    pub(super) fn is_of(&self, asked: &Asked<'_>) -> bool {
        match self {
            Self::Any => asked.role != Role::Control,
            Self::Accounts => asked.role == Role::Accounts,
            Self::Mints => asked.role == Role::Accounts && asked.path == "/oauth/v2/token",
            Self::Api => asked.role == Role::Api,
            Self::Uploads => asked.role == Role::Uploads,
            Self::Organisation(name) => asked.organisation == Some(name),
            Self::Path(path) => asked.path.starts_with(path.as_str()),
            Self::Call { method, path } => {
                asked.method == method.as_str() && asked.path.starts_with(path.as_str())
            }
        }
    }
}
