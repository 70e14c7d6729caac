//! Where secrets are in the memory of a sidecar that has exchanged them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use memchr::memmem;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use tempfile::tempdir;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use zoho_sidecar::emulator::{Fault, Scenario};

use crate::caller::Wire;
use crate::sidecar::Sidecar;
use crate::until;
use crate::zoho::{ANY_PORT, USERS, Zoho};

/// None of them is in the executable. Longer and shorter ones take different ways through buffers.
const SECRETS: [[&str; 2]; 2] = [
    ["made-up-client-secret-0123456789abcdef", "1000.made-up-refresh-0123456789abcdef.fedcba9876543210abcd"],
    ["made-up-short", "1000.made-up-r.1"],
];

fn scenario([client_secret, refresh_token]: [&str; 2]) -> Scenario {
    let text = include_str!("../../config/emulator.toml");
    let text = text.replace("emulated-secret-acme", client_secret);
    Scenario::parse(&text.replace("1000.emulated-refresh-acme.00000000", refresh_token)).unwrap()
}

/// Allows that its memory is read, which root alone could do otherwise.
const READABLE: &str = "[server]\nallow_core_dumps = true\n";

/// The secrets in files, and the configuration that names them.
fn in_files(directory: &Path, secrets: [&str; 2]) -> String {
    let [client_secret, refresh_token] = ["client-secret", "refresh-token"].map(|name| directory.join(name));
    for (path, secret) in [&client_secret, &refresh_token].into_iter().zip(secrets) {
        std::fs::write(path, format!("{secret}\n")).unwrap();
    }
    format!(
        "{READABLE}[state]\ndirectory = \"{}\"\n[tenants.acme]\nclient_secret = {{ file = \"{}\" }}\nrefresh_token = {{ file = \"{}\" }}\n",
        directory.join("state").display(),
        client_secret.display(),
        refresh_token.display(),
    )
}

/// How often each text is in the writable memory of a process.
fn occurrences(process: u32, texts: [&str; 2]) -> [usize; 2] {
    let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let memory = File::open(format!("/proc/{process}/mem")).unwrap();
    let mut found = [0; 2];
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
        let (start, end) = range.split_once('-').unwrap();
        let [start, end] = [start, end].map(|digits| u64::from_str_radix(digits, 16).unwrap());
        if !rights.starts_with("rw") {
            continue;
        }
        let mut bytes = vec![0; usize::try_from(end - start).unwrap()];
        // What is reserved only cannot be read.
        if memory.read_exact_at(&mut bytes, start).is_ok() {
            for (found, text) in found.iter_mut().zip(texts) {
                *found += memmem::find_iter(&bytes, text.as_bytes()).count();
            }
        }
    }
    found
}

/// Waits until a token is there, used and stored, and files of secrets were looked at again and again.
async fn at_work(sidecar: &Sidecar, zoho: &Zoho) {
    sidecar.ready().await;
    assert_eq!(sidecar.get(USERS).await.status, 200);
    assert_eq!(zoho.mints(), 1);
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
}

/// What is being read or sent at this moment is there twice: only what stays counts.
async fn settles_at(sidecar: &mut Sidecar, secrets: [&str; 2], expected: [usize; 2]) {
    let process = sidecar.process().id();
    let mut last = [0; 2];
    for _ in 0..20 {
        last = occurrences(process, secrets);
        if last == expected {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert_eq!(last, expected, "client secret and refresh token");
}

#[tokio::test]
async fn after_an_exchange_each_secret_from_a_file_is_in_memory_once() {
    for secrets in SECRETS {
        let (zoho, directory) = (Zoho::of(scenario(secrets)).await, tempdir().unwrap());
        let config = in_files(directory.path(), secrets) + "[tokens]\nsecret_poll = \"50ms\"\n";
        let mut sidecar = Sidecar::run(&zoho, &config).await;
        at_work(&sidecar, &zoho).await;
        settles_at(&mut sidecar, secrets, [1, 1]).await;
        assert_eq!(sidecar.stop().await.code, Some(0));
    }
}

#[tokio::test]
async fn after_a_restart_with_a_stored_token_each_secret_is_in_memory_once() {
    let [secrets, _] = SECRETS;
    let (zoho, directory) = (Zoho::of(scenario(secrets)).await, tempdir().unwrap());
    let config = in_files(directory.path(), secrets);
    for _ in 0..2 {
        let mut sidecar = Sidecar::run(&zoho, &config).await;
        at_work(&sidecar, &zoho).await;
        settles_at(&mut sidecar, secrets, [1, 1]).await;
        assert_eq!(sidecar.stop().await.code, Some(0));
    }
}

#[tokio::test]
async fn secrets_that_are_written_into_the_configuration_are_in_memory_once() {
    for secrets in SECRETS {
        let zoho = Zoho::of(scenario(secrets)).await;
        let [client_secret, refresh_token] = secrets;
        let literal = format!(
            "{READABLE}[tenants.acme]\nclient_secret = \"{client_secret}\"\nrefresh_token = \"{refresh_token}\"\n"
        );
        let mut sidecar = Sidecar::run(&zoho, &literal).await;
        at_work(&sidecar, &zoho).await;
        settles_at(&mut sidecar, secrets, [1, 1]).await;
        assert_eq!(sidecar.stop().await.code, Some(0));
    }
}

/// TLS before the emulator, as before Zoho's accounts server: HTTP/2 for whoever wants it. Gives its port, and in PEM the
/// authority that vouches for it.
async fn encrypted(zoho: &Zoho) -> (u16, String) {
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.into()], PrivatePkcs8KeyDer::from(key.serialize_der()).into())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let (acceptor, emulator) = (TlsAcceptor::from(Arc::new(config)), zoho.address());
    let listener = TcpListener::bind(ANY_PORT).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let mut caller = acceptor.accept(stream).await.unwrap();
                let mut zoho = TcpStream::connect(emulator).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut caller, &mut zoho).await;
            });
        }
    });
    (port, authority.pem())
}

#[tokio::test]
async fn after_an_exchange_over_tls_each_secret_is_in_memory_once_though_the_server_offers_http_2() {
    for secrets in SECRETS {
        let (zoho, directory) = (Zoho::of(scenario(secrets)).await, tempdir().unwrap());
        let (port, authority) = encrypted(&zoho).await;
        // The emulator would name the address at which it was asked.
        zoho.mints_always(Fault::WrongApiDomain(format!("http://{}", zoho.address())));
        let ca_file = directory.path().join("ca.pem");
        std::fs::write(&ca_file, authority).unwrap();
        let config = format!(
            "{}[upstream]\nca_file = \"{}\"\n[data_centers.emulated]\naccounts = \"https://127.0.0.1:{port}\"\n",
            in_files(directory.path(), secrets),
            ca_file.display()
        );
        let mut sidecar = Sidecar::run(&zoho, &config).await;
        until("a mint", async || zoho.mints() == 1).await;
        sidecar.ready().await;
        settles_at(&mut sidecar, secrets, [1, 1]).await;
        assert_eq!(sidecar.stop().await.code, Some(0));
    }
}

#[tokio::test]
async fn of_the_form_of_an_sdk_nothing_stays_in_memory_but_the_buffer_it_came_in() {
    const SECRETS: [&str; 2] =
        ["made-up-secret-of-an-sdk-0123456789", "1000.made-up-token-of-an-sdk.9876543210"];
    let zoho = Zoho::start().await;
    let mut sidecar = Sidecar::run(&zoho, READABLE).await;
    sidecar.ready().await;
    let [client_secret, refresh_token] = SECRETS;
    let form =
        format!("grant_type=refresh_token&client_secret={client_secret}&refresh_token={refresh_token}&x=%20");
    let length = form.len();
    let mut wire = Wire::connect(sidecar.proxy()).await;
    wire.say(&format!(
        "POST /oauth/v2/token HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n"
    ))
    .await;
    // In two pieces, so that what is read has to grow.
    let (first, second) = form.split_at(60);
    wire.say(first).await;
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    wire.say(second).await;
    assert!(wire.hear_answer().await.starts_with("HTTP/1.1 200 "));
    let process = sidecar.process().id();
    until("nothing but the buffer", async || occurrences(process, SECRETS).iter().all(|count| *count <= 1))
        .await;
}
