//! All that an emulator holds, and what its script does to a request under way.

use http::Response;
use http::request::Parts;
use tokio::time::sleep;

use super::ledger::{Ledger, Seen};
use super::organisation::State;
use super::places::{Place, Places};
use super::replies::{Dress, Reply};
use super::scenario::Scenario;
use super::script::replacement::{Replacement, broken, instead};
use super::script::{Asked, Plan, Script, on_the_way};
use crate::clock::Clock;
use crate::net::body::Body;
use crate::net::transport::TransportError;

/// All that an emulator holds.
pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) scenario: Scenario,
    pub(super) places: Places,
    pub(super) organisations: Vec<State>,
    pub(super) script: Script,
    pub(super) ledger: Ledger,
}

/// A request under way.
pub(super) struct Visit {
    pub(super) head: Parts,
    pub(super) place: Place,
    pub(super) seen: Seen,
}

impl World {
    pub(super) fn new(scenario: Scenario, clock: Clock) -> Self {
        Self {
            places: Places::new(),
            organisations: scenario
                .organisations
                .iter()
                .map(|seed| State::new(seed, &scenario, &clock))
                .collect(),
            script: Script::new(scenario.faults.clone()),
            ledger: Ledger::default(),
            clock,
            scenario,
        }
    }

    /// Makes everything as it was at the start.
    pub(super) fn reset(&self) {
        self.organisations.iter().for_each(|state| state.reset(&self.scenario, &self.clock));
        self.script.replace(self.scenario.faults.clone());
        self.ledger.clear();
    }

    /// What is to go wrong with a request.
    pub(super) fn plan(&self, visit: &Visit, organisation: Option<&str>) -> Plan {
        let (role, method, path) = (visit.place.role, &visit.head.method, visit.head.uri.path());
        self.script.plan(&Asked { role, method, path, organisation })
    }

    /// What a plan lets happen before, or instead of, what was asked.
    pub(super) async fn before(&self, plan: &Plan) -> Result<Option<Replacement>, TransportError> {
        if !plan.delay.is_zero() {
            sleep(plan.delay).await;
        }
        match &plan.instead {
            Some(fault) => instead(fault).await.map(Some),
            None => Ok(None),
        }
    }

    /// What a plan lets happen after what was asked is done.
    pub(super) async fn after(
        &self,
        plan: &Plan,
        visit: &Visit,
        reply: Reply,
        dress: Dress,
    ) -> Result<Response<Body>, TransportError> {
        if !plan.delay_answer.is_zero() {
            sleep(plan.delay_answer).await;
        }
        if plan.drop_after {
            return Err(broken());
        }
        let response = self.dressed(visit, reply, dress);
        Ok(on_the_way::change(response, &plan.on_the_way).await)
    }

    /// A reply with its headers on.
    pub(super) fn dressed(&self, visit: &Visit, reply: Reply, dress: Dress) -> Response<Body> {
        dress.put_on(reply, &visit.head.method, self.clock.wall())
    }
}
