//! A small Zoho: accounts servers, and as much of the CRM's API as the sidecar, its tests and its demo need.
//!
//! It keeps the real limits and copies the real oddities, so that nothing is tested against a kinder Zoho.
//! Every answer follows from its state: counts are reckoned from who belongs where. What goes wrong is told
//! by a [`Script`]; what was asked is in the [`Ledger`], without credentials.
//!
//! It serves all data centres and several organisations at once: in memory as a [`Transport`], where the
//! host names of Zoho's servers say which is meant, or on a port.
//!
//! Where Zoho does not tell how it behaves, the emulator assumes: mints that are denied do not count; a
//! refresh token may be revoked by whoever knows it; a user made inactive no longer counts in a territory;
//! a new manager does not become a member; a page beyond the last is answered with 204; a date that is not
//! ISO 8601 in `If-Modified-Since` is refused with 400; calls that fail before they are done cost nothing; the
//! CSV file of a bulk read begins with the id; a module's records can be related to those of every other module.
//! It calls nobody: no callback of a bulk job, no notification of a watch.

mod accounts;
mod api;
mod control;
mod crm;
mod door;
mod handle;
mod ledger;
mod listener;
mod lock;
mod organisation;
mod places;
mod random;
mod replies;
mod scenario;
mod script;
mod span;
mod world;

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::BodyExt as _;

use crate::clock::Clock;
use crate::net::body::Body;
use crate::net::transport::{BoxFuture, Transport, TransportError};
use door::Door;
pub use handle::Organisation;
pub use ledger::{Entry, Ledger};
pub use listener::Listening;
pub use places::Role;
pub use scenario::{Scenario, ScenarioError};
pub use script::{Fault, Script, Target};
use world::World;

/// An emulated Zoho. Clones are the same one.
#[derive(Clone)]
pub struct Emulator {
    world: Arc<World>,
}

impl Emulator {
    /// An emulator as a scenario describes it.
    pub fn new(scenario: Scenario, clock: Clock) -> Self {
        Self { world: Arc::new(World::new(scenario, clock)) }
    }

    /// Answers one request. An error is a connection that the script refused or broke.
    ///
    /// At a host that is none of Zoho's, the data centre is that of the first organisation.
    pub async fn answer(&self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        let first = self.world.organisations.first();
        let data_center = first.map(|state| state.seed.data_center.clone()).unwrap_or_default();
        Door { data_center, listener: false }.answer(&self.world, request).await
    }

    /// Listens on an address, for one data centre, or for all with `*`.
    pub async fn listen(&self, address: SocketAddr, data_center: &str) -> std::io::Result<Listening> {
        let door = Door { data_center: data_center.to_owned(), listener: true };
        listener::listen(Arc::clone(&self.world), address, door).await
    }

    /// What goes wrong.
    pub fn script(&self) -> &Script {
        &self.world.script
    }

    /// What was asked.
    pub fn ledger(&self) -> &Ledger {
        &self.world.ledger
    }

    /// A handle on an organisation. Panics if there is none of this name.
    pub fn organisation(&self, name: &str) -> Organisation {
        let position = self.world.organisations.iter().position(|state| state.seed.name == name);
        let index = position.expect("the scenario has an organisation of this name");
        Organisation::new(Arc::clone(&self.world), index)
    }

    /// Handles on all organisations, in the order of the scenario.
    pub fn organisations(&self) -> Vec<Organisation> {
        let indices = 0..self.world.organisations.len();
        indices.map(|index| Organisation::new(Arc::clone(&self.world), index)).collect()
    }

    /// Makes everything as it was at the start: state, script and ledger.
    pub fn reset(&self) {
        self.world.reset();
    }
}

impl Transport for Emulator {
    fn send(&self, request: Request<Body>) -> BoxFuture<Result<Response<Body>, TransportError>> {
        let emulator = self.clone();
        let request = request.map(copied);
        Box::pin(async move { emulator.answer(request).await })
    }
}

/// The body as a network would bring it: what it was sent from is free as soon as it is read.
fn copied(body: Body) -> Body {
    if matches!(body, Body::Full(_)) {
        return body;
    }
    Body::stream(body.map_frame(|frame| frame.map_data(|data| Bytes::copy_from_slice(&data))))
}
