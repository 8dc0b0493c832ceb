//! Who leaves when there is no room: one algorithm, one file.
//!
//! | [`Policy`] | keeps | a hit costs | loses where |
//! |---|---|---|---|
//! | [`Auto`](Policy::Auto) | what the present workload rewards | a count, seldom more | the first moments after a change |
//! | [`TinyLfu`](Policy::TinyLfu) | what is used often, or lately | a count, seldom more | recency suddenly rules |
//! | [`S3Fifo`](Policy::S3Fifo) | what was asked for again | a count below 3 | loops longer than the cache |
//! | [`Lru`](Policy::Lru) | what was used last | a list splice | loops and scans longer than the cache |
//! | [`Lfu`](Policy::Lfu) | what was used most | a move between two lists | yesterday's favourites stay for ever |
//!
//! A policy is single-threaded, knows slots, hashes and weights, never sees a key or a value and never reads a
//! clock. The shard tells it what happened and asks for a victim.

mod auto;
mod facts;
mod lfu;
mod lru;
mod repeats;
mod s3_fifo;
mod segments;
mod shadow;
mod tiny_lfu;

pub(crate) use auto::{Auto, Chooser};
pub(crate) use facts::Facts;
pub(crate) use lfu::Lfu;
pub(crate) use lru::Lru;
pub(crate) use s3_fifo::S3Fifo;
pub(crate) use tiny_lfu::TinyLfu;

use crate::links::NIL;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The replacement policies, by name. Names are read in any case: `"LRU"`, `"lru"`.
///
/// ```
/// use cache::Policy;
///
/// assert_eq!("LFU".parse(), Ok(Policy::Lfu));
/// assert_eq!(Policy::Lru.to_string(), "lru");
/// assert!("mru".parse::<Policy>().unwrap_err().to_string().contains("lru, lfu"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Policy {
    /// Measures which balance of recency and frequency serves the present workload. The default: see the hit ratios
    /// in the crate's README.
    #[default]
    Auto,
    /// W-TinyLFU: frequency with forgetting behind a recency window that adapts by climbing.
    TinyLfu,
    /// S3-FIFO: three queues, no moves on a hit.
    S3Fifo,
    /// Least recently used leaves. Exact within a shard.
    Lru,
    /// Least frequently used leaves; among equals the least recently used. Exact within a shard.
    Lfu,
}

impl Policy {
    /// Every policy, for tests, benches and menus.
    pub const ALL: &[Self] = &[Self::Auto, Self::TinyLfu, Self::S3Fifo, Self::Lru, Self::Lfu];

    /// The policy's name in configuration and in Python.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lru => "lru",
            Self::Lfu => "lfu",
            Self::TinyLfu => "tiny_lfu",
            Self::S3Fifo => "s3_fifo",
            Self::Auto => "auto",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.iter().find(|policy| policy.name().eq_ignore_ascii_case(name));
        known.copied().ok_or_else(|| UnknownPolicy { name: name.to_owned() })
    }
}

/// A policy name that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownPolicy {
    name: String,
}

impl fmt::Display for UnknownPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = Policy::ALL.iter().map(|policy| policy.name()).collect();
        write!(f, "unknown cache policy {:?} (must be one of {})", self.name, names.join(", "))
    }
}

impl std::error::Error for UnknownPolicy {}

/// What a shard tells its policy, and asks of it.
///
/// Slots are dense: `inserted` is called with a vacated slot or the next new one.
pub(crate) trait Replacement {
    /// An entry with this hash is about to come: what will be needed may be fetched.
    fn foresee<T>(&self, _hash: u32, _facts: &Facts<T>) {}
    /// The entry in `slot` is about to leave.
    fn foresee_leave<T>(&self, _slot: u32, _facts: &Facts<T>) {}
    /// A new entry lives in `slot`.
    fn inserted<T>(&mut self, slot: u32, facts: &mut Facts<T>);
    /// The entry in `slot` was used, and [`Facts::hit`] says that the policy must be told.
    fn hit<T>(&mut self, slot: u32, facts: &mut Facts<T>);
    /// The value in `slot`, which weighed `old_weight`, was replaced.
    fn overwritten<T>(&mut self, slot: u32, old_weight: u64, facts: &mut Facts<T>);
    /// The slot to vacate next, never `keep`.
    fn victim<T>(&mut self, keep: u32, facts: &mut Facts<T>) -> Option<Victim>;
    /// The entry in `slot` leaves; its facts still stand.
    fn removed<T>(&mut self, slot: u32, facts: &mut Facts<T>);
    /// The slot to vacate next, of which the policy lets go at once: as `victim` and `removed`.
    #[inline]
    fn part<T>(&mut self, facts: &mut Facts<T>) -> Option<Victim> {
        let victim = self.victim(NIL, facts)?;
        self.removed(victim.slot, facts);
        Some(victim)
    }
    /// The last slot's entry moves into the vacated slot `hole`; if that is the last slot, it only ends.
    fn close<T>(&mut self, hole: u32, last: u32, facts: &Facts<T>);
    /// Room for this many slots will be needed.
    fn reserve(&mut self, slots: usize);
    /// All entries have left; memory is given back.
    fn clear(&mut self);
    /// The weight this shard may expect to hold when the cache is full.
    fn set_share(&mut self, share: u64);
    /// Bytes on the heap.
    fn heap_bytes(&self) -> usize;
    /// Panics if anything is out of order.
    fn validate<T>(&self, facts: &Facts<T>);
}

/// An entry chosen to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Victim {
    pub(crate) slot: u32,
    /// It was never admitted beyond probation.
    pub(crate) rejected: bool,
}

/// The policy a shard runs. An `enum`, not a `dyn`: a hit must not pay for an indirect call.
pub(crate) enum Running {
    Lru(Lru),
    Lfu(Lfu),
    TinyLfu(TinyLfu),
    S3Fifo(S3Fifo),
    Auto(Auto),
}

macro_rules! each {
    ($running:expr, $policy:ident => $call:expr) => {
        match $running {
            Running::Lru($policy) => $call,
            Running::Lfu($policy) => $call,
            Running::TinyLfu($policy) => $call,
            Running::S3Fifo($policy) => $call,
            Running::Auto($policy) => $call,
        }
    };
}

impl Running {
    /// The policies of all shards of one cache.
    pub(crate) fn many(
        policy: Policy,
        shards: usize,
        capacity: u64,
        weighed: bool,
    ) -> impl Iterator<Item = Self> {
        let share = (capacity / shards as u64).max(1);
        let chooser = (policy == Policy::Auto).then(|| Arc::new(Chooser::new(capacity, shards, weighed)));
        (0..shards).map(move |_| Self::one(policy, share, chooser.as_ref()))
    }

    fn one(policy: Policy, share: u64, chooser: Option<&Arc<Chooser>>) -> Self {
        match (policy, chooser) {
            (Policy::Auto, Some(chooser)) => Self::Auto(Auto::new(share, Arc::clone(chooser))),
            (Policy::Lru, _) => Self::Lru(Lru::default()),
            (Policy::Lfu, _) => Self::Lfu(Lfu::default()),
            (Policy::TinyLfu | Policy::Auto, _) => Self::TinyLfu(TinyLfu::new(share)),
            (Policy::S3Fifo, _) => Self::S3Fifo(S3Fifo::new(share)),
        }
    }
}

impl Running {
    /// Makes LFU halve all counts after every so many uses.
    pub(crate) fn halve_counts_every(&mut self, uses: u64) {
        if let Self::Lfu(lfu) = self {
            lfu.halve_every(uses);
        }
    }

    /// Whether hits are counted in the entries' marks; else the policy is told of each.
    pub(crate) fn is_marked(&self) -> bool {
        !matches!(self, Self::Lru(_) | Self::Lfu(_))
    }
}

impl Replacement for Running {
    fn foresee<T>(&self, hash: u32, facts: &Facts<T>) {
        each!(self, policy => policy.foresee(hash, facts));
    }
    fn foresee_leave<T>(&self, slot: u32, facts: &Facts<T>) {
        each!(self, policy => policy.foresee_leave(slot, facts));
    }
    fn inserted<T>(&mut self, slot: u32, facts: &mut Facts<T>) {
        each!(self, policy => policy.inserted(slot, facts));
    }
    fn hit<T>(&mut self, slot: u32, facts: &mut Facts<T>) {
        each!(self, policy => policy.hit(slot, facts));
    }
    fn overwritten<T>(&mut self, slot: u32, old_weight: u64, facts: &mut Facts<T>) {
        each!(self, policy => policy.overwritten(slot, old_weight, facts));
    }
    fn victim<T>(&mut self, keep: u32, facts: &mut Facts<T>) -> Option<Victim> {
        each!(self, policy => policy.victim(keep, facts))
    }
    fn removed<T>(&mut self, slot: u32, facts: &mut Facts<T>) {
        each!(self, policy => policy.removed(slot, facts));
    }
    fn part<T>(&mut self, facts: &mut Facts<T>) -> Option<Victim> {
        each!(self, policy => policy.part(facts))
    }
    fn close<T>(&mut self, hole: u32, last: u32, facts: &Facts<T>) {
        each!(self, policy => policy.close(hole, last, facts));
    }
    fn reserve(&mut self, slots: usize) {
        each!(self, policy => policy.reserve(slots));
    }
    fn clear(&mut self) {
        each!(self, policy => policy.clear());
    }
    fn set_share(&mut self, share: u64) {
        each!(self, policy => policy.set_share(share));
    }
    fn heap_bytes(&self) -> usize {
        each!(self, policy => policy.heap_bytes())
    }
    fn validate<T>(&self, facts: &Facts<T>) {
        each!(self, policy => policy.validate(facts));
    }
}
