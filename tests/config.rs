//! The configuration as people meet it: what is wrong is told at once, by file and line, with what would be
//! right; the defaults are whole; secrets are never repeated; and no text makes reading panic.

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise fails")]

use std::fmt::Write as _;
use std::path::PathBuf;

use proptest::prelude::*;
use secrecy::ExposeSecret;
use zoho_sidecar::config::problem::{Problem, Severity};
use zoho_sidecar::config::{Config, DEFAULTS, Loaded, Source, load, load_texts};
use zoho_sidecar::zoho::data_center::{Environment, built_in};

#[path = "config/accepted.rs"]
mod accepted;
#[path = "config/callers.rs"]
mod callers;
#[expect(unreachable_pub, reason = "the crate of the fuzzer reaches it")]
#[path = "fuzz/properties/serving.rs"]
mod serving;

/// A tenant with which nothing is wrong.
const TENANT: &str = concat!(
    "[tenants.acme]\ndata_center = \"eu\"\nclient_id = \"1000.ABCDEFG\"\n",
    "client_secret = { env = \"PATH\" }\nrefresh_token = { env = \"PATH\" }\n",
);

fn read(texts: &[&str]) -> Loaded {
    let name = |n: usize| format!("{}.toml", n + 1);
    let sources: Vec<Source> = texts
        .iter()
        .enumerate()
        .map(|(n, text)| Source { name: name(n), text: (*text).to_owned() })
        .collect();
    load_texts(&sources)
}

fn sound(texts: &[&str]) -> Config {
    let loaded = read(texts);
    loaded.config.unwrap_or_else(|| panic!("{}", told(&loaded.problems)))
}

fn told(problems: &[Problem]) -> String {
    problems.iter().fold(String::new(), |mut all, problem| {
        let _ = writeln!(all, "{problem}\n");
        all
    })
}

/// The one problem there is.
fn the_problem(texts: &[&str]) -> Problem {
    match read(texts).problems.as_slice() {
        [problem] => problem.clone(),
        others => panic!("not one problem, but:\n{}", told(others)),
    }
}

#[test]
fn a_page_full_of_mistakes_is_told_all_at_once() {
    const PAGE: &str = include_str!("config/a_page_full_of_mistakes.toml");
    let loaded = load_texts(&[Source { name: "first.toml".to_owned(), text: PAGE.to_owned() }]);
    assert!(loaded.config.is_none());
    let told = told(&loaded.problems);
    insta::assert_snapshot!(told);
}

/// But what is wrong with the others is told along with it, other than what they lack: it may stand in one of
/// those that could not be read.
#[test]
fn of_a_file_that_cannot_be_read_nothing_is_told_but_why() {
    const BROKEN: &str = include_str!("config/a_page_that_is_not_toml.toml");
    const SOUND: &str = concat!(
        "[admin]\nlisten = \"192.0.2.1:9090\"\ntokens = 5\n[cache]\nmax_bytes = \"lots\"\n",
        "[tenants.acme]\ndata_center = \"lab\"\nenvironment = \"moon\"\n[routes.roles]\ngroups = [\"roles\"]\n",
    );
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = directory.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let paths = [
        write("broken.toml", BROKEN.as_bytes()),
        write("sound.toml", SOUND.as_bytes()),
        write("not-text.toml", b"\xff\xfe"),
        directory.path().join("missing.toml"),
    ];

    let loaded = load(&paths);

    assert!(loaded.config.is_none());
    let told = told(&loaded.problems).replace(&format!("{}/", directory.path().display()), "");
    insta::assert_snapshot!(told);
}

#[test]
fn every_problem_says_where_what_and_what_would_be_right() {
    for problem in read(&[include_str!("config/a_page_full_of_mistakes.toml")]).problems {
        assert!(problem.place.is_some(), "{problem}");
        assert!(!problem.what.is_empty() && !problem.remedy.is_empty(), "{problem}");
        assert_eq!(problem.to_string().lines().count(), 3, "{problem}");
    }
}

#[test]
fn the_defaults_alone_lack_nothing_but_a_tenant() {
    let problem = the_problem(&[]);
    assert_eq!((problem.key.as_str(), problem.what.as_str()), ("tenants", "there is no tenant"));
    assert_eq!(told(&read(&[""]).problems), told(&[problem]));
}

#[test]
fn the_least_configuration_that_works_has_no_problem() {
    assert_eq!(told(&read(&[TENANT]).problems), "");
}

#[test]
fn every_key_of_the_defaults_may_be_written_again() {
    let loaded = read(&[TENANT, DEFAULTS]);
    assert_eq!(told(&loaded.problems), "");
    assert!(loaded.config.is_some());
}

/// A value that no key takes, where a misspelled key is the only problem there is otherwise.
#[test]
fn every_key_of_the_defaults_is_read() {
    let defaults: toml::Table = DEFAULTS.parse().unwrap();
    for (section, keys) in &defaults {
        let Some(keys) = keys.as_table() else {
            let problems = read(&[&format!("{section} = 1.5\n"), TENANT]).problems;
            assert!(problems.iter().any(|problem| problem.key == *section), "{section}: {}", told(&problems));
            continue;
        };
        for (key, _) in keys {
            let wrong = format!("[{section}]\n{key} = 1.5\n");
            let problems = read(&[TENANT, &wrong]).problems;
            let name = format!("{section}.{key}");
            assert!(problems.iter().any(|problem| problem.key == name), "{name}: {}", told(&problems));
        }
    }
}

#[test]
fn a_tenant_and_a_route_take_their_missing_keys_from_the_defaults_for_all() {
    let config = sound(&[
        TENANT,
        "[tenant_defaults]\nenvironment = \"sandbox\"\n[route_defaults]\nfresh_for = \"3m\"\n",
        "[routes.roles]\nmatch = \"GET /crm/{version}/settings/roles\"\n",
    ]);
    assert_eq!(config.rulebook.tenants.tenant(0).environment, Environment::Sandbox);
    let seconds = |name: &str| {
        let route = config.rulebook.routes.all().iter().find(|route| route.name == name).unwrap();
        route.rule.fresh_for.as_secs()
    };
    assert_eq!((seconds("roles"), seconds("associated-users-count")), (180, 300));
}

#[test]
fn a_later_file_overrides_single_keys_and_mends_the_problems_of_an_earlier_one() {
    let config = sound(&[TENANT, "[cache]\nmax_bytes = \"lots\"\n", "[cache]\nmax_bytes = \"1MiB\"\n"]);
    assert_eq!((config.cache.max_bytes, config.cache.max_entry_bytes), (1 << 20, 1 << 20));
}

#[test]
fn a_row_of_the_data_centre_table_can_be_overridden_in_part() {
    let config = sound(&[
        TENANT,
        "[data_centers.eu]\nuploads = \"https://content.example.eu\"\n[data_centers.eu.api]\nsandbox = \"https://sandbox.example.eu\"\n",
    ]);
    let ours = &config.rulebook.tenants.tenant(0).data_center;
    let eu = built_in().into_iter().find(|row| row.name == "eu").unwrap();
    assert_eq!(ours.uploads.to_string(), "https://content.example.eu");
    assert_eq!(ours.api.sandbox.to_string(), "https://sandbox.example.eu");
    assert_eq!((&ours.accounts, &ours.api.production), (&eu.accounts, &eu.api.production));
    assert_eq!(ours.api.developer, eu.api.developer);
}

#[test]
fn a_new_data_centre_needs_accounts_and_api_and_its_uploads_go_to_the_api() {
    let lab = "[data_centers.lab]\naccounts = \"http://127.0.0.1:1\"\napi = \"http://127.0.0.1:2\"\n";
    let config = sound(&[TENANT, lab, "tenants.acme.data_center = \"lab\""]);
    let row = &config.rulebook.tenants.tenant(0).data_center;
    assert_eq!(row.api.of(Environment::Developer).to_string(), "http://127.0.0.1:2");
    assert_eq!(row.uploads.to_string(), "http://127.0.0.1:2");

    let keys: Vec<String> =
        read(&[TENANT, "[data_centers.lab]\n"]).problems.into_iter().map(|problem| problem.key).collect();
    assert_eq!(keys, ["data_centers.lab.accounts", "data_centers.lab.api"]);
}

#[test]
fn a_shipped_route_can_be_switched_off_and_a_route_without_a_match_is_a_problem() {
    let config = sound(&[TENANT, "routes.associated-users-count.enabled = false"]);
    assert!(config.rulebook.routes.all().is_empty());
    assert_eq!(the_problem(&[TENANT, "[routes.roles]"]).key, "routes.roles.match");
}

#[test]
fn a_literal_secret_is_a_warning_and_appears_nowhere() {
    const SECRETS: [&str; 3] = ["made-up-client-secret", "made-up-refresh-token", "made-up-admin-token"];
    let text = format!(
        "{TENANT}\n[admin]\ntoken = \"{}\"\n[tenants.globex]\ndata_center = \"us\"\nclient_id = \"1000.G\"\nclient_secret = \"{}\"\nrefresh_token = \"{}\"\n",
        SECRETS[2], SECRETS[0], SECRETS[1]
    );

    let loaded = read(&[&text]);

    let keys: Vec<&str> = loaded.problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["admin.token", "tenants.globex.client_secret", "tenants.globex.refresh_token"]);
    assert!(loaded.problems.iter().all(|problem| problem.severity == Severity::Warning));
    let all = format!("{}{loaded:?}{:#?}", told(&loaded.problems), loaded.config.as_ref().unwrap());
    for secret in SECRETS {
        assert!(!all.contains(secret), "{secret} is shown");
    }
}

#[test]
fn a_secret_in_the_wrong_place_is_not_repeated_either() {
    for (text, key) in [
        ("tenants.acme.client_secret = [\"made-up-secret\"]", "tenants.acme.client_secret"),
        ("tenants.acme.client_secret = { literal = \"made-up-secret\" }", "tenants.acme.client_secret"),
        ("tenants.acme.client_secrets = \"made-up-secret\"", "tenants.acme.client_secrets"),
        ("[upstream]\nproxy = \"socks9://user:made-up-secret@proxy:1080\"", "upstream.proxy"),
        (
            "[data_centers.eu]\naccounts = \"https://user:made-up-secret@accounts.zoho.eu\"",
            "data_centers.eu.accounts",
        ),
    ] {
        let problem = the_problem(&[TENANT, text]);
        assert_eq!(problem.key, key);
        assert!(!problem.to_string().contains("made-up-secret"), "{problem}");
    }
}

#[test]
fn a_line_that_is_no_toml_is_told_without_what_stands_in_it() {
    const SECRET: &str = "client_secret = \"made-up-secret\"\n";
    for lines in [
        "client_secret = made-up-secret".to_owned(),
        "client_secret = \"made-up-secret".to_owned(),
        "= \"made-up-secret\"".to_owned(),
        format!("data_center = \"\"\"\n{SECRET}"),
        format!("data_center = \"\"\"\n{SECRET}\"\"\""),
        format!("data_center = \"\"\"\\\n{SECRET}\"\"\""),
        format!("data_center = '''\n{SECRET}'''"),
        format!("[data_centers]\n\"\"\"\n{SECRET}"),
        format!("[server]\nlisten = [\n{SECRET}"),
        format!("[server]\nlisten = [\"127.0.0.1:80\"\n{SECRET}]"),
        format!("[log]\nlevel = {{ {SECRET}"),
    ] {
        let loaded = read(&[&format!("[tenants.acme]\n{lines}\n")]);
        assert!(loaded.config.is_none(), "{lines}");
        assert!(!told(&loaded.problems).contains("made-up-secret"), "{}", told(&loaded.problems));
    }
}

#[test]
fn a_secret_file_is_read_anew_each_time_and_one_that_is_not_there_yet_is_a_warning() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("secret");
    let text = format!("tenants.acme.client_secret = {{ file = \"{}\" }}", path.display());
    let loaded = read(&[TENANT, &text]);
    let [warning] = loaded.problems.as_slice() else { panic!("{}", told(&loaded.problems)) };
    assert_eq!((warning.severity, warning.key.as_str()), (Severity::Warning, "tenants.acme.client_secret"));
    let secret = &loaded.config.as_ref().unwrap().credentials[0].client_secret;

    std::fs::write(&path, "first\n").unwrap();
    assert_eq!(secret.read_now().unwrap().expose_secret(), "first");
    std::fs::write(&path, "second\r\n").unwrap();
    assert_eq!(secret.read_now().unwrap().expose_secret(), "second");
    std::fs::remove_file(&path).unwrap();
    assert!(secret.read_now().is_err());
}

#[test]
fn a_secret_of_the_environment_is_read_from_there() {
    // Changing the environment would change it for all tests; this one is always set.
    let config = sound(&[TENANT, "tenants.acme.client_secret = { env = \"PATH\" }"]);
    let read = config.credentials[0].client_secret.read_now().unwrap();
    assert_eq!(read.expose_secret(), std::env::var("PATH").unwrap());
}

#[test]
fn a_section_that_is_no_table_is_one_problem_and_not_one_per_key() {
    for (text, key) in [
        ("server = 8080", "server"),
        ("tenants.acme = \"eu\"", "tenants.acme"),
        ("route_defaults = \"5m\"", "route_defaults"),
        ("[[upstream]]\nproxy = \"none\"", "upstream"),
    ] {
        assert_eq!(the_problem(&[TENANT, text]).key, key);
    }
}

#[test]
fn a_mistake_in_the_defaults_for_all_is_told_once_and_where_it_stands() {
    for (text, key) in [
        ("[route_defaults]\nfresh_for = 5", "route_defaults.fresh_for"),
        ("[tenant_defaults]\nedition = \"gold\"", "tenant_defaults.edition"),
        ("[route_defaults]\ngroups = [\"nobody-forgets\"]", "route_defaults.groups"),
        ("[route_defaults]\nvary_by = [1]", "route_defaults.vary_by"),
    ] {
        assert_eq!(the_problem(&[TENANT, text]).key, key);
    }
    let forgotten = "[route_defaults]\ngroups = [\"roles\"]\n[writes.roles]\nmatch = [\"PUT /crm/{version}/settings/roles\"]\nforgets = [\"roles\"]";
    assert_eq!(told(&read(&[TENANT, forgotten]).problems), "");
}

#[test]
fn every_spelling_of_a_table_means_the_same() {
    for text in [
        "[tenants]\nacme = { data_center = \"us\" }",
        "[tenants.acme]\ndata_center = \"us\"",
        "tenants.acme.data_center = \"us\"",
        "[tenants]\n\"acme\".data_center = 'us'",
        "tenants = { acme = { data_center = \"us\" } }",
    ] {
        let config = sound(&[TENANT, text]);
        assert_eq!(config.rulebook.tenants.tenant(0).data_center.name, "us", "{text}");
    }
}

/// Texts that are nearly a configuration: known and unknown names, values of every kind.
fn nearly_a_configuration() -> impl Strategy<Value = String> {
    let defaults: toml::Table = DEFAULTS.parse().unwrap();
    let mut names: Vec<String> = defaults.keys().cloned().collect();
    names.extend(defaults.values().filter_map(toml::Value::as_table).flat_map(|keys| keys.keys().cloned()));
    let more = ["tenants", "data_centers", "acme", "api", "file", "env", "match", "é", "\"\"", "\"a b\""];
    names.extend(more.map(str::to_owned));
    let name = proptest::sample::select(names);
    let path = proptest::collection::vec(name, 1..4).prop_map(|parts| parts.join("."));
    let scalar = prop_oneof![
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        Just("0xffffffffffffffffffff".to_owned()),
        any::<f64>().prop_map(|number| format!("{number:?}")),
        Just("1979-05-27T07:32:00Z".to_owned()),
        "[a-z0-9 {}/:?#.é-]{0,20}".prop_map(|text| format!("\"{text}\"")),
        proptest::sample::select(vec![
            "\"5m\"",
            "\"1MiB\"",
            "\"none\"",
            "\"GET /{a}/{b}\"",
            "\"us\"",
            "\"\"",
            ""
        ])
        .prop_map(str::to_owned),
    ];
    let value = scalar.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(|all| format!("[{}]", all.join(", "))),
            inner.prop_map(|value| format!("{{ file = {value} }}")),
        ]
    });
    let line = prop_oneof![
        4 => (path.clone(), value).prop_map(|(path, value)| format!("{path} = {value}")),
        1 => path.clone().prop_map(|path| format!("[{path}]")),
        1 => path.prop_map(|path| format!("[[{path}]]")),
        1 => "\\PC{0,20}",
    ];
    proptest::collection::vec(line, 0..8).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_reading_panic(text in "\\PC{0,200}") {
        read(&[&text]);
    }

    #[test]
    fn nothing_that_is_nearly_a_configuration_makes_reading_panic(
        one in nearly_a_configuration(),
        other in nearly_a_configuration(),
    ) {
        for problem in read(&[TENANT, &one, &other]).problems {
            prop_assert!(!problem.to_string().is_empty());
        }
    }
}

#[test]
fn responses_for_which_there_is_no_memory_are_warned_of() {
    for text in
        ["server.buffer_bytes = \"0B\"", "server.buffer_bytes = \"3MiB\"", "cache.max_entry_bytes = \"9MiB\""]
    {
        assert_eq!(the_problem(&[TENANT, text]).key, "cache.max_entry_bytes", "{text}");
    }
}
