//! Configurations. The bytes are files, with a line of `----` between them.

use zoho_sidecar::config::problem::{Problem, Severity};
use zoho_sidecar::config::{Loaded, Source, load_texts};

use super::serving::what_was_accepted_starts_and_answers;

/// Made up, and not to be told to anybody.
const SECRET: &str = "made-up-never-to-be-told";

const TENANT: &str = concat!(
    "[tenants.secretive]\ndata_center = \"eu\"\nclient_id = \"1000.MADEUP\"\n",
    "client_secret = \"made-up-never-to-be-told\"\nrefresh_token = \"1000.made-up-never-to-be-told\"\n",
    "[admin]\ntoken = \"made-up-never-to-be-told\"\n",
);

pub fn hold(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let texts: Vec<&str> = text.split("\n----\n").take(3).collect();
    let loaded = read(&texts);
    every_problem_tells_where_and_what_would_be_right(&texts, &loaded);
    a_file_over_itself_changes_nothing(&texts, &loaded);
    no_problem_repeats_a_secret(&texts);
    if let Some(config) = loaded.config {
        what_was_accepted_starts_and_answers(config);
    }
}

fn read(texts: &[&str]) -> Loaded {
    let source = |(n, text): (usize, &&str)| Source { name: format!("{n}.toml"), text: (*text).to_owned() };
    load_texts(&texts.iter().enumerate().map(source).collect::<Vec<_>>())
}

fn every_problem_tells_where_and_what_would_be_right(texts: &[&str], loaded: &Loaded) {
    let is_sound = loaded.problems.iter().all(|problem| problem.severity == Severity::Warning);
    assert_eq!(loaded.config.is_some(), is_sound, "{:?}", loaded.problems);
    for problem in &loaded.problems {
        let is_told =
            [&problem.key, &problem.what, &problem.remedy].iter().all(|text| !text.trim().is_empty());
        assert!(is_told, "{problem:?}");
        let Some(place) = &problem.place else { continue };
        let number = place.file.strip_suffix(".toml").and_then(|number| number.parse::<usize>().ok());
        let Some(number) = number else {
            // What is said about the shipped files is what the user's own made of them.
            assert!(matches!(place.file.as_str(), "(defaults)" | "(presets)"), "{problem:?}");
            continue;
        };
        let lines = texts[number].split('\n').count();
        assert!((1..=lines).contains(&place.line), "{lines} lines: {problem:?}");
    }
}

fn a_file_over_itself_changes_nothing(texts: &[&str], loaded: &Loaded) {
    let [text] = texts else { return };
    let source = Source { name: "0.toml".to_owned(), text: (*text).to_owned() };
    let twice = load_texts(&[source.clone(), source]);
    assert_eq!(format!("{:?}", twice.config), format!("{:?}", loaded.config));
    let news = |problem: &&Problem| !loaded.problems.contains(problem);
    assert_eq!(twice.problems.iter().find(news), None);
}

/// Neither in a file of its own nor at the end or amid another, which may be broken, or make one text of it.
fn no_problem_repeats_a_secret(texts: &[&str]) {
    if texts.iter().any(|text| text.contains("told")) {
        return;
    }
    let mut with_tenant = texts.to_vec();
    with_tenant.push(TENANT);
    let ended = format!("{}\n{TENANT}", texts[0]);
    let amid = format!("{ended}{}", texts.last().copied().unwrap_or_default());
    for texts in [with_tenant, vec![&ended], vec![&amid]] {
        let loaded = read(&texts);
        let told: Vec<String> =
            loaded.problems.iter().map(|problem| format!("{problem} {problem:?}")).collect();
        assert!(!told.iter().any(|told| told.contains(SECRET)), "{told:#?}");
        assert!(!format!("{:?}", loaded.config).contains(SECRET));
    }
}
