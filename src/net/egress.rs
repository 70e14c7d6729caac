//! Which proxy stands between this machine and the outside, if any: what the configuration and the environment say, read
//! once, and a pure decision for each destination.
//!
//! A proxy that is named and cannot be used is an error, never a direct connection. The environment counts as it does for
//! curl: lower case before upper case, `https_proxy` before `all_proxy`, and an empty value is none. `http_proxy` is not
//! looked at, under CGI or not: plain http goes to loopback addresses only, and those are never asked through a proxy.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use http::Uri;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};

use super::origin::{has_valid_port, is_host, is_loopback};

/// The way out.
#[derive(Debug, Clone, Default)]
pub struct Egress {
    proxy: Option<ProxyUrl>,
    direct: Vec<Direct>,
}

/// The URL of a proxy that can be used. Prints without its credentials.
#[derive(Clone)]
pub struct ProxyUrl(Intercept);

/// Why the URL of a proxy cannot be used. Holds nothing of it: there may be a password in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProxyUrlError {
    /// Another form than scheme, credentials, host and port.
    #[error("this is not the URL of a proxy")]
    Malformed,
    /// The host is no name, or the port no number.
    #[error("the host or the port of this proxy's URL is none")]
    Host,
    /// `https`: its TLS would have to be spoken inside the way to Zoho's.
    #[error("a proxy that is itself asked by https is not supported; only http:// is")]
    Encrypted,
    /// `socks5` and others.
    #[error("only proxies that are asked by http:// are supported, not SOCKS or others")]
    Scheme,
}

/// What of the environment cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {variable} cannot be used: {why}")]
pub struct EnvironmentError {
    /// Its name.
    pub variable: &'static str,
    /// Why.
    pub why: ProxyUrlError,
}

/// Destinations that are asked without the proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Direct {
    host: HostPattern,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum HostPattern {
    /// All of them.
    Any,
    /// This name, and those below it.
    Domain(String),
    /// Names below this one.
    Below(String),
    /// Addresses that share this many bits.
    Network(IpAddr, u8),
}

impl Egress {
    /// No proxy.
    pub fn direct() -> Self {
        Self::default()
    }

    /// A proxy for every destination but loopback.
    pub fn through(proxy: ProxyUrl) -> Self {
        Self { proxy: Some(proxy), direct: Vec::new() }
    }

    /// What the environment says, and which entries of its list of exceptions are not understood: these are asked through
    /// the proxy. `variable` gives the value of one.
    pub fn from_environment(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<(Self, Vec<String>), EnvironmentError> {
        let set = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| Some((name, variable(name).filter(|value| !value.is_empty())?)))
        };
        let named = set(["https_proxy", "HTTPS_PROXY"]).or_else(|| set(["all_proxy", "ALL_PROXY"]));
        let Some((variable, url)) = named else { return Ok((Self::direct(), Vec::new())) };
        // curl takes a host without a scheme for an HTTP proxy.
        let url = if url.contains("://") { url } else { format!("http://{url}") };
        let proxy = url.parse().map_err(|why| EnvironmentError { variable, why })?;
        let (_, exceptions) = set(["no_proxy", "NO_PROXY"]).unwrap_or_default();
        let mut odd = Vec::new();
        let mut direct = Vec::new();
        for entry in
            exceptions.split(|c: char| c == ',' || c.is_whitespace()).filter(|entry| !entry.is_empty())
        {
            match Direct::parse(entry) {
                Some(entry) => direct.push(entry),
                None => odd.push(entry.to_owned()),
            }
        }
        Ok((Self { proxy: Some(proxy), direct }, odd))
    }

    /// The proxy by which a destination is asked.
    pub(super) fn proxy_for(&self, destination: &Uri) -> Option<&Intercept> {
        let ProxyUrl(proxy) = self.proxy.as_ref()?;
        let host = destination.host()?;
        let default = if destination.scheme_str() == Some("http") { 80 } else { 443 };
        let port = destination.port_u16().unwrap_or(default);
        let is_direct = is_loopback(host) || self.direct.iter().any(|direct| direct.covers(host, port));
        (!is_direct).then_some(proxy)
    }
}

impl FromStr for ProxyUrl {
    type Err = ProxyUrlError;

    fn from_str(text: &str) -> Result<Self, ProxyUrlError> {
        let (scheme, _) = text.split_once("://").ok_or(ProxyUrlError::Malformed)?;
        match scheme.to_ascii_lowercase().as_str() {
            "http" => {}
            "https" => return Err(ProxyUrlError::Encrypted),
            _ => return Err(ProxyUrlError::Scheme),
        }
        let uri: Uri = text.parse().map_err(|_| ProxyUrlError::Malformed)?;
        let has_path = uri.path_and_query().is_some_and(|path| path != "/") || text.contains('#');
        let Some(authority) = uri.authority().filter(|_| !has_path) else {
            return Err(ProxyUrlError::Malformed);
        };
        // Neither part of the credentials may hold an @ that is not encoded: where the host begins would be a guess.
        let place = match authority.as_str().split_once('@') {
            Some((_, place)) => place.parse().map_err(|_| ProxyUrlError::Malformed)?,
            None => authority.clone(),
        };
        if place.as_str().contains('@') || !is_host(place.host()) || !has_valid_port(&place) {
            return Err(ProxyUrlError::Host);
        }
        // From here on hyper-util reads the same text; it decodes and encodes the credentials.
        let proxied = Matcher::builder().all(text.to_owned()).build();
        let anywhere = Uri::from_static("https://destination.invalid");
        proxied.intercept(&anywhere).map(Self).ok_or(ProxyUrlError::Malformed)
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.0.uri().authority().map_or("", |authority| authority.as_str());
        write!(f, "ProxyUrl(http://{place})")
    }
}

impl Direct {
    /// `*`, `name`, `.name`, `*.name`, an address or a network; all but networks with a port or without.
    fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self { host: HostPattern::Any, port: None });
        }
        if let Some((address, bits)) = entry.split_once('/') {
            let address = bare(address).parse::<IpAddr>().ok()?;
            let bits = bits.parse().ok().filter(|bits| *bits <= width(address))?;
            return Some(Self { host: HostPattern::Network(address, bits), port: None });
        }
        if let Ok(address) = entry.parse::<Ipv6Addr>() {
            return Some(Self { host: HostPattern::Network(address.into(), 128), port: None });
        }
        let (host, port) = match entry.rsplit_once(':') {
            // The colons of an address in brackets are its own.
            Some((host, port)) if !port.ends_with(']') => {
                (host, Some(port.parse().ok().filter(|port| *port > 0)?))
            }
            _ => (entry, None),
        };
        Some(Self { host: HostPattern::parse(host)?, port })
    }

    fn covers(&self, host: &str, port: u16) -> bool {
        self.port.is_none_or(|own| own == port) && self.host.covers(host)
    }
}

impl HostPattern {
    fn parse(host: &str) -> Option<Self> {
        if host == "*" {
            return Some(Self::Any);
        }
        if let Ok(address) = bare(host).parse::<IpAddr>() {
            return Some(Self::Network(address, width(address)));
        }
        let (name, only_below) = match host.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (host.strip_prefix('.').unwrap_or(host), false),
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        if !is_host(&name) {
            return None;
        }
        Some(if only_below { Self::Below(name) } else { Self::Domain(name) })
    }

    fn covers(&self, host: &str) -> bool {
        let address = bare(host).parse::<IpAddr>().ok();
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let is_below = |domain: &str| name.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        match self {
            Self::Any => true,
            Self::Domain(domain) => address.is_none() && (name == *domain || is_below(domain)),
            Self::Below(domain) => address.is_none() && is_below(domain),
            Self::Network(network, bits) => address.is_some_and(|address| shares(address, *network, *bits)),
        }
    }
}

/// An address without the brackets of a URL.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Whether the first `bits` of both are the same.
fn shares(one: IpAddr, other: IpAddr, bits: u8) -> bool {
    let same =
        |difference: u128, width: u32| difference.checked_shr(width - u32::from(bits)).unwrap_or(0) == 0;
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => same(u128::from(one.to_bits() ^ other.to_bits()), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => same(one.to_bits() ^ other.to_bits(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(set: &[(&str, &str)]) -> Result<(Egress, Vec<String>), EnvironmentError> {
        let value =
            |name: &str| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Egress::from_environment(value)
    }

    fn goes_by(set: &[(&str, &str)], url: &str) -> Option<String> {
        let (egress, odd) = read(set).unwrap();
        assert_eq!(odd, Vec::<String>::new());
        egress.proxy_for(&url.parse().unwrap()).map(|proxy| proxy.uri().authority().unwrap().to_string())
    }

    #[test]
    fn the_environment_names_a_proxy_as_it_does_for_curl() {
        const ZOHO: &str = "https://www.zohoapis.eu/crm";
        for (set, proxy) in [
            (&[("HTTPS_PROXY", "http://a:1"), ("https_proxy", "http://b:2")][..], Some("b:2")),
            (&[("HTTPS_PROXY", "http://a:1"), ("https_proxy", "")], Some("a:1")),
            (&[("all_proxy", "http://c:3"), ("HTTPS_PROXY", "http://a:1")], Some("a:1")),
            (&[("ALL_PROXY", "http://c:3"), ("https_proxy", "")], Some("c:3")),
            (&[("HTTPS_PROXY", "proxy.example:3128")], Some("proxy.example:3128")),
            (&[("HTTPS_PROXY", "user:made-up@proxy.example")], Some("proxy.example")),
            (&[("HTTPS_PROXY", "HTTP://[2001:db8::1]:3128/")], Some("[2001:db8::1]:3128")),
            (&[("HTTP_PROXY", "http://d:4"), ("http_proxy", "http://d:4")], None),
            (&[("HTTPS_PROXY", "http://a:1"), ("REQUEST_METHOD", "GET")], Some("a:1")),
            (&[], None),
        ] {
            assert_eq!(goes_by(set, ZOHO).as_deref(), proxy, "{set:?}");
        }
        assert_eq!(goes_by(&[("ALL_PROXY", "http://c:3")], "http://127.0.0.1:9400/crm"), None);
        assert_eq!(goes_by(&[("ALL_PROXY", "http://c:3")], "https://localhost/crm"), None);
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_an_error_that_names_the_variable_and_no_password() {
        use ProxyUrlError::{Encrypted, Host, Malformed, Scheme};
        for (value, why) in [
            ("https://user:made-up@proxy.example:3128", Encrypted),
            ("socks5://user:made-up@proxy.example:1080", Scheme),
            ("SOCKS5H://proxy.example", Scheme),
            ("ftp://proxy.example", Scheme),
            ("http://", Malformed),
            ("http://user:made-up@", Malformed),
            ("http://proxy.example/path", Malformed),
            ("http://proxy.example/#fragment", Malformed),
            ("http://proxy example:3128", Malformed),
            ("http://user:made-up@[zz]:3128", Host),
            ("http://proxy.example:99999", Host),
            ("http://proxy.example:", Host),
            ("http://user:made@up@proxy.example", Host),
        ] {
            for variable in ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
                let error = read(&[(variable, value)]).map(drop).unwrap_err();
                assert_eq!(error.variable, variable, "{value}");
                assert_eq!(error.why, why, "{value}");
                assert!(!error.to_string().contains("made"), "{error}");
            }
        }
    }

    #[test]
    fn credentials_are_decoded_sent_and_never_printed() {
        let proxy: ProxyUrl = "http://us%40er:made%3Aup@proxy.example:3128".parse().unwrap();
        // printf %s 'us@er:made:up' | base64
        assert_eq!(proxy.0.basic_auth().unwrap(), "Basic dXNAZXI6bWFkZTp1cA==");
        assert_eq!(format!("{proxy:?}"), "ProxyUrl(http://proxy.example:3128)");
    }

    #[test]
    fn exceptions_are_asked_directly() {
        for (exceptions, url, is_direct) in [
            ("*", "https://www.zohoapis.eu", true),
            ("zohoapis.eu", "https://zohoapis.eu", true),
            ("zohoapis.eu", "https://WWW.zohoapis.eu.", true),
            ("zohoapis.eu", "https://notzohoapis.eu", false),
            ("zohoapis.eu", "https://zohoapis.eu.evil.example", false),
            (".zohoapis.eu", "https://zohoapis.eu", true),
            (".zohoapis.eu.", "https://www.zohoapis.eu", true),
            ("*.zohoapis.eu", "https://www.zohoapis.eu", true),
            ("*.zohoapis.eu", "https://zohoapis.eu", false),
            ("*.zohoapis.eu", "https://xzohoapis.eu", false),
            ("a.example zohoapis.eu\tb.example", "https://zohoapis.eu", true),
            ("a.example, ,zohoapis.eu,", "https://zohoapis.eu", true),
            ("zohoapis.eu:443", "https://www.zohoapis.eu", true),
            ("zohoapis.eu:8443", "https://www.zohoapis.eu", false),
            ("zohoapis.eu:8443", "https://www.zohoapis.eu:8443", true),
            ("*:8443", "https://www.zohoapis.eu:8443", true),
            ("192.0.2.7", "https://192.0.2.7", true),
            ("192.0.2.7:8443", "https://192.0.2.7", false),
            ("192.0.2.0/24", "https://192.0.2.200", true),
            ("192.0.2.0/25", "https://192.0.2.200", false),
            ("0.0.0.0/0", "https://192.0.2.200", true),
            ("0.0.0.0/0", "https://zohoapis.eu", false),
            ("2001:db8::1", "https://[2001:db8::1]", true),
            ("[2001:db8::1]", "https://[2001:db8::1]:8443", true),
            ("[2001:db8::1]:443", "https://[2001:db8::1]", true),
            ("[2001:db8::1]:444", "https://[2001:db8::1]", false),
            ("2001:db8::/32", "https://[2001:db8:5::1]", true),
            ("[2001:db8::]/32", "https://[2001:db9::1]", false),
            ("::/0", "https://192.0.2.7", false),
        ] {
            let proxied = goes_by(&[("ALL_PROXY", "http://p:1"), ("NO_PROXY", exceptions)], url);
            assert_eq!(proxied.is_none(), is_direct, "{exceptions} and {url}");
        }
        let both = [("ALL_PROXY", "http://p:1"), ("NO_PROXY", "*"), ("no_proxy", "a.example")];
        assert!(goes_by(&both, "https://zohoapis.eu").is_some(), "lower case first");
    }

    #[test]
    fn exceptions_that_are_not_understood_are_reported() {
        let exceptions =
            "10.*, zoho*.eu,192.0.2.0/33,name:0,name:http,<local>,https://a.example,fine.example";
        let (_, odd) = read(&[("ALL_PROXY", "http://p:1"), ("NO_PROXY", exceptions)]).unwrap();
        assert_eq!(
            odd,
            ["10.*", "zoho*.eu", "192.0.2.0/33", "name:0", "name:http", "<local>", "https://a.example"]
        );
    }
}
