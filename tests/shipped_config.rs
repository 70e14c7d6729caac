//! The configuration files that ship, to be copied by people, hold what they promise.

use std::path::{Path, PathBuf};

use zoho_sidecar::config::{self, Source};

/// Every configuration file for the sidecar that ships, from the root of the repository.
const SHIPPED: [&str; 4] = [
    "config/example.toml",
    "deploy/config/compose.toml",
    "deploy/config/kubernetes.toml",
    "deploy/config/systemd.toml",
];

#[test]
fn every_file_below_deploy_config_is_known_here() {
    let folder = std::fs::read_dir(at("deploy/config")).expect("deploy/config can be listed");
    for entry in folder {
        let name = entry.expect("deploy/config can be listed").file_name();
        let path = format!("deploy/config/{}", name.to_string_lossy());
        assert!(SHIPPED.contains(&path.as_str()), "{path} is missing in SHIPPED");
    }
}

#[test]
fn every_shipped_file_passes_check() {
    for path in SHIPPED {
        let loaded = config::load_texts(&[Source { name: path.to_owned(), text: read(path) }]);
        let told: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
        assert!(loaded.config.is_some(), "{}", told.join("\n\n"));
        // Secrets are not there where this runs, and Compose's are made up; all else is to be as it should.
        let odd = loaded.problems.iter().find(|problem| !problem.what.contains("secret"));
        assert!(
            odd.is_none_or(|problem| problem.what.contains("environment variable")),
            "{}",
            told.join("\n\n")
        );
    }
}

#[test]
fn the_image_is_made_of_nothing_that_a_tag_could_exchange() {
    let dockerfile = read("deploy/Dockerfile");
    let bases: Vec<&str> = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")).collect();
    assert!(bases.len() >= 2, "{bases:?}");
    for base in bases {
        let image = base.split(' ').next().unwrap();
        let digest = image.split_once("@sha256:").map(|(_, digest)| digest);
        let is_digest = |digest: &str| digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit());
        assert!(image == "scratch" || digest.is_some_and(is_digest), "{image} is not pinned");
    }
    // A frontend of its own would be an image, too.
    assert!(!dockerfile.contains("# syntax="), "the frontend is not pinned");
}

#[test]
fn every_preset_can_be_switched_on_and_any_other_is_told() {
    let tenant = "[tenants.acme]\ndata_center = \"us\"\nclient_id = \"1000.MADEUP\"\nclient_secret = \"made-up\"\nrefresh_token = \"made-up\"\n";
    let with = |presets: &str| {
        let text = format!("presets = [{presets}]\n{tenant}");
        config::load_texts(&[Source { name: "sidecar.toml".to_owned(), text }])
    };
    for (name, _) in config::PRESETS {
        let loaded = with(&format!("\"{name}\""));
        let told: Vec<String> = loaded.problems.iter().map(ToString::to_string).collect();
        assert!(loaded.config.is_some(), "{}", told.join("\n\n"));
        assert_eq!(told.len(), 2, "only the two literal secrets: {}", told.join("\n\n"));
    }
    let unknown = with("\"crm-records\"");
    assert!(unknown.config.is_none());
    assert!(unknown.problems.iter().any(|problem| problem.remedy.contains("crm-metadata")));
}

#[test]
fn kubernetes_yaml_holds_the_text_of_its_configuration_file() {
    let in_yaml = block(&read("deploy/kubernetes.yaml"), "  config.toml: |\n");
    assert_eq!(in_yaml.as_deref(), Some(read("deploy/config/kubernetes.toml").as_str()));
}

#[test]
fn a_block_is_what_is_indented_below_its_key() {
    let yaml = "data:\n  config.toml: |\n    [server]\n\n    [admin]\n      token = 1\n---\nkind: Secret\n";
    assert_eq!(block(yaml, "  config.toml: |\n").as_deref(), Some("[server]\n\n[admin]\n  token = 1\n"));
    assert_eq!(block(yaml, "  other.toml: |\n"), None);
}

/// The block literal below a key that is indented by two.
fn block(yaml: &str, key: &str) -> Option<String> {
    let (_, below) = yaml.split_once(key)?;
    let inside = below.split_inclusive('\n').take_while(|line| *line == "\n" || line.starts_with("    "));
    Some(inside.map(|line| line.strip_prefix("    ").unwrap_or(line)).collect())
}

fn read(path: &str) -> String {
    std::fs::read_to_string(at(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn at(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
