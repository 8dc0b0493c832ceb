//! One loads, all others wait: for a value that many processes miss at the same moment.
//!
//! ```text
//!     miss ─► lock? ──taken──► load ─► put ─► unlock                  renewed while it loads
//!               └────held────► wait for news of the key, or for the lease to end ─► look again
//! ```
//!
//! Waiting ends with the news that the value is there: the same messages that keep the near tiers right. When the holder
//! dies its lease ends (a second by default), and one of those that wait takes over; the others go on waiting. Who has
//! waited longer than his patience loads by himself, and so does everybody while Redis is away: a lock never makes a
//! request fail.
//!
//! Costs one round trip more than a plain miss for the one who loads. Not for values that load in less than two round trips:
//! let them all load.

use std::{
    collections::HashMap,
    convert::Infallible,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use super::{
    Keep, Store, Tiered,
    redis::{Lock, now_ms},
};

/// How long to hold and how long to wait.
///
/// ```no_run
/// use std::{convert::Infallible, time::Duration};
/// use bytes::Bytes;
/// use cache::{Policy, store::{Keep, Memory, RedisConfig, SingleFlight, Tiered}};
///
/// # async fn render() -> Result<Bytes, Infallible> { Ok(Bytes::new()) }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = Tiered::new(Memory::new(64 << 20, Policy::Lru)?, RedisConfig::from_url("redis://localhost")?)?;
/// let a_minute = Keep::for_ttl(Duration::from_secs(60));
///
/// // However many processes miss at once, `render` runs in one of them.
/// let page = store.get_or_load(b"/front", a_minute, &SingleFlight::new(), render).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct SingleFlight {
    lease: Duration,
    patience: Duration,
}

impl SingleFlight {
    /// A lease of a second, a patience of five.
    pub fn new() -> Self {
        Self { lease: Duration::from_secs(1), patience: Duration::from_secs(5) }
    }

    /// How long a lock outlives a holder that died: 10 ms at least. A living holder renews it. Default 1 s.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(Duration::from_millis(10));
        self
    }

    /// How long a caller waits for another's value before it loads by itself. Default 5 s.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }
}

impl Default for SingleFlight {
    fn default() -> Self {
        Self::new()
    }
}

impl Tiered {
    /// The value under `key`; where there is none, what `load` makes of it, kept for all. Of callers in any number of
    /// processes that miss at once, one runs `load` and the others wait for it. The error is `load`'s own: the store
    /// itself never is one.
    pub async fn get_or_load<E, Loading>(
        &self,
        key: &[u8],
        keep: Keep<'_>,
        flight: &SingleFlight,
        load: impl FnOnce() -> Loading,
    ) -> Result<Bytes, E>
    where
        Loading: Future<Output = Result<Bytes, E>>,
    {
        if let Some(value) = self.peek_near(key) {
            return Ok(value);
        }
        let token = token();
        let give_up = Instant::now() + flight.patience;
        loop {
            // Before looking, so that no news falls between looking and waiting.
            let waiting = self.waiting().register(key);
            let mut news = std::pin::pin!(waiting.waiter.notify.notified());
            news.as_mut().enable();
            match self.get(key).await {
                Ok(Some(value)) => return Ok(value),
                Ok(None) => {}
                Err(_) => return self.load_alone(key, keep, load).await,
            }
            match self.far().lock(key, &token, flight.lease).await {
                Ok(Lock::Taken) => return self.load_locked(key, keep, flight, &token, load).await,
                Ok(Lock::Held(left)) if Instant::now() < give_up => {
                    // Sooner than the lease ends too: a holder whose loading failed gives the lock back without news.
                    let _ = timeout(left.clamp(LOOK_AT_LEAST_EVERY / 10, LOOK_AT_LEAST_EVERY), news).await;
                }
                Ok(Lock::Held(_)) | Err(_) => return self.load_alone(key, keep, load).await,
            }
        }
    }

    async fn load_locked<E, Loading>(
        &self,
        key: &[u8],
        keep: Keep<'_>,
        flight: &SingleFlight,
        token: &str,
        load: impl FnOnce() -> Loading,
    ) -> Result<Bytes, E>
    where
        Loading: Future<Output = Result<Bytes, E>>,
    {
        // Between our look and our lock another may have come and gone.
        if let Ok(Some(value)) = self.get(key).await {
            let _ = self.far().unlock(key, token).await;
            return Ok(value);
        }
        let loaded = tokio::select! {
            loaded = self.load_alone(key, keep, load) => loaded,
            never = self.renew(key, flight, token) => match never {},
        };
        // After the put: who waits finds either the value or the lock.
        let _ = self.far().unlock(key, token).await;
        loaded
    }

    /// Renews the lock for as long as it is polled.
    async fn renew(&self, key: &[u8], flight: &SingleFlight, token: &str) -> Infallible {
        loop {
            sleep(flight.lease / 3).await;
            let _ = self.far().renew(key, token, flight.lease).await;
        }
    }

    /// Loads and keeps. A store that will not take the value is no error of the caller's.
    async fn load_alone<E, Loading>(
        &self,
        key: &[u8],
        keep: Keep<'_>,
        load: impl FnOnce() -> Loading,
    ) -> Result<Bytes, E>
    where
        Loading: Future<Output = Result<Bytes, E>>,
    {
        let value = load().await?;
        let _ = self.put(key, value.clone(), keep).await;
        Ok(value)
    }
}

/// Who waits for news of which key.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    keys: Mutex<HashMap<Box<[u8]>, Arc<Waiter>>>,
    /// As many as `keys`; read without the lock where news are many and waiters few.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Waiter {
    notify: Notify,
    callers: AtomicUsize,
}

impl Waiting {
    fn register(&self, key: &[u8]) -> Registered<'_> {
        let mut keys = self.keys.lock();
        let waiter = keys.entry(key.into()).or_default().clone();
        waiter.callers.fetch_add(1, SeqCst);
        self.count.store(keys.len(), SeqCst);
        Registered { waiting: self, key: key.into(), waiter }
    }

    /// `key` has changed.
    pub(super) fn tell(&self, key: &[u8]) {
        if self.count.load(SeqCst) != 0
            && let Some(waiter) = self.keys.lock().get(key)
        {
            waiter.notify.notify_waiters();
        }
    }

    /// Anything may have changed.
    pub(super) fn tell_all(&self) {
        for waiter in self.keys.lock().values() {
            waiter.notify.notify_waiters();
        }
    }
}

struct Registered<'a> {
    waiting: &'a Waiting,
    key: Box<[u8]>,
    waiter: Arc<Waiter>,
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let mut keys = self.waiting.keys.lock();
        if self.waiter.callers.fetch_sub(1, SeqCst) == 1 {
            keys.remove(&self.key);
        }
        self.waiting.count.store(keys.len(), SeqCst);
    }
}

/// Different for every attempt of every process.
fn token() -> String {
    let state = RandomState::new();
    format!("{:016x}{:016x}", state.hash_one(now_ms()), state.hash_one(std::process::id()))
}

/// The longest wait between two looks.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_millis(100);
