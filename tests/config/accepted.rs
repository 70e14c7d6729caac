//! What is accepted can be served: nothing that `check` lets pass fails or panics later.

use proptest::prelude::*;

use super::serving::what_was_accepted_starts_and_answers;
use super::{DEFAULTS, TENANT, read, sound, the_problem};

#[test]
fn an_accounts_server_is_read_by_one_parser() {
    let lab = |accounts: &str| {
        format!(
            "[tenants.acme]\ndata_center = \"lab\"\n[data_centers.lab]\naccounts = \"{accounts}\"\napi = \"https://api.example\"\n"
        )
    };
    for bad in [
        "https://[zz]",
        "https://a..b",
        "https://accounts.example:99999",
        "https://1.2.3.4.5",
        "https://%41.example",
    ] {
        let problem = the_problem(&[TENANT, &lab(bad)]);
        assert_eq!(problem.key, "data_centers.lab.accounts", "{bad}: {problem}");
    }
    // `url`, which the OAuth library uses, has other opinions about these.
    for odd in ["https://xn--a", "https://a_b.example", "https://accounts.example.", "https://[::1]:8443"] {
        what_was_accepted_starts_and_answers(sound(&[TENANT, &lab(odd)]));
    }
}

#[test]
fn sizes_and_addresses_that_could_not_be_served_are_problems() {
    for (text, key) in [
        ("[server]\nmax_header_bytes = \"1MiB\"", "server.max_header_bytes"),
        ("[server]\nmax_uri_bytes = \"0B\"", "server.max_uri_bytes"),
        ("[server]\nmax_uri_bytes = \"17179869183GiB\"", "server.max_uri_bytes"),
        ("[upstream]\nreplay_max_bytes = \"2GiB\"", "upstream.replay_max_bytes"),
        ("[cache]\nmax_entry_bytes = \"2GiB\"", "cache.max_entry_bytes"),
        ("[server]\nworkers = 100000", "server.workers"),
        ("[server]\nmax_connections = 99999999999", "server.max_connections"),
        ("[tokens]\nexchange_timeout = \"999999999d\"", "tokens.exchange_timeout"),
        ("[tokens]\nprobe_interval = \"999ms\"", "tokens.probe_interval"),
        ("[tokens]\nsecret_poll = \"1ms\"", "tokens.secret_poll"),
        ("[server]\nlisten = [\"127.0.0.1:8080\", \"127.0.0.1:8080\"]", "server.listen"),
        ("[admin]\nlisten = \"127.0.0.1:8080\"", "admin.listen"),
    ] {
        assert_eq!(the_problem(&[TENANT, text]).key, key, "{text}");
    }
    let long = format!("[server]\nlisten = [\"127.0.0.1:8080\", \"unix:/{}\"]", "x".repeat(107));
    assert_eq!(the_problem(&[TENANT, &long]).key, "server.listen");
}

/// The keys of the defaults that are written as one value, by their full names.
fn keys() -> Vec<(String, toml::Value)> {
    let defaults: toml::Table = DEFAULTS.parse().unwrap();
    let sections = defaults.into_iter().filter_map(|(name, value)| Some((name, value.as_table()?.clone())));
    sections
        .flat_map(|(section, keys)| {
            keys.into_iter().map(move |(key, value)| (format!("{section}.{key}"), value))
        })
        .collect()
}

/// As far as each kind of value goes.
fn extremes(value: &toml::Value) -> Vec<String> {
    let texts = |all: &[&str]| all.iter().map(|text| format!("\"{text}\"")).collect();
    match value {
        toml::Value::Integer(_) => {
            [0, 1, 10, 1024, 10_000, 100_000, 1_000_000, i64::MAX].iter().map(ToString::to_string).collect()
        }
        toml::Value::String(text) if text.ends_with('B') => {
            texts(&["0B", "1B", "8KiB", "512KiB", "1GiB", "17179869183GiB"])
        }
        toml::Value::String(text) if text.starts_with(|c: char| c.is_ascii_digit()) => {
            texts(&["0s", "1ms", "36500d", "876000h"])
        }
        _ => Vec::new(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_extremes_are_accepted_can_be_served(choices in proptest::collection::vec(any::<u16>(), 80)) {
        let mut accepted = String::new();
        for ((key, value), choice) in keys().into_iter().zip(choices) {
            let extremes = extremes(&value);
            // A third of the keys keep their defaults.
            let Some(extreme) = extremes.get(usize::from(choice) % (extremes.len() * 3 / 2 + 1)) else { continue };
            let more = format!("{accepted}{key} = {extreme}\n");
            if read(&[TENANT, &more]).config.is_some() {
                accepted = more;
            }
        }
        what_was_accepted_starts_and_answers(sound(&[TENANT, &accepted]));
    }
}
