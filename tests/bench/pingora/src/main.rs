//! A caching proxy on pingora's crates, as small as it gets: `PORT ORIGIN`. It keeps one path for an hour, in
//! memory, with one fetch for all who wait; everything else is passed on.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use pingora::cache::lock::CacheLock;
use pingora::cache::{CacheKey, CacheMeta, MemCache, NoCacheReason, RespCacheable};
use pingora::http::ResponseHeader;
use pingora::prelude::{HttpPeer, Result, Server, Session};
use pingora::proxy::{ProxyHttp, http_proxy_service};
use pingora::server::configuration::ServerConf;

const KEPT: &str = "/settings/territories/actions/associated_users_count";
const FRESH: Duration = Duration::from_secs(3600);

static STORAGE: LazyLock<MemCache> = LazyLock::new(MemCache::new);
static LOCK: LazyLock<CacheLock> = LazyLock::new(|| CacheLock::new(Duration::from_secs(10)));

struct Proxy {
    origin: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, _: &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.origin, false, String::new())))
    }

    fn request_cache_filter(&self, session: &mut Session, _: &mut ()) -> Result<()> {
        if session.req_header().uri.path().ends_with(KEPT) {
            session.cache.enable(&*STORAGE, None, None, Some(&*LOCK), None);
        }
        Ok(())
    }

    fn cache_key_callback(&self, session: &Session, _: &mut ()) -> Result<CacheKey> {
        let uri = &session.req_header().uri;
        Ok(CacheKey::new(uri.path_and_query().map_or("", |path| path.as_str()), ""))
    }

    fn response_cache_filter(
        &self,
        _: &Session,
        answer: &ResponseHeader,
        _: &mut (),
    ) -> Result<RespCacheable> {
        if answer.status != 200 {
            return Ok(RespCacheable::Uncacheable(NoCacheReason::OriginNotCache));
        }
        let now = SystemTime::now();
        Ok(RespCacheable::Cacheable(CacheMeta::new(now + FRESH, now, 0, 0, answer.clone())))
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, origin] = &arguments[..] else {
        // The version of the crates is in Cargo.toml; this is what is asked of every peer.
        println!("pingora {}", pingora_version());
        return;
    };
    let origin = origin.parse().expect("the origin is an address");
    let settings = ServerConf { threads: 1, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None, settings);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Proxy { origin });
    service.add_tcp(&format!("127.0.0.1:{port}"));
    server.add_service(service);
    server.run_forever();
}

/// What Cargo.lock says.
fn pingora_version() -> &'static str {
    let lock = include_str!("../Cargo.lock");
    let found = lock.split("name = \"pingora\"\nversion = \"").nth(1);
    found.and_then(|rest| rest.split('"').next()).unwrap_or("?")
}
