//! The emulated Zoho, and what of it a sidecar and a test need.

use std::net::Ipv4Addr;

use zoho_sidecar::clock::Clock;
use zoho_sidecar::emulator::{Emulator, Entry, Fault, Listening, Role, Scenario, Target};

/// An emulated Zoho on a port, with the organisations of a sidecar.
pub(crate) struct Zoho {
    emulator: Emulator,
    listening: Listening,
    tenants: &'static [&'static str],
}

impl Zoho {
    pub(crate) async fn start(tenants: &'static [&'static str]) -> Self {
        // As shipped, but for jobs in bulk, for whose end clients wait.
        let shipped = include_str!("../../config/emulator.toml");
        let (slow, fast) = ("bulk_job_takes = \"2s\"", "bulk_job_takes = \"100ms\"");
        assert!(shipped.contains(slow));
        let scenario = Scenario::parse(&shipped.replace(slow, fast)).unwrap();
        let emulator = Emulator::new(scenario, Clock::system());
        let listening = emulator.listen((Ipv4Addr::LOCALHOST, 0).into(), "*").await.unwrap();
        Self { emulator, listening, tenants }
    }

    /// What serves its organisations, on free ports, with nothing kept.
    pub(crate) fn config(&self) -> String {
        let zoho = self.listening.address();
        let server = format!(
            "server.listen = [\"127.0.0.1:0\"]\nserver.workers = 1\nadmin.listen = \"127.0.0.1:0\"\n\
             state.directory = \"none\"\nupstream.proxy = \"none\"\n\
             [data_centers.emulated]\naccounts = \"http://{zoho}\"\napi = \"http://{zoho}\"\n"
        );
        let tenant = |name: &&str| {
            let organisation = self.emulator.organisation(name);
            format!(
                "[tenants.{name}]\ndata_center = \"emulated\"\nclient_id = \"{}\"\n\
                 client_secret = \"{}\"\nrefresh_token = \"{}\"\n",
                organisation.client_id(),
                organisation.client_secret(),
                organisation.refresh_token(),
            )
        };
        server + &self.tenants.iter().map(tenant).collect::<String>()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.listening.address()
    }

    /// Whether its control endpoint was asked, and refused each time.
    pub(crate) fn refused_control(&self) -> bool {
        let mut entries = self.emulator.ledger().entries();
        entries.retain(|entry| entry.role == Role::Control);
        !entries.is_empty() && entries.iter().all(|entry| entry.status == Some(403))
    }

    /// The calls of its API so far. All of them came through the sidecar, with that one's token.
    #[track_caller]
    pub(crate) fn calls(&self) -> Vec<Entry> {
        let mut entries = self.emulator.ledger().entries();
        entries.retain(|entry| matches!(entry.role, Role::Api | Role::Uploads));
        for entry in &entries {
            let token = entry.header("authorization").unwrap_or_default();
            let tenant = entry.organisation.as_deref().unwrap_or_default();
            assert_eq!(token, format!("Zoho-oauthtoken [token #1 of {tenant}]"), "{entry:?}");
            assert!(self.tenants.contains(&tenant), "{entry:?}");
            // Of the clients and the sidecar only the latter gives requests an id.
            assert!(entry.header("x-request-id").is_some(), "{entry:?}");
            assert!(entry.status.is_some_and(|status| status < 400), "{entry:?}");
        }
        entries
    }

    /// How often it was asked for this path.
    #[track_caller]
    pub(crate) fn calls_of(&self, path: &str) -> usize {
        self.calls().iter().filter(|entry| entry.path().ends_with(path)).count()
    }

    /// It gives out no token from now on.
    pub(crate) fn gives_no_token(&self) {
        self.emulator.script().always(Target::Mints, Fault::Refuse);
    }

    /// How often it was asked for a token, by whomever.
    pub(crate) fn mint_attempts(&self) -> usize {
        self.emulator.ledger().mint_attempts()
    }
}
