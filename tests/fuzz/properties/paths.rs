//! Path templates and what is read from paths. The bytes are lines, templates and paths in any order.

use std::time::Duration;

use http::Method;
use zoho_sidecar::cache::rule::Rule;
use zoho_sidecar::routes::template::Template;
use zoho_sidecar::routes::{Forgets, Route, Routes, Write};
use zoho_sidecar::zoho::composite::is_composite;
use zoho_sidecar::zoho::path::{Area, destination, has_dot_segment, has_encoded_control, with_plain_slashes};

/// More of them would only make it slow.
const MOST: usize = 8;

pub fn hold(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let lines = || text.lines();
    let templates: Vec<Template> = lines().filter_map(|line| line.parse().ok()).take(MOST).collect();
    let mut paths: Vec<String> =
        lines().filter(|line| line.starts_with('/')).take(MOST).map(str::to_owned).collect();
    paths.extend(templates.iter().map(instance));

    templates.iter().for_each(a_template_prints_as_it_reads);
    templates.iter().for_each(a_template_matches_what_it_describes);
    for path in &paths {
        a_with_plain_slashes_leaves_nothing_to_read(path);
        dots_and_controls_are_found_as_by_a_naive_reader(path);
        encoding_what_needs_none_changes_no_meaning(&templates, path);
        the_most_specific_route_wins_whatever_the_order(&templates, path);
        writes_forget_what_their_templates_say(&templates, path);
    }
}

fn a_template_prints_as_it_reads(template: &Template) {
    assert_eq!(template.to_string().parse().as_ref(), Ok(template));
}

/// A path that the template describes: `/crm/v8/users/7` for `GET /crm/{version}/users/{user}`.
fn instance(template: &Template) -> String {
    let text = template.to_string();
    let (_, path) = text.split_once(' ').expect("a template has a method and a path");
    let filled = path.split('/').map(|segment| match segment {
        "{version}" => "v8",
        name if name.starts_with('{') => "7",
        literal => literal,
    });
    filled.collect::<Vec<_>>().join("/")
}

fn a_template_matches_what_it_describes(template: &Template) {
    let path = instance(template);
    assert!(template.matches(&template.method, &path), "{template} is not {path}");
    assert!(!template.path.matches(&format!("{path}/more")), "{template} is more than {path}");
    assert!(!template.path.matches(&format!("{path}/")), "{template} is {path}/");
    assert!(!template.path.matches(&path[1..]), "{template} is no path");
}

fn a_with_plain_slashes_leaves_nothing_to_read(path: &str) {
    let mut naive = path.to_owned();
    for separator in ["%2f", "%2F", "%5c", "%5C", "\\"] {
        naive = naive.replace(separator, "/");
    }
    while naive.contains("//") {
        naive = naive.replace("//", "/");
    }
    assert_eq!(with_plain_slashes(path).as_deref().unwrap_or(path), naive);
    assert_eq!(with_plain_slashes(path).is_none(), naive == path, "{path}");
    assert_eq!(with_plain_slashes(&naive), None);
}

fn dots_and_controls_are_found_as_by_a_naive_reader(path: &str) {
    let plain = path.replace("%2e", ".").replace("%2E", ".");
    let has_dots = plain.split('/').any(|segment| {
        let name = segment.split(';').next().unwrap_or_default();
        name == "." || name == ".."
    });
    assert_eq!(has_dot_segment(path), has_dots, "{path}");

    let lower = path.to_ascii_lowercase();
    let has_control = (0..32).chain([127]).any(|code| lower.contains(&format!("%{code:02x}")));
    assert_eq!(has_encoded_control(path), has_control, "{path}");
}

/// RFC 3986 section 6.2.2.2: letters and digits mean the same encoded and plain.
fn encoding_what_needs_none_changes_no_meaning(templates: &[Template], path: &str) {
    if path.contains('%') {
        return;
    }
    let encode =
        |c: char| if c.is_ascii_alphanumeric() { format!("%{:02X}", u32::from(c)) } else { c.to_string() };
    let encoded: String = path.chars().map(encode).collect();
    for template in templates {
        assert_eq!(template.path.matches(path), template.path.matches(&encoded), "{template} {path}");
    }
    assert_eq!(Area::of(path), Area::of(&encoded), "{path}");
    assert_eq!(is_composite(path), is_composite(&encoded), "{path}");
    for method in [Method::GET, Method::POST] {
        assert_eq!(destination(&method, path), destination(&method, &encoded), "{method} {path}");
    }
}

fn the_most_specific_route_wins_whatever_the_order(templates: &[Template], path: &str) {
    let winner = |templates: Vec<&Template>, method: &Method| {
        let routes = Routes::new(templates.into_iter().map(route).collect(), Vec::new(), Vec::new());
        let has_twins = routes.twins().next().is_some();
        let winner = routes.route_of(method, path).map(|number| routes.route(number).template.clone());
        (!has_twins).then_some(winner)
    };
    let Some(found) = winner(templates.iter().collect(), &Method::GET) else { return };
    assert_eq!(winner(templates.iter().rev().collect(), &Method::GET), Some(found.clone()), "{path}");
    assert_eq!(winner(templates.iter().collect(), &Method::HEAD), Some(found.clone()), "{path}");
    let matching = templates.iter().filter(|template| template.matches(&Method::GET, path));
    assert_eq!(matching.min_by_key(|template| ranks(template)), found.as_ref(), "{path}");
}

fn route(template: &Template) -> Route {
    Route {
        name: template.to_string(),
        template: template.clone(),
        rule: Rule::lasting(Duration::from_secs(1)),
    }
}

/// Segment by segment: text before a version, a version before a name.
fn ranks(template: &Template) -> Vec<u8> {
    let rank = |segment: &str| match segment {
        "{version}" => 1,
        name if name.starts_with('{') => 2,
        _ => 0,
    };
    template.to_string().split('/').skip(1).map(rank).collect()
}

fn writes_forget_what_their_templates_say(templates: &[Template], path: &str) {
    let write = |(group, template): (usize, &Template)| Write {
        name: group.to_string(),
        templates: vec![template.clone()],
        forgets: vec![group],
        again_after: (group % 2 == 1).then_some(Duration::from_secs(60)),
    };
    let groups: Vec<String> = (0..templates.len()).map(|group| group.to_string()).collect();
    let routes = Routes::new(Vec::new(), templates.iter().enumerate().map(write).collect(), groups);
    for method in [Method::PUT, Method::POST, Method::DELETE] {
        let forgets = routes.forgotten_by(&method, path);
        let bare = path.strip_suffix('/').unwrap_or(path);
        let expected: Vec<usize> =
            (0..templates.len()).filter(|group| templates[*group].matches(&method, bare)).collect();
        assert_eq!(forgets.groups, expected, "{method} {path}");
        assert_eq!(routes.everything(), routes.everything().and(forgets), "{method} {path}");
    }
    for method in [Method::HEAD, Method::OPTIONS] {
        assert_eq!(routes.forgotten_by(&method, path), Forgets::default(), "{method} {path}");
    }
    // A read forgets only as the question how far a job has got.
    let poll = routes.forgotten_by(&Method::GET, path);
    assert!(poll.again_after.is_none() && poll.groups.iter().all(|group| group % 2 == 1), "{path}");
}
