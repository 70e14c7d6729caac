//! Callers: how each is known, what it may ask for, and whether where the sidecar listens fits that.

use std::fmt::Display;
use std::str::FromStr;

use http::Method;

use super::section::Section;
use super::tree::Value;
use crate::callers::credential::{Credential, TokenHash, TokenSource};
use crate::callers::policy::{PathRule, Policy};
use crate::callers::{Caller, Callers, Mode};
use crate::causes::with_causes;
use crate::server::address::Address;
use crate::server::{self, tls};
use crate::tenants::{Tenants, is_name};

/// Names further from each other than this are not suggested for each other.
const FURTHEST_HINT: usize = 3;

const TENANTS: &str = "\"acme\"";
const METHODS: &str = "\"GET\"";
const PATHS: &str = "\"GET /crm/{version}/settings/**\"";
const CERTIFICATE: &str = "\"spiffe://example.org/billing\"";
const UID: &str = "write the number of a user, or a list of such, as [1000, 1001]";
const TOKEN: &str = "write { file = \"/path\" }, the file holding \"sha256:\" and the hash of the token";

pub(super) fn callers(root: &Section<'_>, tenants: &Tenants, server: &server::Settings) -> Callers {
    let mut callers: Vec<Caller> = Vec::new();
    for (name, section) in root.named("callers", Some("caller_defaults")) {
        let caller = caller(name, &section, tenants);
        check_unlike_others(&section, &caller, &callers);
        check_reachable(&section, &caller, server);
        section.finish();
        callers.push(caller);
    }
    let defaults = root.section("caller_defaults");
    policy(&defaults, tenants);
    mode(&defaults);
    defaults.finish();
    Callers::new(callers)
}

fn caller(name: String, section: &Section<'_>, tenants: &Tenants) -> Caller {
    if !is_name(&name) {
        section.wrong(
            "(name)",
            format!("\"{name}\" cannot be a caller's name"),
            "use letters, digits, hyphens, underscores and dots: the name stands in logs and metrics",
        );
    }
    let credential = Credential {
        uids: uids(section),
        names: one_or_more(section, "certificate", CERTIFICATE),
        tokens: tokens(section),
        anybody: section.has("anybody") && section.flag("anybody"),
    };
    let says_who = ["uid", "token", "certificate"].into_iter().any(|key| section.has(key));
    if !says_who && !credential.anybody {
        section.missing(
            "uid",
            "nothing says who this caller is",
            "write uid, token or certificate, or anybody = true for all who are no other caller",
        );
    }
    Caller { name, credential, policy: policy(section, tenants), mode: mode(section) }
}

fn mode(section: &Section<'_>) -> Mode {
    let choices = [Mode::Enforce, Mode::Shadow].map(|mode| (mode.as_str(), mode));
    section.choice("mode", &choices).unwrap_or(Mode::Enforce)
}

fn policy(section: &Section<'_>, tenants: &Tenants) -> Policy {
    let names: Option<Vec<String>> = all_or_some(section, "tenants", TENANTS);
    let methods: Option<Vec<Listed>> = all_or_some(section, "methods", METHODS);
    Policy {
        tenants: names.map(|names| names.iter().filter_map(|name| number(section, tenants, name)).collect()),
        methods: methods.map(|methods| methods.into_iter().map(|Listed(method)| method).collect()),
        paths: all_or_some::<PathRule>(section, "paths", PATHS),
        read_only: section.flag("read_only"),
    }
}

fn number(section: &Section<'_>, tenants: &Tenants, name: &str) -> Option<usize> {
    let found = tenants.all().iter().find(|tenant| tenant.name == name);
    if found.is_none() {
        let known: Vec<&str> = tenants.all().iter().map(|tenant| tenant.name.as_str()).collect();
        let far = |known: &str| strsim::damerau_levenshtein(known, name);
        let remedy = match known.iter().copied().min_by_key(|known| far(known)) {
            Some(nearest) if far(nearest) <= FURTHEST_HINT => format!("did you mean \"{nearest}\"?"),
            _ => format!("there is {}", known.join(", ")),
        };
        section.wrong("tenants", format!("there is no tenant \"{name}\""), remedy);
    }
    found.map(|tenant| tenant.number)
}

/// `"all"`, or a list that is not empty.
fn all_or_some<T>(section: &Section<'_>, key: &str, example: &str) -> Option<Vec<T>>
where
    T: FromStr<Err: Display>,
{
    if section.is_word(key, "all") {
        return None;
    }
    if section.is_text(key) {
        section.wrong(key, "this is neither \"all\" nor a list", format!("write \"all\" or [{example}]"));
        return Some(Vec::new());
    }
    if matches!(section.node(key).map(|node| &node.value), Some(Value::Array(items)) if items.is_empty()) {
        section.wrong(key, "with an empty list nothing is allowed", format!("write \"all\" or [{example}]"));
    }
    Some(section.list(key, example))
}

/// A text, or a list of texts; nothing if the key is not written.
fn one_or_more<T>(section: &Section<'_>, key: &str, example: &str) -> Vec<T>
where
    T: FromStr<Err: Display>,
{
    if !section.has(key) {
        return Vec::new();
    }
    if !section.is_text(key) {
        return section.list(key, example);
    }
    let text = section.text(key, example);
    match text.parse() {
        Ok(parsed) => vec![parsed],
        Err(error) => {
            section.wrong(key, format!("\"{text}\": {error}"), format!("write it as in {example}"));
            Vec::new()
        }
    }
}

/// A method that a caller may use.
struct Listed(Method);

impl FromStr for Listed {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        let known = [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS];
        known
            .into_iter()
            .find(|method| method.as_str() == text)
            .map(Self)
            .ok_or("not one of GET (which HEAD goes with), POST, PUT, PATCH, DELETE and OPTIONS")
    }
}

fn uids(section: &Section<'_>) -> Vec<u32> {
    let Some(node) = section.node("uid") else { return Vec::new() };
    let items = match &node.value {
        Value::Array(items) => items.iter().map(|item| &item.value).collect(),
        one => vec![one],
    };
    let uid = |value: &Value| match value {
        Value::Integer(number) => u32::try_from(*number).ok(),
        _ => None,
    };
    let uids: Option<Vec<u32>> = items.into_iter().map(uid).collect();
    if uids.as_ref().is_none_or(Vec::is_empty) {
        section.wrong("uid", "this is not the number of a user", UID);
    }
    let uids = uids.unwrap_or_default();
    let kernels = std::fs::read_to_string("/proc/sys/kernel/overflowuid").ok();
    if let Some(uid) = uids.iter().find(|uid| stands_for_strangers(**uid, kernels.as_deref())) {
        section.wrong(
            "uid",
            format!("{uid} stands for every user of another user namespace, as of a container"),
            "let the service run as a user of its own, and write that one's number",
        );
    }
    uids
}

/// What the kernel tells of users that have no number here (`user_namespaces(7)`), unless it is set otherwise.
const OVERFLOW_UID: u32 = 65534;

/// Whether any number of users show themselves by this one, where the kernel's setting reads so.
fn stands_for_strangers(uid: u32, kernels: Option<&str>) -> bool {
    uid == OVERFLOW_UID || kernels.and_then(|text| text.trim().parse().ok()) == Some(uid)
}

/// Where the hashes of tokens are. What is written in the place of a hash is not repeated: it may be the token.
fn tokens(section: &Section<'_>) -> Option<TokenSource> {
    let (source, is_sound) = match &section.node("token")?.value {
        Value::Table(_) => (section.file("token").map(TokenSource::File), true),
        Value::Text(hash) => {
            (hash.parse::<TokenHash>().ok().map(|hash| TokenSource::Listed(vec![hash])), true)
        }
        _ => (None, false),
    };
    match &source {
        None if is_sound => section.wrong("token", "this is neither a file nor the hash of a token", TOKEN),
        None => section.wrong("token", "this is neither a table nor a text", TOKEN),
        Some(source) => match source.read_now() {
            Ok(_) => {}
            // Not there yet, as a secret may not be.
            Err(error @ crate::callers::credential::TokensError::File { .. }) => {
                section.doubtful("token", with_causes(&error), "provide it before the sidecar runs");
            }
            Err(error) => section.wrong("token", error.to_string(), TOKEN),
        },
    }
    source
}

/// One who shows something is one caller.
fn check_unlike_others(section: &Section<'_>, caller: &Caller, others: &[Caller]) {
    let hashes = |caller: &Caller| -> Vec<TokenHash> {
        caller.credential.tokens.as_ref().and_then(|source| source.read_now().ok()).unwrap_or_default()
    };
    let own = hashes(caller);
    for other in others {
        let (mine, theirs) = (&caller.credential, &other.credential);
        let shared = [
            ("uid", mine.uids.iter().any(|uid| theirs.uids.contains(uid))),
            ("certificate", mine.names.iter().any(|name| theirs.names.contains(name))),
            ("token", own.iter().any(|hash| hashes(other).contains(hash))),
            ("anybody", mine.anybody && theirs.anybody),
        ];
        for (key, _) in shared.into_iter().filter(|(_, is_shared)| *is_shared) {
            let what = format!("this is also callers.{}", other.name);
            section.wrong(key, what, "let each be one caller's only");
        }
    }
}

/// Whether anybody could show what the caller is known by.
fn check_reachable(section: &Section<'_>, caller: &Caller, server: &server::Settings) {
    let asks_certificates = server.listen.iter().any(|address| matches!(address, Address::Tls(_)))
        && server.tls.as_ref().is_some_and(|tls| tls.clients != tls::Clients::Unasked);
    if !caller.credential.names.is_empty() && !asks_certificates {
        section.wrong(
            "certificate",
            "nobody is asked for a certificate",
            "listen on https://…, and set client_ca and client_certificates in [server.tls]",
        );
    }
    let has_socket = server.listen.iter().any(|address| matches!(address, Address::Unix(_)));
    if !caller.credential.uids.is_empty() && !has_socket {
        section.doubtful(
            "uid",
            "users are known on unix sockets only, and none is listened on",
            "add \"unix:/run/zoho-sidecar/proxy.sock\" to server.listen",
        );
    }
}

/// Who gets in by a network where callers are not told apart, and what would be right. A certificate that one of the
/// authorities signed is no proof that its owner is meant: they may sign for many others.
fn open_to(server: &server::Settings) -> (String, &'static str) {
    let asks_firmly = server.tls.as_ref().is_some_and(|tls| matches!(tls.clients, tls::Clients::Required(_)));
    let asks = |address: &Address| asks_firmly && matches!(address, Address::Tls(_));
    let remote = || server.listen.iter().filter(|address| !address.is_local());
    if let Some(address) = remote().find(|address| !asks(address)) {
        let remedy = "listen on 127.0.0.1, [::1] or a unix socket, say in [callers] who may, or set i_know_this_is_open = true";
        return (format!("whoever reaches {address}"), remedy);
    }
    let addresses: Vec<String> = remote().map(ToString::to_string).collect();
    let who = format!("whoever has any certificate of client_ca's and reaches {}", addresses.join(" or "));
    (who, "say in [callers] whose certificates may, or set i_know_this_is_open = true")
}

/// Whether those who reach the sidecar over a network could be told from those who may not use it.
pub(super) fn check_listeners(
    root: &Section<'_>,
    server: &server::Settings,
    callers: &Callers,
    is_known_to_be_open: bool,
) {
    let Some(address) = server.listen.iter().find(|address| !address.is_local()) else { return };
    let section = root.section("server");
    let all = || callers.all().iter().map(|caller| &caller.credential);
    if callers.all().is_empty() || all().any(|credential| credential.anybody) {
        if !is_known_to_be_open {
            let (who, remedy) = open_to(server);
            section.missing("listen", format!("{who} would use your credentials"), remedy);
        }
    } else if all().all(|credential| credential.tokens.is_none() && credential.names.is_empty()) {
        section.wrong(
            "listen",
            format!("nobody who comes by {address} can be known: all callers are known by uid"),
            "give callers a token or a certificate, or listen on a unix socket",
        );
    }
    let in_the_clear = |address: &&Address| matches!(address, Address::Tcp(_)) && !address.is_local();
    if let Some(address) = server.listen.iter().find(in_the_clear)
        && all().any(|credential| credential.tokens.is_some())
    {
        section.doubtful(
            "listen",
            format!("callers' tokens go to {address} in the clear"),
            "listen on https://… with [server.tls], or make sure that nobody else hears that network",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_for_users_without_one_is_the_usual_one_and_the_kernels_own() {
        assert!(stands_for_strangers(65534, None));
        assert!(stands_for_strangers(65534, Some("4242\n")), "it may be checked elsewhere than it runs");
        assert!(stands_for_strangers(4242, Some("4242\n")));
        assert!(!stands_for_strangers(4242, Some("not a number")));
        assert!(!stands_for_strangers(1000, Some("65534\n")));
    }
}
