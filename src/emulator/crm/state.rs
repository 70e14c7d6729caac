//! What an organisation holds in its CRM. Counts are never kept: they follow from this.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::model::bulk::Bulk;
use super::model::{Channel, Field, Files, Job, Link, MOST, Module, Money, Record, Tag, Territory, User};
use crate::clock::BootTime;
use crate::emulator::scenario::{CountAs, Scenario, Seed};

/// What an organisation holds in its CRM.
#[derive(Clone)]
pub(in crate::emulator) struct Crm {
    pub(in crate::emulator) territory_management: bool,
    pub(in crate::emulator) territories: Vec<Territory>,
    pub(in crate::emulator) users: Vec<User>,
    pub(in crate::emulator) modules: Vec<Module>,
    pub(in crate::emulator) files: Files,
    pub(super) name: String,
    pub(super) zgid: String,
    pub(super) count_as: CountAs,
    pub(super) list_empty_territories: bool,
    pub(super) deletion_takes: Duration,
    pub(super) jobs: Vec<Job>,
    pub(super) bulk_job_takes: Duration,
    pub(super) bulk: Bulk,
    pub(super) links: Vec<Link>,
    pub(super) tags: Vec<Tag>,
    pub(super) channels: Vec<Channel>,
    pub(super) money: Money,
    next_id: u64,
}

impl Crm {
    pub(in crate::emulator) fn new(seed: &Seed, scenario: &Scenario, now: SystemTime) -> Self {
        let mut crm = Self {
            territory_management: seed.territory_management,
            territories: Vec::new(),
            users: Vec::new(),
            modules: Vec::new(),
            files: Files::default(),
            name: seed.name.clone(),
            zgid: seed.zgid.clone(),
            count_as: scenario.count_as,
            list_empty_territories: scenario.list_empty_territories,
            deletion_takes: scenario.deletion_takes,
            jobs: Vec::new(),
            bulk_job_takes: scenario.bulk_job_takes,
            bulk: Bulk::default(),
            links: Vec::new(),
            tags: Vec::new(),
            channels: Vec::new(),
            money: Money::default(),
            next_id: 1,
        };
        for user in &seed.users {
            let (name, email, active) = (user.name.clone(), user.email.clone(), user.active);
            let id = crm.new_id();
            crm.users.push(User { id, name, email, active, modified: now });
        }
        for territory in &seed.territories {
            let members = territory.members.iter().map(|&user| crm.users[user].id.clone()).collect();
            let id = crm.new_id();
            crm.territories.push(Territory { members, ..Territory::new(id, territory.name.clone(), now) });
        }
        for module in &scenario.modules {
            let id = crm.new_id();
            let fields = module.fields.iter().map(|name| Field::new(crm.new_id(), name)).collect();
            crm.modules.push(Module {
                id,
                api_name: module.api_name.clone(),
                plural_label: module.api_name.replace('_', " "),
                modified: now,
                fields,
                records: BTreeMap::new(),
                deleted: Vec::new(),
            });
        }
        crm
    }

    /// The next id: digits that begin with the number of the organisation.
    pub(super) fn new_id(&mut self) -> String {
        let id = format!("{}{:09}", self.zgid, self.next_id);
        self.next_id += 1;
        id
    }

    /// Removes the users whose deletion is due by now.
    pub(super) fn finish_jobs(&mut self, now: BootTime) {
        let is_due = |job: &&mut Job| !job.done && job.due <= now;
        let due: Vec<String> = self.jobs.iter_mut().filter(is_due).map(Job::finish).collect();
        for user in due {
            self.remove_user(&user);
        }
    }

    /// Removes a user from everywhere; tells whether there was one.
    pub(super) fn remove_user(&mut self, id: &str) -> bool {
        for territory in &mut self.territories {
            territory.members.retain(|member| member != id);
            territory.manager.take_if(|manager| manager == id);
        }
        let before = self.users.len();
        self.users.retain(|user| user.id != id);
        self.users.len() < before
    }

    /// How many active users belong to a territory.
    pub(in crate::emulator) fn count(&self, territory: &Territory) -> usize {
        territory.members.iter().filter(|id| self.user(id).is_some_and(|user| user.active)).count()
    }

    /// Puts a user into a territory; false if they are in it already.
    pub(in crate::emulator) fn join(&mut self, territory: &str, user: &str) -> bool {
        let Some(territory) = self.territory_mut(territory) else { return false };
        if territory.members.iter().any(|member| member == user) || territory.members.len() >= MOST {
            return false;
        }
        territory.members.push(user.to_owned());
        true
    }

    /// Takes a user out of a territory; false if they are not in it.
    pub(in crate::emulator) fn leave(&mut self, territory: &str, user: &str) -> bool {
        let Some(territory) = self.territory_mut(territory) else { return false };
        let before = territory.members.len();
        territory.members.retain(|member| member != user);
        territory.members.len() < before
    }

    /// Makes a user active or inactive.
    pub(in crate::emulator) fn set_active(&mut self, user: &str, active: bool) {
        if let Some(user) = self.user_mut(user) {
            user.active = active;
        }
    }

    pub(super) fn user(&self, id: &str) -> Option<&User> {
        self.users.iter().find(|user| user.id == id)
    }

    pub(super) fn user_mut(&mut self, id: &str) -> Option<&mut User> {
        self.users.iter_mut().find(|user| user.id == id)
    }

    pub(super) fn territory(&self, id: &str) -> Option<&Territory> {
        self.territories.iter().find(|territory| territory.id == id)
    }

    pub(super) fn territory_mut(&mut self, id: &str) -> Option<&mut Territory> {
        self.territories.iter_mut().find(|territory| territory.id == id)
    }

    /// Whom the tokens stand for: the first user.
    pub(super) fn me(&self) -> Value {
        self.users
            .first()
            .map_or(Value::Null, |user| json!({ "name": user.name, "id": user.id, "email": user.email }))
    }

    pub(super) fn record(&self, module: &str, id: &str) -> Option<&Record> {
        self.module(module)?.records.get(id)
    }

    /// What a record is called where another one mentions it.
    pub(super) fn name_of(&self, module: &str, id: &str) -> Option<&str> {
        let values = &self.record(module, id)?.values;
        let names = ["Last_Name", "Account_Name", "Deal_Name", "Product_Name", "Note_Title", "Name"];
        names.iter().find_map(|name| values.get(*name)?.as_str())
    }

    /// A module, by API name or id.
    pub(super) fn module(&self, name: &str) -> Option<&Module> {
        self.modules.iter().find(|module| module.api_name == name || module.id == name)
    }

    /// A module, by API name or id.
    pub(super) fn module_mut(&mut self, name: &str) -> Option<&mut Module> {
        self.modules.iter_mut().find(|module| module.api_name == name || module.id == name)
    }
}
