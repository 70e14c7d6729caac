//! Whose request it is: one Zoho organisation with its data centre and environment.

use http::{HeaderMap, HeaderName};

use crate::zoho::data_center::{DataCenter, Environment};
use crate::zoho::edition::Edition;

/// The header by which a caller chooses a tenant.
pub const TENANT_HEADER: HeaderName = HeaderName::from_static("x-zoho-tenant");

/// One Zoho organisation, as configured.
#[derive(Debug, Clone)]
pub struct Tenant {
    /// Its number, for what is kept per tenant.
    pub number: usize,
    /// Its name.
    pub name: String,
    /// The hosts its credentials may go to.
    pub data_center: DataCenter,
    /// Which of its API hosts.
    pub environment: Environment,
    /// Its edition, if it is to be held to that edition's limits.
    pub edition: Option<Edition>,
}

/// All tenants.
#[derive(Debug, Default)]
pub struct Tenants(Vec<Tenant>);

/// What a request chose.
#[derive(Debug, PartialEq, Eq)]
pub struct Choice<'a> {
    /// The tenant's number.
    pub tenant: usize,
    /// The path and query that remain for Zoho.
    pub path_and_query: &'a str,
}

/// Why no tenant could be chosen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoTenant {
    /// There are several, and the request names none.
    #[error("this sidecar serves several organisations; name one of {}", .0.join(", "))]
    Missing(Vec<String>),
    /// There is none of that name.
    #[error("there is no tenant named \"{0}\"")]
    Unknown(String),
    /// Header and path, or two headers, name different ones.
    #[error("the request names two tenants, \"{0}\" and \"{1}\"")]
    Contradiction(String, String),
}

impl Tenants {
    /// Tenants whose numbers are their places.
    pub fn new(tenants: Vec<Tenant>) -> Self {
        debug_assert!(tenants.iter().enumerate().all(|(n, tenant)| tenant.number == n));
        Self(tenants)
    }

    /// All of them.
    pub fn all(&self) -> &[Tenant] {
        &self.0
    }

    /// A tenant by its number.
    pub fn tenant(&self, number: usize) -> &Tenant {
        &self.0[number]
    }

    /// The tenant that a request chooses: by a base URL that ends in `/tenants/NAME`, by `X-Zoho-Tenant`, or
    /// because there is only one.
    pub fn choose<'a>(&self, headers: &HeaderMap, path_and_query: &'a str) -> Result<Choice<'a>, NoTenant> {
        self.choose_of(None, headers, path_and_query)
    }

    /// The same for a request of one who may use only its `own`; one of another's is chosen all the same.
    pub fn choose_of<'a>(
        &self,
        own: Option<&[usize]>,
        headers: &HeaderMap,
        path_and_query: &'a str,
    ) -> Result<Choice<'a>, NoTenant> {
        let (from_path, path_and_query) = split_base(path_and_query);
        let mut name = from_path;
        for value in headers.get_all(TENANT_HEADER) {
            let value = value.to_str().map_err(|_| NoTenant::Unknown("?".to_owned()))?.trim();
            match name {
                Some(name) if name != value => {
                    return Err(NoTenant::Contradiction(name.to_owned(), value.to_owned()));
                }
                _ => name = Some(value),
            }
        }
        let tenant = match (name, own, self.0.as_slice()) {
            (Some(name), _, all) => {
                let named = all.iter().find(|tenant| tenant.name == name);
                named.ok_or_else(|| NoTenant::Unknown(name.chars().take(100).collect()))?.number
            }
            (None, Some([only]), _) => *only,
            (None, None, [only]) => only.number,
            (None, own, all) => {
                let is_own = |tenant: &&Tenant| own.is_none_or(|own| own.contains(&tenant.number));
                let names = all.iter().filter(is_own).map(|tenant| tenant.name.clone());
                return Err(NoTenant::Missing(names.collect()));
            }
        };
        Ok(Choice { tenant, path_and_query })
    }
}

/// Takes `/tenants/NAME` off the front of a path; Zoho's API has no such path.
pub fn split_base(path_and_query: &str) -> (Option<&str>, &str) {
    let Some(rest) = path_and_query.strip_prefix("/tenants/") else {
        return (None, path_and_query);
    };
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    // What follows the name is kept to the byte; a bare base URL asks for the root.
    (Some(name), if rest.is_empty() { "/" } else { rest })
}

/// Whether a text can be a tenant's name: it stands in URLs, headers, metrics and logs.
pub fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        && !matches!(text, "." | "..")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoho::data_center::built_in;
    use http::HeaderValue;

    fn tenants(names: &[&str]) -> Tenants {
        let data_center = built_in().remove(0);
        let tenant = |(number, name): (usize, &&str)| Tenant {
            number,
            name: (*name).to_owned(),
            data_center: data_center.clone(),
            environment: Environment::Production,
            edition: None,
        };
        Tenants::new(names.iter().enumerate().map(tenant).collect())
    }

    fn naming(names: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for name in names {
            headers.append(TENANT_HEADER, HeaderValue::from_static(name));
        }
        headers
    }

    #[test]
    fn the_only_tenant_need_not_be_named() {
        let path = "/crm/v5/users?page=2";
        let choice = tenants(&["acme"]).choose(&HeaderMap::new(), path);
        assert_eq!(choice, Ok(Choice { tenant: 0, path_and_query: path }));
    }

    #[test]
    fn the_only_tenant_that_one_may_use_need_not_be_named() {
        let three = tenants(&["acme", "globex", "initech"]);
        let chosen = |own: &[usize], headers| three.choose_of(Some(own), &headers, "/").map(|c| c.tenant);
        assert_eq!(chosen(&[1], naming(&[])), Ok(1));
        assert_eq!(chosen(&[1], naming(&["acme"])), Ok(0), "whether it may is asked later");
        let own = vec!["acme".to_owned(), "initech".to_owned()];
        assert_eq!(chosen(&[0, 2], naming(&[])), Err(NoTenant::Missing(own)));
    }

    #[test]
    fn a_tenant_is_chosen_by_header_or_by_base_url() {
        let both = tenants(&["acme", "globex"]);
        for (headers, path) in [
            (naming(&["globex"]), "/crm/v5/users?a=%2F"),
            (naming(&[]), "/tenants/globex/crm/v5/users?a=%2F"),
            (naming(&["globex", "globex"]), "/tenants/globex/crm/v5/users?a=%2F"),
        ] {
            assert_eq!(
                both.choose(&headers, path),
                Ok(Choice { tenant: 1, path_and_query: "/crm/v5/users?a=%2F" })
            );
        }
        assert_eq!(both.choose(&naming(&[]), "/tenants/acme").unwrap().path_and_query, "/");
        assert_eq!(both.choose(&naming(&[]), "/tenants/acme?x").unwrap().path_and_query, "?x");
    }

    #[test]
    fn a_choice_that_cannot_be_made_says_what_is_missing() {
        let both = tenants(&["acme", "globex"]);
        assert_eq!(
            both.choose(&naming(&[]), "/crm").unwrap_err().to_string(),
            "this sidecar serves several organisations; name one of acme, globex"
        );
        assert_eq!(both.choose(&naming(&["acm"]), "/crm"), Err(NoTenant::Unknown("acm".into())));
        assert_eq!(
            both.choose(&naming(&["acme"]), "/tenants/globex/crm"),
            Err(NoTenant::Contradiction("globex".into(), "acme".into()))
        );
        assert!(tenants(&["acme"]).choose(&naming(&["other"]), "/crm").is_err());
    }
}
