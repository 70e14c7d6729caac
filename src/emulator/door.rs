//! The life of a request in the emulator, told once.

use http::{Method, Request, Response};

use super::accounts::{self, Outcome, said_of_mint};
use super::ledger::{Entry, Line, redaction, tap};
use super::places::Role;
use super::replies::{self, Dress};
use super::script::replacement::{bad_gateway, refused};
use super::world::{Visit, World};
use super::{api, control};
use crate::net::body::{Body, Prefix};
use crate::net::form::Form;
use crate::net::transport::TransportError;

/// The most bytes of a request to the accounts server or the control endpoint.
const LIMIT: usize = 1024 * 1024;

/// How a request came in.
#[derive(Clone)]
pub(super) struct Door {
    /// The data centre that is served at hosts which are none of Zoho's; `*` for all.
    pub(super) data_center: String,
    /// Whether it is a listener: then there is a control endpoint, and no connection can be refused.
    pub(super) listener: bool,
}

impl Door {
    /// Answers one request.
    pub(super) async fn answer(
        &self,
        world: &World,
        request: Request<Body>,
    ) -> Result<Response<Body>, TransportError> {
        let (head, body) = request.into_parts();
        let place = world.places.of(&head, &self.data_center, self.listener);
        let (body, seen) = tap(body);
        let visit = Visit { head, place, seen };
        let caller = api::Caller::of(world, &visit);
        let line = world.ledger.open(entry(world, &visit, &caller));
        let answer = match visit.place.role {
            Role::Control => control(world, &visit, body).await,
            _ if world.script.is_outage() => self.outage(world, &visit),
            Role::Accounts => accounts(world, &visit, body, &line).await,
            Role::Api | Role::Uploads => api::answer(world, &visit, &caller, body).await,
        };
        let status = answer.as_ref().ok().map(|response| response.status().as_u16());
        world.ledger.close(&line, status, &visit.seen);
        answer
    }

    /// Nothing can be reached. On a listener there is a connection already, so something answers.
    fn outage(&self, world: &World, visit: &Visit) -> Result<Response<Body>, TransportError> {
        if self.listener {
            Ok(world.dressed(visit, bad_gateway().reply, Dress::Plain))
        } else {
            Err(refused())
        }
    }
}

/// Answers what the accounts servers are asked.
async fn accounts(
    world: &World,
    visit: &Visit,
    body: Body,
    line: &Line,
) -> Result<Response<Body>, TransportError> {
    let Some(form) = form(visit, body).await? else {
        return Ok(world.dressed(visit, replies::too_large(), Dress::Accounts));
    };
    let organisation =
        accounts::organisation(world, &visit.place, &form).map(|state| state.seed.name.as_str());
    world.ledger.name(line, organisation);
    let plan = world.plan(visit, organisation);
    if let Some(replacement) = world.before(&plan).await? {
        let dress = if replacement.from_outside { Dress::Plain } else { Dress::Accounts };
        return world.after(&plan, visit, replacement.reply, dress).await;
    }
    let method = if visit.head.method == Method::HEAD { &Method::GET } else { &visit.head.method };
    let ask = accounts::Ask { place: &visit.place, method, path: visit.head.uri.path(), form: &form };
    let reply = match accounts::answer(world, &ask) {
        Outcome::Answered(reply) => reply,
        Outcome::Minted(said) => {
            world.ledger.minted(line, world.clock.wall());
            said_of_mint(said, &plan.mint)
        }
    };
    world.after(&plan, visit, reply, Dress::Accounts).await
}

/// Answers what the control endpoint is asked.
async fn control(world: &World, visit: &Visit, body: Body) -> Result<Response<Body>, TransportError> {
    if let Some(reply) = control::refusal(&visit.head) {
        return Ok(world.dressed(visit, reply, Dress::Plain));
    }
    let reply = match body.read_up_to(LIMIT).await.map_err(TransportError::Broken)? {
        Prefix::Whole(body) => control::answer(world, &visit.head.method, visit.head.uri.path(), &body),
        Prefix::Partial(_) => replies::too_large(),
    };
    Ok(world.dressed(visit, reply, Dress::Plain))
}

/// What the ledger keeps of a request.
fn entry(world: &World, visit: &Visit, caller: &api::Caller<'_>) -> Entry {
    let wall = world.clock.wall().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
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
        minted: None,
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
