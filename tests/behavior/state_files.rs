//! State files: each belongs to the credential that wrote it, and to no other.

use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, RandomizedNonceKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Salt};
use zoho_sidecar::emulator::Scenario;

use crate::world::{USERS, World};

/// Two organisations of one client secret, in two data centres.
fn one_client_secret() -> Scenario {
    let shipped = include_str!("../../config/emulator.toml");
    let text = shipped.replace("emulated-secret-globex", "emulated-secret-acme");
    assert_ne!(text, shipped);
    Scenario::parse(&text).unwrap()
}

fn with_directory(directory: &Path) -> String {
    format!("[state]\ndirectory = \"{}\"\n", directory.display())
}

fn state_files(directory: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|ending| ending == "state")).collect()
}

fn adopted(world: &World, tenant: &str) -> Option<f64> {
    world.metric(&format!(r#"zoho_sidecar_token_mints_total{{tenant="{tenant}",outcome="adopted"}}"#))
}

fn unusable(world: &World) -> f64 {
    world.metric(r#"zoho_sidecar_file_reads_failed_total{kind="state"}"#).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_tenant_is_never_served_with_the_token_of_another_whose_state_file_took_the_place_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let making = || World::making().tenants(&["acme", "globex"]).config(&with_directory(directory.path()));
    let world = making().scenario(one_client_secret()).await_first_token().await;
    world.passes(Duration::from_secs(1)).await;
    assert_eq!(world.mints(), 2);
    let [one, other] = state_files(directory.path()).try_into().expect("a file for each credential");
    let world = making().after(world.crash()).await_first_token().await;
    world.passes(Duration::from_secs(1)).await;
    let own = |world: &World| (adopted(world, "acme"), adopted(world, "globex"), world.mints());
    assert_eq!(own(&world), (Some(1.0), Some(1.0), 2), "each finds its own");

    let shared = world.crash();
    let aside = directory.path().join("aside");
    std::fs::rename(&one, &aside).unwrap();
    std::fs::rename(&other, &one).unwrap();
    std::fs::rename(&aside, &other).unwrap();
    let world = making().after(shared).await_first_token().await;
    world.passes(Duration::from_secs(1)).await;

    assert_eq!(own(&world), (None, None, 4), "both tokens are new");
    for (tenant, person) in [("acme", "ada@acme.example"), ("globex", "gus@globex.example")] {
        let answer = world.get_with(USERS, &[("x-zoho-tenant", tenant)]).await;
        answer.assert_status(200);
        assert!(answer.text().contains(person), "{tenant}");
    }
    assert!(unusable(&world) > 1.5);
}

#[tokio::test(start_paused = true)]
async fn a_stored_token_for_another_api_host_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let config = with_directory(directory.path());
    let world = World::with(&config).await;
    world.get(USERS).await.assert_status(200);
    let calls = world.calls();

    let moved = "[data_centers.us]\napi = \"https://api.example.com\"\n";
    let world = World::making().config(&config).config(moved).after(world.crash()).start().await;

    let refused = world.get(USERS).await;
    refused.assert_status(503);
    assert_eq!(refused.code(), "SIDECAR_TOKEN_UNAVAILABLE");
    assert!(world.ask_admin("/readyz").text.contains("wrong_data_center"));
    assert_eq!((adopted(&world, "acme"), world.calls()), (None, calls), "the token goes to no other host");
}

struct KeyLength;

impl KeyType for KeyLength {
    fn len(&self) -> usize {
        32
    }
}

/// A state file as the first version wrote them: sealed with the client secret alone.
fn of_version_1(client_secret: &str, plain: &str) -> Vec<u8> {
    const PURPOSE: &[u8] = b"zoho-sidecar token state 1";
    let mut key = [0; 32];
    let secret = Salt::new(HKDF_SHA256, b"zoho-sidecar").extract(client_secret.as_bytes());
    secret.expand(&[PURPOSE], KeyLength).unwrap().fill(&mut key).unwrap();
    let (cipher, mut text) =
        (RandomizedNonceKey::new(&AES_256_GCM, &key).unwrap(), plain.as_bytes().to_vec());
    let nonce = cipher.seal_in_place_append_tag(Aad::from(PURPOSE), &mut text).unwrap();
    [&nonce.as_ref()[..], &text].concat()
}

#[tokio::test(start_paused = true)]
async fn of_a_state_file_of_the_first_version_only_the_mints_count() {
    for (mints, is_spent) in [(1, false), (6, true)] {
        let directory = tempfile::tempdir().unwrap();
        let config = with_directory(directory.path());
        let world = World::with(&config).await;
        world.passes(Duration::from_secs(1)).await;
        let (now, own) = (world.wall_ms(), world.mints());
        let [file] = state_files(directory.path()).try_into().expect("one file");
        let times: Vec<String> = (0..mints).map(|n| (now - 1_000 * n).to_string()).collect();
        let plain = format!(
            r#"{{"version":1,"generation":9,"token":{{"value":"1000.made-up","minted_ms":{now},"expires_ms":{}}},"mints":[{}]}}"#,
            now + 3_600_000,
            times.join(",")
        );
        std::fs::write(&file, of_version_1(&world.acme().client_secret(), &plain)).unwrap();

        let world = World::making().config(&config).after(world.crash()).start().await;

        assert_eq!((adopted(&world, "acme"), world.mints() - own), (None, usize::from(!is_spent)), "{mints}");
        let ready = world.ask_admin("/readyz").text;
        assert_eq!(ready.contains("budget_spent"), is_spent, "{mints}: {ready}");
        if !is_spent {
            world.get(USERS).await.assert_status(200);
        }
        assert!(unusable(&world) < 0.5, "it is no failure");
    }
}
