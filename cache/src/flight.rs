//! Flights: one load for a key, however many ask for it.
//!
//! ```text
//!     first to miss ─► leads ──── load, outside all locks ────► stores ─► lands: all who waited share the outcome
//!     others        ─► wait ──────────────────────────────────────────────┘
//!                       leader panics or is dropped ─► the flight is abandoned: all ask again, one of them leads
//! ```
//!
//! A flight is *attached* while it stands in its shard's table. Storing or removing its key by hand detaches it: its
//! outcome still goes to those who waited, but is not stored, and whoever asks later starts a new flight. So a value
//! loaded before an invalidation never outlives it.
//!
//! A loader that asks for its own key would wait for itself. The flights a thread is leading, or polling, stand on a
//! list of that thread, so this is noticed at once. Loaders of two keys that wait for each other in two threads are
//! not noticed; give such caches a [load timeout](crate::CacheBuilder::load_timeout).
//!
//! No runtime is needed: threads wait on a condition variable, futures leave a waker.

use crate::sync::{Condvar, Mutex, thread_local};
use std::any::Any;
use std::borrow::Borrow;
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// Most failures a shard remembers for the negative time to live; the oldest go first.
const FAILURES_MAX: usize = 1024;

/// Why a value could not be had.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError<E> {
    /// The loader's error, shared by all who waited for it.
    Failed(Arc<E>),
    /// The loader of a key asked for that key.
    Reentrant,
    /// Another's load took longer than the cache's load timeout.
    TimedOut,
}

impl<E> Clone for LoadError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
            Self::Reentrant => Self::Reentrant,
            Self::TimedOut => Self::TimedOut,
        }
    }
}

impl<E: fmt::Display> fmt::Display for LoadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "the loader failed: {error}"),
            Self::Reentrant => f.write_str("the loader of a key asked for that key"),
            Self::TimedOut => f.write_str("another's load of this key took longer than the load timeout"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for LoadError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed(error) => Some(&**error),
            Self::Reentrant | Self::TimedOut => None,
        }
    }
}

/// One load on its way.
pub(crate) struct Flight<K, V> {
    key: K,
    hash: u32,
    /// By the cache's clock.
    pub(crate) started: u64,
    state: Mutex<State<V>>,
    landed: Condvar,
}

struct State<V> {
    outcome: Option<Outcome<V>>,
    /// How long a failure is remembered.
    until: u64,
    /// Those who wait as futures, each under a number of its own.
    wakers: Vec<(u64, Waker)>,
    next_waker: u64,
}

/// How a flight ended.
pub(crate) enum Outcome<V> {
    Value(V),
    Failed(Arc<dyn Any + Send + Sync>),
    /// Nobody is loading any more: ask again.
    Abandoned,
}

/// Where a flight stands.
pub(crate) enum Status {
    Flying,
    /// Failed, and remembered.
    Failed(Arc<dyn Any + Send + Sync>),
    Over,
}

impl<V: Clone> Clone for Outcome<V> {
    fn clone(&self) -> Self {
        match self {
            Self::Value(value) => Self::Value(value.clone()),
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
            Self::Abandoned => Self::Abandoned,
        }
    }
}

impl<K, V> Flight<K, V> {
    pub(crate) fn new(key: K, hash: u32, started: u64) -> Self {
        let state = State { outcome: None, until: 0, wakers: Vec::new(), next_waker: 0 };
        Self { key, hash, started, state: Mutex::new(state), landed: Condvar::new() }
    }

    /// Where the flight stands.
    pub(crate) fn status(&self, now: u64) -> Status {
        let state = self.state.lock();
        match &state.outcome {
            None => Status::Flying,
            Some(Outcome::Failed(error)) if state.until > now => Status::Failed(Arc::clone(error)),
            Some(_) => Status::Over,
        }
    }

    /// Ends the flight and wakes all who wait; a failure is remembered until then.
    pub(crate) fn land(&self, outcome: Outcome<V>, until: u64) {
        let wakers = {
            let mut state = self.state.lock();
            state.outcome = Some(outcome);
            state.until = until;
            std::mem::take(&mut state.wakers)
        };
        self.landed.notify_all();
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }

    /// Leaves a waker, in place of the one left under `number`; or says how it ended.
    pub(crate) fn poll(&self, number: &mut Option<u64>, context: &Context<'_>) -> Poll<Outcome<V>>
    where
        V: Clone,
    {
        let mut state = self.state.lock();
        if let Some(outcome) = &state.outcome {
            return Poll::Ready(outcome.clone());
        }
        let own = *number.get_or_insert(state.next_waker);
        state.next_waker = state.next_waker.max(own + 1);
        match state.wakers.iter_mut().find(|(other, _)| *other == own) {
            Some((_, waker)) => waker.clone_from(context.waker()),
            None => state.wakers.push((own, context.waker().clone())),
        }
        Poll::Pending
    }

    /// A future that waited is gone.
    pub(crate) fn forget(&self, number: u64) {
        self.state.lock().wakers.retain(|(other, _)| *other != number);
    }

    /// Blocks until the flight has ended; `None` after `patience`.
    #[cfg(not(loom))]
    pub(crate) fn wait(&self, patience: Option<std::time::Duration>) -> Option<Outcome<V>>
    where
        V: Clone,
    {
        let deadline = patience.and_then(|patience| std::time::Instant::now().checked_add(patience));
        let mut state = self.state.lock();
        loop {
            if let Some(outcome) = &state.outcome {
                return Some(outcome.clone());
            }
            match deadline {
                None => self.landed.wait(&mut state),
                Some(deadline) => {
                    if self.landed.wait_until(&mut state, deadline).timed_out() && state.outcome.is_none() {
                        return None;
                    }
                }
            }
        }
    }

    /// The same without time, which the model does not have.
    #[cfg(loom)]
    pub(crate) fn wait(&self, _patience: Option<std::time::Duration>) -> Option<Outcome<V>>
    where
        V: Clone,
    {
        let mut state = self.state.lock();
        loop {
            if let Some(outcome) = &state.outcome {
                return Some(outcome.clone());
            }
            state = self.landed.wait(state);
        }
    }

    fn address(self: &Arc<Self>) -> usize {
        Arc::as_ptr(self).cast::<()>() as usize
    }

    /// Whether this thread is, further up its stack, loading for this flight.
    pub(crate) fn is_own(self: &Arc<Self>) -> bool {
        LEADING.with(|leading| leading.borrow().contains(&self.address()))
    }
}

thread_local! {
    /// The flights this thread is loading for, outermost first.
    static LEADING: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

/// While it lives, this thread is loading for a flight.
pub(crate) struct Aboard(usize);

impl Aboard {
    pub(crate) fn enter<K, V>(flight: &Arc<Flight<K, V>>) -> Self {
        let address = flight.address();
        LEADING.with(|leading| leading.borrow_mut().push(address));
        Self(address)
    }
}

impl Drop for Aboard {
    fn drop(&mut self) {
        LEADING.with(|leading| {
            let mut leading = leading.borrow_mut();
            if let Some(at) = leading.iter().rposition(|address| *address == self.0) {
                leading.remove(at);
            }
        });
    }
}

/// The attached flights of one shard, and the failures it remembers.
pub(crate) struct Flights<K, V> {
    by_hash: HashMap<u32, Vec<Arc<Flight<K, V>>>>,
    /// Failed and remembered, the oldest first.
    failures: VecDeque<Arc<Flight<K, V>>>,
}

impl<K, V> Flights<K, V> {
    pub(crate) fn new() -> Self {
        Self { by_hash: HashMap::new(), failures: VecDeque::new() }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    pub(crate) fn find<Q>(&self, hash: u32, key: &Q) -> Option<&Arc<Flight<K, V>>>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        self.by_hash.get(&hash)?.iter().find(|flight| flight.key.borrow() == key)
    }

    pub(crate) fn attach(&mut self, flight: Arc<Flight<K, V>>) {
        self.by_hash.entry(flight.hash).or_default().push(flight);
    }

    pub(crate) fn is_attached(&self, flight: &Arc<Flight<K, V>>) -> bool {
        self.by_hash
            .get(&flight.hash)
            .is_some_and(|flights| flights.iter().any(|other| Arc::ptr_eq(other, flight)))
    }

    /// Takes a flight out, if it is still attached.
    pub(crate) fn detach(&mut self, flight: &Arc<Flight<K, V>>) {
        if let Some(flights) = self.by_hash.get_mut(&flight.hash) {
            flights.retain(|other| !Arc::ptr_eq(other, flight));
            if flights.is_empty() {
                self.by_hash.remove(&flight.hash);
            }
        }
    }

    /// Takes out the flight of a key; it is the caller's to drop, outside the lock.
    pub(crate) fn detach_key<Q>(&mut self, hash: u32, key: &Q) -> Option<Arc<Flight<K, V>>>
    where
        K: Borrow<Q>,
        Q: Eq + ?Sized,
    {
        let flight = Arc::clone(self.find(hash, key)?);
        self.detach(&flight);
        Some(flight)
    }

    /// Keeps a failed flight attached for its negative time to live; what is forgotten for it is the caller's to
    /// drop, outside the lock.
    pub(crate) fn remember(&mut self, flight: &Arc<Flight<K, V>>, now: u64) -> Vec<Arc<Flight<K, V>>> {
        let mut forgotten = Vec::new();
        while let Some(oldest) = self.failures.front() {
            if matches!(oldest.status(now), Status::Failed(_)) && self.failures.len() < FAILURES_MAX {
                break;
            }
            let Some(oldest) = self.failures.pop_front() else { break };
            self.detach(&oldest);
            forgotten.push(oldest);
        }
        self.failures.push_back(Arc::clone(flight));
        forgotten
    }

    /// Takes out everything; it is the caller's to drop, outside the lock.
    pub(crate) fn take(&mut self) -> Self {
        std::mem::replace(self, Self::new())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn no_more_failures_are_remembered_than_the_limit_and_the_oldest_goes_first() {
        let mut flights = Flights::<usize, ()>::new();
        for key in 0..FAILURES_MAX + 10 {
            let flight = Arc::new(Flight::new(key, key as u32, 0));
            flights.attach(Arc::clone(&flight));
            flight.land(Outcome::Failed(Arc::new("no")), u64::MAX);
            let forgotten: Vec<_> = flights.remember(&flight, 0).iter().map(|flight| flight.key).collect();
            assert_eq!(forgotten, key.checked_sub(FAILURES_MAX).into_iter().collect::<Vec<_>>());
        }
        assert_eq!(flights.failures.len(), FAILURES_MAX);
    }
}
