//! A call of the API or of the host for uploads: who calls, may they, and what is done.

use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Response};
use http_body::Body as _;

use super::crm::upload::{self, Upload};
use super::crm::{self, ApiPath, streams};
use super::organisation::{State, UnderWay};
use super::places::Role;
use super::replies::{self, Dress, Reply};
use super::world::{Visit, World};
use crate::net::body::{Body, BoxError, Prefix};
use crate::net::form::Form;
use crate::net::guarded::Guarded;
use crate::net::transport::TransportError;

/// The most bytes of a body that is not streamed.
const LIMIT: usize = 8 * 1024 * 1024;

/// Who calls, as far as the token tells.
pub(super) struct Caller<'w> {
    token: Option<String>,
    state: Option<&'w State>,
    generation: u64,
}

impl<'w> Caller<'w> {
    pub(super) fn of(world: &'w World, visit: &Visit) -> Self {
        let token = token(&visit.head.headers);
        let found = token.as_deref().and_then(|token| {
            world.organisations.iter().find_map(|state| {
                let generation = state.tokens().find(token)?.generation;
                Some((state, generation))
            })
        });
        let (state, generation) = found.unzip();
        Self { token, state, generation: generation.unwrap_or_default() }
    }

    pub(super) fn organisation(&self) -> Option<&'w str> {
        self.state.map(|state| state.seed.name.as_str())
    }

    /// What to call the token where it must not be shown.
    pub(super) fn token_name(&self) -> Option<String> {
        self.state.map(|state| format!("token #{} of {}", self.generation, state.seed.name))
    }

    /// The organisation, if the token is good here and at this moment.
    fn admitted(&self, world: &World, visit: &Visit) -> Result<(&'w State, Dress), Reply> {
        let token = self.token.as_deref().ok_or_else(replies::authentication_failure)?;
        let state = self.state.ok_or_else(replies::invalid_token)?;
        let (place, seed) = (&visit.place, &state.seed);
        let now = world.clock.boot_time();
        let issued = state.tokens().find(token).filter(|issued| issued.is_live(now)).cloned();
        let issued = issued.ok_or_else(replies::invalid_token)?;
        if !place.serves(&seed.data_center) || !place.serves_environment(seed.environment) {
            return Err(replies::invalid_token());
        }
        let credits_left = state.credits().told_left(now);
        Ok((state, Dress::Api { token_expires: Some(issued.expires_at), credits_left }))
    }
}

/// The token of `Zoho-oauthtoken …` or `Bearer …`, the scheme in any case.
fn token(headers: &HeaderMap) -> Option<String> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let known = ["zoho-oauthtoken", "bearer"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    known.then(|| token.trim().to_owned()).filter(|token| !token.is_empty())
}

/// A call, its body read if it is to be.
struct Call<'a> {
    visit: &'a Visit,
    path: Option<ApiPath>,
    query: Form,
    body: Read,
}

enum Read {
    /// In memory.
    Whole(bytes::Bytes),
    /// Still arriving: it is long, or what is to be told is how it arrives.
    Arriving(Body),
    TooLarge,
}

/// Answers a call.
pub(super) async fn answer(
    world: &World,
    visit: &Visit,
    caller: &Caller<'_>,
    body: Body,
) -> Result<Response<Body>, TransportError> {
    let plan = world.plan(visit, caller.organisation());
    let call = read(visit, body).await?;
    let admitted = caller.admitted(world, visit);
    let nobody = Dress::Api { token_expires: None, credits_left: None };
    // Those that are not let in take no place either.
    let permit = match &admitted {
        Ok((state, dress)) => match state.gate.enter(call.is_complex()) {
            Some(permit) => Some(permit),
            None => return world.after(&plan, visit, replies::too_many_at_once(), *dress).await,
        },
        Err(_) => None,
    };
    if let Some(replacement) = world.before(&plan).await? {
        let dress = if replacement.from_outside { Dress::Plain } else { nobody };
        return world.after(&plan, visit, replacement.reply, dress).await;
    }
    // Once more: while the call was delayed, its token may have died.
    let (reply, dress) = match caller.admitted(world, visit) {
        Ok((state, _)) if !state.credits().take(call.cost(), world.clock.boot_time()) => {
            (replies::credits_exhausted(), nobody)
        }
        Ok((state, _)) => {
            let name = caller.token_name().unwrap_or_default();
            let reply = perform(world, state, call, &name).await?;
            (reply, caller.admitted(world, visit).map_or(nobody, |(_, dress)| dress))
        }
        Err(reply) => (reply, nobody),
    };
    let answer = world.after(&plan, visit, reply, dress).await;
    Ok(answer?.map(|body| under_way(body, permit)))
}

/// The body of an answer, whose call is under way until all of it is sent.
fn under_way(body: Body, permit: Option<UnderWay>) -> Body {
    if body.is_end_stream() { body } else { Body::stream(Guarded::new(body, permit)) }
}

async fn read(visit: &Visit, body: Body) -> Result<Call<'_>, TransportError> {
    let path = ApiPath::read(visit.head.uri.path());
    let query = Form::urlencoded(visit.head.uri.query().unwrap_or_default());
    let body = if path.as_ref().is_some_and(|path| is_streamed(&visit.head.method, path)) {
        Read::Arriving(body)
    } else {
        match body.read_up_to(LIMIT).await.map_err(unread)? {
            Prefix::Whole(bytes) => Read::Whole(bytes),
            Prefix::Partial(_) => Read::TooLarge,
        }
    };
    Ok(Call { visit, path, query, body })
}

fn is_streamed(method: &Method, path: &ApiPath) -> bool {
    match path.segments().as_slice() {
        [first, ..] if first.starts_with("__echo") => true,
        _ => upload::is_upload(method, path),
    }
}

impl Call<'_> {
    fn bytes(&self) -> &[u8] {
        if let Read::Whole(bytes) = &self.body { bytes } else { &[] }
    }

    fn cost(&self) -> u64 {
        let method = &self.visit.head.method;
        self.path.as_ref().map_or(1, |path| crm::credits(method, path, &self.query, self.bytes()))
    }

    fn is_complex(&self) -> bool {
        let method = &self.visit.head.method;
        self.path.as_ref().is_some_and(|path| crm::is_complex(method, path, &self.query, self.bytes()))
    }
}

async fn perform(world: &World, state: &State, call: Call<'_>, token: &str) -> Result<Reply, TransportError> {
    let head = &call.visit.head;
    let Some(path) = &call.path else {
        return Ok(replies::invalid_url());
    };
    let segments = path.segments();
    let is_upload = head.method == Method::POST && segments == ["upload"] && !path.bulk;
    if is_upload != (call.visit.place.role == Role::Uploads) {
        return Ok(replies::invalid_url());
    }
    let ask = |body| crm::Ask {
        method: if head.method == Method::HEAD { &Method::GET } else { &head.method },
        path,
        query: &call.query,
        headers: &head.headers,
        body,
        home: call.visit.place.local.as_deref(),
        wall: world.clock.wall(),
        now: world.clock.boot_time(),
    };
    match (call.body, segments.as_slice()) {
        (Read::TooLarge, _) => Ok(replies::too_large()),
        (Read::Whole(_), ["__bytes"]) => Ok(streams::bytes(&call.query, &head.method)),
        (Read::Whole(body), _) => Ok(crm::answer(&mut state.crm(), &ask(&body))),
        (Read::Arriving(body), [first, ..]) if first.starts_with("__echo") => {
            streams::echo(head, token, body, &call.visit.seen).await.map_err(unread)
        }
        (Read::Arriving(body), _) => {
            let upload = Upload::receive(&head.headers, body).await.map_err(unread)?;
            Ok(crm::answer_upload(&mut state.crm(), &ask(&[]), &upload))
        }
    }
}

/// What went wrong while the body of a request was read.
fn unread(error: BoxError) -> TransportError {
    TransportError::Broken(error)
}
