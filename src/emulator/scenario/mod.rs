//! What an emulator starts with: limits, quirks, organisations, and what goes wrong.
//!
//! A scenario is a TOML file. The shipped one, `config/emulator.toml`, documents every key; a file that
//! leaves a key out gets the shipped value.

mod error;
mod seed;
mod shipped;

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use super::script::Rule;
use super::span;
use crate::zoho::data_center::Environment;
use crate::zoho::edition::Edition;
pub use error::ScenarioError;
pub(super) use seed::{ModuleSeed, Seed};

/// What an emulator starts with. The default is the shipped scenario.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    #[serde(default = "shipped::count_as")]
    pub(super) count_as: CountAs,
    #[serde(default = "shipped::list_empty_territories")]
    pub(super) list_empty_territories: bool,
    #[serde(default = "shipped::deletion_takes", with = "span")]
    pub(super) deletion_takes: Duration,
    #[serde(default = "shipped::bulk_job_takes", with = "span")]
    pub(super) bulk_job_takes: Duration,
    #[serde(default = "shipped::limits")]
    pub(super) limits: Limits,
    #[serde(default = "shipped::quirks")]
    pub(super) quirks: Quirks,
    #[serde(default = "shipped::modules")]
    pub(super) modules: Vec<ModuleSeed>,
    #[serde(default = "shipped::organisations")]
    pub(super) organisations: Vec<Seed>,
    #[serde(default)]
    pub(super) faults: Vec<Rule>,
}

/// How counts of users are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CountAs {
    /// `"3"`
    String,
    /// `3`
    Integer,
}

/// What Zoho allows.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    #[serde(default = "shipped::mints_per_window")]
    pub(super) mints_per_window: usize,
    #[serde(default = "shipped::window", with = "span")]
    pub(super) window: Duration,
    #[serde(default = "shipped::live_tokens")]
    pub(super) live_tokens: usize,
    #[serde(default = "shipped::token_lifetime", with = "span")]
    pub(super) token_lifetime: Duration,
    #[serde(default = "shipped::refresh_tokens")]
    pub(super) refresh_tokens: usize,
    #[serde(default = "shipped::concurrency")]
    pub(super) concurrency: bool,
    #[serde(default = "shipped::credits")]
    pub(super) credits: bool,
}

/// Ways in which Zoho's accounts servers differ.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Quirks {
    #[serde(default = "shipped::expiry")]
    pub(super) expiry: Expiry,
    #[serde(default = "shipped::throttle_status")]
    pub(super) throttle_status: u16,
    #[serde(default = "shipped::throttle_text")]
    pub(super) throttle_text: Language,
    #[serde(default = "shipped::omit_scope")]
    pub(super) omit_scope: bool,
}

/// How a token's lifetime is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Expiry {
    /// `expires_in` in seconds.
    Seconds,
    /// `expires_in_sec` in seconds, and `expires_in` in milliseconds.
    Legacy,
}

/// The language of an error's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Language {
    English,
    Chinese,
}

impl Scenario {
    /// Reads a scenario file.
    pub fn parse(text: &str) -> Result<Self, ScenarioError> {
        let scenario: Self = toml::from_str(text).map_err(|error| ScenarioError::of_toml(&error, text))?;
        scenario.check()?;
        Ok(scenario)
    }

    /// The names of its organisations, in the order of the file.
    pub fn organisations(&self) -> impl Iterator<Item = &str> {
        self.organisations.iter().map(|seed| seed.name.as_str())
    }

    /// The same, where calls beyond what an edition allows at once are refused, or only counted.
    #[must_use]
    pub fn with_concurrency_limits(mut self, are_enforced: bool) -> Self {
        self.limits.concurrency = are_enforced;
        self
    }

    /// The same with another edition for one organisation. Panics if there is none of this name.
    #[must_use]
    pub fn with_edition(mut self, organisation: &str, edition: Edition) -> Self {
        self.seed(organisation).edition = edition;
        self
    }

    /// The same with another environment for one organisation. Panics if there is none of this name.
    #[must_use]
    pub fn with_environment(mut self, organisation: &str, environment: Environment) -> Self {
        self.seed(organisation).environment = environment;
        self
    }

    /// The same with so many daily credits for one organisation. Panics if there is none of this name.
    #[must_use]
    pub fn with_credits(mut self, organisation: &str, credits: u64) -> Self {
        self.seed(organisation).credits = Some(credits);
        self
    }

    fn seed(&mut self, name: &str) -> &mut Seed {
        let mut seeds = self.organisations.iter_mut();
        seeds.find(|seed| seed.name == name).expect("the scenario has an organisation of this name")
    }

    fn check(&self) -> Result<(), ScenarioError> {
        if self.organisations.is_empty() {
            return Err(ScenarioError::about(
                "there is no organisation; give at least one [[organisations]]",
            ));
        }
        for (position, seed) in self.organisations.iter().enumerate() {
            if let Some(problem) = seed.problem() {
                return Err(ScenarioError::about(problem));
            }
            if self.organisations.iter().take(position).any(|other| other.name == seed.name) {
                return Err(ScenarioError::about(format!("two organisations are named \"{}\"", seed.name)));
            }
        }
        Ok(())
    }
}

impl Default for Scenario {
    fn default() -> Self {
        shipped::scenario().clone()
    }
}

impl fmt::Debug for Scenario {
    /// Names only: a scenario holds credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scenario")
            .field("organisations", &self.organisations().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_scenario_has_zohos_limits_and_two_organisations() {
        let scenario = Scenario::default();
        assert_eq!(scenario.organisations().collect::<Vec<_>>(), ["acme", "globex"]);
        assert_eq!(scenario.limits.mints_per_window, 10);
        assert_eq!(scenario.limits.window, Duration::from_mins(10));
        assert_eq!(scenario.limits.token_lifetime, Duration::from_hours(1));
    }

    #[test]
    fn a_key_that_is_left_out_is_read_from_the_shipped_file() {
        let scenario = Scenario::parse("[limits]\nlive_tokens = 10").unwrap();
        assert_eq!(scenario.limits.live_tokens, 10);
        assert_eq!(scenario.limits.mints_per_window, 10);
        assert_eq!(scenario.organisations().count(), 2);
    }

    #[test]
    fn a_problem_is_told_with_its_line() {
        for (text, line, words) in [
            ("[limits]\nmints = 3", 2, "unknown field `mints`"),
            ("[limits]\nwindow = \"10 mins\"", 2, "\"10 mins\" is not a duration"),
            ("\n[[organisations]]\nname = \"a\"\ndata_center = \"us2\"", 4, "\"us2\" is no data centre"),
            ("[[faults]]\ntarget = \"api\"\nfault = \"vanish\"", 3, "unknown variant `vanish`"),
        ] {
            let error = Scenario::parse(text).unwrap_err();
            assert_eq!(error.line(), Some(line), "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }

    #[test]
    fn a_member_must_be_one_of_the_users() {
        let text = r#"
            [[organisations]]
            name = "a"
            data_center = "us"
            client_id = "c"
            client_secret = "s"
            territories = [{ name = "North", members = [0] }]
        "#;
        let error = Scenario::parse(text).unwrap_err();
        assert!(error.to_string().contains("\"North\" of \"a\""), "{error}");
    }

    #[test]
    fn a_scenario_shows_no_credentials() {
        assert!(!format!("{:?}", Scenario::default()).contains("emulated-secret"));
    }
}
