//! `[server.tls]`: the certificate that callers see, and those that they show.

use std::path::PathBuf;
use std::time::Duration;

use super::section::Section;
use crate::causes::with_causes;
use crate::server::tls::{Clients, Settings, TlsError, check};

const PATH: &str = "the path of a PEM file, or \"none\"";
const WRITE_PATH: &str = "write the path of a PEM file";

/// `None` where there is no certificate. The files are looked at as often as those of secrets are.
pub(super) fn tls(section: Section<'_>, is_spoken: bool, secret_poll: Duration) -> Option<Settings> {
    let (certificate, private_key) = (path(&section, "certificate"), path(&section, "private_key"));
    let clients = clients(&section);
    if is_spoken && section.is_none("certificate") && private_key.is_none() {
        section.wrong("certificate", "server.listen has https:// and there is no certificate", WRITE_PATH);
    }
    let settings = match (certificate, private_key) {
        (Some(certificate), Some(private_key)) => {
            Some(Settings { certificate, private_key, clients, poll: secret_poll })
        }
        (None, None) => None,
        (None, Some(_)) => {
            section.wrong("certificate", "there is a private key and no certificate", WRITE_PATH);
            None
        }
        (Some(_), None) => {
            section.wrong("private_key", "there is a certificate and no private key", WRITE_PATH);
            None
        }
    };
    if let Some(settings) = &settings {
        section.check_file_of_secret("private_key", &settings.private_key);
        if !is_spoken {
            let remedy = "add an address as \"https://127.0.0.1:8443\" to server.listen";
            section.doubtful("certificate", "nowhere is TLS spoken", remedy);
        }
        if let Err(error) = check(settings) {
            let (key, remedy) = key_and_remedy(settings, &error);
            section.wrong(key, with_causes(&error), remedy);
        }
    }
    section.finish();
    settings
}

fn path(section: &Section<'_>, key: &str) -> Option<PathBuf> {
    if section.is_none(key) {
        return None;
    }
    let text = section.text(key, PATH);
    (!text.is_empty()).then(|| PathBuf::from(text))
}

/// How callers are asked for certificates.
#[derive(Clone, Copy)]
enum Asked {
    Kindly,
    Firmly,
}

fn clients(section: &Section<'_>) -> Clients {
    let choices = [("none", None), ("optional", Some(Asked::Kindly)), ("required", Some(Asked::Firmly))];
    let asked = section.choice("client_certificates", &choices).flatten();
    match (asked, path(section, "client_ca")) {
        (Some(Asked::Kindly), Some(authorities)) => Clients::Optional(authorities),
        (Some(Asked::Firmly), Some(authorities)) => Clients::Required(authorities),
        (None, None) => Clients::Unasked,
        (Some(_), None) => {
            section.wrong(
                "client_certificates",
                "nothing says who signs callers' certificates",
                "set client_ca to the path of a PEM file",
            );
            Clients::Unasked
        }
        (None, Some(_)) => {
            section.wrong(
                "client_ca",
                "nobody is asked for a certificate",
                "set client_certificates to \"optional\" or \"required\"",
            );
            Clients::Unasked
        }
    }
}

/// Which key an error is about, and what would be right.
fn key_and_remedy(settings: &Settings, error: &TlsError) -> (&'static str, &'static str) {
    let key = match error {
        TlsError::File { path, .. } | TlsError::NoCertificate { path } | TlsError::NoKey { path } => {
            match path {
                path if *path == settings.certificate => "certificate",
                path if *path == settings.private_key => "private_key",
                _ => "client_ca",
            }
        }
        TlsError::Pair(_) => "private_key",
        TlsError::Clients(_) => "client_ca",
        TlsError::Tickets(_) => return ("certificate", "see that the system gives random numbers"),
    };
    (key, WRITE_PATH)
}
