//! The store on Redis: one method, one command, one round trip.
//!
//! | method | sent | in a Cluster |
//! |---|---|---|
//! | `get` | `GETRANGE` to the size limit: what another wrote and is too large is cut short by the server, a miss | |
//! | `get_many` | `GETRANGE` × n in one go | one go a server |
//! | `put` | `SET … PX`; with tags `ZADD` and two `PEXPIRE` a tag before it, in the same go | tags first, then the entry |
//! | `put_if_absent` | `SET … NX PX` | |
//! | `touch` | `EVAL` of four lines: time to live and the entry's own expiry move together | |
//! | `delete` | `UNLINK` | |
//! | `delete_by_prefix`, `clear` | `SCAN … MATCH`, `UNLINK` × up to 512 | on every master |
//! | `delete_by_tag` | `ZRANGE`, `UNLINK` × up to 512, `ZREM` | |
//!
//! Never `KEYS`, `FLUSHDB` or `SET` followed by `EXPIRE`. Needs Redis 7.0 or Valkey.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use redis::Value;
use tokio::time::Instant;

use super::{
    breaker::Circuit,
    command::Command,
    commands::unlink_ask,
    config::RedisConfig,
    names::Names,
    node::Link,
    route::{Ask, Route, unexpected},
    stats::{Counters, RedisStats},
    watch::{Change, Hearing, Listener, Watch},
};
use crate::store::{
    Keep, Oddity, Store, StoreError, StoreFuture,
    contract::{check_tag, ttl_ms},
    entry::{self, Entry},
};

/// A store on a Redis or Valkey server, shared by all who use the same namespace.
///
/// It is never in the way: every operation ends within [`response_timeout`](RedisConfig::response_timeout), and at
/// once while the server is known to be away. Cloning it gives another handle to the same connections.
///
/// ```no_run
/// use std::time::Duration;
/// use bytes::Bytes;
/// use cache::store::{Keep, Redis, RedisConfig, Store};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), cache::store::StoreError> {
/// let redis = Redis::new(RedisConfig::from_url("redis://localhost:6379")?.namespace("shop"))?;
/// redis.put(b"greeting", Bytes::from("hello"), Keep::for_ttl(Duration::from_secs(60))).await?;
///
/// // A cache that cannot be reached is a miss, not an error of yours.
/// let greeting = redis.get(b"greeting").await.unwrap_or_default();
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Redis {
    pub(super) shared: Arc<Shared>,
    pub(super) names: Arc<Names>,
}

pub(super) struct Shared {
    pub(super) config: RedisConfig,
    pub(super) server: Arc<str>,
    pub(super) route: Route,
    pub(super) counters: Counters,
    pub(super) watch: Option<Arc<Watch>>,
    pub(super) chance: AtomicU64,
}

impl Redis {
    /// A store that connects when it is first used. Fails only on a configuration that cannot work; a server that is
    /// away is found out later, see [`ready`](Self::ready).
    pub fn new(config: RedisConfig) -> Result<Self, StoreError> {
        Self::with(config, None)
    }

    /// A store whose namespace `listener` hears of.
    pub(in crate::store) fn heard_by(
        config: RedisConfig,
        listener: Arc<dyn Listener>,
        only_channel: bool,
    ) -> Result<Self, StoreError> {
        let names = Arc::new(Names::new(&config.namespace));
        let writer = RandomState::new().hash_one(now_ms());
        Self::with(config, Some(Watch::new(names, listener, writer, only_channel)))
    }

    fn with(config: RedisConfig, watch: Option<Arc<Watch>>) -> Result<Self, StoreError> {
        config.check()?;
        let server: Arc<str> = config.shown().into();
        let route = Route::new(&server, &config, watch.as_ref())?;
        let names = Arc::new(Names::new(&config.namespace));
        let chance = AtomicU64::new(now_ms());
        let shared = Shared { config, server, route, counters: Counters::default(), watch, chance };
        Ok(Self { shared: Arc::new(shared), names })
    }

    /// The same connections, another namespace (1 to 64 bytes).
    ///
    /// Of a [`Tiered`](crate::store::Tiered) store's far tier: a plain store, of whose changes no near tier hears.
    pub fn in_namespace(&self, namespace: &str) -> Result<Self, StoreError> {
        self.shared.config.clone().namespace(namespace).check()?;
        Ok(Self { shared: self.shared.clone(), names: Arc::new(Names::new(namespace)) })
    }

    /// Waits until the server answers, for the connect and response time-outs together at the longest; the error says
    /// what is wrong (a refused connection, a wrong password). For a start-up check: no operation needs it.
    pub async fn ready(&self) -> Result<(), StoreError> {
        let config = &self.shared.config;
        let deadline = Instant::now() + config.connect_timeout + config.response_timeout;
        for node in self.shared.route.masters(deadline).await? {
            node.ready(deadline).await?;
        }
        Ok(())
    }

    /// Counts, and the state of the circuit.
    pub fn stats(&self) -> RedisStats {
        let counters = &self.shared.counters;
        let mut stats = RedisStats {
            circuit: Circuit::Closed,
            is_connected: true,
            connections: 0,
            in_flight: 0,
            hits: counters.hits.load(Relaxed),
            misses: counters.misses.load(Relaxed),
            timeouts: 0,
            disconnects: 0,
            refused: 0,
            errors: counters.errors.load(Relaxed),
            connects: 0,
            odd: counters.odd_by_kind(),
        };
        for node in self.shared.route.known_masters() {
            let state = &node.state;
            if stats.circuit == Circuit::Closed {
                stats.circuit = state.breaker.circuit();
            }
            match &*state.link.borrow() {
                Link::Up(line) => stats.connections += line.lanes.len(),
                _ => stats.is_connected = false,
            }
            stats.in_flight += state.in_flight();
            stats.timeouts += state.counts.timeouts.load(Relaxed);
            stats.disconnects += state.counts.disconnects.load(Relaxed);
            stats.refused += state.counts.refused.load(Relaxed);
            stats.connects += state.counts.connects.load(Relaxed);
        }
        stats
    }

    /// How changes by others are heard of.
    pub(in crate::store) fn hearing(&self) -> Hearing {
        self.shared.watch.as_ref().map_or(Hearing::Nothing, |watch| watch.hearing())
    }

    pub(in crate::store) async fn fetch_entry(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.check_key(key)?;
        let answer = self.shared.route.ask(self.get_ask(key), self.deadline()).await;
        self.opened(key, answer)
    }

    pub(in crate::store) async fn fetch_entries(
        &self,
        keys: &[&[u8]],
    ) -> Result<Vec<Option<Entry>>, StoreError> {
        keys.iter().try_for_each(|key| self.check_key(key))?;
        let asks = keys.iter().map(|key| self.get_ask(key)).collect();
        let answers = self.shared.route.ask_each(asks, self.deadline()).await;
        let mut failure = None;
        let mut entries = Vec::with_capacity(keys.len());
        for (key, answer) in keys.iter().zip(answers) {
            entries.push(self.opened(key, answer).unwrap_or_else(|error| {
                failure = Some(error);
                None
            }));
        }
        match failure {
            // Part of a Cluster may be away: what the others hold is still worth having.
            Some(error) if entries.iter().all(Option::is_none) => Err(error),
            _ => Ok(entries),
        }
    }

    pub(in crate::store) async fn store(
        &self,
        key: &[u8],
        value: &Bytes,
        keep: Keep<'_>,
    ) -> Result<(), StoreError> {
        let set = self.set_ask(key, value, keep, false)?;
        let deadline = self.deadline();
        self.tag(key, keep, deadline).await?;
        let answer = self.write(set, Change::Key(key), deadline).await;
        self.ok("SET", answer)
    }

    pub(in crate::store) async fn store_if_absent(
        &self,
        key: &[u8],
        value: &Bytes,
        keep: Keep<'_>,
    ) -> Result<bool, StoreError> {
        let set = self.set_ask(key, value, keep, true)?;
        let deadline = self.deadline();
        self.tag(key, keep, deadline).await?;
        match self.counted(self.write(set, Change::Key(key), deadline).await)? {
            Value::Okay => return Ok(true),
            Value::Nil => {}
            other => return Err(unexpected(&self.shared.server, "SET", &other)),
        }
        // Somebody's value is there, or something that is none: that would be in the way until it expired.
        let head = self.range_ask(key, entry::HEADER_LEN - 1);
        let oddity = match self.shared.route.ask(head, deadline).await {
            Ok(Value::BulkString(head)) => entry::check_head(key, &head).err(),
            Err(error) if is_wrong_type(&error) => Some(Oddity::WrongType),
            answer => return self.counted(answer).map(|_| false),
        };
        let Some(oddity) = oddity else { return Ok(false) };
        self.shared.counters.odd(oddity, &self.shared.config.namespace, now_ms());
        let answer = self.write(self.set_ask(key, value, keep, false)?, Change::Key(key), deadline).await;
        self.ok("SET", answer).map(|()| true)
    }

    pub(in crate::store) async fn prolong(&self, key: &[u8], ttl: Duration) -> Result<bool, StoreError> {
        self.check_key(key)?;
        let ttl_ms = self.jittered(ttl_ms(ttl)?);
        let mut command = Command::new("EVAL");
        command.arg(TOUCH).arg(1).entry(&self.names, key);
        command.arg(ttl_ms).arg(&(now_ms() + ttl_ms).to_le_bytes());
        let answer = self.write(Ask::script(command), Change::Key(key), self.deadline()).await;
        Ok(self.number("EVAL", answer)? == 1)
    }

    pub(in crate::store) async fn forget(&self, key: &[u8]) -> Result<bool, StoreError> {
        self.check_key(key)?;
        let answer = self.write(unlink_ask(&self.names.entry(key)), Change::Key(key), self.deadline()).await;
        Ok(self.number("UNLINK", answer)? > 0)
    }

    /// Sends a command that changes something; where the server does not tell the others, we do, in the same go.
    async fn write(&self, ask: Ask, change: Change<'_>, deadline: Instant) -> Result<Value, StoreError> {
        let Some(news) = self.announcement(change) else { return self.shared.route.ask(ask, deadline).await };
        let news = ask.beside(news);
        let mut answers = self.shared.route.ask_each(vec![ask, news], deadline).await.into_iter();
        answers.next().expect("as many answers as questions, and there were two")
    }

    fn announcement(&self, change: Change<'_>) -> Option<Command> {
        self.shared.watch.as_ref()?.announcement(change)
    }

    /// Tells the others of a change to many keys, where the server does not.
    pub(super) async fn announce(&self, change: Change<'_>) -> Result<(), StoreError> {
        let Some(news) = self.announcement(change) else { return Ok(()) };
        let answer = self.shared.route.ask(Ask::repeatable(news), self.deadline()).await;
        self.counted(answer).map(|_| ())
    }
}

/// Answers.
impl Redis {
    /// The entry in the answer to a `GETRANGE`: nothing there is an empty string.
    fn opened(&self, key: &[u8], answer: Result<Value, StoreError>) -> Result<Option<Entry>, StoreError> {
        let counters = &self.shared.counters;
        let oddity = match answer {
            Ok(Value::BulkString(stored)) if stored.is_empty() => None,
            Ok(Value::BulkString(stored)) => match entry::open(key, &stored.into()) {
                Ok(entry) if entry.expires_at_ms > now_ms() => {
                    counters.hits.fetch_add(1, Relaxed);
                    return Ok(Some(entry));
                }
                Ok(_) => None,
                Err(oddity) => Some(oddity),
            },
            Ok(Value::Nil) => None,
            Ok(other) => return Err(unexpected(&self.shared.server, "GETRANGE", &other)),
            Err(error) if is_wrong_type(&error) => Some(Oddity::WrongType),
            Err(error) => return self.counted(Err(error)).map(|_| None),
        };
        counters.misses.fetch_add(1, Relaxed);
        if let Some(oddity) = oddity {
            counters.odd(oddity, &self.shared.config.namespace, now_ms());
        }
        Ok(None)
    }

    fn ok(&self, command: &'static str, answer: Result<Value, StoreError>) -> Result<(), StoreError> {
        match self.counted(answer)? {
            Value::Okay => Ok(()),
            other => Err(unexpected(&self.shared.server, command, &other)),
        }
    }

    pub(super) fn number(
        &self,
        command: &'static str,
        answer: Result<Value, StoreError>,
    ) -> Result<i64, StoreError> {
        match self.counted(answer)? {
            Value::Int(number) => Ok(number),
            other => Err(unexpected(&self.shared.server, command, &other)),
        }
    }

    /// The same answer; an error of the server is counted on the way.
    pub(super) fn counted(&self, answer: Result<Value, StoreError>) -> Result<Value, StoreError> {
        if let Err(StoreError::Refused { .. }) = &answer {
            self.shared.counters.errors.fetch_add(1, Relaxed);
        }
        answer
    }
}

impl Store for Redis {
    fn get<'a>(&'a self, key: &'a [u8]) -> StoreFuture<'a, Option<Bytes>> {
        Box::pin(async move { Ok(self.fetch_entry(key).await?.map(|entry| entry.value)) })
    }

    fn get_many<'a>(&'a self, keys: &'a [&'a [u8]]) -> StoreFuture<'a, Vec<Option<Bytes>>> {
        Box::pin(async move {
            let entries = self.fetch_entries(keys).await?;
            Ok(entries.into_iter().map(|entry| entry.map(|entry| entry.value)).collect())
        })
    }

    fn put<'a>(&'a self, key: &'a [u8], value: Bytes, keep: Keep<'a>) -> StoreFuture<'a, ()> {
        Box::pin(async move { self.store(key, &value, keep).await })
    }

    fn put_if_absent<'a>(&'a self, key: &'a [u8], value: Bytes, keep: Keep<'a>) -> StoreFuture<'a, bool> {
        Box::pin(async move { self.store_if_absent(key, &value, keep).await })
    }

    fn touch<'a>(&'a self, key: &'a [u8], ttl: Duration) -> StoreFuture<'a, bool> {
        Box::pin(self.prolong(key, ttl))
    }

    fn delete<'a>(&'a self, key: &'a [u8]) -> StoreFuture<'a, bool> {
        Box::pin(self.forget(key))
    }

    fn delete_by_prefix<'a>(&'a self, prefix: &'a [u8]) -> StoreFuture<'a, u64> {
        Box::pin(self.purge_prefix(prefix))
    }

    fn delete_by_tag<'a>(&'a self, tag: &'a str) -> StoreFuture<'a, u64> {
        Box::pin(async move {
            check_tag(tag)?;
            self.purge_tag(tag).await
        })
    }

    fn clear(&self) -> StoreFuture<'_, u64> {
        Box::pin(self.purge_everything())
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redis").field("config", &self.shared.config).field("stats", &self.stats()).finish()
    }
}

fn is_wrong_type(error: &StoreError) -> bool {
    matches!(error, StoreError::Refused { code, .. } if &**code == "WRONGTYPE")
}

/// Milliseconds since 1970, by this machine.
pub(in crate::store) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Moves the server's time to live and the expiry in the header (offset 16) in one step.
const TOUCH: &str = "\
if redis.call('PEXPIRE', KEYS[1], ARGV[1]) == 0 then return 0 end
if redis.call('STRLEN', KEYS[1]) >= 40 then redis.call('SETRANGE', KEYS[1], 16, ARGV[2]) end
return 1";

#[cfg(test)]
mod tests {
    use super::*;

    /// Each operation is one allocation of this size: rare ways are boxed so that it stays small.
    #[test]
    fn futures_are_small() {
        let redis = Redis::new(RedisConfig::from_url("localhost").unwrap()).unwrap();
        let value = Bytes::from_static(b"v");
        let get = size_of_val(&redis.fetch_entry(b"k"));
        let put = size_of_val(&redis.store(b"k", &value, Keep::for_ttl(Duration::from_secs(1))));
        assert!(get <= 2_048 && put <= 2_560, "get {get} bytes, put {put} bytes");
    }
}
