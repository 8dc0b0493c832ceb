//! Get, or load and keep: the faces of single flight, blocking and async.

use crate::cache::Cache;
use crate::flight::{Aboard, Flight, LoadError, Outcome, Status};
use crate::inner::Inner;
use std::any::Any;
use std::borrow::Borrow;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::hash::{BuildHasher, Hash};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

/// # Single flight
///
/// One load for a key at a time: the first to miss loads, outside all locks, the others wait and share its value.
/// If the loader panics, or its future is dropped, only its own caller notices; one of those who wait loads instead,
/// with its own loader. Other keys, and listeners, may use the cache meanwhile. A key stored or removed by hand while
/// it is being loaded keeps what was done by hand.
impl<K: Hash + Eq, V: Clone, S: BuildHasher> Cache<K, V, S> {
    /// The value under `key`, or the one that `load` makes, which is kept.
    ///
    /// ```
    /// let cache = cache::Cache::<String, usize>::builder(100).build()?;
    /// let length = cache.get_or_insert_with("hello", || "hello".len())?;
    /// assert_eq!((length, cache.get("hello")), (5, Some(5)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`LoadError::Reentrant`] if `load` asks for its own key; [`LoadError::TimedOut`] if another's load took longer
    /// than the [load timeout](crate::CacheBuilder::load_timeout).
    pub fn get_or_insert_with<Q>(&self, key: &Q, load: impl FnOnce() -> V) -> Result<V, LoadError<Infallible>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.try_get_or_insert_with(key, || Ok(load()))
    }

    /// The value under `key`, or the one that `load` makes. An error goes to all who waited and is not kept, unless
    /// there is a [negative time to live](crate::CacheBuilder::negative_ttl).
    ///
    /// # Errors
    /// As [`get_or_insert_with`](Self::get_or_insert_with), and [`LoadError::Failed`].
    pub fn try_get_or_insert_with<Q, E>(
        &self,
        key: &Q,
        load: impl FnOnce() -> Result<V, E>,
    ) -> Result<V, LoadError<E>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
        E: Send + Sync + 'static,
    {
        loop {
            match self.inner.join(key)? {
                Joined::Hit(value) => return Ok(value),
                Joined::Wait(flight) => {
                    let patience = self.inner.settings.load_timeout.map(Duration::from_nanos);
                    match flight.wait(patience) {
                        None => return Err(LoadError::TimedOut),
                        Some(outcome) => {
                            if let Some(shared) = outcome.shared() {
                                return shared;
                            }
                        }
                    }
                }
                Joined::Lead(leader) => {
                    let loaded = {
                        let _aboard = Aboard::enter(&leader.flight);
                        load()
                    };
                    return leader.land(key.to_owned(), loaded);
                }
            }
        }
    }

    /// The async twin of [`get_or_insert_with`](Self::get_or_insert_with), for any runtime. `load` is polled only if
    /// this call leads. A leader that is neither polled nor dropped holds the others up: put a time-out of your
    /// runtime around the load, or set a [load timeout](crate::CacheBuilder::load_timeout), after which the next to
    /// ask loads anew.
    ///
    /// # Errors
    /// As [`get_or_insert_with`](Self::get_or_insert_with).
    pub async fn get_or_insert_async<Q>(
        &self,
        key: &Q,
        load: impl Future<Output = V>,
    ) -> Result<V, LoadError<Infallible>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.try_get_or_insert_async(key, async { Ok(load.await) }).await
    }

    /// The async twin of [`try_get_or_insert_with`](Self::try_get_or_insert_with).
    ///
    /// # Errors
    /// As [`try_get_or_insert_with`](Self::try_get_or_insert_with).
    pub async fn try_get_or_insert_async<Q, E>(
        &self,
        key: &Q,
        load: impl Future<Output = Result<V, E>>,
    ) -> Result<V, LoadError<E>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
        E: Send + Sync + 'static,
    {
        loop {
            match self.inner.join(key)? {
                Joined::Hit(value) => return Ok(value),
                Joined::Wait(flight) => {
                    let mut waiting = Waiting { flight, number: None };
                    let outcome = poll_fn(|context| waiting.flight.poll(&mut waiting.number, context)).await;
                    if let Some(shared) = outcome.shared() {
                        return shared;
                    }
                }
                Joined::Lead(leader) => {
                    let mut load = pin!(load);
                    let loaded = poll_fn(|context| {
                        let _aboard = Aboard::enter(&leader.flight);
                        load.as_mut().poll(context)
                    });
                    let loaded = loaded.await;
                    return leader.land(key.to_owned(), loaded);
                }
            }
        }
    }
}

/// A waiting future; takes its waker back if it is dropped.
struct Waiting<K, V> {
    flight: Arc<Flight<K, V>>,
    number: Option<u64>,
}

impl<K, V> Drop for Waiting<K, V> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.flight.forget(number);
        }
    }
}

/// What a caller finds.
enum Joined<'a, K: Hash + Eq, V, S: BuildHasher> {
    Hit(V),
    Wait(Arc<Flight<K, V>>),
    Lead(Leader<'a, K, V, S>),
}

impl<V> Outcome<V> {
    /// What those who waited get; `None` if they must ask again.
    fn shared<E: Send + Sync + 'static>(self) -> Option<Result<V, LoadError<E>>> {
        match self {
            Self::Value(value) => Some(Ok(value)),
            Self::Failed(error) => failed(error).map(Err),
            Self::Abandoned => None,
        }
    }
}

/// Another caller's error, if it is of the type this caller knows.
fn failed<E: Send + Sync + 'static>(error: Arc<dyn Any + Send + Sync>) -> Option<LoadError<E>> {
    error.downcast().ok().map(LoadError::Failed)
}

/// The one who loads. Dropped without having landed, it abandons the flight.
pub(crate) struct Leader<'a, K: Hash + Eq, V, S: BuildHasher> {
    inner: &'a Inner<K, V, S>,
    pub(crate) flight: Arc<Flight<K, V>>,
    hash: u64,
    is_over: bool,
}

impl<K: Hash + Eq, V, S: BuildHasher> Leader<'_, K, V, S> {
    fn land<E: Send + Sync + 'static>(mut self, key: K, loaded: Result<V, E>) -> Result<V, LoadError<E>>
    where
        V: Clone,
    {
        match loaded {
            Ok(value) => {
                self.inner.store(key, value.clone(), None, Some(&self.flight));
                self.over(Outcome::Value(value.clone()), 0);
                Ok(value)
            }
            Err(error) => {
                let error = Arc::new(error);
                let shared: Arc<dyn Any + Send + Sync> = Arc::<E>::clone(&error);
                self.over(Outcome::Failed(shared), self.inner.settings.negative_ttl.unwrap_or(0));
                Err(LoadError::Failed(error))
            }
        }
    }

    /// Ends the flight: those who wait get the outcome, and whoever asks next flies anew, unless a failure is kept.
    pub(crate) fn over(&mut self, outcome: Outcome<V>, kept: u64) {
        self.is_over = true;
        if kept > 0 {
            let now = self.inner.settings.clock.nanos();
            self.flight.land(outcome, now.saturating_add(kept));
            let mut shard = self.inner.shard(self.hash);
            if shard.flights.is_attached(&self.flight) {
                let forgotten = shard.flights.remember(&self.flight, now);
                drop(shard);
                drop(forgotten);
            }
        } else {
            self.inner.shard(self.hash).flights.detach(&self.flight);
            self.flight.land(outcome, 0);
        }
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> Drop for Leader<'_, K, V, S> {
    fn drop(&mut self) {
        if !self.is_over {
            self.over(Outcome::Abandoned, 0);
        }
    }
}

impl<K: Hash + Eq, V, S: BuildHasher> Inner<K, V, S> {
    /// A hit, or a place in the key's flight.
    fn join<Q, E>(&self, key: &Q) -> Result<Joined<'_, K, V, S>, LoadError<E>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
        V: Clone,
        E: Send + Sync + 'static,
    {
        if let Some(value) = self.look(key, true, V::clone) {
            return Ok(Joined::Hit(value));
        }
        let is_timed = self.settings.load_timeout.or(self.settings.negative_ttl).is_some();
        let hash = self.settings.hasher.hash_one(key);
        // Made before the lock: cloning a key is the user's code.
        let now = if is_timed { self.settings.clock.nanos() } else { 0 };
        let fresh = Arc::new(Flight::new(key.to_owned(), hash as u32, now));
        let mut outdated = None;
        let (mut shard, look_now) = self.lock_for_look(hash);
        if let Some(slot) = shard.find(hash as u32, key)
            && !shard.is_dead(slot, look_now)
        {
            // It came between the look and the lock.
            return Ok(Joined::Hit(shard.value(slot).clone()));
        }
        if let Some(flight) = shard.flights.find(hash as u32, key) {
            let flight = Arc::clone(flight);
            if flight.is_own() {
                return Err(LoadError::Reentrant);
            }
            match flight.status(now) {
                Status::Flying if !self.is_given_up(&flight, now) => return Ok(Joined::Wait(flight)),
                Status::Failed(error) => {
                    if let Some(error) = failed(error) {
                        return Err(error);
                    }
                }
                Status::Flying | Status::Over => {}
            }
            shard.flights.detach(&flight);
            outdated = Some(flight);
        }
        shard.flights.attach(Arc::clone(&fresh));
        drop(shard);
        drop(outdated);
        Ok(Joined::Lead(Leader { inner: self, flight: fresh, hash, is_over: false }))
    }

    /// Whether a flight has been under way for longer than anybody should wait.
    fn is_given_up(&self, flight: &Flight<K, V>, now: u64) -> bool {
        self.settings.load_timeout.is_some_and(|timeout| now.saturating_sub(flight.started) >= timeout)
    }

    /// Becomes the only one at work on a key, and says what is under it now; or the flight to wait for.
    pub(crate) fn claim<Q>(&self, key: &Q) -> Result<Claim<'_, K, V, S>, LoadError<Infallible>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
        V: Clone,
    {
        let hash = self.settings.hasher.hash_one(key);
        let now = self.settings.load_timeout.map_or(0, |_| self.settings.clock.nanos());
        let fresh = Arc::new(Flight::new(key.to_owned(), hash as u32, now));
        let mut outdated = None;
        let (mut shard, look_now) = self.lock_for_look(hash);
        if let Some(flight) = shard.flights.find(hash as u32, key) {
            let flight = Arc::clone(flight);
            if flight.is_own() {
                return Err(LoadError::Reentrant);
            }
            if matches!(flight.status(now), Status::Flying) && !self.is_given_up(&flight, now) {
                return Ok(Claim::Wait(flight));
            }
            shard.flights.detach(&flight);
            outdated = Some(flight);
        }
        let live = shard.find(hash as u32, key).filter(|slot| !shard.is_dead(*slot, look_now));
        let value = live.map(|slot| shard.value(slot).clone());
        shard.flights.attach(Arc::clone(&fresh));
        drop(shard);
        drop(outdated);
        Ok(Claim::Own(Leader { inner: self, flight: fresh, hash, is_over: false }, value))
    }

    /// Stores the newcomer of a flight, or of nobody's flight.
    /// Says whether it was stored; `None` if the flight was no longer attached.
    pub(crate) fn store(
        &self,
        key: K,
        value: V,
        ttl: Option<Duration>,
        flight: Option<&Arc<Flight<K, V>>>,
    ) -> Option<bool> {
        let (hash, newcomer, now) = self.newcomer(key, value, ttl);
        self.settle(hash, newcomer, now, flight)
    }
}

/// What a computation finds.
pub(crate) enum Claim<'a, K: Hash + Eq, V, S: BuildHasher> {
    Wait(Arc<Flight<K, V>>),
    Own(Leader<'a, K, V, S>, Option<V>),
}
