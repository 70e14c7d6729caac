//! A real nginx before Zoho, which ends each connection after a few requests: no request is lost by it, and none is
//! sent twice.

use std::fmt::Write;
use std::net::TcpListener;
use std::process::Stdio;

use http::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use zoho_sidecar::emulator::Fault;
use zoho_sidecar::net::body::Body;

use crate::caller::{Answer, tcp};
use crate::sidecar::Sidecar;
use crate::zoho::Zoho;
use crate::{until, within};

const CALLERS: usize = 20;

/// nginx in a directory of its own, before an emulated Zoho.
struct Nginx {
    port: u16,
    files: TempDir,
    process: Child,
}

impl Nginx {
    /// Starts one that speaks these protocols and answers so many requests on a connection.
    async fn start(zoho: &Zoho, protocols: &str, requests: usize) -> Self {
        let files = tempfile::tempdir().unwrap();
        certify(&files);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (at, zoho) = (files.path().display(), zoho.address());
        let mut temporary = String::new();
        for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
            writeln!(temporary, "{kind}_temp_path {at}/{kind};").unwrap();
        }
        let config = format!(
            "daemon off;\n\
             master_process off;\n\
             pid {at}/nginx.pid;\n\
             error_log stderr error;\n\
             events {{ worker_connections 1024; }}\n\
             http {{\n\
             access_log off;\n\
             {temporary}\
             server {{\n\
             listen 127.0.0.1:{port} {protocols};\n\
             ssl_certificate {at}/cert.pem;\n\
             ssl_certificate_key {at}/key.pem;\n\
             keepalive_requests {requests};\n\
             location / {{ proxy_pass http://{zoho}; }}\n\
             }}\n\
             }}\n"
        );
        std::fs::write(files.path().join("nginx.conf"), config).unwrap();
        let mut command = Command::new("nginx");
        command.env("PATH", format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default()));
        command.arg("-p").arg(files.path()).arg("-c").arg(files.path().join("nginx.conf"));
        let process = command.stdin(Stdio::null()).kill_on_drop(true).spawn();
        let mut nginx = Self { port, files, process: process.expect("nginx is installed, as by ci.sh") };
        until("nginx listens", async || {
            assert_eq!(nginx.process.try_wait().unwrap(), None, "nginx runs");
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        nginx
    }

    fn ca_file(&self) -> String {
        self.files.path().join("ca.pem").display().to_string()
    }
}

/// Writes a certificate for this machine, its key, and that of the authority.
fn certify(files: &TempDir) {
    let mut authority = CertificateParams::new([]).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    for (name, text) in
        [("ca.pem", authority.pem()), ("cert.pem", certificate.pem()), ("key.pem", key.serialize_pem())]
    {
        std::fs::write(files.path().join(name), text).unwrap();
    }
}

/// Sends requests one after another on a connection, with bodies of all lengths below the limit.
async fn post(sidecar: std::net::SocketAddr, caller: usize, times: usize) -> Vec<String> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(tcp(sidecar).await)).await.unwrap();
    tokio::spawn(connection);
    let mut lost = Vec::new();
    for number in 0..times {
        let length = (caller * times + number) * 3200 / times;
        let request = Request::post("/crm/v8/__echo")
            .header("host", "localhost")
            .body(Body::full(vec![b'x'; length]))
            .unwrap();
        within("an earlier answer", sender.ready()).await.unwrap();
        let answer = Answer::read(within("an answer", sender.send_request(request)).await.unwrap()).await;
        if answer.status != 200 || answer.json()["body_length"] != length {
            lost.push(format!("{length} bytes: {} {}", answer.status, answer.text()));
        }
    }
    lost
}

/// Has all callers send so many requests each through nginx, which answers so many on a connection.
async fn nothing_is_lost(protocols: &str, requests: usize, times: usize) {
    let zoho = Zoho::start().await;
    let nginx = Nginx::start(&zoho, protocols, requests).await;
    let api = format!("https://127.0.0.1:{}", nginx.port);
    zoho.mints_always(Fault::WrongApiDomain(api.clone()));
    let config =
        zoho.config().replace(&format!("api = \"http://{}\"", zoho.address()), &format!("api = \"{api}\""));
    let more = format!("[log]\nrequests = false\n[upstream]\nca_file = \"{}\"\n", nginx.ca_file());
    let sidecar = Sidecar::with_files(&[&config, &more]).await;
    sidecar.ready().await;

    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        callers.spawn(post(sidecar.proxy(), caller, times));
    }
    let lost = within("all callers", callers.join_all()).await.concat();

    assert!(lost.is_empty(), "{} were lost: {:#?}", lost.len(), &lost[..lost.len().min(5)]);
    assert_eq!(zoho.calls(), CALLERS * times, "each was executed once");
}

#[tokio::test]
async fn no_post_is_lost_when_nginx_ends_connections_of_http2_after_seven_requests() {
    nothing_is_lost("ssl http2", 7, 100).await;
}

#[tokio::test]
async fn no_post_is_lost_when_nginx_ends_connections_of_http2_after_each_request() {
    nothing_is_lost("ssl http2", 1, 25).await;
}

#[tokio::test]
async fn no_post_is_lost_when_nginx_ends_connections_of_http1_after_seven_requests() {
    nothing_is_lost("ssl", 7, 100).await;
}
