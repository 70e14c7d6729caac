//! Varnish with a cache in memory. It always logs into memory it shares; that someone writes it to a file is another
//! process.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{Peer, Setup, Skill, installed, version_of};

/// Varnish from the system's packages.
#[derive(Debug)]
pub(crate) struct Varnish;

impl Peer for Varnish {
    fn name(&self) -> String {
        "varnish".into()
    }

    fn binary(&self) -> PathBuf {
        installed("varnishd")
    }

    fn version(&self) -> Result<String> {
        version_of(&self.binary(), "-V")
    }

    fn commands(&self, setup: &Setup<'_>) -> Result<Vec<Command>> {
        let (file, place) = (setup.directory.join("varnish.vcl"), setup.directory.join("varnish"));
        std::fs::write(&file, rules(setup))?;
        let mut command = Command::new(self.binary());
        command.args(["-F", "-j", "none", "-s", "malloc,64m", "-T", "none"]);
        command.args(["-a", &format!("127.0.0.1:{}", setup.port)]);
        for parameter in ["thread_pools=1", "thread_pool_min=100", "timeout_idle=600", "listen_depth=4096"] {
            command.args(["-p", parameter]);
        }
        if setup.wish.http2 {
            command.args(["-p", "feature=+http2"]);
        }
        command.arg("-n").arg(&place).arg("-f").arg(file);
        let mut commands = vec![command];
        if setup.wish.log {
            let mut writer = Command::new("/usr/bin/varnishncsa");
            writer.args(["-t", "10", "-n"]).arg(place).arg("-w").arg(setup.directory.join("access.log"));
            commands.push(writer);
        }
        Ok(commands)
    }

    fn can(&self, _: Skill) -> bool {
        true
    }
}

fn rules(setup: &Setup<'_>) -> String {
    let origin = setup.origin;
    format!(
        "vcl 4.1;
backend zoho {{ .host = \"{host}\"; .port = \"{port}\"; }}
sub vcl_recv {{
    if (req.url !~ \"^/crm/[^/]+/settings/territories/actions/associated_users_count\") {{ return (pass); }}
}}
sub vcl_backend_response {{
    if (!bereq.uncacheable) {{ set beresp.ttl = 1h; set beresp.grace = 0s; }}
}}
",
        host = origin.ip(),
        port = origin.port(),
    )
}
