//! The plainest proxy that pingora makes: one thread, one member, and its cache in memory when asked for one.
//! `pingora_proxy PORT ORIGIN_PORT [cache | CERTIFICATE KEY]`.

use std::{io, net::Ipv4Addr, net::SocketAddr, sync::LazyLock, time::Duration};

use async_trait::async_trait;
use pingora_cache::{
    CacheKey, CacheMetaDefaults, MemCache, RespCacheable,
    cache_control::CacheControl,
    eviction::simple_lru::Manager,
    filters::resp_cacheable,
    lock::{CacheKeyLockImpl, CacheLock},
};
use pingora_core::{
    Result,
    apps::HttpServerOptions,
    server::{Server, configuration::ServerConf},
    upstreams::peer::HttpPeer,
};
use pingora_http::ResponseHeader;
use pingora_proxy::{ProxyHttp, Session};

struct Plain {
    origin: SocketAddr,
    is_cache: bool,
}

#[async_trait]
impl ProxyHttp for Plain {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.origin, false, String::new())))
    }

    fn request_cache_filter(&self, session: &mut Session, (): &mut ()) -> Result<()> {
        if self.is_cache {
            session.cache.enable(&*STORAGE, Some(&*EVICTION), None, Some(&**LOCK), None);
        }
        Ok(())
    }

    fn cache_key_callback(&self, session: &Session, (): &mut ()) -> Result<CacheKey> {
        Ok(CacheKey::new(session.req_header().uri.to_string(), ""))
    }

    fn response_cache_filter(
        &self,
        session: &Session,
        response: &ResponseHeader,
        (): &mut (),
    ) -> Result<RespCacheable> {
        let control = CacheControl::from_resp_headers(response);
        let has_authorization = session.req_header().headers.contains_key("authorization");
        Ok(resp_cacheable(control.as_ref(), response.clone(), has_authorization, &DEFAULTS))
    }
}

fn main() -> io::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let usage = || io::Error::other("usage: pingora_proxy PORT ORIGIN_PORT [cache | CERTIFICATE KEY]");
    let [port, origin, more @ ..] = &arguments[..] else { return Err(usage()) };
    let number = |text: &String| text.parse::<u16>().map_err(|_| usage());
    let (listen, origin) = (format!("127.0.0.1:{}", number(port)?), number(origin)?);
    let conf = ServerConf {
        threads: 1,
        upstream_keepalive_pool_size: 64,
        // Told to end, it would wait for minutes.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(0),
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    let plain = Plain { origin: (Ipv4Addr::LOCALHOST, origin).into(), is_cache: more == ["cache"] };
    let mut service = pingora_proxy::http_proxy_service(&server.configuration, plain);
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    if let Some(proxy) = service.app_logic_mut() {
        proxy.server_options = Some(options);
    }
    match more {
        [certificate, key] => service.add_tls(&listen, certificate, key).map_err(io::Error::other)?,
        _ => service.add_tcp(&listen),
    }
    server.add_service(service);
    server.run_forever();
}

static STORAGE: LazyLock<MemCache> = LazyLock::new(MemCache::new);
static EVICTION: LazyLock<Manager> = LazyLock::new(|| Manager::new(64 << 20));
static LOCK: LazyLock<Box<CacheKeyLockImpl>> =
    LazyLock::new(|| CacheLock::new_boxed(Duration::from_secs(10)));
const DEFAULTS: CacheMetaDefaults = CacheMetaDefaults::new(|_| None, 0, 0);
