//! What goes wrong, and when.
//!
//! Tests and the control endpoint add rules; each request takes the rules that are about it. Of the rules
//! that are used up, a request takes one; of those that always hold, all.

mod fault;
mod gzip;
pub(super) mod on_the_way;
mod plan;
pub(super) mod replacement;
mod target;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Deserialize, Serialize};

use super::lock::held;
pub use fault::Fault;
pub(super) use plan::Plan;
pub(super) use target::Asked;
pub use target::Target;

/// How many rules wait at most; more are ignored.
const RULES: usize = 10_000;

/// A target, what happens to it, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    target: Target,
    fault: Fault,
    /// How often it is still to happen; `None` is always.
    #[serde(default)]
    times: Option<u64>,
}

/// What goes wrong, and when.
pub struct Script {
    rules: Mutex<Vec<Rule>>,
    outage: AtomicBool,
}

impl Script {
    pub(super) fn new(rules: Vec<Rule>) -> Self {
        Self { rules: Mutex::new(rules), outage: AtomicBool::new(false) }
    }

    /// Lets this happen once, to the next request of the target that is not already spoken for.
    pub fn next(&self, target: Target, fault: Fault) {
        self.times(1, target, fault);
    }

    /// Lets this happen to the next so many requests of the target.
    pub fn times(&self, times: u64, target: Target, fault: Fault) {
        self.add(Rule { target, fault, times: Some(times) });
    }

    /// Lets this happen to all requests of the target, until [`Script::clear`].
    pub fn always(&self, target: Target, fault: Fault) {
        self.add(Rule { target, fault, times: None });
    }

    /// Forgets all rules and ends an outage.
    pub fn clear(&self) {
        held(&self.rules).clear();
        self.outage(false);
    }

    /// Begins or ends an outage: no connection can be made; on a listener, every answer is a 502.
    pub fn outage(&self, on: bool) {
        self.outage.store(on, Ordering::SeqCst);
    }

    /// How many faults wait for a request, not counting those that always happen.
    pub fn waiting(&self) -> u64 {
        held(&self.rules).iter().filter_map(|rule| rule.times).sum()
    }

    pub(super) fn is_outage(&self) -> bool {
        self.outage.load(Ordering::SeqCst)
    }

    pub(super) fn add(&self, rule: Rule) {
        let mut rules = held(&self.rules);
        if rules.len() < RULES && rule.times != Some(0) {
            rules.push(rule);
        }
    }

    pub(super) fn rules(&self) -> Vec<Rule> {
        held(&self.rules).clone()
    }

    pub(super) fn replace(&self, rules: Vec<Rule>) {
        *held(&self.rules) = rules;
        self.outage(false);
    }

    /// What is to go wrong with this request; uses up what is used up by it.
    pub(super) fn plan(&self, asked: &Asked<'_>) -> Plan {
        let mut plan = Plan::default();
        let mut rules = held(&self.rules);
        if rules.is_empty() {
            return plan;
        }
        let counted = rules.iter().position(|rule| rule.times.is_some() && rule.target.is_of(asked));
        if let Some(at) = counted {
            plan.add(rules[at].fault.clone());
            let left = rules[at].times.map_or(0, |times| times.saturating_sub(1));
            if left == 0 {
                rules.remove(at);
            } else {
                rules[at].times = Some(left);
            }
        }
        for rule in rules.iter().filter(|rule| rule.times.is_none() && rule.target.is_of(asked)) {
            plan.add(rule.fault.clone());
        }
        plan
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::Method;

    use super::*;
    use crate::emulator::places::Role;

    const API: Asked<'_> =
        Asked { role: Role::Api, method: &Method::GET, path: "/crm/v8/users", organisation: Some("acme") };

    #[test]
    fn a_fault_that_is_next_happens_once_and_in_order() {
        let script = Script::new(Vec::new());
        script.next(Target::Accounts, Fault::Hang);
        script.next(Target::Api, Fault::Drop);
        script.next(Target::Path("/crm/v8".to_owned()), Fault::Html502);
        assert_eq!(script.plan(&API).instead, Some(Fault::Drop));
        assert_eq!(script.plan(&API).instead, Some(Fault::Html502));
        assert_eq!(script.plan(&API), Plan::default());
        assert_eq!(script.waiting(), 1);
    }

    #[test]
    fn a_delay_goes_together_with_another_fault() {
        let script = Script::new(Vec::new());
        let second = Duration::from_secs(1);
        script.always(Target::Any, Fault::Delay(second));
        script.next(Target::Organisation("acme".to_owned()), Fault::Delay(second).and(Fault::Drop));
        let plan = script.plan(&API);
        assert_eq!((plan.delay, plan.instead), (second * 2, Some(Fault::Drop)));
    }

    #[test]
    fn a_call_is_a_method_and_the_beginning_of_a_path() {
        let script = Script::new(Vec::new());
        let writes = Target::Call { method: "PUT".to_owned(), path: "/crm/".to_owned() };
        script.always(writes, Fault::Drop);
        assert_eq!(script.plan(&API), Plan::default());
        assert_eq!(script.plan(&Asked { method: &Method::PUT, ..API }).instead, Some(Fault::Drop));
    }

    #[test]
    fn faults_are_called_by_the_same_names_in_toml_and_json() {
        let from_toml: Rule =
            toml::from_str("target = { path = '/crm' }\nfault = { delay = '800ms' }\ntimes = 2").unwrap();
        let from_json: Rule =
            serde_json::from_str(r#"{"target":{"path":"/crm"},"fault":{"delay":"800ms"},"times":2}"#)
                .unwrap();
        assert_eq!(from_toml, from_json);
        assert_eq!(from_toml.fault, Fault::Delay(Duration::from_millis(800)));
    }
}
