//! One organisation, as tests and the demo look at it from outside the API.
//!
//! What is done here, somebody did in Zoho's user interface: no request shows it.

use std::sync::Arc;

use super::crm::settle;
use super::organisation::State;
use super::world::World;
use crate::zoho::data_center::Environment;
use crate::zoho::edition::Edition;

/// A handle on one organisation of an emulator.
#[derive(Clone)]
pub struct Organisation {
    world: Arc<World>,
    index: usize,
}

impl Organisation {
    pub(super) fn new(world: Arc<World>, index: usize) -> Self {
        Self { world, index }
    }

    /// Its name in the scenario.
    pub fn name(&self) -> &str {
        &self.state().seed.name
    }

    /// The client id.
    pub fn client_id(&self) -> &str {
        &self.state().seed.client_id
    }

    /// The client secret, as the accounts server knows it at this moment.
    pub fn client_secret(&self) -> String {
        self.state().tokens().client_secret.clone()
    }

    /// The first refresh token of the scenario.
    pub fn refresh_token(&self) -> &str {
        self.state().seed.refresh_tokens.first().map_or("", String::as_str)
    }

    /// The data centre.
    pub fn data_center(&self) -> &str {
        &self.state().seed.data_center
    }

    /// The environment.
    pub fn environment(&self) -> Environment {
        self.state().seed.environment
    }

    /// Zoho's number for the organisation.
    pub fn zgid(&self) -> &str {
        &self.state().seed.zgid
    }

    /// Lets every access token have expired by now.
    pub fn expire_access_tokens(&self) {
        self.state().tokens().expire_all(&self.world.clock);
    }

    /// Withdraws every access token, long before it expires.
    pub fn kill_access_tokens(&self) {
        self.state().tokens().kill_all();
    }

    /// Revokes the refresh token, and with it its access tokens.
    pub fn revoke_refresh_token(&self) {
        self.state().tokens().revoke_grant(self.refresh_token(), true);
    }

    /// Brings a revoked refresh token back.
    pub fn restore_refresh_token(&self) {
        self.state().tokens().revoke_grant(self.refresh_token(), false);
    }

    /// How many access tokens are good at this moment.
    pub fn live_tokens(&self) -> usize {
        self.state().tokens().live(self.world.clock.boot_time())
    }

    /// Changes the client secret, as in Zoho's API console.
    pub fn set_client_secret(&self, secret: &str) {
        secret.clone_into(&mut self.state().tokens().client_secret);
    }

    /// Another program that holds the same refresh token exchanges it; `None` if it is refused.
    pub fn mint_for_somebody_else(&self) -> Option<String> {
        let token = self.state().tokens().mint(self.refresh_token(), &self.world.clock);
        token.ok().map(|token| token.value)
    }

    /// A grant code that can be exchanged once within three minutes, for a refresh token too if `offline`.
    pub fn issue_code(&self, offline: bool) -> String {
        self.state().issue_code(offline, None, &self.world.clock)
    }

    /// Puts a user into a territory, both by name.
    pub fn add_user_to_territory(&self, user: &str, territory: &str) {
        let (user, territory) = (self.user_id(user), self.territory_id(territory));
        self.state().crm().join(&territory, &user);
    }

    /// Takes a user out of a territory, both by name.
    pub fn remove_user_from_territory(&self, user: &str, territory: &str) {
        let (user, territory) = (self.user_id(user), self.territory_id(territory));
        self.state().crm().leave(&territory, &user);
    }

    /// Makes a user active or inactive, by name; who is inactive does not count.
    pub fn set_user_active(&self, user: &str, active: bool) {
        let id = self.user_id(user);
        self.state().crm().set_active(&id, active);
    }

    /// Switches territory management on or off; while off, calls for it answer `FEATURE_NOT_ENABLED`.
    pub fn set_territory_management(&self, enabled: bool) {
        self.state().crm().territory_management = enabled;
    }

    /// Deletes all territories; then there are no counts, and the answer is 204.
    pub fn remove_all_territories(&self) {
        self.state().crm().territories.clear();
    }

    /// The id of a territory. Panics if there is none of this name.
    pub fn territory_id(&self, name: &str) -> String {
        let crm = self.state().crm();
        let territory = crm.territories.iter().find(|territory| territory.name == name);
        territory.map(|territory| territory.id.clone()).expect("the scenario has a territory of this name")
    }

    /// The id of a user. Panics if there is none of this name.
    pub fn user_id(&self, name: &str) -> String {
        let crm = self.state().crm();
        let user = crm.users.iter().find(|user| user.name == name);
        user.map(|user| user.id.clone()).expect("the scenario has a user of this name")
    }

    /// The counts as they are at this moment, by the names of the territories.
    pub fn counts(&self) -> Vec<(String, usize)> {
        let mut crm = self.state().crm();
        settle(&mut crm, self.world.clock.boot_time());
        let counts = crm.territories.iter().map(|territory| (territory.name.clone(), crm.count(territory)));
        counts.collect()
    }

    /// The edition.
    pub fn edition(&self) -> Edition {
        self.state().seed.edition
    }

    /// How many calls were under way at once at most.
    pub fn peak_concurrency(&self) -> usize {
        self.state().gate.peak()
    }

    /// The credits used within the last 24 hours.
    pub fn credits_used(&self) -> u64 {
        self.state().credits().used(self.world.clock.boot_time())
    }

    fn state(&self) -> &State {
        &self.world.organisations[self.index]
    }
}
