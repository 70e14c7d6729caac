//! What takes its time: a user's deletion.

use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::ask::Ask;
use super::items::{self, missing, text, unknown_id};
use super::model::Job;
use super::state::Crm;
use crate::emulator::replies::{self, Reply};

const KEY: &str = "transfer_and_delete";
/// How many jobs are remembered.
const REMEMBERED: usize = 100;

/// `/users[/{user}]/actions/transfer_and_delete`: the deletion is begun by `POST`, and told of by `GET`.
pub(super) fn transfer_and_delete(crm: &mut Crm, ask: &Ask<'_>, user: Option<&str>) -> Reply {
    match *ask.method {
        Method::POST => begin(crm, ask, user),
        Method::GET => {
            let wanted = ask.query.value("job_id");
            let of_user = |job: &&Job| user.is_none_or(|user| job.user == user);
            let mut jobs = crm.jobs.iter().rev().filter(of_user);
            let job = jobs.find(|job| wanted.is_none_or(|wanted| job.id == wanted));
            let status = |job: &Job| if job.done { "completed" } else { "in_progress" };
            job.map_or_else(
                || Reply::empty(StatusCode::NO_CONTENT),
                |job| Reply::ok(&json!({ KEY: [{ "job_id": job.id, "status": status(job) }] })),
            )
        }
        _ => replies::invalid_method(),
    }
}

fn begin(crm: &mut Crm, ask: &Ask<'_>, user: Option<&str>) -> Reply {
    let given = match items::given(ask, KEY, 10) {
        Ok(given) => given,
        Err(reply) => return reply,
    };
    let mut schedule = |item: &Map<String, Value>| {
        let user = user.or_else(|| text(item, "id")).ok_or_else(|| missing("id"))?.to_owned();
        crm.user(&user).ok_or_else(|| unknown_id(&user))?;
        let id = crm.new_id();
        if crm.jobs.len() >= REMEMBERED {
            // Nobody's deletion is forgotten: the oldest is done early.
            let oldest = crm.jobs.remove(0);
            if !oldest.done {
                crm.remove_user(&oldest.user);
            }
        }
        crm.jobs.push(Job { id: id.clone(), user, due: ask.now + crm.deletion_takes, done: false });
        Ok(json!({
            "code": "SCHEDULED",
            "details": { "job_id": id },
            "message": "the transfer and delete job has been scheduled",
            "status": "success",
        }))
    };
    let outcomes = given.iter().map(&mut schedule).collect();
    items::outcome(KEY, StatusCode::ACCEPTED, outcomes)
}
