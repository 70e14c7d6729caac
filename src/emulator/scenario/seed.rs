//! An organisation as a scenario describes it.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de};

use crate::emulator::span;
use crate::zoho::data_center;
use crate::zoho::data_center::Environment;
use crate::zoho::edition::Edition;

/// What an organisation holds when the emulator starts.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::emulator) struct Seed {
    pub(in crate::emulator) name: String,
    #[serde(deserialize_with = "known_data_center")]
    pub(in crate::emulator) data_center: String,
    #[serde(default, deserialize_with = "environment")]
    pub(in crate::emulator) environment: Environment,
    #[serde(default = "some_zgid")]
    pub(in crate::emulator) zgid: String,
    pub(in crate::emulator) client_id: String,
    pub(in crate::emulator) client_secret: String,
    #[serde(default)]
    pub(in crate::emulator) refresh_tokens: Vec<String>,
    #[serde(default = "enterprise", deserialize_with = "edition")]
    pub(in crate::emulator) edition: Edition,
    #[serde(default)]
    pub(in crate::emulator) credits: Option<u64>,
    #[serde(default = "yes")]
    pub(in crate::emulator) territory_management: bool,
    #[serde(default)]
    pub(in crate::emulator) users: Vec<UserSeed>,
    #[serde(default)]
    pub(in crate::emulator) territories: Vec<TerritorySeed>,
    #[serde(default)]
    pub(in crate::emulator) codes: Vec<CodeSeed>,
}

/// A user.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::emulator) struct UserSeed {
    pub(in crate::emulator) name: String,
    pub(in crate::emulator) email: String,
    #[serde(default = "yes")]
    pub(in crate::emulator) active: bool,
}

/// A territory; members are positions in the list of users.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::emulator) struct TerritorySeed {
    pub(in crate::emulator) name: String,
    #[serde(default)]
    pub(in crate::emulator) members: Vec<usize>,
}

/// A module and its fields.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::emulator) struct ModuleSeed {
    pub(in crate::emulator) api_name: String,
    #[serde(default)]
    pub(in crate::emulator) fields: Vec<String>,
}

/// A grant code that waits to be exchanged.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::emulator) struct CodeSeed {
    pub(in crate::emulator) code: String,
    #[serde(with = "span")]
    pub(in crate::emulator) lifetime: Duration,
    #[serde(default = "yes")]
    pub(in crate::emulator) offline: bool,
    #[serde(default)]
    pub(in crate::emulator) redirect_uri: Option<String>,
}

impl Seed {
    /// What is wrong with it, if anything is.
    pub(super) fn problem(&self) -> Option<String> {
        let lost =
            |territory: &&TerritorySeed| territory.members.iter().any(|&user| user >= self.users.len());
        if let Some(territory) = self.territories.iter().find(lost) {
            return Some(format!(
                "the territory \"{}\" of \"{}\" has a member that is not among the {} users (counted from 0)",
                territory.name,
                self.name,
                self.users.len()
            ));
        }
        if self.zgid.is_empty() || !self.zgid.bytes().all(|b| b.is_ascii_digit()) {
            return Some(format!("the zgid of \"{}\" is not a number", self.name));
        }
        None
    }

    /// The credits of 24 hours: as given, or what Zoho's page on API limits gives the edition.
    pub(in crate::emulator) fn daily_credits(&self) -> u64 {
        let users = self.users.len() as u64;
        self.credits.unwrap_or(match self.edition {
            Edition::Free => 5_000,
            Edition::Standard => (50_000 + 250 * users).min(100_000),
            Edition::Professional => (50_000 + 500 * users).min(3_000_000),
            Edition::Enterprise => (50_000 + 1_000 * users).min(5_000_000),
            Edition::Ultimate => 50_000 + 2_000 * users,
        })
    }
}

fn yes() -> bool {
    true
}

fn enterprise() -> Edition {
    Edition::Enterprise
}

fn some_zgid() -> String {
    "500000000".to_owned()
}

fn known_data_center<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    let table = data_center::built_in();
    if table.iter().any(|row| row.name == name) {
        return Ok(name);
    }
    let names: Vec<_> = table.iter().map(|row| row.name.as_str()).collect();
    Err(de::Error::custom(format!("\"{name}\" is no data centre; there are {}", names.join(", "))))
}

fn environment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Environment, D::Error> {
    let name = String::deserialize(deserializer)?;
    Environment::ALL.into_iter().find(|one| one.as_str() == name).ok_or_else(|| {
        de::Error::custom(format!("\"{name}\" is no environment; write production, sandbox or developer"))
    })
}

fn edition<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Edition, D::Error> {
    let name = String::deserialize(deserializer)?;
    Edition::ALL.into_iter().find(|one| one.as_str() == name).ok_or_else(|| {
        let names = Edition::ALL.map(Edition::as_str).join(", ");
        de::Error::custom(format!("\"{name}\" is no edition; there are {names}"))
    })
}
