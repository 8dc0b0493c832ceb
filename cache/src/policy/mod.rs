//! Who leaves when there is no room: one algorithm, one file.
//!
//! | [`Policy`] | keeps | a hit costs | loses where |
//! |---|---|---|---|
//! | [`Lru`](Policy::Lru) | what was used last | a list splice | loops and scans longer than the cache |
//! | [`Lfu`](Policy::Lfu) | what was used most | a move between two lists | yesterday's favourites stay for ever |
//!
//! A policy is single-threaded, knows slots, hashes and weights, never sees a key or a value and never reads a
//! clock. The shard tells it what happened and asks for a victim.

mod lfu;
mod lru;

pub(crate) use lfu::Lfu;
pub(crate) use lru::Lru;

use std::fmt;
use std::str::FromStr;

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
    /// Least recently used leaves. Exact within a shard.
    #[default]
    Lru,
    /// Least frequently used leaves; among equals the least recently used. Exact within a shard.
    Lfu,
}

impl Policy {
    /// Every policy, for tests, benches and menus.
    pub const ALL: &[Self] = &[Self::Lru, Self::Lfu];

    /// The policy's name in configuration and in Python.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lru => "lru",
            Self::Lfu => "lfu",
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
    /// A new entry lives in `slot`.
    fn inserted(&mut self, slot: u32, hash: u32, weight: u64);
    /// The entry in `slot` was used.
    fn hit(&mut self, slot: u32);
    /// The value in `slot` was replaced by one of another weight.
    fn overwritten(&mut self, slot: u32, old_weight: u64, weight: u64);
    /// The slot to vacate next, never `keep`.
    fn victim(&mut self, keep: u32) -> Option<Victim>;
    /// The entry in `slot`, of this weight, has left.
    fn removed(&mut self, slot: u32, weight: u64);
    /// The last slot's entry moves into the vacated slot `hole`; if that is the last slot, it only ends.
    fn close(&mut self, hole: u32, last: u32);
    /// Room for this many slots will be needed.
    fn reserve(&mut self, slots: usize);
    /// All entries have left; memory is given back.
    fn clear(&mut self);
    /// Bytes on the heap.
    fn heap_bytes(&self) -> usize;
    /// Panics if anything is out of order. `weights[slot]` are those of the live entries.
    fn validate(&self, weights: &[u64]);
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
}

macro_rules! each {
    ($running:expr, $policy:ident => $call:expr) => {
        match $running {
            Running::Lru($policy) => $call,
            Running::Lfu($policy) => $call,
        }
    };
}

impl Running {
    pub(crate) fn new(policy: Policy) -> Self {
        match policy {
            Policy::Lru => Self::Lru(Lru::default()),
            Policy::Lfu => Self::Lfu(Lfu::default()),
        }
    }
}

impl Replacement for Running {
    fn inserted(&mut self, slot: u32, hash: u32, weight: u64) {
        each!(self, policy => policy.inserted(slot, hash, weight));
    }
    #[inline]
    fn hit(&mut self, slot: u32) {
        each!(self, policy => policy.hit(slot));
    }
    fn overwritten(&mut self, slot: u32, old_weight: u64, weight: u64) {
        each!(self, policy => policy.overwritten(slot, old_weight, weight));
    }
    fn victim(&mut self, keep: u32) -> Option<Victim> {
        each!(self, policy => policy.victim(keep))
    }
    fn removed(&mut self, slot: u32, weight: u64) {
        each!(self, policy => policy.removed(slot, weight));
    }
    fn close(&mut self, hole: u32, last: u32) {
        each!(self, policy => policy.close(hole, last));
    }
    fn reserve(&mut self, slots: usize) {
        each!(self, policy => policy.reserve(slots));
    }
    fn clear(&mut self) {
        each!(self, policy => policy.clear());
    }
    fn heap_bytes(&self) -> usize {
        each!(self, policy => policy.heap_bytes())
    }
    fn validate(&self, weights: &[u64]) {
        each!(self, policy => policy.validate(weights));
    }
}
