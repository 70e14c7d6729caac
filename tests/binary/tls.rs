//! TLS towards callers: what is spoken, who is known by it, and exchanging certificates while it goes on.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use http::Request;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use zoho_sidecar::net::body::Body;

use crate::caller::{Answer, Wire, request, tcp, with_headers};
use crate::draining::Crowd;
use crate::sidecar::Sidecar;
use crate::zoho::{COUNT, USERS, Zoho};
use crate::{until, within};

static VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS13, &TLS12];

/// Whoever signs, and what it has signed.
struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// For a host, or for a URI if it has a colon.
    fn issue(&self, name: &str) -> Identity {
        let mut params = CertificateParams::new([]).unwrap();
        let ia5 = name.try_into().unwrap();
        let name = if name.contains(':') { SanType::URI(ia5) } else { SanType::DnsName(ia5) };
        params.subject_alt_names = vec![name];
        let key = KeyPair::generate().unwrap();
        Identity { certificate: params.signed_by(&key, &self.0).unwrap(), key }
    }
}

/// The files of a sidecar's `[server.tls]`.
struct Files {
    directory: TempDir,
    authority: Authority,
}

impl Files {
    fn new() -> Self {
        let files = Self { directory: tempfile::tempdir().unwrap(), authority: Authority::new() };
        files.renew();
        files.trust(&files.authority);
        files
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A new certificate with its key.
    fn renew(&self) -> CertificateDer<'static> {
        let Identity { certificate, key } = self.authority.issue("localhost");
        self.put("cert.pem", &certificate.pem());
        self.put("key.pem", &key.serialize_pem());
        certificate.into()
    }

    /// The authority whose callers are known from now on.
    fn trust(&self, authority: &Authority) {
        self.put("clients.pem", &authority.0.pem());
    }

    /// Nobody reads half a file.
    fn put(&self, name: &str, text: &str) {
        let new = self.at("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, self.at(name)).unwrap();
    }

    /// A sidecar that listens by TLS and in the clear, with more keys of `[server.tls]`, and more sections.
    async fn serve(&self, zoho: &Zoho, keys: &str, more: &str) -> Sidecar {
        let config = format!(
            "server.listen = [\"https://127.0.0.1:0\", \"127.0.0.1:0\"]\ntokens.secret_poll = \"10ms\"\n{more}\n\
             [server.tls]\ncertificate = \"{}\"\nprivate_key = \"{}\"\n{}\n",
            self.at("cert.pem").display(),
            self.at("key.pem").display(),
            keys.replace("CLIENTS", &self.at("clients.pem").display().to_string()),
        );
        Sidecar::run(zoho, &config).await
    }

    fn client(&self) -> Client<'_> {
        Client { authority: &self.authority, identity: None, protocols: &[], versions: &VERSIONS }
    }
}

/// Who connects.
#[derive(Clone)]
struct Client<'a> {
    authority: &'a Authority,
    identity: Option<&'a Identity>,
    protocols: &'a [&'a str],
    versions: &'a [&'static SupportedProtocolVersion],
}

impl<'a> Client<'a> {
    fn showing(self, identity: &'a Identity) -> Self {
        Self { identity: Some(identity), ..self }
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TlsStream<TcpStream>> {
        let name = "localhost".try_into().unwrap();
        let shaking = TlsConnector::from(Arc::new(self.config())).connect(name, tcp(address).await);
        within("a handshake", shaking).await
    }

    fn config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.0.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(self.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.identity {
            None => builder.with_no_client_auth(),
            Some(Identity { certificate, key }) => {
                let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
                builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
            }
        };
        config.alpn_protocols = self.protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    /// Asks on a connection of its own; with TLS 1.3 a certificate is refused only after the handshake.
    async fn try_get(&self, address: SocketAddr, path: &str) -> io::Result<Answer> {
        ask(self.connect(address).await?, request("GET", path)).await.map_err(io::Error::other)
    }

    async fn get(&self, address: SocketAddr, path: &str) -> Answer {
        self.try_get(address, path).await.unwrap()
    }
}

/// Waits until so many handshakes are counted as failed: who was left may know it a moment earlier.
async fn counts_failures(sidecar: &Sidecar, failures: u32) {
    let series = "zoho_sidecar_tls_handshake_errors_total ";
    until("failed handshakes", async || sidecar.metric(series).await >= f64::from(failures)).await;
}

async fn ask(stream: TlsStream<TcpStream>, request: Request<Body>) -> hyper::Result<Answer> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(Answer::read(within("an answer", sender.send_request(request)).await?).await)
}

#[tokio::test]
async fn both_versions_of_tls_and_of_http_are_spoken() {
    let (zoho, files) = (Zoho::start().await, Files::new());
    let sidecar = files.serve(&zoho, "", "").await;
    let at = sidecar.encrypted();
    for (version, number) in [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)] {
        let one = Client { versions: &[version], protocols: &["http/1.1"], ..files.client() };
        let stream = one.connect(at).await.unwrap();
        let (spoken, protocol) = (stream.get_ref().1.protocol_version(), stream.get_ref().1.alpn_protocol());
        assert_eq!((spoken, protocol), (Some(number), Some(&b"http/1.1"[..])));
        assert_eq!(ask(stream, request("GET", COUNT)).await.unwrap().status, 200);

        let two = Client { versions: &[version], protocols: &["h2", "http/1.1"], ..files.client() };
        let stream = two.connect(at).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (mut sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let asked = with_headers("GET", &format!("https://localhost{COUNT}"), &[]);
        let answer = Answer::read(within("an answer", sender.send_request(asked)).await.unwrap()).await;
        assert_eq!(answer.status, 200);
    }
    assert_eq!(files.client().get(at, COUNT).await.status, 200, "without ALPN too");
    let unknown = Client { protocols: &["imap"], ..files.client() };
    assert!(unknown.connect(at).await.is_err());
    sidecar.stop().await;
}

/// What is heard on a connection on which this is said, until it ends or its first answer is there.
async fn heard_after(client: &Client<'_>, at: SocketAddr, said: &[u8]) -> Vec<u8> {
    let mut stream = client.connect(at).await.unwrap();
    stream.write_all(said).await.unwrap();
    let mut heard = Vec::new();
    // A server of HTTP/2 goes on; its settings are enough to know it by.
    while heard.len() < 9
        && within("bytes or the end", stream.read_buf(&mut heard)).await.is_ok_and(|n| n > 0)
    {}
    heard
}

#[tokio::test]
async fn a_negotiated_protocol_is_the_only_one_that_is_spoken() {
    let (zoho, files) = (Zoho::start().await, Files::new());
    let sidecar = files.serve(&zoho, "", "").await;
    let at = sidecar.encrypted();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let get = format!("GET {COUNT} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let speaking = |protocols: &'static [&'static str]| Client { protocols, ..files.client() };

    let heard = heard_after(&speaking(&["h2"]), at, get.as_bytes()).await;
    assert!(heard.is_empty(), "HTTP/1 on a connection of HTTP/2: {}", String::from_utf8_lossy(&heard));
    let heard = heard_after(&speaking(&["http/1.1"]), at, preface).await;
    assert!(heard.starts_with(b"HTTP/1.1 505"), "the preface after http/1.1: {heard:?}");
    assert_eq!(zoho.calls(), 0);

    for protocols in [&["h2"][..], &[]] {
        let heard = heard_after(&speaking(protocols), at, preface).await;
        assert_eq!(heard.get(3), Some(&4), "settings come first: {protocols:?} {heard:?}");
    }
    for protocols in [&["http/1.1"][..], &[]] {
        let heard = heard_after(&speaking(protocols), at, get.as_bytes()).await;
        assert!(heard.starts_with(b"HTTP/1.1 200"), "{protocols:?}: {heard:?}");
    }
    // What was closed is a connection that ended in an error, and takes nobody else down.
    until("the error", async || sidecar.metric("zoho_sidecar_connection_errors_total ").await >= 1.0).await;
    assert_eq!(sidecar.get(COUNT).await.status, 200);
}

#[tokio::test]
async fn tls_1_1_is_refused_by_an_alert() {
    let (zoho, files) = (Zoho::start().await, Files::new());
    let sidecar = files.serve(&zoho, "", "").await;
    // A ClientHello (RFC 5246 section 7.4.1.2) of version 3.2, with one cipher suite, one group and one kind of
    // signature.
    let mut hello = vec![3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x13, 1, 0, 0, 16]);
    hello.extend([0, 10, 0, 4, 0, 2, 0, 23]);
    hello.extend([0, 13, 0, 4, 0, 2, 4, 3]);
    let length = u8::try_from(hello.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(hello);
    let mut stream = tcp(sidecar.encrypted()).await;
    stream.write_all(&record).await.unwrap();
    let mut heard = Vec::new();
    within("the end of the connection", stream.read_to_end(&mut heard)).await.unwrap();
    // A fatal alert (RFC 5246 section 7.2): protocol_version.
    assert_eq!((heard[0], &heard[5..]), (21, &[2, 70][..]), "{heard:?}");
}

#[tokio::test]
async fn a_caller_is_known_by_a_name_in_its_certificate() {
    let (zoho, files) = (Zoho::start().await, Files::new());
    let callers =
        "[callers.billing]\ncertificate = [\"spiffe://example.org/billing\", \"Billing.example.org\"]\n";
    let keys = "client_ca = \"CLIENTS\"\nclient_certificates = \"optional\"";
    let sidecar = files.serve(&zoho, keys, callers).await;
    let at = sidecar.encrypted();
    for version in [&TLS12, &TLS13] {
        let client = Client { versions: &[version], ..files.client() };
        for name in ["spiffe://example.org/billing", "billing.example.org"] {
            let known = files.authority.issue(name);
            assert_eq!(client.clone().showing(&known).get(at, USERS).await.status, 200, "{name}");
        }
        for name in ["spiffe://example.org/billing2", "spiffe://example.org/Billing", "example.org"] {
            let other = files.authority.issue(name);
            assert_eq!(client.clone().showing(&other).get(at, USERS).await.status, 401, "{name}");
        }
        assert_eq!(client.get(at, USERS).await.status, 401, "without a certificate");
        let forged = Authority::new().issue("spiffe://example.org/billing");
        assert!(client.showing(&forged).try_get(at, USERS).await.is_err());
    }
    assert_eq!(crate::caller::get(sidecar.proxy(), USERS).await.status, 401, "in the clear nobody shows one");
    counts_failures(&sidecar, 2).await;
    let log = sidecar.stop().await.lines.concat();
    assert_eq!(log.matches(r#""caller":"billing""#).count(), 4, "{log}");
}

#[tokio::test]
async fn where_certificates_are_required_nobody_comes_in_without() {
    let (zoho, files) = (Zoho::start().await, Files::new());
    let keys = "client_ca = \"CLIENTS\"\nclient_certificates = \"required\"";
    let sidecar = files.serve(&zoho, keys, "").await;
    let at = sidecar.encrypted();
    assert!(files.client().try_get(at, USERS).await.is_err());
    let anyone = files.authority.issue("anyone.example.org");
    assert_eq!(files.client().showing(&anyone).get(at, USERS).await.status, 200);

    // A caller of another authority, once that is the one.
    let other = Authority::new();
    files.trust(&other);
    let newcomer = other.issue("newcomer.example.org");
    let newcomer = files.client().showing(&newcomer);
    until("the other authority", async || newcomer.try_get(at, USERS).await.is_ok()).await;
    assert!(files.client().showing(&anyone).try_get(at, USERS).await.is_err(), "the old one counts no more");
}

/// What a client sees of the certificate.
async fn shown(client: &Client<'_>, at: SocketAddr) -> CertificateDer<'static> {
    let stream = client.connect(at).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

#[tokio::test]
async fn certificates_are_exchanged_under_load_without_losing_a_connection() {
    let (zoho, files) = (Zoho::start().await, Files::new());
    let sidecar = files.serve(&zoho, "", "").await;
    sidecar.ready().await;
    let (at, client) = (sidecar.encrypted(), files.client());
    let stream = client.connect(at).await.unwrap();
    let (mut kept, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);

    for _ in 0..5 {
        let new = files.renew();
        until("the new certificate", async || {
            let asked = within("an answer", kept.send_request(request("GET", COUNT))).await.unwrap();
            assert_eq!(Answer::read(asked).await.status, 200, "on the connection from before");
            assert_eq!(client.get(at, COUNT).await.status, 200, "on a new one");
            shown(&client, at).await == new
        })
        .await;
    }
    assert!(sidecar.metric("zoho_sidecar_tls_handshake_errors_total ").await < 1.0);
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_leaves_the_old_one_and_is_told_once() {
    let (zoho, files) = (Zoho::start().await, Files::new());
    let sidecar = files.serve(&zoho, "", "").await;
    let (at, client) = (sidecar.encrypted(), files.client());
    let old = shown(&client, at).await;
    files.put("key.pem", "made up, and no key");
    let unusable = "zoho_sidecar_tls_reloads_total{outcome=\"unusable\"}";
    until("the broken key", async || sidecar.metric(unusable).await >= 1.0).await;
    assert_eq!(shown(&client, at).await, old);
    assert_eq!(client.get(at, COUNT).await.status, 200);
    assert!(sidecar.metric(unusable).await < 2.0);

    let new = files.renew();
    until("the mended pair", async || shown(&client, at).await == new).await;
    let end = sidecar.stop().await;
    assert_eq!(end.errors.matches("the old ones stay").count(), 1, "{}", end.errors);
    assert!(!end.errors.contains("made up, and no key") && !end.errors.contains("PRIVATE"), "{}", end.errors);
}

#[tokio::test]
async fn a_handshake_that_does_not_come_on_is_ended() {
    let (zoho, files) = (Zoho::start().await, Files::new());
    let sidecar = files.serve(&zoho, "", "server.header_read_timeout = \"100ms\"").await;
    let silent = Wire::connect(sidecar.encrypted()).await;
    assert_eq!(silent.hear_all().await, "");
    counts_failures(&sidecar, 1).await;
    until("its end", async || sidecar.metric("zoho_sidecar_connections ").await < 1.0).await;
    let errors = sidecar.metric("zoho_sidecar_connection_errors_total ").await;
    assert!(errors < 1.0, "it is counted once");
}

#[tokio::test]
async fn a_handshake_that_does_not_come_on_holds_nobody_up_who_stops() {
    let (zoho, files) = (Zoho::start().await, Files::new());
    let sidecar = files.serve(&zoho, "", "").await;
    let silent = Wire::connect(sidecar.encrypted()).await;
    until("the connection", async || sidecar.metric("zoho_sidecar_connections ").await >= 1.0).await;
    // Neither the 75 seconds for a head nor the hour for draining are waited for.
    assert_eq!(sidecar.stop().await.code, Some(0));
    assert_eq!(silent.hear_all().await, "");
}

#[tokio::test]
async fn who_speaks_the_wrong_protocol_is_told_so_and_left() {
    let (zoho, files) = (Zoho::start().await, Files::new());
    let sidecar = files.serve(&zoho, "", "").await;
    let mut plain = tcp(sidecar.encrypted()).await;
    plain.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut heard = Vec::new();
    let _ = within("the end of the connection", plain.read_to_end(&mut heard)).await;
    assert_eq!(heard[0], 21, "an alert: {heard:?}");

    assert!(files.client().connect(sidecar.proxy()).await.is_err());
    assert_eq!(files.client().get(sidecar.encrypted(), COUNT).await.status, 200, "and others are served");
}

#[tokio::test]
async fn an_sdk_that_came_by_tls_is_sent_back_there() {
    let (zoho, files) = (Zoho::start().await, Files::new());
    let sidecar = files.serve(&zoho, "", "").await;
    let stream = files.client().connect(sidecar.encrypted()).await.unwrap();
    let path = "/oauth/v2/token?grant_type=refresh_token";
    let answer = ask(stream, with_headers("POST", path, &[("host", "localhost:8443")])).await.unwrap();
    assert_eq!(answer.json()["api_domain"], "https://localhost:8443");
}

#[tokio::test]
async fn a_stop_under_load_loses_no_request() {
    let (zoho, files) = (Zoho::start().await, Files::new());
    let sidecar = files.serve(&zoho, "", "").await;
    let (address, connector) = (sidecar.encrypted(), TlsConnector::from(Arc::new(files.client().config())));
    let connect = move || {
        let connector = connector.clone();
        async move { connector.connect("localhost".try_into().unwrap(), TcpStream::connect(address).await?).await }
    };
    Crowd::asking(connect).outlives(sidecar, &zoho).await;
}
