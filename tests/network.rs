//! The way to Zoho over real sockets: TLS, egress proxies, and what a broken connection is called.
//!
//! Everything stays on this machine. `0.0.0.0` leads to it too and is no loopback address, so it stands for
//! a host that an egress proxy is asked for.

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise fails")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use prometheus_client::metrics::counter::Counter;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio_rustls::TlsAcceptor;
use zoho_sidecar::clock::Clock;
use zoho_sidecar::net::body::Body;
use zoho_sidecar::net::buffers::Buffers;
use zoho_sidecar::net::client::{HttpClient, Settings};
use zoho_sidecar::net::egress::Egress;
use zoho_sidecar::net::tls::Trust;
use zoho_sidecar::net::transport::{Transport, TransportError};
use zoho_sidecar::supervisor::{Importance, Supervisor};

/// Longer than anything takes on a busy machine. A wait that comes to its end is a failure.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a file or a counter is looked at.
const POLL: Duration = Duration::from_millis(10);
/// A free port of this machine.
const ANY_PORT: &str = "127.0.0.1:0";
/// A host of Zoho's as nobody has it: the domain is reserved for tests (RFC 6761).
const ZOHO: &str = "www.zohoapis.test";

#[tokio::test]
async fn a_certificate_authority_of_ca_file_is_trusted_and_an_unknown_one_is_not() {
    let server = TlsServer::start(&["h2", "http/1.1"]).await;
    let url = format!("https://{}/crm", server.address);

    let trusting = get(&client(&server.trusted()), &url).await.unwrap();
    let strict = get(&client(&direct()), &url).await.unwrap_err();

    assert_eq!(trusting.status(), 200);
    assert!(matches!(strict, TransportError::Connect(_)), "{strict:?}");
    assert!(chain(&strict).contains("UnknownIssuer"), "{}", chain(&strict));
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let server = TlsServer::start(&[]).await;
    let url = format!("https://127.0.0.2:{}/", server.address.port());
    let refused = get(&client(&server.trusted()), &url).await.unwrap_err();
    assert!(matches!(refused, TransportError::Connect(_)), "{refused:?}");
}

#[tokio::test]
async fn http2_is_spoken_where_the_server_offers_it_and_http1_otherwise() {
    for (offered, spoken) in [
        (&["h2", "http/1.1"][..], Version::HTTP_2),
        (&["http/1.1"], Version::HTTP_11),
        (&[], Version::HTTP_11),
    ] {
        let server = TlsServer::start(offered).await;
        let client = client(&server.trusted());
        for _ in 0..2 {
            let answer = get(&client, &format!("https://{}/", server.address)).await.unwrap();
            assert_eq!((answer.status().as_u16(), answer.version()), (200, spoken), "{offered:?}");
        }
    }
}

#[tokio::test]
async fn plain_http_to_loopback_is_http1() {
    let (address, mut heard) = scripted(&["HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]).await;
    assert_eq!(get(&client(&direct()), &format!("http://{address}/crm?a=%2F")).await.unwrap().status(), 200);
    assert!(soon(heard.recv()).await.unwrap().starts_with("GET /crm?a=%2F HTTP/1.1\r\n"));
}

#[tokio::test]
async fn a_server_that_never_answers_the_handshake_is_a_connect_timeout() {
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let settings = Settings { connect_timeout: Duration::from_millis(200), ..direct() };
    let url = format!("https://{}/", listener.local_addr().unwrap());
    // Never accepted either: the system completes the connection, and nobody speaks.
    let error = get(&client(&settings), &url).await.unwrap_err();
    assert!(matches!(error, TransportError::ConnectTimeout), "{error:?}");
}

#[tokio::test]
async fn a_connection_that_none_is_left_for_is_no_connect_timeout() {
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let settings = Settings { connect_timeout: Duration::from_millis(200), max_connections: 1, ..direct() };
    let client = client(&settings);
    let (mut first, mut silent) = (std::pin::pin!(get(&client, &url)), None);
    while silent.is_none() {
        tokio::select! {
            _ = &mut first => panic!("nobody answers"),
            accepted = listener.accept() => silent = Some(accepted.unwrap()),
        }
    }
    let error = get(&client, &url).await.unwrap_err();
    assert!(matches!(error, TransportError::TooManyConnections), "{error:?}");
}

#[tokio::test]
async fn an_egress_proxy_that_never_answers_is_a_connect_timeout_too() {
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let proxy = through(&format!("http://{}", listener.local_addr().unwrap()));
    let settings = Settings { connect_timeout: Duration::from_millis(200), egress: proxy, ..direct() };
    let error = get(&client(&settings), &format!("https://{ZOHO}/")).await.unwrap_err();
    assert!(matches!(error, TransportError::ConnectTimeout), "{error:?}");
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_a_connect_error() {
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    // The port of an outgoing connection: taken, so that nobody comes to listen on it.
    let connection = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let address = connection.local_addr().unwrap();
    let error = get(&client(&direct()), &format!("http://{address}/")).await.unwrap_err();
    assert!(matches!(error, TransportError::Connect(_)), "{error:?}");
}

#[tokio::test]
async fn an_egress_proxy_is_asked_for_zohos_hosts_with_its_credentials() {
    let server = TlsServer::start(&["h2"]).await;
    let mut proxy = ConnectProxy::leading_to(server.address).await;
    let url = format!("http://user:pass%20word@{}", proxy.address);
    let client = client(&Settings { egress: through(&url), ..server.trusted() });

    let answer = get(&client, &format!("https://{ZOHO}/crm/v8/users")).await.unwrap();

    assert_eq!((answer.status().as_u16(), answer.version()), (200, Version::HTTP_2));
    let asked = proxy.asked().await;
    assert!(asked.starts_with(&format!("CONNECT {ZOHO}:443 HTTP/1.1\r\n")), "{asked}");
    assert!(asked.to_ascii_lowercase().contains(&format!("host: {ZOHO}:443\r\n")), "{asked}");
    // "user:pass word"
    let credentials = "proxy-authorization: basic dxnlcjpwyxnzihdvcmq=";
    assert!(asked.to_ascii_lowercase().contains(credentials), "{asked}");
}

#[tokio::test]
async fn an_egress_proxy_is_never_asked_for_loopback() {
    let server = TlsServer::start(&["http/1.1"]).await;
    let mut proxy = ConnectProxy::leading_to(server.address).await;
    let url = through(&format!("http://{}", proxy.address));
    let client = client(&Settings { egress: url, ..server.trusted() });

    let answer = get(&client, &format!("https://{}/", server.address)).await.unwrap();

    assert_eq!(answer.status(), 200);
    assert!(proxy.was_not_asked());
}

#[tokio::test]
async fn an_egress_proxy_that_wants_credentials_is_a_connect_error() {
    let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n";
    for answer in [refusal, "HTTP/1.1 502 Bad Gateway\r\n\r\n", "220 mail.example ESMTP\r\n", ""] {
        let (address, _heard) = scripted(&[answer]).await;
        let proxy = through(&format!("http://{address}"));
        let client = client(&Settings { egress: proxy, ..direct() });
        let error = get(&client, &format!("https://{ZOHO}/")).await.unwrap_err();
        assert!(matches!(error, TransportError::Connect(_)), "{answer:?}: {error:?}");
    }
}

#[tokio::test]
async fn redirects_are_handed_over_and_not_followed() {
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let head = format!("HTTP/1.1 {status}\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n");
        let (address, _heard) = scripted(&[&head]).await;
        let answer = get(&client(&direct()), &format!("http://{address}/")).await.unwrap();
        assert_eq!(answer.status().as_str(), &status[..3]);
        assert_eq!(answer.headers()["location"], "http://127.0.0.1:1/");
    }
}

const KEPT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn a_kept_connection_that_closes_under_the_next_request_is_stale() {
    // Answers one request, reads the next one, and closes.
    let (address, _heard) = scripted(&[KEPT, ""]).await;
    let client = client(&direct());
    assert_eq!(get(&client, &format!("http://{address}/")).await.unwrap().status(), 200);

    let error = get(&client, &format!("http://{address}/")).await.unwrap_err();

    assert!(matches!(error, TransportError::Stale(_)), "{error:?}");
}

#[tokio::test]
async fn a_new_connection_that_closes_under_its_first_request_is_broken() {
    for answer in ["", "HTTP/1.1 2"] {
        let (address, _heard) = scripted(&[answer]).await;
        let error = get(&client(&direct()), &format!("http://{address}/")).await.unwrap_err();
        assert!(matches!(error, TransportError::Broken(_)), "{answer:?}: {error:?}");
    }
}

#[tokio::test]
async fn a_kept_connection_on_which_nonsense_is_answered_is_broken_and_not_stale() {
    let (address, _heard) = scripted(&[KEPT, "220 mail.example ESMTP\r\n"]).await;
    let client = client(&direct());
    assert_eq!(get(&client, &format!("http://{address}/")).await.unwrap().status(), 200);
    let error = get(&client, &format!("http://{address}/")).await.unwrap_err();
    assert!(matches!(error, TransportError::Broken(_)), "{error:?}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_of_the_body() {
    let (address, _heard) = scripted(&["HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"]).await;
    let answer = get(&client(&direct()), &format!("http://{address}/")).await.unwrap();
    assert!(soon(answer.into_body().collect()).await.is_err());
}

#[tokio::test]
async fn an_answer_that_ends_with_its_connection_is_whole_only_if_tls_says_so() {
    for says_so in [true, false] {
        let (config, ca) = certified(&[]);
        let files = tempfile::tempdir().unwrap();
        let ca_file = files.path().join("ca.pem");
        std::fs::write(&ca_file, ca).unwrap();
        let listener = TcpListener::bind(ANY_PORT).await.unwrap();
        let url = format!("https://{}/", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = TlsAcceptor::from(Arc::new(config)).accept(stream).await.unwrap();
            read_head(&mut stream).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nall of it?").await.unwrap();
            stream.flush().await.unwrap();
            if says_so {
                stream.shutdown().await.unwrap();
            }
        });
        let client = client(&Settings { ca_file: Some(ca_file), ..direct() });

        let body = soon(get(&client, &url).await.unwrap().into_body().collect()).await;

        // RFC 9112 section 9.8: without a closure alert it is incomplete.
        assert_eq!(body.is_ok_and(|body| body.to_bytes() == "all of it?"), says_so);
    }
}

#[tokio::test]
async fn new_connections_trust_what_the_ca_file_says_now() {
    let server = TlsServer::start(&["http/1.1"]).await;
    let files = tempfile::tempdir().unwrap();
    let ca_file = files.path().join("ca.pem");
    std::fs::write(&ca_file, certified(&[]).1).unwrap();
    let trust = Trust::read(Some(&ca_file)).unwrap();
    let client = HttpClient::trusting(&trust, &direct(), &Supervisor::unobserved(), Clock::system());
    let failures = Counter::default();
    let heartbeat = Supervisor::unobserved().heartbeat("ca-file", Importance::Degrading);
    let polling = tokio::spawn(trust.clone().keep_fresh(POLL, failures.clone(), heartbeat));
    let url = format!("https://{}/", server.address);
    let error = get(&client, &url).await.map(drop).unwrap_err();
    assert!(chain(&error).contains("certificate"), "{}", chain(&error));

    std::fs::copy(&server.ca_file, &ca_file).unwrap();
    soon(async {
        while get(&client, &url).await.is_err() {
            tokio::time::sleep(POLL).await;
        }
    })
    .await;

    // What cannot be used, or is not there, leaves the trust as it is.
    let counted = async |most| {
        while failures.get() < most {
            tokio::time::sleep(POLL).await;
        }
    };
    std::fs::write(&ca_file, "not PEM at all").unwrap();
    soon(counted(1)).await;
    std::fs::remove_file(&ca_file).unwrap();
    soon(counted(2)).await;
    let fresh = HttpClient::trusting(&trust, &direct(), &Supervisor::unobserved(), Clock::system());
    assert!(get(&fresh, &url).await.is_ok());
    polling.abort();
}

#[tokio::test]
async fn where_no_proxy_is_wanted_the_environments_is_not_asked() {
    for (wanted, is_asked) in [("environment", true), ("none", false)] {
        let server = TlsServer::start(&["http/1.1"]).await;
        let mut proxy = ConnectProxy::leading_to(server.address).await;
        let files = tempfile::tempdir().unwrap();
        let config = format!(
            r#"
            server.listen = ["127.0.0.1:0"]
            admin.listen = "none"
            state.directory = "none"
            upstream.proxy = "{wanted}"
            upstream.ca_file = "{}"
            [data_centers.lab]
            accounts = "https://0.0.0.0:{port}"
            api = "https://0.0.0.0:{port}"
            [tenants.acme]
            data_center = "lab"
            client_id = "1000.MADEUP"
            client_secret = "made-up-secret"
            refresh_token = "1000.made-up"
            "#,
            server.ca_file.display(),
            port = server.address.port()
        );
        let file = files.path().join("sidecar.toml");
        std::fs::write(&file, config).unwrap();
        let mut sidecar = tokio::process::Command::new(env!("CARGO_BIN_EXE_zoho-sidecar"));
        sidecar.args(["run", "--config"]).arg(&file).env_clear().kill_on_drop(true);
        sidecar.env("HTTPS_PROXY", format!("http://{}", proxy.address));
        sidecar.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut server = server;
        let _sidecar = sidecar.spawn().unwrap();

        let path = soon(server.asked.recv()).await.unwrap();

        assert_eq!(path, "/oauth/v2/token", "the first thing a sidecar asks for");
        assert_eq!(!proxy.was_not_asked(), is_asked, "{wanted}");
    }
}

/// What comes of the future, in time.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

/// Nobody but the system is trusted, nothing stands between.
fn direct() -> Settings {
    Settings {
        connect_timeout: PATIENCE,
        write_timeout: PATIENCE,
        max_connections: 100,
        max_connections_per_host: 100,
        max_connection_age: Duration::from_mins(10),
        pool_idle_timeout: PATIENCE,
        pool_max_idle_per_host: 4,
        max_response_headers: 256,
        max_response_header_bytes: 64 * 1024,
        ca_file: None,
        egress: Egress::direct(),
        buffers: Buffers::new(1 << 20),
    }
}

/// A way out that leads through this proxy.
fn through(url: &str) -> Egress {
    Egress::through(url.parse().unwrap())
}

fn client(settings: &Settings) -> HttpClient {
    HttpClient::new(settings).unwrap()
}

async fn get(client: &HttpClient, url: &str) -> Result<Response<Body>, TransportError> {
    let request = Request::get(url).body(Body::empty()).unwrap();
    soon(client.send(request)).await
}

/// An error with all its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// An HTTPS server whose certificate an authority of the test's own has signed.
struct TlsServer {
    address: SocketAddr,
    ca_file: PathBuf,
    /// The paths it was asked for.
    asked: UnboundedReceiver<String>,
    _files: TempDir,
}

impl TlsServer {
    /// Offers these protocols.
    async fn start(protocols: &[&str]) -> Self {
        let (config, ca) = certified(protocols);
        let files = tempfile::tempdir().unwrap();
        let ca_file = files.path().join("ca.pem");
        std::fs::write(&ca_file, ca).unwrap();
        let listener = TcpListener::bind(ANY_PORT).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asking, asked) = unbounded_channel();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, asking) = (acceptor.clone(), asking.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let _ = asking.send(request.uri().path().to_owned());
                    async { Ok::<_, std::convert::Infallible>(Response::new(Body::full("{}"))) }
                });
                tokio::spawn(async move {
                    // A handshake that fails is what some tests are about.
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, ca_file, asked, _files: files }
    }

    /// Settings with which it is trusted.
    fn trusted(&self) -> Settings {
        Settings { ca_file: Some(self.ca_file.clone()), ..direct() }
    }
}

/// A server's side of TLS, and in PEM the authority that vouches for it.
fn certified(protocols: &[&str]) -> (ServerConfig, String) {
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = [ZOHO, "127.0.0.1", "0.0.0.0"].map(str::to_owned);
    let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    (config, authority.pem())
}

/// An egress proxy: whatever host it is asked for, it leads to one address.
struct ConnectProxy {
    address: SocketAddr,
    heads: UnboundedReceiver<String>,
}

impl ConnectProxy {
    async fn leading_to(destination: SocketAddr) -> Self {
        let listener = TcpListener::bind(ANY_PORT).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, heads) = unbounded_channel();
        tokio::spawn(async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                let Some(head) = read_head(&mut caller).await else { continue };
                let _ = asked.send(head);
                tokio::spawn(async move {
                    let mut server = TcpStream::connect(destination).await.unwrap();
                    caller.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
                    let _ = copy_bidirectional(&mut caller, &mut server).await;
                });
            }
        });
        Self { address, heads }
    }

    /// The head of the next request.
    async fn asked(&mut self) -> String {
        soon(self.heads.recv()).await.unwrap()
    }

    fn was_not_asked(&mut self) -> bool {
        self.heads.try_recv().is_err()
    }
}

/// A server that on its only connection reads a head before each of these answers, and then closes.
async fn scripted(answers: &[&str]) -> (SocketAddr, UnboundedReceiver<String>) {
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let address = listener.local_addr().unwrap();
    let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
    let (said, heads) = unbounded_channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for answer in answers {
            let Some(head) = read_head(&mut stream).await else { return };
            let _ = said.send(head);
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (address, heads)
}

/// Reads up to the empty line after a head, and not a byte further.
async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}
