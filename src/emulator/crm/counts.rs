//! Counts of users, always reckoned from who belongs where at this moment.

use http::{Method, StatusCode};
use serde::Serialize;

use super::ask::Ask;
use super::items::{Info, page};
use super::state::Crm;
use crate::emulator::replies::{self, Reply};
use crate::emulator::scenario::CountAs;

/// The most rows on one page.
const MOST: usize = 2_000;

#[derive(Serialize)]
struct OfTerritories {
    associated_users_count: Vec<Row>,
    info: Info,
}

#[derive(Serialize)]
struct Row {
    count: Count,
    #[serde(skip_serializing_if = "Option::is_none")]
    territory: Option<Named>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_group: Option<Named>,
}

#[derive(Serialize)]
struct Named {
    name: String,
    id: String,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Count {
    String(String),
    Integer(usize),
}

impl Count {
    fn of(count: usize, count_as: CountAs) -> Self {
        match count_as {
            CountAs::String => Self::String(count.to_string()),
            CountAs::Integer => Self::Integer(count),
        }
    }
}

/// `GET /settings/territories/actions/associated_users_count`
pub(super) fn territories(crm: &Crm, ask: &Ask<'_>) -> Reply {
    let listed = crm.territories.iter().map(|territory| (territory, crm.count(territory)));
    let listed = listed.filter(|&(_, count)| count > 0 || crm.list_empty_territories);
    let rows = listed.map(|(territory, count)| Row {
        count: Count::of(count, crm.count_as),
        territory: Some(Named { name: territory.name.clone(), id: territory.id.clone() }),
        user_group: None,
    });
    answer(ask, rows.collect())
}

/// `GET /settings/user_groups/actions/associated_users_count`, which ends alike and counts something else:
/// here, one group of all active users.
pub(super) fn user_groups(crm: &Crm, ask: &Ask<'_>) -> Reply {
    let everybody = crm.users.iter().filter(|user| user.active).count();
    let row = Row {
        count: Count::of(everybody, crm.count_as),
        territory: None,
        user_group: Some(Named { name: "Everybody".to_owned(), id: format!("{}999999999", crm.zgid) }),
    };
    answer(ask, vec![row])
}

fn answer(ask: &Ask<'_>, rows: Vec<Row>) -> Reply {
    if ask.method != Method::GET {
        return replies::invalid_method();
    }
    match page(ask, rows, MOST) {
        Ok(Some((associated_users_count, info))) => {
            Reply::ok(&OfTerritories { associated_users_count, info })
        }
        Ok(None) => Reply::empty(StatusCode::NO_CONTENT),
        Err(reply) => reply,
    }
}
