//! TLS towards callers: the certificate that is shown, the certificates that are asked for, and exchanging both
//! while connections go on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{Context, SHA256};
use prometheus_client::metrics::counter::Counter;
use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, ServerConnection};
use tokio_rustls::TlsAcceptor;

use crate::files::{self, Contents, FileError};
use crate::net::http1::Versions;
use crate::net::peer::{Peer, SubjectName};
use crate::supervisor::Heartbeat;

/// How TLS is spoken.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A PEM file with the certificate and those that lead to its authority.
    pub certificate: PathBuf,
    /// A PEM file with its key.
    pub private_key: PathBuf,
    /// Whether callers show certificates, and whose.
    pub clients: Clients,
    /// How often the files are looked at for a change.
    pub poll: Duration,
}

/// Whether callers show certificates. Each that is shown must be signed by one of the authorities in a PEM file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Clients {
    /// They are not asked for one.
    Unasked,
    /// They may.
    Optional(PathBuf),
    /// They must.
    Required(PathBuf),
}

/// Why TLS cannot be spoken. Never holds anything of a key.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: FileError,
    },
    /// A file that should hold certificates holds none, or a broken one.
    #[error("{} holds no usable certificate", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// A file that should hold a key holds none.
    #[error("{} holds no usable private key", path.display())]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key do not fit each other, or are of a kind that is not spoken.
    #[error("the certificate and the private key cannot be used together")]
    Pair(#[source] rustls::Error),
    /// There are no keys for tickets, by which a caller that comes again saves a handshake.
    #[error("no keys for session tickets can be made")]
    Tickets(#[source] rustls::Error),
    /// The authorities of callers cannot be used.
    #[error("the authorities for callers' certificates cannot be used")]
    Clients(#[source] VerifierBuilderError),
}

/// What is counted.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Handshakes that failed, or took too long.
    pub failed: Counter,
    /// Changed files that were taken over.
    pub renewed: Counter,
    /// Changed files that could not be.
    pub unusable: Counter,
    /// Reads of the files that failed.
    pub unread: Counter,
}

/// TLS as it is spoken now.
pub(super) struct Tls {
    settings: Settings,
    current: ArcSwap<ServerConfig>,
    seen: Seen,
    pub(super) counts: Counts,
}

/// A digest of the files that were looked at last.
type Seen = [u8; 32];

/// The files' contents.
struct Files {
    certificate: Contents,
    private_key: Contents,
    authorities: Option<Contents>,
}

/// A bundle of all public authorities has a quarter of this.
const MOST_BYTES: usize = 1024 * 1024;

impl Tls {
    pub(super) fn new(settings: Settings) -> Result<Self, TlsError> {
        let files = Files::read_now(&settings)?;
        let current = ArcSwap::new(server_config(&settings, &files)?);
        Ok(Self { seen: files.digest(), settings, current, counts: Counts::default() })
    }

    pub(super) fn counting(self, counts: Counts) -> Self {
        Self { counts, ..self }
    }

    /// Speaks TLS on a new connection, as the files say now.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }

    /// Looks at the files every now and then, for as long as it is polled. New ones are for new connections;
    /// ones that cannot be used leave the old ones in place, which is told once. They are looked at once more
    /// before that: one file may have been replaced and the other not yet.
    pub(super) async fn keep_fresh(self: Arc<Self>, heartbeat: Heartbeat) {
        let mut seen = Ok(self.seen);
        let mut half_replaced = None;
        loop {
            tokio::time::sleep(self.settings.poll).await;
            let _busy = heartbeat.busy();
            let files = Files::read(&self.settings).await;
            if files.is_err() {
                self.counts.unread.inc();
            }
            let now = files.as_ref().map(Files::digest).map_err(TlsError::path);
            if now == seen {
                continue;
            }
            let made = files.and_then(|files| server_config(&self.settings, &files));
            if made.is_err() && half_replaced.as_ref() != Some(&now) {
                half_replaced = Some(now);
                continue;
            }
            seen = now;
            match made {
                Ok(config) => {
                    self.current.store(config);
                    self.counts.renewed.inc();
                    tracing::info!("the certificate files have changed; new connections go by them");
                }
                Err(error) => {
                    self.counts.unusable.inc();
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "changed certificate files cannot be used; the old ones stay"
                    );
                }
            }
        }
    }
}

impl TlsError {
    /// The file it is about, if it is about one.
    fn path(&self) -> Option<PathBuf> {
        match self {
            Self::File { path, .. } | Self::NoCertificate { path } | Self::NoKey { path } => {
                Some(path.clone())
            }
            Self::Pair(_) | Self::Tickets(_) | Self::Clients(_) => None,
        }
    }
}

impl Files {
    async fn read(settings: &Settings) -> Result<Self, TlsError> {
        let read = async |path: &PathBuf| {
            let failed = |source| TlsError::File { path: path.clone(), source };
            files::read(path, MOST_BYTES).await.map_err(failed)
        };
        Ok(Self {
            certificate: read(&settings.certificate).await?,
            private_key: read(&settings.private_key).await?,
            authorities: match settings.clients.authorities() {
                Some(path) => Some(read(path).await?),
                None => None,
            },
        })
    }

    /// The same where nothing is served yet: keeps this thread waiting for the files.
    fn read_now(settings: &Settings) -> Result<Self, TlsError> {
        let read = |path: &PathBuf| {
            let failed = |source| TlsError::File { path: path.clone(), source };
            files::read_now(path, MOST_BYTES).map_err(failed)
        };
        Ok(Self {
            certificate: read(&settings.certificate)?,
            private_key: read(&settings.private_key)?,
            authorities: settings.clients.authorities().map(read).transpose()?,
        })
    }

    fn digest(&self) -> Seen {
        let mut context = Context::new(&SHA256);
        let files = [Some(&self.certificate), Some(&self.private_key), self.authorities.as_ref()];
        for file in files.into_iter().flatten().map(Contents::bytes) {
            context.update(&(file.len() as u64).to_be_bytes());
            context.update(file);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        digest
    }
}

impl Clients {
    fn authorities(&self) -> Option<&PathBuf> {
        match self {
            Self::Unasked => None,
            Self::Optional(path) | Self::Required(path) => Some(path),
        }
    }
}

/// Checks that TLS could be spoken with these settings now.
pub fn check(settings: &Settings) -> Result<(), TlsError> {
    server_config(settings, &Files::read_now(settings)?).map(drop)
}

/// TLS 1.2 and 1.3, and HTTP/2 or HTTP/1.1 by ALPN (RFC 7301).
fn server_config(settings: &Settings, files: &Files) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(&settings.certificate, files.certificate.bytes())?;
    let no_key = |_| TlsError::NoKey { path: settings.private_key.clone() };
    let key = PrivateKeyDer::from_pem_slice(files.private_key.bytes()).map_err(no_key)?;
    let provider = Arc::new(default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .expect("the provider has cipher suites and key exchanges for TLS 1.2 and 1.3");
    let builder = match (settings.clients.authorities(), &files.authorities) {
        (Some(path), Some(pem)) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path, pem.bytes())? {
                roots.add(certificate).map_err(|_| TlsError::NoCertificate { path: path.clone() })?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match settings.clients {
                Clients::Required(_) => verifier,
                Clients::Unasked | Clients::Optional(_) => verifier.allow_unauthenticated(),
            };
            builder.with_client_cert_verifier(verifier.build().map_err(TlsError::Clients)?)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(TlsError::Pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if settings.clients == Clients::Unasked {
        // Whoever comes again saves a handshake. The tickets' keys rotate.
        config.ticketer = Ticketer::new().map_err(TlsError::Tickets)?;
    } else {
        // A resumed session would be its caller's still after its certificate has ended.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let none = || TlsError::NoCertificate { path: path.to_owned() };
    let read = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().map_err(|_| none())?;
    if read.is_empty() { Err(none()) } else { Ok(read) }
}

/// Who is at the other end, by the certificate that rustls has verified.
pub(super) fn peer(connection: &ServerConnection) -> Peer {
    let shown = connection.peer_certificates().and_then(<[_]>::first);
    let names = shown.map(names_in).unwrap_or_default();
    Peer { is_tls: true, uid: None, names }
}

/// Which versions of HTTP may be spoken after ALPN: what was negotiated, or any if nothing was.
pub(super) fn versions(connection: &ServerConnection) -> Versions {
    match connection.alpn_protocol() {
        Some(b"h2") => Versions::Http2,
        Some(_) => Versions::Http1,
        None => Versions::Any,
    }
}

fn names_in(certificate: &CertificateDer<'_>) -> Vec<SubjectName> {
    let Ok(certificate) = webpki::EndEntityCert::try_from(certificate) else { return Vec::new() };
    let hosts = certificate.valid_dns_names().map(SubjectName::dns);
    let uris = certificate.valid_uri_names().map(|uri| SubjectName::Uri(uri.to_owned()));
    hosts.chain(uris).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_cannot_be_used_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let one = rcgen::generate_simple_self_signed(["one.example".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["other.example".to_owned()]).unwrap();
        fs::write(at("one.pem"), one.cert.pem()).unwrap();
        fs::write(at("one.key"), one.signing_key.serialize_pem()).unwrap();
        fs::write(at("other.key"), other.signing_key.serialize_pem()).unwrap();
        let settings = |certificate: &str, private_key: &str, clients| Settings {
            certificate: at(certificate),
            private_key: at(private_key),
            clients,
            poll: Duration::from_secs(1),
        };
        let told = |settings| check(&settings).map_err(|error| error.to_string());
        assert_eq!(told(settings("one.pem", "one.key", Clients::Unasked)), Ok(()));
        assert_eq!(told(settings("one.pem", "one.key", Clients::Required(at("one.pem")))), Ok(()));
        for (certificate, key, clients, part) in [
            ("none.pem", "one.key", Clients::Unasked, "cannot read"),
            ("one.key", "one.key", Clients::Unasked, "one.key holds no usable certificate"),
            ("one.pem", "one.pem", Clients::Unasked, "one.pem holds no usable private key"),
            ("one.pem", "other.key", Clients::Unasked, "cannot be used together"),
            ("one.pem", "one.key", Clients::Optional(at("one.key")), "one.key holds no usable certificate"),
        ] {
            let error = told(settings(certificate, key, clients)).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
