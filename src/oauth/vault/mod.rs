//! Where a credential's living token and its mint times outlive the process.
//!
//! One file per credential, readable by its owner only, written to the side and renamed into place,
//! encrypted with a key derived from the client secret, and bound to the whole credential: the file of another one that
//! has the same client secret cannot take its place. Several sidecars may share the directory: a lock file is held while
//! a token is minted, so that the second finds the first one's token.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;

use super::identity::Identity;
use super::kept::Kept;
use super::sealing::Seal;
use crate::files::{self, Contents, FileError};

/// Why the state cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum VaultError {
    #[error("cannot {what} {}", path.display())]
    Io {
        what: &'static str,
        path: PathBuf,
        #[source]
        source: FileError,
    },
    #[error("{} was not written by this credential, or by a later version, or was changed since", path.display())]
    Unreadable { path: PathBuf },
}

impl VaultError {
    /// Whether the file system has not come back with an answer.
    pub(super) fn has_not_returned(&self) -> bool {
        matches!(self, Self::Io { source: FileError::NotReturned(_), .. })
    }
}

/// The state file of one credential.
#[derive(Clone)]
pub(super) struct Vault {
    file: PathBuf,
    lock: PathBuf,
    seals: Arc<Seals>,
}

struct Seals {
    current: Seal,
    version_1: Seal,
}

/// What a state file was found to hold.
pub(super) struct Found {
    pub(super) kept: Kept,
    /// True if an earlier version of the sidecar wrote it. Then only its mint times are there.
    pub(super) is_outdated: bool,
}

/// Held while a token is minted; given back on drop, and by the kernel when the process dies.
pub(super) struct MintLock(Option<File>);

impl Drop for MintLock {
    /// Giving a lock back may take as long as any other operation on a network file system.
    fn drop(&mut self) {
        let file = self.0.take();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || drop(file));
        }
    }
}

/// How often a lock that another process holds is tried again, and for how long.
const LOCK_INTERVAL: Duration = Duration::from_millis(50);
const LOCK_LIMIT: Duration = Duration::from_secs(2);

/// A state file has some hundred bytes.
const MOST_BYTES: usize = 64 * 1024;

impl Vault {
    /// The vault of a credential in `directory`. The file's name tells nothing about the credential.
    pub(super) fn new(directory: &Path, identity: &Identity, client_secret: &SecretString) -> Self {
        let name = format!("token-{}", identity.file_name());
        Self {
            file: directory.join(format!("{name}.state")),
            lock: directory.join(format!("{name}.lock")),
            seals: Arc::new(Seals {
                current: Seal::of(identity, client_secret),
                version_1: Seal::of_version_1(client_secret),
            }),
        }
    }

    /// Where it lies.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// Waits until no other sidecar mints with this credential, but not for long: whatever holds the lock, a token is
    /// needed. `None` if it was waited for in vain.
    pub(super) async fn lock(&self) -> Result<Option<MintLock>, VaultError> {
        let mut waited = Duration::ZERO;
        loop {
            let this = self.clone();
            let locked = files::run(&self.lock, move || this.try_lock_now()).await;
            let locked = locked.map_err(|source| failed("lock", &self.lock, source))?;
            if locked.is_some() {
                return Ok(locked);
            }
            if waited >= LOCK_LIMIT {
                let lock = self.lock.display();
                tracing::warn!(%lock, "another process holds this lock for long; going on without it, which may cost a mint");
                return Ok(None);
            }
            tokio::time::sleep(LOCK_INTERVAL).await;
            waited += LOCK_INTERVAL;
        }
    }

    /// Reads what is kept; nothing if there is no file yet.
    pub(super) async fn load(&self) -> Result<Found, VaultError> {
        let this = self.clone();
        let sealed = files::run(&self.file, move || this.read_now()).await;
        match sealed.map_err(|source| failed("read", &self.file, source))? {
            None => Ok(Found { kept: Kept::default(), is_outdated: false }),
            Some(sealed) => {
                self.unsealed(&sealed).ok_or_else(|| VaultError::Unreadable { path: self.file.clone() })
            }
        }
    }

    /// Replaces what is kept, and gives what was written. The lock may not be held, or may not keep others out on a
    /// network file system: so what the file has that this process does not know of stays in it, that is mints other
    /// than those `known` to have been there, and a newer token.
    pub(super) async fn store(&self, kept: Kept, known: Vec<u64>) -> Result<Kept, VaultError> {
        let this = self.clone();
        let stored = files::run(&self.file, move || this.store_now(kept, &known)).await;
        stored.map_err(|source| failed("write", &self.file, source))
    }

    fn read_now(&self) -> Result<Option<Contents>, FileError> {
        match files::open_regular(OpenOptions::new().read(true), &self.file) {
            Err(FileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            opened => files::read_open(opened?, MOST_BYTES).map(Some),
        }
    }

    fn unsealed(&self, sealed: &Contents) -> Option<Found> {
        if let Some(plain) = self.seals.current.open(sealed.bytes()) {
            return Some(Found { kept: Kept::read(&plain)?, is_outdated: false });
        }
        let plain = self.seals.version_1.open(sealed.bytes())?;
        Some(Found { kept: Kept::read_of_version_1(&plain)?, is_outdated: true })
    }

    fn try_lock_now(&self) -> Result<Option<MintLock>, FileError> {
        self.make_directory()?;
        let file = files::open_regular(private(OpenOptions::new().create(true).truncate(false)), &self.lock)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(MintLock(Some(file)))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    fn store_now(&self, kept: Kept, known: &[u64]) -> Result<Kept, FileError> {
        self.make_directory()?;
        let in_file = self.read_now().ok().flatten().and_then(|sealed| self.unsealed(&sealed));
        let kept = kept.joined_with(in_file.map(|found| found.kept).unwrap_or_default(), known);
        let sealed = self.seals.current.seal(kept.written());
        let beside = self.file.with_extension(format!("state.{:016x}", random()));
        // A new file of our own: never one that somebody else put there, nor what a link points to.
        let written = private(OpenOptions::new().create_new(true))
            .open(&beside)
            .and_then(|mut file| file.write_all(&sealed).and_then(|()| file.sync_all()))
            .and_then(|()| std::fs::rename(&beside, &self.file));
        if written.is_err() {
            let _ = std::fs::remove_file(&beside);
        }
        written?;
        Ok(kept)
    }

    fn make_directory(&self) -> Result<(), FileError> {
        let directory = self.file.parent().expect("the file was joined to a directory");
        Ok(std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?)
    }
}

fn failed(what: &'static str, path: &Path, source: FileError) -> VaultError {
    VaultError::Io { what, path: path.to_owned(), source }
}

/// A part of a file's name that no other process chooses, be it in another container with the same number.
fn random() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness the name is taken, and writing says so.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    u64::from_be_bytes(bytes)
}

fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options.write(true).mode(0o600)
}

#[cfg(test)]
mod upgrade;

#[cfg(test)]
mod tests {
    use super::super::kept::KeptToken;
    use super::*;
    use aws_lc_rs::aead::NONCE_LEN;
    use secrecy::ExposeSecret;
    use std::os::unix::fs::PermissionsExt;

    fn vault(directory: &Path, secret: &str) -> Vault {
        vault_of(directory, ["1000.MADEUP", "1000.made-up", "https://accounts.zoho.eu", "production"], secret)
    }

    fn vault_of(directory: &Path, credential: [&str; 4], secret: &str) -> Vault {
        let [client_id, refresh_token, accounts, environment] = credential;
        let identity = Identity::of(client_id, &SecretString::from(refresh_token), accounts, environment);
        Vault::new(directory, &identity, &SecretString::from(secret))
    }

    fn kept() -> Kept {
        let token = KeptToken {
            value: SecretString::from("1000.made-up-token"),
            minted_ms: 10,
            expires_ms: 20,
            api_domain: Some("https://www.zohoapis.eu".to_owned()),
        };
        Kept { generation: 7, token: Some(token), mints: vec![10] }
    }

    #[tokio::test]
    async fn what_is_stored_is_loaded_again() {
        let directory = tempfile::tempdir().unwrap();
        let vault = vault(&directory.path().join("deep/er"), "made-up-secret");
        assert_eq!(vault.load().await.unwrap().kept.generation, 0);
        vault.store(kept(), Vec::new()).await.unwrap();
        let Found { kept: loaded, is_outdated } = vault.load().await.unwrap();
        assert_eq!((loaded.generation, loaded.mints, is_outdated), (7, vec![10], false));
        let token = loaded.token.unwrap();
        assert_eq!(token.value.expose_secret(), "1000.made-up-token");
        assert_eq!(token.api_domain.as_deref(), Some("https://www.zohoapis.eu"));
    }

    #[tokio::test]
    async fn the_file_shows_nothing_and_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let vault = vault(directory.path(), "made-up-secret");
        vault.store(kept(), Vec::new()).await.unwrap();
        let bytes = std::fs::read(&vault.file).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"made-up"));
        let mode = std::fs::metadata(&vault.file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!vault.file.to_string_lossy().contains("made-up"));
    }

    #[tokio::test]
    async fn a_changed_file_or_another_secret_is_refused_and_never_a_panic() {
        let directory = tempfile::tempdir().unwrap();
        let ours = vault(directory.path(), "made-up-secret");
        ours.store(kept(), Vec::new()).await.unwrap();
        let theirs = vault(directory.path(), "another-made-up-secret");
        assert!(matches!(theirs.load().await, Err(VaultError::Unreadable { .. })));

        let good = std::fs::read(&ours.file).unwrap();
        for at in [0, NONCE_LEN, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&ours.file, &bad).unwrap();
            assert!(ours.load().await.is_err(), "byte {at}");
        }
        for length in [0, 5, NONCE_LEN, good.len() - 1] {
            std::fs::write(&ours.file, &good[..length]).unwrap();
            assert!(ours.load().await.is_err(), "{length} bytes");
        }
    }

    #[tokio::test]
    async fn what_another_process_stored_since_the_file_was_read_stays_in_it() {
        let directory = tempfile::tempdir().unwrap();
        let (ours, theirs) =
            (vault(directory.path(), "made-up-secret"), vault(directory.path(), "made-up-secret"));
        ours.store(kept(), Vec::new()).await.unwrap();
        let other = Kept { generation: 8, mints: vec![10, 20], ..kept() };
        theirs.store(other, vec![10]).await.unwrap();

        let older = Kept { mints: vec![30], token: None, ..kept() };
        let written = ours.store(older, vec![10]).await.unwrap();

        let loaded = ours.load().await.unwrap().kept;
        assert_eq!((loaded.generation, &loaded.mints), (8, &vec![30, 20]), "10 is over, 20 was not known");
        assert!(loaded.token.is_some());
        assert_eq!((written.generation, written.mints), (8, loaded.mints));
    }

    #[tokio::test]
    async fn a_file_of_another_version_is_not_adopted() {
        let directory = tempfile::tempdir().unwrap();
        let vault = vault(directory.path(), "made-up-secret");
        let mut plain = kept().written();
        assert!(plain.starts_with(b"{\"version\":2,"));
        plain[11] = b'3';
        std::fs::write(&vault.file, vault.seals.current.seal(plain)).unwrap();
        assert!(matches!(vault.load().await, Err(VaultError::Unreadable { .. })));
    }

    #[tokio::test]
    async fn a_file_opens_only_for_the_credential_that_wrote_it() {
        let ours = ["1000.MADEUP", "1000.made-up", "https://accounts.zoho.eu", "production"];
        for (n, other) in
            ["1000.OTHER", "1000.made-up-too", "https://accounts.zoho.com", "sandbox"].iter().enumerate()
        {
            let mut theirs = ours;
            theirs[n] = other;
            let directory = tempfile::tempdir().unwrap();
            let [ours, theirs] = [ours, theirs].map(|of| vault_of(directory.path(), of, "made-up-secret"));
            ours.store(kept(), Vec::new()).await.unwrap();
            assert_ne!(ours.file, theirs.file, "{other}");
            std::fs::rename(&ours.file, &theirs.file).unwrap();
            assert!(matches!(theirs.load().await, Err(VaultError::Unreadable { .. })), "{other}");
            assert!(!ours.file.exists() && ours.load().await.unwrap().kept.token.is_none());
            // And is replaced by the first that is stored in its place.
            theirs.store(kept(), Vec::new()).await.unwrap();
            assert!(theirs.load().await.unwrap().kept.token.is_some(), "{other}");
        }
    }

    #[tokio::test]
    async fn of_a_file_of_version_1_the_mints_count_and_the_token_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let vault = vault(directory.path(), "made-up-secret");
        let old = br#"{"version":1,"generation":9,"token":{"value":"1000.made-up","minted_ms":10,"expires_ms":20},"mints":[10,20]}"#;
        std::fs::write(&vault.file, vault.seals.version_1.seal(old.to_vec().into())).unwrap();

        let found = vault.load().await.unwrap();
        assert!(found.is_outdated && found.kept.token.is_none());
        assert_eq!((found.kept.generation, &found.kept.mints), (0, &vec![10, 20]));

        let ours = Kept { mints: vec![30], ..kept() };
        vault.store(ours, Vec::new()).await.unwrap();
        let found = vault.load().await.unwrap();
        assert_eq!((found.is_outdated, found.kept.mints), (false, vec![30, 10, 20]));

        for junk in [&b"{}"[..], br#"{"version":1,"mints":7}"#, br#"{"version":2,"mints":[]}"#] {
            std::fs::write(&vault.file, vault.seals.version_1.seal(junk.to_vec().into())).unwrap();
            assert!(matches!(vault.load().await, Err(VaultError::Unreadable { .. })));
        }
    }

    #[tokio::test]
    async fn only_one_sidecar_mints_at_a_time() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) =
            (vault(directory.path(), "made-up-secret"), vault(directory.path(), "made-up-secret"));
        let held = one.lock().await.unwrap();
        assert!(held.is_some());
        assert!(other.lock().await.unwrap().is_none());
        drop(held);
        assert!(other.lock().await.unwrap().is_some());
    }

    #[tokio::test]
    async fn what_lies_at_the_place_of_the_state_is_neither_followed_nor_waited_for() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let directory = tempfile::tempdir().unwrap();
        let ours = vault(directory.path(), "made-up-secret");
        let elsewhere = directory.path().join("elsewhere");
        for path in [&ours.file, &ours.lock] {
            let refused = async || ours.load().await.is_err() || ours.lock().await.is_err();
            mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
            assert!(refused().await, "a FIFO at {}", path.display());
            std::fs::remove_file(path).unwrap();
            std::os::unix::fs::symlink(&elsewhere, path).unwrap();
            assert!(refused().await, "a link at {}", path.display());
            std::fs::remove_file(path).unwrap();
        }
        std::fs::write(&ours.file, vec![b'x'; MOST_BYTES + 1]).unwrap();
        let error = ours.load().await.map(drop).unwrap_err();
        assert!(matches!(error, VaultError::Io { source: FileError::TooLong(_), .. }), "{error:?}");
        ours.store(kept(), Vec::new()).await.unwrap();
        assert_eq!(ours.load().await.unwrap().kept.generation, kept().generation);
        assert!(!elsewhere.exists(), "no link was followed");
    }
}
