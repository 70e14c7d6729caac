//! The tour, step by step. A step tells what it does, shows what came back, and proves what it says.

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::Value;
use tokio::task::JoinSet;

use super::stage::{Got, Stage};
use crate::emulator::{Emulator, Role};

const COUNT: &str = "/crm/v8/settings/territories/actions/associated_users_count";

const ROLES: &str = "/crm/v8/settings/roles";
/// As the demo's configuration says.
pub(super) const ROLES_FRESH_FOR: Duration = Duration::from_secs(1);

/// Leads through the demo.
pub(super) struct Guide {
    stage: Arc<Stage>,
    emulator: Emulator,
}

/// Why a step did not go as told.
type Failure = String;

/// How often, and how long, the guide looks whether something has happened.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const LOOKS: usize = 500;

impl Guide {
    pub(super) fn new(stage: Stage, emulator: Emulator) -> Self {
        Self { stage: Arc::new(stage), emulator }
    }

    /// Says whether every step went as told.
    pub(super) async fn tour(&self) -> bool {
        let stage = &self.stage;
        stage.title("zoho-sidecar: a tour with an emulated Zoho, over real sockets");
        stage.show("sidecar", &stage.proxy);
        stage.show("admin", &stage.admin);
        stage.show("emulated Zoho", &stage.zoho);
        match self.steps().await {
            Ok(()) => {
                stage.print("");
                stage.proven("Every step went as told.");
                true
            }
            Err(failure) => {
                stage.failed(&failure);
                stage.print("");
                stage.failed("The tour did not go as told; this is a defect, please report it.");
                false
            }
        }
    }

    async fn steps(&self) -> Result<(), Failure> {
        self.first_token().await?;
        self.miss().await?;
        self.hit().await?;
        self.storm().await?;
        self.write().await?;
        self.early_death().await?;
        self.outage().await
    }

    async fn first_token(&self) -> Result<(), Failure> {
        self.stage.heading(1, "The first token");
        self.stage.say("The sidecar exchanges each organisation's refresh token before anybody asks.");
        let admin = &self.stage.admin;
        for _ in 0..LOOKS {
            let ready = self.get(format!("{admin}/readyz")).await?;
            if ready.status == StatusCode::OK && self.mints("acme") + self.mints("globex") == 2 {
                self.stage.show("ready", ready.text().split_whitespace().collect::<String>().as_str());
                self.stage.proven("Zoho minted one token for acme and one for globex.");
                return Ok(());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Err("the sidecar did not become ready with one token per organisation".to_owned())
    }

    async fn miss(&self) -> Result<(), Failure> {
        self.stage.heading(2, "A miss");
        self.stage.say("A service asks how many users each territory has. It sends no credentials at all.");
        self.stage.show("GET", &format!("{}/tenants/acme{COUNT}", self.stage.proxy));
        let before = self.calls();
        let got = self.count().await?;
        expect_ok(&got, "fwd=uri-miss; stored")?;
        self.show_counts(&got);
        self.stage.show("cache-status", got.header("cache-status"));
        self.prove(self.calls() == before + 1, "Zoho was asked once; the answer is kept.")
    }

    async fn hit(&self) -> Result<(), Failure> {
        self.stage.heading(3, "A hit");
        let before = self.calls();
        let got = self.count().await?;
        expect_ok(&got, "hit")?;
        self.stage.show("cache-status", got.header("cache-status"));
        self.stage.show("age", &format!("{} s", got.header("age")));
        self.stage.show("took", &got.milliseconds());
        self.prove(self.calls() == before, "Zoho was not asked.")
    }

    async fn storm(&self) -> Result<(), Failure> {
        const CALLERS: usize = 100;
        self.stage.heading(4, "A hundred callers at once");
        self.stage.say("The same question for the other organisation, in another data centre, cold.");
        let before = self.calls();
        let url = format!("{}/tenants/globex{COUNT}", self.stage.proxy);
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (stage, url) = (self.stage.clone(), url.clone());
            callers.spawn(async move { stage.ask(Method::GET, url, "").await });
        }
        for answer in callers.join_all().await {
            let answer = answer?;
            if answer.status != StatusCode::OK {
                return Err(format!("a caller got {}", answer.status));
            }
        }
        self.stage.show("answers", &format!("{CALLERS} times 200"));
        self.prove(self.calls() == before + 1, "One call to Zoho answered all of them.")
    }

    async fn write(&self) -> Result<(), Failure> {
        self.stage.heading(5, "A write that forgets");
        let acme = self.emulator.organisation("acme");
        let (territory, user) = (acme.territory_id("Overseas"), acme.user_id("Ada Example"));
        let path = format!("/crm/v8/settings/territories/{territory}/users");
        self.stage.say("Somebody puts Ada into the territory Overseas, through the sidecar.");
        let url = format!("{}/tenants/acme{path}", self.stage.proxy);
        let body = format!(r#"{{"users":[{{"id":"{user}"}}]}}"#);
        let before = self.count().await?;
        let written = self.stage.ask(Method::PUT, url, &body).await?;
        self.stage.show("PUT", &format!("{path}  →  {}", written.status));
        let after = self.count().await?;
        expect_ok(&after, "fwd=uri-miss; stored")?;
        self.show_counts(&after);
        let (before, after) = (members(&before, "Overseas"), members(&after, "Overseas"));
        self.prove(
            before.is_some() && after == before.map(|count| count + 1),
            "The very next read shows the new count: a write knows which answers it makes untrue.",
        )
    }

    async fn early_death(&self) -> Result<(), Failure> {
        self.stage.heading(6, "A token dies early");
        self.stage.say("Zoho silently withdraws acme's token. The next call is refused; nobody notices.");
        let mints = self.mints("acme");
        self.emulator.organisation("acme").kill_access_tokens();
        let url = format!("{}/tenants/acme/crm/v8/users?type=AllUsers", self.stage.proxy);
        let got = self.get(url).await?;
        self.stage.show("GET", &format!("/crm/v8/users  →  {}", got.status));
        self.stage.show("server-timing", got.header("server-timing"));
        let refused = self.emulator.ledger().count(|entry| entry.status == Some(401));
        let metric = self.metric(r#"zoho_sidecar_token_early_deaths_total{tenant="acme"}"#).await?;
        self.stage.show("metric", &format!("token_early_deaths_total = {metric}"));
        self.prove(
            got.status == StatusCode::OK && refused == 1 && self.mints("acme") == mints + 1 && metric == "1",
            "One 401 from Zoho, one new token, and the call was sent again. The caller got 200.",
        )
    }

    async fn outage(&self) -> Result<(), Failure> {
        self.stage.heading(7, "Zoho is down");
        let of_acme = |path: &str| format!("{}/tenants/acme{path}", self.stage.proxy);
        self.get(of_acme(ROLES)).await?;
        expect_ok(&self.count().await?, "zoho-sidecar")?;
        self.emulator.script().outage(true);
        let uncached = self.get(of_acme("/crm/v8/users?type=AllUsers")).await?;
        self.stage.show("uncached read", &uncached.status.to_string());
        let fresh = self.count().await?;
        expect_ok(&fresh, "hit")?;
        self.stage.show("fresh count", &format!("{}  {}", fresh.status, fresh.header("cache-status")));
        self.stage.say("The demo keeps the list of roles fresh for one second only; now it is stale …");
        tokio::time::sleep(ROLES_FRESH_FOR + Duration::from_millis(100)).await;
        let stale = self.get(of_acme(ROLES)).await?;
        expect_ok(&stale, "stale-if-error")?;
        self.stage.show("stale roles", &format!("{}  {}", stale.status, stale.header("cache-status")));
        self.emulator.script().outage(false);
        // After a failure a key is left alone for a moment.
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        expect_ok(&self.get(of_acme(ROLES)).await?, "fwd=stale; stored")?;
        self.prove(
            uncached.status == StatusCode::BAD_GATEWAY,
            "While Zoho was down what was kept was still answered, labelled where stale; now it is fresh again.",
        )
    }

    /// What to try while the demo keeps serving.
    pub(super) fn farewell(&self) {
        let Stage { proxy, admin, zoho, .. } = &*self.stage;
        self.stage.print("");
        self.stage.title("It keeps serving. Try, in another terminal:");
        for (what, line) in [
            ("a cached read, twice", format!("curl -i {proxy}/tenants/acme{COUNT}")),
            ("anything else", format!("curl -i {proxy}/tenants/globex/crm/v8/settings/modules")),
            ("a choice not made", format!("curl -i {proxy}{COUNT}")),
            ("over HTTP/2", format!("curl -i --http2-prior-knowledge {proxy}/tenants/acme{COUNT}")),
            ("withdraw a token", format!("curl -X POST {zoho}/__emulator/organisations/acme/kill-tokens")),
            ("an outage", format!("curl -X POST {zoho}/__emulator/outage   (and -X DELETE)")),
            ("what Zoho was asked", format!("curl {zoho}/__emulator/ledger")),
            ("how it is doing", format!("curl {admin}/status")),
            ("all metrics", format!("curl {admin}/metrics")),
        ] {
            self.stage.say(&format!("{} {line}", self.stage.paint("2", &format!("{what:<22}"))));
        }
        self.stage.print("\nCtrl-C ends it.");
    }

    async fn count(&self) -> Result<Got, Failure> {
        self.get(format!("{}/tenants/acme{COUNT}", self.stage.proxy)).await
    }

    async fn get(&self, url: String) -> Result<Got, Failure> {
        self.stage.ask(Method::GET, url, "").await
    }

    async fn metric(&self, series: &str) -> Result<String, Failure> {
        let metrics = self.get(format!("{}/metrics", self.stage.admin)).await?;
        let line = metrics.text().lines().find_map(|line| line.strip_prefix(series));
        line.map(|value| value.trim().to_owned()).ok_or_else(|| format!("there is no metric {series}"))
    }

    fn show_counts(&self, got: &Got) {
        let body: Value = serde_json::from_slice(&got.body).unwrap_or_default();
        let rows = body["associated_users_count"].as_array().cloned().unwrap_or_default();
        let counts: Vec<String> = rows
            .iter()
            .map(|row| {
                let count = row["count"].as_str().unwrap_or("?");
                format!("{} {count}", row["territory"]["name"].as_str().unwrap_or("?"))
            })
            .collect();
        self.stage.show("counts", &counts.join(", "));
    }

    fn prove(&self, is_true: bool, sentence: &str) -> Result<(), Failure> {
        if is_true {
            self.stage.proven(sentence);
            Ok(())
        } else {
            Err(format!("not true: {sentence}"))
        }
    }

    fn calls(&self) -> usize {
        self.emulator.ledger().calls()
    }

    fn mints(&self, organisation: &str) -> usize {
        self.emulator.ledger().count(|entry| {
            entry.role == Role::Accounts
                && entry.organisation.as_deref() == Some(organisation)
                && entry.status == Some(200)
        })
    }
}

/// Checks an answer that was foretold.
fn expect_ok(got: &Got, cache_status: &str) -> Result<(), Failure> {
    let told = got.header("cache-status");
    if got.status == StatusCode::OK && told.contains(cache_status) {
        return Ok(());
    }
    Err(format!("expected 200 with \"{cache_status}\", got {} with \"{told}\": {}", got.status, got.text()))
}

fn members(got: &Got, territory: &str) -> Option<u64> {
    let body: Value = serde_json::from_slice(&got.body).ok()?;
    let rows = body["associated_users_count"].as_array()?;
    let row = rows.iter().find(|row| row["territory"]["name"] == territory)?;
    row["count"].as_str()?.parse().ok()
}
