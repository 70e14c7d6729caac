//! Which scopes of OAuth a call needs, as far as Zoho documents it: for people who have to make a new refresh token.

use http::Method;

use super::path::{Area, decoded, segments};

/// The scopes that Zoho's documentation names for a call; `None` where it is not known. A closed list, so that it can
/// label metrics.
pub fn needed(method: &Method, path: &str) -> Option<&'static str> {
    let verb = Verb::of(method);
    let below: Vec<_> = segments(path).skip(2).map(decoded).collect();
    let below: Vec<&str> = below.iter().map(AsRef::as_ref).collect();
    match (Area::of(path), below.as_slice()) {
        (Area::Settings, ["settings", "territories", "actions", "associated_users_count"]) => {
            Some("ZohoCRM.settings.territories.READ,ZohoCRM.users.READ")
        }
        (Area::Settings, ["settings", "territories", _, "users", ..])
        | (Area::Users, ["users", _, "territories", ..]) => Some(verb.of_three([
            "ZohoCRM.settings.territories.READ,ZohoCRM.users.READ",
            "ZohoCRM.settings.territories.UPDATE,ZohoCRM.users.UPDATE",
            "ZohoCRM.settings.territories.DELETE,ZohoCRM.users.DELETE",
        ])),
        (Area::Settings, ["settings", name, ..]) => Some(setting(name, verb)),
        (Area::Users, _) => Some(verb.pick([
            "ZohoCRM.users.READ",
            "ZohoCRM.users.CREATE",
            "ZohoCRM.users.UPDATE",
            "ZohoCRM.users.DELETE",
        ])),
        (Area::Organisation, _) => Some(verb.pick([
            "ZohoCRM.org.READ",
            "ZohoCRM.org.CREATE",
            "ZohoCRM.org.UPDATE",
            "ZohoCRM.org.DELETE",
        ])),
        (Area::Query, _) => Some("ZohoCRM.coql.READ"),
        (Area::Files, ["upload", ..]) => Some("ZohoFiles.files.ALL"),
        (Area::Files, _) => Some("ZohoCRM.Files.ALL"),
        (Area::Notifications, _) => Some("ZohoCRM.notifications.ALL"),
        (Area::Composite, _) => Some("ZohoCRM.composite_requests.CUSTOM"),
        (Area::Bulk, _) => Some("ZohoCRM.bulk.ALL,ZohoCRM.modules.ALL"),
        (Area::Records, [_, "search", ..]) => Some("ZohoSearch.securesearch.READ,ZohoCRM.modules.READ"),
        (Area::Records, _) => Some(verb.pick([
            "ZohoCRM.modules.READ",
            "ZohoCRM.modules.CREATE",
            "ZohoCRM.modules.UPDATE",
            "ZohoCRM.modules.DELETE",
        ])),
        _ => None,
    }
}

fn setting(name: &str, verb: Verb) -> &'static str {
    match name {
        "territories" => verb.pick([
            "ZohoCRM.settings.territories.READ",
            "ZohoCRM.settings.territories.CREATE",
            "ZohoCRM.settings.territories.UPDATE",
            "ZohoCRM.settings.territories.DELETE",
        ]),
        "modules" => verb.of_two(["ZohoCRM.settings.modules.READ", "ZohoCRM.settings.modules.ALL"]),
        "fields" => verb.of_two(["ZohoCRM.settings.fields.READ", "ZohoCRM.settings.fields.ALL"]),
        "layouts" => verb.of_two(["ZohoCRM.settings.layouts.READ", "ZohoCRM.settings.layouts.ALL"]),
        "related_lists" => {
            verb.of_two(["ZohoCRM.settings.related_lists.READ", "ZohoCRM.settings.related_lists.ALL"])
        }
        "custom_views" => {
            verb.of_two(["ZohoCRM.settings.custom_views.READ", "ZohoCRM.settings.custom_views.ALL"])
        }
        "roles" => verb.of_two(["ZohoCRM.settings.roles.READ", "ZohoCRM.settings.roles.ALL"]),
        "profiles" => verb.of_two(["ZohoCRM.settings.profiles.READ", "ZohoCRM.settings.profiles.ALL"]),
        "tags" => verb.of_two(["ZohoCRM.settings.tags.READ", "ZohoCRM.settings.tags.ALL"]),
        "pipeline" => verb.of_two(["ZohoCRM.settings.pipeline.READ", "ZohoCRM.settings.pipeline.ALL"]),
        "variables" => verb.of_two(["ZohoCRM.settings.variables.READ", "ZohoCRM.settings.variables.ALL"]),
        _ => verb.of_two(["ZohoCRM.settings.READ", "ZohoCRM.settings.ALL"]),
    }
}

/// What a method does, in the words of scopes.
#[derive(Debug, Clone, Copy)]
enum Verb {
    Read,
    Create,
    Update,
    Delete,
}

impl Verb {
    fn of(method: &Method) -> Self {
        match *method {
            Method::POST => Self::Create,
            Method::PUT | Method::PATCH => Self::Update,
            Method::DELETE => Self::Delete,
            _ => Self::Read,
        }
    }

    fn pick(self, [read, create, update, delete]: [&'static str; 4]) -> &'static str {
        match self {
            Self::Read => read,
            Self::Create => create,
            Self::Update => update,
            Self::Delete => delete,
        }
    }

    fn of_three(self, [read, write, delete]: [&'static str; 3]) -> &'static str {
        self.pick([read, write, write, delete])
    }

    fn of_two(self, [read, all]: [&'static str; 2]) -> &'static str {
        self.pick([read, all, all, all])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scopes_of_a_call_are_those_that_zoho_documents() {
        for (method, path, scopes) in [
            (
                Method::GET,
                "/crm/v8/settings/territories/actions/associated_users_count",
                Some("ZohoCRM.settings.territories.READ,ZohoCRM.users.READ"),
            ),
            (Method::POST, "/crm/v8/settings/territories", Some("ZohoCRM.settings.territories.CREATE")),
            (
                Method::PUT,
                "/crm/v8/settings/territories/1/users",
                Some("ZohoCRM.settings.territories.UPDATE,ZohoCRM.users.UPDATE"),
            ),
            (Method::HEAD, "/crm/v8/settings/fields", Some("ZohoCRM.settings.fields.READ")),
            (Method::GET, "/crm/v8/settings/something_new", Some("ZohoCRM.settings.READ")),
            (Method::PATCH, "/crm/v2.1/users/1", Some("ZohoCRM.users.UPDATE")),
            (Method::GET, "/crm/v8/Leads/1", Some("ZohoCRM.modules.READ")),
            (Method::GET, "/crm/v8/Leads/search", Some("ZohoSearch.securesearch.READ,ZohoCRM.modules.READ")),
            (Method::POST, "/crm/v8/coql", Some("ZohoCRM.coql.READ")),
            (Method::POST, "/crm/bulk/v8/read", Some("ZohoCRM.bulk.ALL,ZohoCRM.modules.ALL")),
            (Method::POST, "/crm/v8/upload", Some("ZohoFiles.files.ALL")),
            (Method::GET, "/elsewhere", None),
            (Method::GET, "", None),
        ] {
            assert_eq!(needed(&method, path), scopes, "{method} {path}");
        }
    }
}
