//! Ready, and if not, why.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::Admin;
use crate::files;
use crate::oauth::{Health, Tokens};

pub(super) struct Readiness {
    pub(super) is_ready: bool,
    pub(super) reasons: Vec<Value>,
}

/// Ready means: not stopping, every tenant's first token has been tried for, and one at least can be served.
/// One organisation with a revoked grant must not take the others away from their callers.
pub(super) fn readiness(admin: &Admin) -> Readiness {
    let mut reasons: Vec<Value> = admin.tokens.iter().filter_map(|tokens| trouble(admin, tokens)).collect();
    let none_lives = !admin.tokens.iter().any(|tokens| lives(admin, tokens));
    let one_starts = admin.tokens.iter().any(|tokens| tokens.state().health == Health::Starting);
    let is_stopping = admin.stopping.load(Ordering::Relaxed);
    reasons.extend(admin.supervisor.stalled().iter().map(|stalled| {
        json!({
            "reason": "task_stalled",
            "task": &*stalled.task,
            "seconds": stalled.age.as_secs(),
            "remedy": "find what it waits for: a log whose reader has stopped, a file system that does not answer",
        })
    }));
    reasons.extend(files::hanging().iter().map(|path| {
        json!({
            "reason": "file_hangs",
            "path": path.display().to_string(),
            "remedy": "what was read of it before stays in force; find why its file system does not answer",
        })
    }));
    if is_stopping {
        reasons.push(json!({ "reason": "stopping", "remedy": "nothing to do" }));
    }
    Readiness { is_ready: !(none_lives || one_starts || is_stopping), reasons }
}

/// The tasks without which the process does not serve and which make no progress.
pub(super) fn stuck(admin: &Admin) -> Vec<Value> {
    let dead = admin.supervisor.dead();
    dead.iter().map(|dead| json!({ "task": &*dead.task, "seconds": dead.age.as_secs() })).collect()
}

fn trouble(admin: &Admin, tokens: &Tokens) -> Option<Value> {
    let health = tokens.state().health;
    (health != Health::Healthy || !lives(admin, tokens)).then(|| {
        json!({
            "tenant": tokens.tenant(),
            "reason": health.as_str(),
            "token_lives": lives(admin, tokens),
            "remedy": health.remedy(),
        })
    })
}

fn lives(admin: &Admin, tokens: &Tokens) -> bool {
    let now = admin.clock.boot_time();
    tokens.state().token.is_some_and(|token| token.lives(now))
}
