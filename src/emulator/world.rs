//! The life of a request in the emulator, told once.

use http::request::Parts;
use http::{Method, Request, Response};
use tokio::time::sleep;

use super::accounts::{self, Outcome, misreport};
use super::ledger::{Entry, Ledger, Line, Seen, redaction, tap};
use super::organisation::State;
use super::places::{Place, Places, Role};
use super::replies::{self, Dress, Reply};
use super::scenario::Scenario;
use super::script::replacement::{Replacement, bad_gateway, broken, instead, refused};
use super::script::{Asked, Plan, Script, on_the_way};
use super::{api, control};
use crate::clock::Clock;
use crate::net::body::{Body, BoxError, Prefix};
use crate::net::form::Form;
use crate::net::transport::TransportError;

/// The most bytes of a request to the accounts server or the control endpoint.
const LIMIT: usize = 1024 * 1024;

/// All that an emulator holds.
pub(super) struct World {
    pub(super) clock: Clock,
    pub(super) scenario: Scenario,
    pub(super) places: Places,
    pub(super) organisations: Vec<State>,
    pub(super) script: Script,
    pub(super) ledger: Ledger,
}

/// How a request came in.
#[derive(Clone)]
pub(super) struct Door {
    /// The data centre that is served at hosts which are none of Zoho's; `*` for all.
    pub(super) data_center: String,
    /// Whether it is a listener: then there is a control endpoint, and no connection can be refused.
    pub(super) listener: bool,
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

    /// Answers one request.
    pub(super) async fn answer(
        &self,
        request: Request<Body>,
        door: &Door,
    ) -> Result<Response<Body>, TransportError> {
        let (head, body) = request.into_parts();
        let place = self.places.of(&head, &door.data_center, door.listener);
        let (body, seen) = tap(body);
        let visit = Visit { head, place, seen };
        let caller = api::Caller::of(self, &visit);
        let line = self.ledger.open(self.entry(&visit, &caller));
        let answer = match visit.place.role {
            Role::Control => self.control(&visit, body).await,
            _ if self.script.is_outage() => self.outage(&visit, door),
            Role::Accounts => self.accounts(&visit, body, &line).await,
            Role::Api | Role::Uploads => api::answer(self, &visit, &caller, body).await,
        };
        let status = answer.as_ref().ok().map(|response| response.status().as_u16());
        self.ledger.close(&line, status, &visit.seen);
        answer
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

    fn dressed(&self, visit: &Visit, reply: Reply, dress: Dress) -> Response<Body> {
        dress.put_on(reply, &visit.head.method, self.clock.wall())
    }

    /// Nothing can be reached. On a listener there is a connection already, so something answers.
    fn outage(&self, visit: &Visit, door: &Door) -> Result<Response<Body>, TransportError> {
        if door.listener {
            Ok(self.dressed(visit, bad_gateway().reply, Dress::Plain))
        } else {
            Err(refused())
        }
    }

    async fn accounts(
        &self,
        visit: &Visit,
        body: Body,
        line: &Line,
    ) -> Result<Response<Body>, TransportError> {
        let Some(form) = form(visit, body).await? else {
            return Ok(self.dressed(visit, replies::too_large(), Dress::Accounts));
        };
        let organisation =
            accounts::organisation(self, &visit.place, &form).map(|state| state.seed.name.as_str());
        self.ledger.name(line, organisation);
        let plan = self.plan(visit, organisation);
        if let Some(replacement) = self.before(&plan).await? {
            let dress = if replacement.from_outside { Dress::Plain } else { Dress::Accounts };
            return self.after(&plan, visit, replacement.reply, dress).await;
        }
        let method = if visit.head.method == Method::HEAD { &Method::GET } else { &visit.head.method };
        let ask = accounts::Ask { place: &visit.place, method, path: visit.head.uri.path(), form: &form };
        let reply = match accounts::answer(self, &ask) {
            Outcome::Answered(reply) => reply,
            Outcome::Minted(mut said) => {
                plan.mint.iter().for_each(|fault| misreport(&mut said, fault));
                Reply::bare_json(http::StatusCode::OK, &said)
            }
        };
        self.after(&plan, visit, reply, Dress::Accounts).await
    }

    async fn control(&self, visit: &Visit, body: Body) -> Result<Response<Body>, TransportError> {
        let reply = match body.read_up_to(LIMIT).await.map_err(TransportError::Broken)? {
            Prefix::Whole(body) => control::answer(self, &visit.head.method, visit.head.uri.path(), &body),
            Prefix::Partial(_) => replies::too_large(),
        };
        Ok(self.dressed(visit, reply, Dress::Plain))
    }

    fn entry(&self, visit: &Visit, caller: &api::Caller<'_>) -> Entry {
        let wall = self.clock.wall().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let target = visit.head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        Entry {
            at: u64::try_from(wall.as_millis()).unwrap_or(u64::MAX),
            data_center: visit.place.data_center.clone(),
            role: visit.place.role,
            organisation: caller.organisation().map(str::to_owned),
            method: visit.head.method.to_string(),
            path_and_query: redaction::path_and_query(target),
            headers: redaction::headers(&visit.head.headers, caller.token_name().as_deref()),
            body_length: 0,
            body_sha256: String::new(),
            status: None,
        }
    }
}

/// The parameters of query and body; `None` if the body is too long.
async fn form(visit: &Visit, body: Body) -> Result<Option<Form>, TransportError> {
    let Prefix::Whole(body) = body.read_up_to(LIMIT).await.map_err(TransportError::Broken)? else {
        return Ok(None);
    };
    let content_type =
        visit.head.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let query = Form::urlencoded(visit.head.uri.query().unwrap_or_default());
    Ok(Some(Form::body(content_type, &body).and(query)))
}

/// What went wrong while the body of a request was read.
pub(super) fn unread(error: BoxError) -> TransportError {
    TransportError::Broken(error)
}
