//! The emulated Zoho and the sidecar, each a process, with everything around them that can be made to fail.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tempfile::TempDir;
use ureq::Agent;

use super::log::LogReader;
use crate::proc;

/// The territory whose members change, and the user who comes and goes.
pub(super) const TERRITORY: &str = "Overseas";
pub(super) const USER: &str = "Ada Example";

/// How long the sidecar may take to stop: its drain timeout, and a little more.
const STOP: Duration = Duration::from_secs(45);

/// Both processes and their surroundings.
pub(super) struct Stage {
    emulator: Mutex<Child>,
    sidecar: Mutex<Child>,
    pub(super) zoho: String,
    pub(super) proxy: String,
    admin: String,
    pub(super) stdout: Mutex<Option<LogReader>>,
    pub(super) stderr: Mutex<Option<LogReader>>,
    directory: TempDir,
    refresh_token: String,
    pub(super) territory: String,
    pub(super) user: String,
    sidecar_id: u32,
}

/// An agent that gives every status back as a response, and waits longer than the sidecar's own timeouts.
pub(super) fn agent() -> Agent {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_mins(1)))
        .proxy(None)
        .build();
    config.into()
}

impl Stage {
    pub(super) fn set(binary: &Path) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let scenario = directory.path().join("emulator.toml");
        // A day's credits do not last for a run of many calls a second.
        fs::write(&scenario, "[limits]\nconcurrency = true\ncredits = false\n")?;
        let mut emulator = Command::new(binary);
        emulator.args(["emulator", "--listen", "127.0.0.1:0", "--scenario"]).arg(&scenario);
        let mut emulator = emulator.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut lines = BufReader::new(emulator.stdout.take().context("the output is piped")?).lines();
        let first = lines.next().context("the emulator says nothing")??;
        let zoho =
            first.split_once("http://").context("the emulator does not say where it listens")?.1.to_owned();
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));

        let known: Value = get_json(&format!("http://{zoho}/__emulator/organisations"))?;
        let acme = &known["organisations"][0];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let id_of = |list: &str, name: &str| {
            let all = acme[list].as_array().into_iter().flatten();
            text(&all.into_iter().find(|one| one["name"] == name).unwrap_or(&Value::Null)["id"])
        };
        let refresh_token = text(&acme["refresh_tokens"][0]);
        fs::write(directory.path().join("refresh-token"), &refresh_token)?;
        let config = directory.path().join("sidecar.toml");
        fs::write(&config, configuration(&zoho, acme, directory.path()))?;
        let mut sidecar = Command::new(binary);
        sidecar.arg("run").arg("--config").arg(&config).env_clear().stdin(Stdio::null());
        let mut sidecar = sidecar.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut stdout = BufReader::new(sidecar.stdout.take().context("the output is piped")?);
        let proxy = listener(&mut stdout, "proxy")?;
        let admin = listener(&mut stdout, "admin")?;
        let stderr = sidecar.stderr.take().context("the output is piped")?;
        let stage = Self {
            zoho,
            proxy,
            admin,
            stdout: Mutex::new(Some(LogReader::start(stdout))),
            stderr: Mutex::new(Some(LogReader::start(stderr))),
            territory: id_of("territories", TERRITORY),
            user: id_of("users", USER),
            refresh_token,
            directory,
            sidecar_id: sidecar.id(),
            emulator: Mutex::new(emulator),
            sidecar: Mutex::new(sidecar),
        };
        stage.becomes_ready()?;
        Ok(stage)
    }

    fn becomes_ready(&self) -> Result<()> {
        let until = Instant::now() + Duration::from_secs(20);
        while Instant::now() < until {
            if agent().get(self.admin_url("/readyz")).call().is_ok_and(|response| response.status() == 200) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("the sidecar is not ready after 20 s")
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.proxy)
    }

    pub(super) fn admin_url(&self, path: &str) -> String {
        format!("http://{}{path}", self.admin)
    }

    /// Posts to the control endpoint of the emulator.
    pub(super) fn control(&self, path: &str, body: &Value) -> Result<()> {
        let response =
            agent().post(format!("http://{}/__emulator/{path}", self.zoho)).send(body.to_string())?;
        if response.status() != 200 {
            bail!("the emulator does not take {path} {body}");
        }
        Ok(())
    }

    /// Ends an outage or all faults.
    pub(super) fn end(&self, what: &str) -> Result<()> {
        agent().delete(format!("http://{}/__emulator/{what}", self.zoho)).call()?;
        Ok(())
    }

    /// The faults that are still to come.
    pub(super) fn faults(&self) -> Result<String> {
        Ok(get_json(&format!("http://{}/__emulator/faults", self.zoho))?.to_string())
    }

    /// How many users Zoho itself counts in the territory.
    pub(super) fn true_count(&self) -> Result<String> {
        let known: Value = get_json(&format!("http://{}/__emulator/organisations", self.zoho))?;
        let territories =
            known["organisations"][0]["territories"].as_array().context("there are territories")?;
        let count =
            territories.iter().find(|territory| territory["name"] == TERRITORY).context("it is listed")?;
        Ok(count["count"].to_string().trim_matches('"').to_owned())
    }

    pub(super) fn signal(&self, name: &str) -> Result<()> {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.sidecar_id.to_string()).status()?;
        if !sent.success() {
            bail!("the sidecar cannot be sent SIG{name}");
        }
        Ok(())
    }

    pub(super) fn secret_file(&self) -> PathBuf {
        self.directory.path().join("refresh-token")
    }

    pub(super) fn state_directory(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    /// Puts the secret file back as it was.
    pub(super) fn restore_secret(&self) -> Result<()> {
        let beside = self.directory.path().join("refresh-token.new");
        fs::write(&beside, &self.refresh_token)?;
        fs::rename(&beside, self.secret_file())?;
        Ok(())
    }

    /// Puts everything around the sidecar back in order.
    pub(super) fn mend(&self) -> Result<()> {
        self.end("outage")?;
        self.end("faults")?;
        self.restore_secret()?;
        for reader in [&self.stdout, &self.stderr] {
            if let Some(reader) = &*lock(reader) {
                reader.pause(false);
            }
        }
        Ok(())
    }

    pub(super) fn is_alive(&self) -> bool {
        matches!(lock(&self.sidecar).try_wait(), Ok(None))
    }

    /// Memory of the sidecar in use, in bytes.
    pub(super) fn resident(&self) -> u64 {
        proc::resident(&[self.sidecar_id])
    }

    pub(super) fn metrics(&self) -> Result<String> {
        Ok(agent().get(self.admin_url("/metrics")).call()?.body_mut().read_to_string()?)
    }

    /// Stops the sidecar as an operator does; `None` if it had to be killed.
    pub(super) fn stop(&self) -> Result<Option<ExitStatus>> {
        self.signal("TERM")?;
        let until = Instant::now() + STOP;
        while Instant::now() < until {
            if let Some(status) = lock(&self.sidecar).try_wait()? {
                return Ok(Some(status));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        lock(&self.sidecar).kill()?;
        Ok(None)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        for child in [&self.sidecar, &self.emulator] {
            let mut child = lock(child);
            // Either it has ended already, or it has to now.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn get_json(url: &str) -> Result<Value> {
    let text = agent().get(url).call()?.body_mut().read_to_string()?;
    Ok(serde_json::from_str(&text)?)
}

/// Reads the line that says where a listener is.
fn listener(stdout: &mut BufReader<impl Read>, what: &str) -> Result<String> {
    let mut line = String::new();
    stdout.read_line(&mut line)?;
    let said: Value =
        serde_json::from_str(&line).with_context(|| format!("instead of a listener: {line}"))?;
    if said["listener"] != what {
        bail!("the {what} listener is expected, not {line}");
    }
    let address = said["address"].as_str().unwrap_or_default();
    Ok(address.trim_start_matches("http://").to_owned())
}

fn configuration(zoho: &str, acme: &Value, directory: &Path) -> String {
    let directory = directory.display();
    format!(
        r#"
[server]
listen = ["127.0.0.1:0"]
drain_timeout = "20s"
[admin]
listen = "127.0.0.1:0"
[state]
directory = "{directory}/state"
[log]
format = "json"
[upstream]
proxy = "none"
first_byte_timeout = "5s"
idle_timeout = "5s"
[data_centers.emulated]
accounts = "http://{zoho}"
api = "http://{zoho}"
[tenants.acme]
data_center = "emulated"
edition = {edition}
client_id = {id}
client_secret = {secret}
refresh_token = {{ file = "{directory}/refresh-token" }}
[routes.associated-users-count]
fresh_for = "2s"
stale_while_revalidate = "1s"
stale_if_error = "1m"
"#,
        edition = acme["edition"],
        id = acme["client_id"],
        secret = acme["client_secret"],
    )
}
