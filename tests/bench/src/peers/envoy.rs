//! Envoy, with its cache filter over the cache in memory that comes with it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{Peer, Setup, Skill};

/// The executable that run.sh finds or fetches where it is asked for.
#[derive(Debug)]
pub(crate) struct Envoy(pub(crate) PathBuf);

impl Peer for Envoy {
    fn name(&self) -> String {
        "envoy".into()
    }

    fn binary(&self) -> PathBuf {
        self.0.clone()
    }

    fn version(&self) -> Result<String> {
        let said = super::version_of(&self.0, "--version")?;
        // Its commit, its version, and how it was built.
        Ok(said.split('/').nth(1).unwrap_or(&said).to_owned())
    }

    fn commands(&self, setup: &Setup<'_>) -> Result<Vec<Command>> {
        let file = setup.directory.join("envoy.yaml");
        std::fs::write(&file, config(setup))?;
        let mut command = Command::new(self.binary());
        command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "-c"]).arg(file);
        Ok(vec![command])
    }

    fn can(&self, _: Skill) -> bool {
        true
    }
}

fn config(setup: &Setup<'_>) -> String {
    let Setup { port, connections, origin, wish, directory, .. } = setup;
    let log = if wish.log {
        format!(
            "
          access_log:
          - name: envoy.access_loggers.file
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: {}/access.log",
            directory.display()
        )
    } else {
        String::new()
    };
    format!(
        "static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    tcp_backlog_size: 4096
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          \"@type\": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: callers
          common_http_protocol_options: {{ idle_timeout: 600s }}{log}
          http_filters:
          - name: envoy.filters.http.cache
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.filters.http.cache.v3.CacheConfig
              typed_config:
                \"@type\": type.googleapis.com/envoy.extensions.http.cache.simple_http_cache.v3.SimpleHttpCacheConfig
          - name: envoy.filters.http.router
            typed_config:
              \"@type\": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
          route_config:
            virtual_hosts:
            - name: zoho
              domains: [\"*\"]
              routes:
              - match:
                  safe_regex: {{ regex: \"/crm/[^/]+/settings/territories/actions/associated_users_count\" }}
                route: {{ cluster: zoho }}
              - match: {{ prefix: / }}
                route: {{ cluster: zoho, timeout: 0s }}
                typed_per_filter_config:
                  envoy.filters.http.cache:
                    \"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig
                    disabled: true
  clusters:
  - name: zoho
    connect_timeout: 5s
    circuit_breakers:
      thresholds:
      - {{ max_connections: {connections}, max_pending_requests: {connections}, max_requests: {connections} }}
    load_assignment:
      cluster_name: zoho
      endpoints:
      - lb_endpoints:
        - endpoint: {{ address: {{ socket_address: {{ address: {host}, port_value: {origin_port} }} }} }}
",
        host = origin.ip(),
        origin_port = origin.port(),
    )
}
