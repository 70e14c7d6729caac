//! Callers, where they may come from, and TLS towards them.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use zoho_sidecar::config::problem::{Problem, Severity};

use crate::{TENANT, read, sound, the_problem};

/// Hashes of `made-up-first-token` and `made-up-second-token`.
const HASHES: [&str; 2] = [
    "sha256:38324736c2cfd5d5b91f4353c75b8040155a3814de05a0f0d71e18e96db290f2",
    "sha256:8567793e5264f24b327578decae4b93477afbad2dd20338f1c8b4962741dcbd7",
];

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn listening_for_others_needs_callers_that_can_be_known_there() {
    let [first, _] = HASHES;
    let (remote, encrypted) =
        ("server.listen = [\"0.0.0.0:80\"]", "server.listen = [\"https://0.0.0.0:443\"]");
    let by_token = format!("[callers.a]\ntoken = \"{first}\"");
    let (by_uid, anybody) = ("[callers.b]\nuid = 1000", "[callers.c]\nanybody = true");
    let open = "server.i_know_this_is_open = true";
    let told = |texts: &[&str]| -> Vec<(Severity, String)> {
        let all = [&[TENANT], texts].concat();
        let of_listen = |problem: &Problem| problem.key == "server.listen";
        let problems = read(&all).problems.into_iter().filter(of_listen);
        problems.map(|problem| (problem.severity, problem.what)).collect()
    };
    let open_to_all = |address: &str| {
        vec![(Severity::Problem, format!("whoever reaches {address} would use your credentials"))]
    };
    assert_eq!(told(&[remote]), open_to_all("http://0.0.0.0:80"));
    assert_eq!(told(&[encrypted]), open_to_all("https://0.0.0.0:443"));
    assert_eq!(told(&[remote, &by_token, anybody]).first(), open_to_all("http://0.0.0.0:80").first());
    assert_eq!(told(&[remote, open]), []);
    assert_eq!(told(&[encrypted, &by_token]), []);
    let in_the_clear = told(&[remote, &by_token]);
    let what = "callers' tokens go to http://0.0.0.0:80 in the clear".to_owned();
    assert_eq!(in_the_clear, [(Severity::Warning, what)]);
    let what = "nobody who comes by http://0.0.0.0:80 can be known: all callers are known by uid".to_owned();
    assert_eq!(told(&[remote, by_uid]), [(Severity::Problem, what)]);
    assert_eq!(told(&["server.listen = [\"127.0.0.1:0\"]", &by_token]), []);
}

#[test]
fn a_certificate_of_the_authoritys_is_not_taken_for_leave() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let own = rcgen::generate_simple_self_signed(["sidecar.example".to_owned()]).unwrap();
    std::fs::write(at("cert.pem"), own.cert.pem()).unwrap();
    std::fs::write(at("key.pem"), own.signing_key.serialize_pem()).unwrap();
    set_mode(&at("key.pem"), 0o600);
    let (cert, key) = (at("cert.pem"), at("key.pem"));
    let serving = |listen: &str, clients: &str| {
        format!(
            "[server]\nlisten = [{listen}]\n[server.tls]\ncertificate = \"{0}\"\nprivate_key = \"{1}\"\nclient_ca = \"{0}\"\nclient_certificates = \"{clients}\"\n",
            cert.display(),
            key.display()
        )
    };
    let encrypted = "\"https://0.0.0.0:443\"";
    let plain_too = "\"https://0.0.0.0:443\", \"0.0.0.0:80\"";
    for (listen, clients, who) in [
        (encrypted, "required", "whoever has any certificate of client_ca's and reaches https://0.0.0.0:443"),
        (encrypted, "optional", "whoever reaches https://0.0.0.0:443"),
        (plain_too, "required", "whoever reaches http://0.0.0.0:80"),
    ] {
        let problem = the_problem(&[TENANT, &serving(listen, clients)]);
        assert_eq!((problem.key.as_str(), problem.severity), ("server.listen", Severity::Problem));
        assert_eq!(problem.what, format!("{who} would use your credentials"));
    }
    sound(&[TENANT, &serving(encrypted, "required"), "server.i_know_this_is_open = true"]);
    sound(&[TENANT, &serving(encrypted, "required"), "[callers.a]\ncertificate = \"a.example\""]);
}

#[test]
fn an_address_by_name_is_told_that_it_needs_an_ip_address() {
    let problem =
        the_problem(&[TENANT, "server.listen = [\"127.0.0.1:0\", \"https://sidecar.example:443\"]"]);
    assert_eq!(problem.key, "server.listen");
    assert!(problem.what.contains("neither an IP address (no host name) with a port"), "{problem}");
    assert!(problem.remedy.contains("\"https://0.0.0.0:8443\""), "{problem}");
}

#[test]
fn the_user_that_stands_for_all_strangers_is_nobodys() {
    let sockets = "server.listen = [\"unix:/run/zoho-sidecar/proxy.sock\"]";
    for uid in ["65534", "[1000, 65534]"] {
        let problem = the_problem(&[TENANT, sockets, &format!("[callers.a]\nuid = {uid}")]);
        assert_eq!((problem.key.as_str(), problem.severity), ("callers.a.uid", Severity::Problem));
        assert!(problem.what.contains("every user of another user namespace"), "{problem}");
    }
    sound(&[TENANT, sockets, "[callers.a]\nuid = [1000, 65533]"]);
}

#[test]
fn a_caller_that_says_it_is_not_anybody_is_nobody() {
    let problem = the_problem(&[TENANT, "[callers.x]\nanybody = false"]);
    assert_eq!(problem.what, "nothing says who this caller is");
}

#[test]
fn two_callers_cannot_have_one_token_wherever_its_hash_stands() {
    let [first, second] = HASHES;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens");
    std::fs::write(&path, format!("{first}\n{second}\n")).unwrap();
    let text = format!(
        "[callers.a]\ntoken = \"{second}\"\n[callers.b]\ntoken = {{ file = \"{}\" }}\n",
        path.display()
    );
    let problem = the_problem(&[TENANT, &text]);
    assert_eq!((problem.key.as_str(), problem.what.as_str()), ("callers.b.token", "this is also callers.a"));
}

#[test]
fn what_stands_in_the_place_of_a_hash_is_never_repeated() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tokens");
    let from_file = format!("[callers.a]\ntoken = {{ file = \"{}\" }}\n", path.display());
    let missing = read(&[TENANT, &from_file]).problems;
    assert_eq!((missing.len(), missing[0].severity), (1, Severity::Warning));
    std::fs::write(&path, "made-up-secret\n").unwrap();
    for text in
        [&*from_file, "[callers.a]\ntoken = \"made-up-secret\"", "[callers.a]\ntoken = [\"made-up-secret\"]"]
    {
        let problem = the_problem(&[TENANT, text]);
        assert_eq!((problem.key.as_str(), problem.severity), ("callers.a.token", Severity::Problem));
        assert!(!problem.to_string().contains("made-up-secret"), "{problem}");
    }
    let known = format!("[callers.a]\ntoken = \"{}\"\n", HASHES[0]);
    let config = sound(&[TENANT, &known]);
    assert!(!format!("{config:?}").contains(&HASHES[0][7..]));
}

#[test]
fn tls_needs_a_certificate_with_its_key_and_somewhere_to_be_spoken() {
    let listen = "server.listen = [\"https://127.0.0.1:0\"]\n";
    assert_eq!(the_problem(&[TENANT, listen]).key, "server.tls.certificate");
    assert_eq!(the_problem(&[TENANT, "admin.listen = \"https://127.0.0.1:0\""]).key, "admin.listen");

    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    let own = rcgen::generate_simple_self_signed(["sidecar.example".to_owned()]).unwrap();
    std::fs::write(at("cert.pem"), own.cert.pem()).unwrap();
    std::fs::write(at("key.pem"), own.signing_key.serialize_pem()).unwrap();
    set_mode(&at("key.pem"), 0o600);
    let certificate = format!("server.tls.certificate = \"{}\"\n", at("cert.pem").display());
    let key = format!("server.tls.private_key = \"{}\"\n", at("key.pem").display());
    let clients = format!("server.tls.client_ca = \"{}\"\n", at("cert.pem").display());
    let required = "server.tls.client_certificates = \"required\"\n";
    let caller = "[callers.a]\ncertificate = \"a.example\"\n";
    for (texts, key) in [
        (&[listen, &certificate][..], "server.tls.private_key"),
        (&[listen, &key], "server.tls.certificate"),
        (&[listen, &certificate, &key, &clients], "server.tls.client_ca"),
        (&[listen, &certificate, &key, required], "server.tls.client_certificates"),
        (&[listen, &certificate, &key, caller], "callers.a.certificate"),
        (&[&certificate, &key], "server.tls.certificate"),
    ] {
        assert_eq!(the_problem(&[&[TENANT], texts].concat()).key, key);
    }
    let config = sound(&[
        TENANT,
        listen,
        &certificate,
        &key,
        &clients,
        required,
        caller,
        "tokens.secret_poll = \"7s\"",
    ]);
    assert_eq!(config.server.tls.unwrap().poll.as_secs(), 7);

    set_mode(&at("key.pem"), 0o644);
    let problem = the_problem(&[TENANT, listen, &certificate, &key]);
    assert_eq!(problem.key, "server.tls.private_key");
    assert!(problem.what.contains("every user of this machine may read it (mode 0644)"), "{problem:?}");
}
