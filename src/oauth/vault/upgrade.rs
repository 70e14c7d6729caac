//! A rolling upgrade: two versions of the sidecar share a state directory.

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::super::kept::KeptToken;
use super::*;

fn vault(directory: &Path) -> Vault {
    let refresh_token = SecretString::from("1000.made-up");
    let identity = Identity::of("1000.MADEUP", &refresh_token, "https://accounts.zoho.eu", "production");
    Vault::new(directory, &identity, &SecretString::from("made-up-secret"))
}

/// Stores a file as version 1 does, which cannot read the file of a later version.
fn store_as_version_1(vault: &Vault, mints: &[u64]) {
    let in_file = std::fs::read(&vault.file).ok();
    assert!(in_file.and_then(|sealed| vault.seals.version_1.open(&sealed)).is_none());
    let plain = format!(
        r#"{{"version":1,"generation":40,"token":{{"value":"1000.made-up-old","minted_ms":1,"expires_ms":9}},"mints":{mints:?}}}"#
    );
    let sealed = vault.seals.version_1.seal(Zeroizing::new(plain.into_bytes()));
    std::fs::write(&vault.file, sealed).unwrap();
}

#[tokio::test]
async fn while_an_earlier_version_writes_too_its_mints_count_and_each_version_keeps_its_token() {
    let directory = tempfile::tempdir().unwrap();
    let ours = vault(directory.path());
    let token = |value: &str| KeptToken {
        value: SecretString::from(value),
        minted_ms: 10,
        expires_ms: 20,
        api_domain: None,
    };
    let kept =
        |mints: &[u64]| Kept { generation: 7, token: Some(token("1000.made-up-new")), mints: mints.to_vec() };
    ours.store(kept(&[10]), Vec::new()).await.unwrap();

    store_as_version_1(&ours, &[20]);
    let found = ours.load().await.unwrap();
    assert!(found.is_outdated && found.kept.token.is_none(), "it is not adopted");
    assert_eq!(
        (found.kept.generation, &found.kept.mints),
        (0, &vec![20]),
        "so that ours is still the newest"
    );

    // Storing merges the mints that the other version has added in the meantime.
    let written = ours.store(kept(&[10, 30]), Vec::new()).await.unwrap();
    assert_eq!((written.generation, &written.mints), (7, &vec![10, 30, 20]));
    let found = ours.load().await.unwrap();
    assert!(!found.is_outdated && found.kept.token.is_some());

    store_as_version_1(&ours, &[20, 40]);
    let written = ours.store(kept(&[10, 30, 20]), vec![20]).await.unwrap();
    assert_eq!(written.mints, [10, 30, 20, 40]);
}

#[tokio::test]
async fn versions_share_the_lock_so_that_they_do_not_mint_at_the_same_time() {
    let directory = tempfile::tempdir().unwrap();
    let ours = vault(directory.path());
    // As an earlier version takes it, beside the state file.
    let other = File::create(ours.file.with_extension("lock")).unwrap();
    other.try_lock().unwrap();
    assert!(ours.lock().await.unwrap().is_none());
    drop(other);
    assert!(ours.lock().await.unwrap().is_some());
}
