//! Where a request arrived: which host of which data centre.

use http::header::HOST;
use http::request::Parts;
use serde::Serialize;

use crate::net::origin::Origin;
use crate::zoho::data_center::{DataCenter, Environment, built_in};
use crate::zoho::path::{Destination, destination};

/// The data centre of a listener that serves them all.
pub(super) const EVERY: &str = "*";

/// What a host is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Tokens are minted here.
    Accounts,
    /// The CRM's API.
    Api,
    /// Takes bulk-write uploads.
    Uploads,
    /// The emulator's own control endpoint.
    Control,
}

/// Where a request arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The data centre; `*` if all of them are served here.
    pub(super) data_center: String,
    pub(super) role: Role,
    /// The environment of an API host; `None` where every environment is served.
    pub(super) environment: Option<Environment>,
    /// The origin under which the caller reached us, if it is none of Zoho's.
    pub(super) local: Option<String>,
}

impl Place {
    /// Whether an organisation of this data centre is served here.
    pub(super) fn serves(&self, data_center: &str) -> bool {
        self.data_center == EVERY || self.data_center == data_center
    }

    /// Whether an organisation of this environment is served here.
    pub(super) fn serves_environment(&self, environment: Environment) -> bool {
        self.environment.is_none_or(|served| served == environment)
    }
}

/// Zoho's hosts.
pub(super) struct Places {
    table: Vec<DataCenter>,
}

impl Places {
    pub(super) fn new() -> Self {
        Self { table: built_in() }
    }

    /// Where a request arrived. On hosts that are none of Zoho's the path tells what is asked of whom;
    /// `listener` is the data centre that is served there, and whether it has a control endpoint.
    pub(super) fn of(&self, request: &Parts, listener: &str, control: bool) -> Place {
        let path = request.uri.path();
        let authority = authority(request);
        if let Some(place) = self.named(&authority) {
            return place;
        }
        let role = if path == "/__emulator" || path.starts_with("/__emulator/") {
            if control { Role::Control } else { Role::Api }
        } else if path == "/oauth" || path.starts_with("/oauth/") {
            Role::Accounts
        } else if destination(&request.method, path) == Destination::Uploads {
            Role::Uploads
        } else {
            Role::Api
        };
        let scheme = request.uri.scheme_str().unwrap_or("http");
        let local = Some(format!("{scheme}://{authority}"));
        Place { data_center: listener.to_owned(), role, environment: None, local }
    }

    /// The row of a data centre.
    pub(super) fn row(&self, name: &str) -> Option<&DataCenter> {
        self.table.iter().find(|row| row.name == name)
    }

    /// All rows.
    pub(super) fn rows(&self) -> &[DataCenter] {
        &self.table
    }

    fn named(&self, authority: &str) -> Option<Place> {
        let authority = authority.to_ascii_lowercase();
        let bare = authority.strip_suffix(":443").unwrap_or(&authority);
        let is = |origin: &Origin| origin.authority().as_str() == bare;
        self.table.iter().find_map(|row| {
            let api = Environment::ALL.into_iter().find(|&environment| is(row.api.of(environment)));
            let role = match api {
                Some(_) => Role::Api,
                None if is(&row.accounts) => Role::Accounts,
                None if is(&row.uploads) => Role::Uploads,
                None => return None,
            };
            Some(Place { data_center: row.name.clone(), role, environment: api, local: None })
        })
    }
}

/// The authority of a request: of its URI, else of its `Host` header.
fn authority(request: &Parts) -> String {
    let host = || request.headers.get(HOST).and_then(|host| host.to_str().ok());
    request.uri.authority().map(http::uri::Authority::as_str).or_else(host).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn place(method: &str, uri: &str) -> Place {
        let (parts, ()) = Request::builder().method(method).uri(uri).body(()).unwrap().into_parts();
        Places::new().of(&parts, "eu", true)
    }

    #[test]
    fn zohos_hosts_are_known_by_name() {
        let canada = place("POST", "https://accounts.zohocloud.ca/oauth/v2/token");
        assert_eq!((canada.data_center.as_str(), canada.role), ("ca", Role::Accounts));
        let sandbox = place("GET", "https://SANDBOX.zohoapis.com:443/crm/v8/users");
        assert_eq!((sandbox.data_center.as_str(), sandbox.role), ("us", Role::Api));
        assert!(!sandbox.serves_environment(Environment::Production));
        assert_eq!(place("POST", "https://files.zoho.sa/crm/v8/upload").role, Role::Uploads);
    }

    #[test]
    fn on_any_other_host_the_path_decides() {
        for (method, path, role) in [
            ("POST", "/oauth/v2/token", Role::Accounts),
            ("GET", "/crm/v8/users", Role::Api),
            ("POST", "/crm/v8/upload", Role::Uploads),
            ("GET", "/crm/v8/upload", Role::Api),
            ("GET", "/__emulator/ledger", Role::Control),
            ("GET", "/", Role::Api),
        ] {
            let place = place(method, &format!("http://127.0.0.1:9400{path}"));
            assert_eq!(place.role, role, "{method} {path}");
            assert_eq!(place.local.as_deref(), Some("http://127.0.0.1:9400"));
            assert!(place.serves("eu") && !place.serves("us"));
        }
    }
}
