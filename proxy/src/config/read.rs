//! Which key sets what.

use std::{cell::RefCell, collections::HashSet, num::NonZeroUsize};

use balancers::Algorithm;
use toml::{Spanned, de::DeTable};

use super::{
    Config, Entry, GroupConfig, Listen, Member, Name,
    admission::{read_admission, read_admission_rules, read_destinations},
    discovery::read_dns,
    error::{Faults, Sink},
    limits::read_connection_limits,
    model::{
        AdminConfig, CacheConfig, CacheProfile, CacheStore, LogLevel, MemoryConfig, RedisConfig, Secret,
        ServerConfig, Timeouts,
    },
    reader::Section,
    resilience::{Resilience, read_resilience},
    tls::{read_client_tls, read_tls},
};

impl Config {
    /// Reads `text`, which stands in the file `file`.
    ///
    /// # Errors
    /// Every fault of the file, each with line, column, what was found and what is allowed.
    pub fn parse(file: &str, text: &str) -> Result<Config, Faults> {
        let sink = RefCell::new(Sink::new(text));
        let (document, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            let span = error.span().unwrap_or(0..0);
            sink.borrow_mut().fault(span, format!("not TOML: {}", error.message()), None);
        }
        // What is left of a document that is none would be told faults that it has not.
        if let (false, Some(faults)) = (errors.is_empty(), sink.borrow().faults(file)) {
            return Err(faults);
        }
        let config = read_root(Section::root(document.get_ref(), &sink));
        match sink.into_inner().faults(file) {
            None => Ok(Config { source: text.to_owned().into(), ..config }),
            Some(faults) => Err(faults),
        }
    }
}

/// Every key that is asked for when `text` is read, with its section.
#[cfg(test)]
pub(super) fn keys_asked(text: &str) -> Vec<(String, String)> {
    let sink = RefCell::new(Sink::new(text));
    let (document, _) = DeTable::parse_recoverable(text);
    read_root(Section::root(document.get_ref(), &sink));
    sink.into_inner().asked
}

fn read_root(mut root: Section<'_, '_>) -> Config {
    let _ = root.string("title");
    let mut server = match root.section("server") {
        Some(section) => read_server(section),
        None => {
            let start = Spanned::new(0..0, ());
            root.fault(&start, "no [server] section", Some("it needs at least proxy_pass".to_owned()));
            ServerConfig::default()
        }
    };
    let tls = root.section("tls").and_then(read_tls);
    let upstream_tls = root.section("upstream_tls").map(read_client_tls).unwrap_or_default();
    let redis = root.section("redis").map(read_redis).unwrap_or_default();
    let memory = root.section("mem").map(read_memory).unwrap_or_default();
    let resilience = read_resilience(&mut root, &Resilience::default());
    let groups = root.sections("upstreams").into_iter().map(|group| read_group(group, &resilience));
    let groups: Vec<GroupConfig> = groups.collect();
    read_admission_rules(&mut root, &mut server.admission, &groups);
    let dns = root.section("dns").map(read_dns).unwrap_or_default();
    let admin = root.section("admin").map(read_admin);
    root.finish();
    Config {
        server,
        groups,
        tls,
        upstream_tls,
        redis,
        memory,
        resilience,
        dns,
        admin,
        source: Secret::default(),
    }
}

fn read_admin(mut admin: Section<'_, '_>) -> AdminConfig {
    let default = AdminConfig::default();
    let place = admin.place("listen");
    let listen: Option<Listen> = admin.parsed("listen", "\"127.0.0.1:9180\", \"unix:/path\"");
    let token = admin.secret("token");
    if let Some(token) = token.as_ref().filter(|token| token.get_ref().len() < TOKEN_LEN_MIN) {
        let help = format!("at least {TOKEN_LEN_MIN} characters, such as from `openssl rand -hex 16`");
        admin.fault(token, "token is too short to keep anybody out", Some(help));
    }
    if let (Some(Listen::Tcp(address)), None, Some(place)) = (&listen, &token, place)
        && !address.ip().is_loopback()
    {
        let help = "listen on 127.0.0.1, on [::1] or on \"unix:/path\", or set a token";
        let message = format!("{address} can be reached from elsewhere, and there is no token");
        admin.fault(&place, message, Some(help.to_owned()));
    }
    let token = token.map(|token| token.into_inner().into());
    admin.finish();
    AdminConfig { listen: listen.unwrap_or(default.listen), token }
}

fn read_server(mut server: Section<'_, '_>) -> ServerConfig {
    let default = ServerConfig::default();
    let listen: Option<Listen> =
        server.parsed("port", "\":8080\", \"127.0.0.1:8080\", \"[::1]:8080\" or \"unix:/path\"");
    let reverse = server.boolean("reverse").unwrap_or(default.reverse);
    let (members, names) = read_members(&mut server, reverse);
    let config = ServerConfig {
        listen: listen.unwrap_or(default.listen),
        reverse,
        members,
        names,
        balance: read_balance(&mut server).unwrap_or(default.balance),
        auth: server.boolean("auth").unwrap_or(default.auth),
        admission: read_admission(&mut server),
        destinations: read_destinations(&mut server),
        cache: read_cache(&mut server),
        workers: server.integer("workers", 0..=1024).and_then(|count| NonZeroUsize::new(to_usize(count))),
        log: match server.integer("log", 0..=1) {
            Some(1) => LogLevel::Debug,
            _ => LogLevel::Info,
        },
        log_path: server
            .string("log_path")
            .map(Spanned::into_inner)
            .filter(|p| !p.is_empty())
            .map(Into::into),
        access_log: server
            .parsed(
                "access_log",
                "\"off\", \"json\", \"combined\", or a pattern such as \"{client} {status}\"",
            )
            .unwrap_or(default.access_log),
        request_id: server.boolean("request_id").unwrap_or(default.request_id),
        proxy_protocol: server.boolean("proxy_protocol").unwrap_or(default.proxy_protocol),
        limits: read_connection_limits(&mut server),
        timeouts: read_timeouts(&mut server),
    };
    if config.auth && config.admission.users.is_empty() && config.admission.htpasswd.is_none() {
        let place = server.place("auth").unwrap_or(Spanned::new(0..0, ()));
        let help = "add user = { name = \"password\" }, or set auth = false";
        server.fault(&place, "auth = true, but there is no user who could pass", Some(help.to_owned()));
    }
    server.finish();
    config
}

/// One of `[[upstreams]]`.
fn read_group(mut section: Section<'_, '_>, of_all: &Resilience) -> GroupConfig {
    let name = section.string("name").map(Spanned::into_inner).unwrap_or_default();
    if name.is_empty() {
        let place = section.place("proxy_pass").unwrap_or(Spanned::new(0..0, ()));
        section.fault(&place, "a group of [[upstreams]] without a name", None);
    }
    let (members, names) = read_members(&mut section, true);
    let balance = read_balance(&mut section).unwrap_or(ServerConfig::default().balance);
    let resilience = read_resilience(&mut section, of_all);
    section.finish();
    GroupConfig { name: name.into(), members, names, balance, resilience }
}

fn read_members(server: &mut Section<'_, '_>, reverse: bool) -> (Vec<Member>, Vec<Name>) {
    let entries = server.strings("proxy_pass");
    let (mut members, mut names) = (Vec::new(), Vec::new());
    let mut seen = HashSet::new();
    for entry in entries.iter().flat_map(Spanned::get_ref) {
        match entry.get_ref().parse::<Entry>() {
            Err(error) => {
                let help = "allowed: \"host:port\", \"host:port^weight\", \"[ipv6]:port\", \"unix:/path\", \"dns+host:port\", \"srv+_http._tcp.name\"";
                server.fault(entry, format!("proxy_pass: {error}"), Some(help.to_owned()));
            }
            Ok(read) if !seen.insert(read.identity()) => {
                let help = "to give a member more traffic, write its weight: \"host:port^2\"";
                server.fault(
                    entry,
                    format!("proxy_pass: {} stands twice", read.identity()),
                    Some(help.to_owned()),
                );
            }
            Ok(Entry::Member(member)) => members.push(member),
            Ok(Entry::Name(name)) => names.push(name),
        }
    }
    if entries.as_ref().is_some_and(|entries| entries.get_ref().len() > MEMBERS_MAX) {
        let place = server.place("proxy_pass").unwrap_or(Spanned::new(0..0, ()));
        server.fault(
            &place,
            format!("proxy_pass has {} members", members.len()),
            Some(format!("at most {MEMBERS_MAX}")),
        );
    }
    let none = entries.is_none_or(|entries| entries.get_ref().is_empty());
    if reverse && none {
        let place = server.place("proxy_pass").unwrap_or(Spanned::new(0..0, ()));
        let help = "proxy_pass = [\"127.0.0.1:6000\"], or reverse = false for a forward proxy";
        server.fault(
            &place,
            "a reverse proxy needs at least one member in proxy_pass",
            Some(help.to_owned()),
        );
    }
    (members, names)
}

/// `balance` by name, or goproxy's mode by number under either of its two names; one of the three.
fn read_balance(server: &mut Section<'_, '_>) -> Option<Algorithm> {
    let names: Vec<String> = Algorithm::ALL.iter().map(ToString::to_string).collect();
    let by_name: Option<Algorithm> = server.parsed("balance", &names.join(", "));
    let inverse = server.integer("inverse_mode", 0..=5);
    let reverse = server.integer("reverse_mode", 0..=5);
    let given: Vec<_> =
        ["balance", "inverse_mode", "reverse_mode"].into_iter().filter_map(|k| server.place(k)).collect();
    if given.len() > 1 {
        let help = "keep one of balance, inverse_mode and reverse_mode";
        server.fault(&given[1], "the balancing algorithm is given twice", Some(help.to_owned()));
    }
    by_name.or_else(|| inverse.or(reverse).and_then(goproxy_mode))
}

fn goproxy_mode(mode: i64) -> Option<Algorithm> {
    Some(match mode {
        0 => Algorithm::Random,
        1 => Algorithm::RoundRobin,
        2 => Algorithm::P2c,
        3 => Algorithm::Ring,
        4 => Algorithm::BoundedRing,
        5 => Algorithm::LeastLoad,
        _ => return None,
    })
}

fn read_cache(server: &mut Section<'_, '_>) -> Option<CacheConfig> {
    let wanted = server.boolean("cache").unwrap_or(false);
    let freshness = server.seconds("cache_timeout", 0..=31_536_000).filter(|freshness| !freshness.is_zero());
    let store = match server.string("cache_type") {
        None => CacheStore::Memory,
        Some(name) => match name.get_ref().to_ascii_lowercase().as_str() {
            "memory" => CacheStore::Memory,
            "redis" => CacheStore::Redis,
            "tiered" => CacheStore::Tiered,
            other => {
                let message = format!("cache_type: unknown store \"{other}\"");
                server.fault(&name, message, Some("allowed: \"memory\", \"redis\", \"tiered\"".to_owned()));
                CacheStore::Memory
            }
        },
    };
    let profile = match server.string("cache_profile") {
        None => CacheProfile::default(),
        Some(name) => match name.get_ref().to_ascii_lowercase().as_str() {
            "safe" => CacheProfile::Safe,
            "rfc" => CacheProfile::Rfc,
            other => {
                let message = format!("cache_profile: unknown profile \"{other}\"");
                server.fault(&name, message, Some("allowed: \"safe\", \"rfc\"".to_owned()));
                CacheProfile::default()
            }
        },
    };
    let stale_if_error = server.seconds("stale_if_error", 0..=31_536_000).unwrap_or(A_DAY);
    let refresh_ahead = server.boolean("refresh_ahead").unwrap_or(false);
    let drop_query = server.strings("cache_query_drop").map(Spanned::into_inner).unwrap_or_default();
    let drop_query = drop_query.into_iter().map(Spanned::into_inner).collect();
    let sort_query = server.boolean("cache_query_sort").unwrap_or(false);
    let config = CacheConfig {
        store,
        default_freshness: freshness,
        profile,
        stale_if_error,
        refresh_ahead,
        drop_query,
        sort_query,
    };
    wanted.then_some(config)
}

fn read_timeouts(server: &mut Section<'_, '_>) -> Timeouts {
    let default = Timeouts::default();
    Timeouts {
        read: server.seconds("http_read_timeout", SECONDS).unwrap_or(default.read),
        write: server.seconds("http_write_timeout", SECONDS).unwrap_or(default.write),
        connect: server.seconds("connect_timeout", SECONDS).unwrap_or(default.connect),
        response: server.seconds("response_timeout", SECONDS).unwrap_or(default.response),
        idle: server.seconds("idle_timeout", SECONDS).unwrap_or(default.idle),
        request: server.seconds("request_timeout", SECONDS).unwrap_or(default.request),
        tunnel: server.seconds("tunnel_timeout", SECONDS).unwrap_or(default.tunnel),
        drain: server.seconds("drain_timeout", SECONDS).unwrap_or(default.drain),
    }
}

fn read_redis(mut redis: Section<'_, '_>) -> RedisConfig {
    let default = RedisConfig::default();
    let host = redis.string("redis_host");
    // What is in the host is shown to whoever may see the configuration.
    let has_password =
        |host: &str| host.rsplit_once('@').is_some_and(|(user, _)| user.matches(':').count() > 1);
    if let Some(host) = host.as_ref().filter(|host| has_password(host.get_ref())) {
        let help = "write redis_pass = \"...\" and leave it out here";
        redis.fault(host, "redis_host holds a password", Some(help.to_owned()));
    }
    let config = RedisConfig {
        host: host.map_or(default.host, Spanned::into_inner),
        password: redis.secret("redis_pass").map(Spanned::into_inner).unwrap_or_default().into(),
        max_idle: redis.integer("max_idle", 0..=10_000).map_or(default.max_idle, to_usize),
        max_active: redis.integer("max_active", 1..=10_000).map_or(default.max_active, to_usize),
        idle_timeout: redis.seconds("idle_timeout", SECONDS).unwrap_or(default.idle_timeout),
    };
    redis.finish();
    config
}

fn read_memory(mut memory: Section<'_, '_>) -> MemoryConfig {
    let default = MemoryConfig::default();
    let policies: Vec<String> = cache::Policy::ALL.iter().map(ToString::to_string).collect();
    let config = MemoryConfig {
        capacity: memory.integer("capacity", 1..=1_000_000_000).map_or(default.capacity, i64::unsigned_abs),
        max_bytes: memory.integer("max_bytes", 1..=BYTES_MAX).map_or(default.max_bytes, i64::unsigned_abs),
        max_object_bytes: memory
            .integer("max_object_bytes", 1..=BYTES_MAX)
            .map_or(default.max_object_bytes, i64::unsigned_abs),
        policy: memory.parsed("cache_replacement_policy", &policies.join(", ")).unwrap_or(default.policy),
    };
    memory.finish();
    config
}

fn to_usize(number: i64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// No wait is endless, and none is longer than a day.
const A_DAY: std::time::Duration = std::time::Duration::from_secs(86_400);
const SECONDS: std::ops::RangeInclusive<i64> = 1..=86_400;
const TOKEN_LEN_MIN: usize = 16;
const BYTES_MAX: i64 = 1 << 50;
const MEMBERS_MAX: usize = 10_000;
