//! nginx, in two ways: with what makes it faster here (files of the cache stay open, and are read rather than sent
//! by `sendfile`, which small ones are too small for), and with the cache as Debian's configuration leaves it. Both
//! keep their connections to the origin, and write no long body to disk on its way.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{Peer, Setup, Skill, installed, version_of};

/// nginx from the system's packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nginx {
    /// The one that others are compared with.
    Tuned,
    /// With settings that most have.
    Shipped,
}

const TUNED: &str = "sendfile off;
    open_file_cache max=1000 inactive=600s;
    open_file_cache_valid 600s;";
const SHIPPED: &str = "sendfile on;";

impl Peer for Nginx {
    fn name(&self) -> String {
        if *self == Self::Tuned { "nginx".into() } else { "nginx, cache not tuned".into() }
    }

    fn binary(&self) -> PathBuf {
        installed("nginx")
    }

    fn version(&self) -> Result<String> {
        version_of(&self.binary(), "-v")
    }

    fn commands(&self, setup: &Setup<'_>) -> Result<Vec<Command>> {
        let file = setup.directory.join("nginx.conf");
        std::fs::write(&file, config(setup, if *self == Self::Tuned { TUNED } else { SHIPPED }))?;
        let mut command = Command::new(self.binary());
        command.arg("-e").arg("stderr").arg("-c").arg(file).arg("-p").arg(setup.directory);
        Ok(vec![command])
    }

    fn can(&self, _: Skill) -> bool {
        true
    }
}

fn config(setup: &Setup<'_>, files: &str) -> String {
    let Setup { directory, port, connections, origin, wish, .. } = setup;
    let directory = directory.display();
    let log = if wish.log { format!("{directory}/access.log combined") } else { "off".into() };
    let http2 = if wish.http2 { " http2" } else { "" };
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    format!(
        "{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile {many};
error_log stderr error;
pid {directory}/nginx.pid;
events {{ worker_connections {many}; }}
http {{
    access_log {log};
    {files}
    tcp_nodelay on;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    client_max_body_size 0;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    proxy_cache_path {directory}/cache levels=1:2 keys_zone=kept:16m max_size=64m inactive=1h use_temp_path=off;
    upstream zoho {{
        server {origin};
        keepalive 512;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096{http2};
        proxy_http_version 1.1;
        proxy_set_header Connection \"\";
        proxy_max_temp_file_size 0;
        proxy_request_buffering off;
        location / {{ proxy_pass http://zoho; }}
        location ~ ^/crm/[^/]+/settings/territories/actions/associated_users_count$ {{
            proxy_pass http://zoho;
            proxy_cache kept;
            proxy_cache_valid 200 1h;
            proxy_cache_lock on;
            add_header X-Cache $upstream_cache_status;
        }}
    }}
}}
",
        many = connections * 2,
    )
}
