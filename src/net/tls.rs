//! Whom we trust: the system's certificate authorities, and those that configuration adds.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{SHA256, digest};
use prometheus_client::metrics::counter::Counter;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use crate::files::{self, Contents, FileError};
use crate::supervisor::Heartbeat;

/// Why no TLS configuration could be made.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The extra CA file cannot be read.
    #[error("cannot read {}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: FileError,
    },
    /// The extra CA file is not PEM.
    #[error("cannot read certificates from {}", path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The extra CA file holds something that is not a certificate authority, or nothing at all.
    #[error("{} holds no usable certificate", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The system's certificates do not come, from where `SSL_CERT_FILE` says or elsewhere.
    #[error("cannot read the system's certificates")]
    System(#[source] FileError),
    /// The library refused its own defaults.
    #[error("cannot set up TLS")]
    Setup(#[from] rustls::Error),
}

/// A bundle of all public authorities has a quarter of this.
const MOST_BYTES: usize = 1024 * 1024;

/// What connections to the outside trust: the system's roots (which honour `SSL_CERT_FILE`) as they were at the start,
/// and those of an extra file as they are now. On a system without a certificate store, as in an empty container image,
/// Mozilla's roots as compiled in take its place. Clones share what they trust.
#[derive(Clone)]
pub struct Trust {
    system: Arc<RootCertStore>,
    ca_file: Option<PathBuf>,
    seen: Option<Digest>,
    current: Arc<ArcSwap<Configs>>,
}

/// What a new connection goes by.
struct Configs {
    any: Arc<ClientConfig>,
    /// Offers no HTTP/2.
    http1: Arc<ClientConfig>,
}

/// A digest of what was read of the extra file.
type Digest = [u8; 32];

impl Trust {
    /// Reads all roots; keeps this thread waiting for them.
    pub fn read(ca_file: Option<&Path>) -> Result<Self, TlsError> {
        let system = Arc::new(system_roots()?);
        let contents = ca_file.map(|path| (path, files::read_now(path, MOST_BYTES)));
        let (roots, seen) = match contents {
            Some((path, read)) => {
                let contents = read.map_err(|source| TlsError::CaFile { path: path.to_owned(), source })?;
                (with_more(&system, path, &contents)?, Some(digest_of(&contents)))
            }
            None => (RootCertStore::clone(&system), None),
        };
        let current = Arc::new(ArcSwap::from_pointee(configs(roots)?));
        Ok(Self { system, ca_file: ca_file.map(Path::to_owned), seen, current })
    }

    /// What a new connection goes by.
    pub(super) fn current(&self, offers_http2: bool) -> Arc<ClientConfig> {
        let current = self.current.load();
        if offers_http2 { current.any.clone() } else { current.http1.clone() }
    }

    /// Looks at the extra file every now and then, for as long as it is polled. What is new in it is for new connections;
    /// what cannot be used leaves the old in place: that is logged once, and counted each time it is found.
    pub async fn keep_fresh(self, pause: Duration, failures: Counter, heartbeat: Heartbeat) {
        let Some(path) = self.ca_file.clone() else { return std::future::pending().await };
        let mut seen = self.seen.ok_or_else(String::new);
        let mut is_usable = true;
        loop {
            tokio::time::sleep(pause).await;
            let _busy = heartbeat.busy();
            let read = files::read(&path, MOST_BYTES).await;
            let now = read.as_ref().map(digest_of).map_err(ToString::to_string);
            if now != seen {
                seen = now;
                let adopted = self.adopt(&path, read);
                is_usable = adopted.is_ok();
                if let Err(error) = adopted {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "the CA file cannot be used; what was trusted before stays so");
                }
            }
            if !is_usable {
                failures.inc();
            }
        }
    }

    fn adopt(&self, path: &Path, read: Result<Contents, FileError>) -> Result<(), TlsError> {
        let contents = read.map_err(|source| TlsError::CaFile { path: path.to_owned(), source })?;
        self.current.store(Arc::new(configs(with_more(&self.system, path, &contents)?)?));
        tracing::info!(path = %path.display(), "the CA file has changed; new connections go by it");
        Ok(())
    }
}

/// Finds out whether a file of extra authorities can be used, without the system's.
pub fn check_file(path: &Path) -> Result<(), TlsError> {
    let read = files::read_now(path, MOST_BYTES);
    let contents = read.map_err(|source| TlsError::CaFile { path: path.to_owned(), source })?;
    with_more(&RootCertStore::empty(), path, &contents).map(drop)
}

fn configs(roots: RootCertStore) -> Result<Configs, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut http1 = config.clone();
    http1.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Configs { any: Arc::new(config), http1: Arc::new(http1) })
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    // They are files too, and SSL_CERT_FILE may name one that does not return. Whom that one trusts is not known then,
    // so that no other list may take its place.
    let native = files::run_now(Path::new("(the system's certificates)"), || {
        Ok(rustls_native_certs::load_native_certs())
    })
    .map_err(TlsError::System)?;
    for error in &native.errors {
        tracing::warn!(%error, "a certificate of the system's store cannot be read");
    }
    roots.add_parsable_certificates(native.certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    Ok(roots)
}

fn with_more(system: &RootCertStore, path: &Path, contents: &Contents) -> Result<RootCertStore, TlsError> {
    let failed = |source| TlsError::NotPem { path: path.to_owned(), source };
    let certificates =
        CertificateDer::pem_slice_iter(contents.bytes()).collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let mut roots = system.clone();
    match roots.add_parsable_certificates(certificates) {
        (0, _) => Err(TlsError::NoCertificate { path: path.to_owned() }),
        (_added, _ignored) => Ok(roots),
    }
}

fn digest_of(contents: &Contents) -> Digest {
    let mut own = [0; 32];
    own.copy_from_slice(digest(&SHA256, contents.bytes()).as_ref());
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_without_a_certificate_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("company-ca.pem");
        std::fs::write(&path, "not PEM at all").unwrap();
        let error = Trust::read(Some(&path)).map(drop).unwrap_err().to_string();
        assert!(error.contains("company-ca.pem"), "{error}");
    }

    #[test]
    fn a_missing_ca_file_is_named() {
        let error = Trust::read(Some(Path::new("/nowhere/ca.pem"))).map(drop).unwrap_err().to_string();
        assert!(error.contains("/nowhere/ca.pem"), "{error}");
    }
}
