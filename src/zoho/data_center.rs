//! Which accounts, API and upload hosts belong together.
//!
//! A data centre is a closed row of hosts. Credentials of an organisation go to the hosts of its row and
//! to no other, whatever an answer says.

use std::fmt;

use crate::net::origin::Origin;

/// The environment of an organisation. Its tokens are valid in that environment only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Environment {
    /// The live organisation, `https://www.zohoapis.…`.
    #[default]
    Production,
    /// A copy to try things out, `https://sandbox.zohoapis.…`.
    Sandbox,
    /// A developer edition, `https://developer.zohoapis.…`.
    Developer,
}

impl Environment {
    /// All of them, in the order of the documentation.
    pub const ALL: [Self; 3] = [Self::Production, Self::Sandbox, Self::Developer];

    /// The name in configuration, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Sandbox => "sandbox",
            Self::Developer => "developer",
        }
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A row of hosts that belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataCenter {
    /// Short name: `us`, `eu` …
    pub name: String,
    /// Where tokens are minted.
    pub accounts: Origin,
    /// Where the API is, by environment.
    pub api: ApiOrigins,
    /// Where `POST /crm/{version}/upload` goes.
    pub uploads: Origin,
}

/// One API origin per environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiOrigins {
    /// For [`Environment::Production`].
    pub production: Origin,
    /// For [`Environment::Sandbox`].
    pub sandbox: Origin,
    /// For [`Environment::Developer`].
    pub developer: Origin,
}

impl ApiOrigins {
    /// The same origin for every environment.
    pub fn all(origin: &Origin) -> Self {
        Self { production: origin.clone(), sandbox: origin.clone(), developer: origin.clone() }
    }

    /// The origin of one environment.
    pub fn of(&self, environment: Environment) -> &Origin {
        match environment {
            Environment::Production => &self.production,
            Environment::Sandbox => &self.sandbox,
            Environment::Developer => &self.developer,
        }
    }
}

/// A row of the built-in table.
struct Row {
    name: &'static str,
    accounts: &'static str,
    /// What follows `https://www.` for production, `https://sandbox.` and `https://developer.` for the others.
    api: &'static str,
    uploads: &'static str,
}

/// Zoho's data centres.
///
/// Hosts do not follow a pattern (Canada has accounts under `zohocloud.ca` and the API under `zohoapis.ca`),
/// hence a table. US to SA are from Zoho's own SDKs and documentation; the API hosts of UK, AE and SG, and
/// the upload hosts of these three, are from integrators' tables. All rows can be overridden by
/// configuration.
const BUILT_IN: [Row; 11] = [
    row("us", "accounts.zoho.com", "zohoapis.com", "content.zohoapis.com"),
    row("eu", "accounts.zoho.eu", "zohoapis.eu", "content.zohoapis.eu"),
    row("in", "accounts.zoho.in", "zohoapis.in", "content.zohoapis.in"),
    row("au", "accounts.zoho.com.au", "zohoapis.com.au", "content.zohoapis.com.au"),
    row("jp", "accounts.zoho.jp", "zohoapis.jp", "content.zohoapis.jp"),
    row("cn", "accounts.zoho.com.cn", "zohoapis.com.cn", "content.zohoapis.com.cn"),
    row("ca", "accounts.zohocloud.ca", "zohoapis.ca", "upload.zohocloud.ca"),
    row("sa", "accounts.zoho.sa", "zohoapis.sa", "files.zoho.sa"),
    row("uk", "accounts.zoho.uk", "zohoapis.uk", "content.zohoapis.uk"),
    row("ae", "accounts.zoho.ae", "zohoapis.ae", "content.zohoapis.ae"),
    row("sg", "accounts.zoho.sg", "zohoapis.sg", "content.zohoapis.sg"),
];

const fn row(name: &'static str, accounts: &'static str, api: &'static str, uploads: &'static str) -> Row {
    Row { name, accounts, api, uploads }
}

/// The built-in table.
pub fn built_in() -> Vec<DataCenter> {
    BUILT_IN.iter().map(Row::open).collect()
}

impl Row {
    fn open(&self) -> DataCenter {
        DataCenter {
            name: self.name.to_owned(),
            accounts: https(self.accounts),
            api: ApiOrigins {
                production: https(&format!("www.{}", self.api)),
                sandbox: https(&format!("sandbox.{}", self.api)),
                developer: https(&format!("developer.{}", self.api)),
            },
            uploads: https(self.uploads),
        }
    }
}

fn https(host: &str) -> Origin {
    format!("https://{host}").parse().expect("the built-in hosts are well formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_table_has_eleven_data_centres_with_hosts_of_their_own() {
        let table = built_in();
        let names: Vec<_> = table.iter().map(|row| row.name.as_str()).collect();
        assert_eq!(names, ["us", "eu", "in", "au", "jp", "cn", "ca", "sa", "uk", "ae", "sg"]);
        for one in &table {
            for other in table.iter().filter(|other| other.name != one.name) {
                assert_ne!(one.accounts, other.accounts);
                assert_ne!(one.api, other.api);
                assert_ne!(one.uploads, other.uploads);
            }
        }
    }

    #[test]
    fn canada_does_not_follow_the_pattern() {
        let table = built_in();
        let canada = table.iter().find(|row| row.name == "ca").unwrap();
        assert_eq!(canada.accounts.to_string(), "https://accounts.zohocloud.ca");
        assert_eq!(canada.api.of(Environment::Sandbox).to_string(), "https://sandbox.zohoapis.ca");
    }
}
