//! `POST /purge`: forgetting by hand.

use serde::Deserialize;

use super::Admin;
use crate::cache::purge::{Depth, Purge};
use crate::rulebook::Rulebook;
use crate::telemetry::log::BY_OPERATOR;

/// What the body of `POST /purge` may say. All that is named must hold.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Asked {
    /// Everything, whatever it is; must be said, so that an empty body does no harm.
    all: bool,
    /// Entries of this tenant.
    tenant: Option<String>,
    /// Entries of this route.
    route: Option<String>,
    /// Entries of exactly this path, whatever their query.
    path: Option<String>,
    /// Entries that writes to this group make untrue.
    group: Option<String>,
    /// Only end their freshness; what is stale still helps when Zoho cannot answer.
    soft: bool,
}

/// Why nothing is forgotten. Each says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoPurge {
    #[error(
        "the body is not what is expected: {0}; as in {{\"tenant\":\"acme\",\"route\":\"…\",\"path\":\"…\",\"group\":\"…\",\"soft\":true}} or {{\"all\":true}}"
    )]
    Body(String),
    #[error("say what to forget: tenant, route, path or group; or \"all\": true")]
    Nothing,
    #[error("there is no {what} \"{name}\"; there is {known}")]
    Unknown { what: &'static str, name: String, known: String },
    #[error("\"{0}\" is not a path: it begins with / and has no query")]
    Path(String),
}

impl Admin {
    /// Forgets what the body names, and says how many entries.
    pub(super) async fn purge_as_asked(&self, body: &[u8]) -> Result<u64, NoPurge> {
        let asked: Asked = serde_json::from_slice(body).map_err(|error| NoPurge::Body(error.to_string()))?;
        let (purge, group) = asked.understand(&self.rules)?;
        let turn = self.purging.lock().await;
        let count = (self.purge)(purge, group).await;
        drop(turn);
        // Only a trusted operator can cause this event, so each one is logged.
        tracing::info!(
            target: BY_OPERATOR,
            count,
            tenant = asked.tenant,
            route = asked.route,
            path = asked.path,
            group = asked.group,
            soft = asked.soft,
            "entries were forgotten by hand"
        );
        Ok(count)
    }
}

impl Asked {
    fn understand(&self, rules: &Rulebook) -> Result<(Purge, Option<usize>), NoPurge> {
        let names_something =
            self.tenant.is_some() || self.route.is_some() || self.path.is_some() || self.group.is_some();
        if names_something == self.all {
            return Err(NoPurge::Nothing);
        }
        let tenants: Vec<&str> = rules.tenants.all().iter().map(|tenant| tenant.name.as_str()).collect();
        let routes: Vec<&str> = rules.routes.all().iter().map(|route| route.name.as_str()).collect();
        let groups: Vec<&str> = rules.routes.groups().iter().map(String::as_str).collect();
        let group = number_of("group", self.group.as_deref(), &groups)?;
        let is_in = |group: usize| {
            let all = rules.routes.all().iter().enumerate();
            all.filter(|(_, route)| route.rule.groups.contains(&group)).map(|(number, _)| number).collect()
        };
        let purge = Purge {
            tenant: number_of("tenant", self.tenant.as_deref(), &tenants)?,
            route: number_of("route", self.route.as_deref(), &routes)?,
            path: self.path.as_deref().map(path).transpose()?,
            routes_of_group: group.map(is_in),
            depth: if self.soft { Depth::Soft } else { Depth::Hard },
        };
        Ok((purge, group))
    }
}

fn number_of(what: &'static str, name: Option<&str>, known: &[&str]) -> Result<Option<usize>, NoPurge> {
    let Some(name) = name else { return Ok(None) };
    match known.iter().position(|known| *known == name) {
        Some(number) => Ok(Some(number)),
        None => Err(NoPurge::Unknown { what, name: name.to_owned(), known: known.join(", ") }),
    }
}

fn path(text: &str) -> Result<String, NoPurge> {
    if text.starts_with('/') && !text.contains(['?', '#']) {
        Ok(text.to_owned())
    } else {
        Err(NoPurge::Path(text.to_owned()))
    }
}
