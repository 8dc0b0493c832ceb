//! Operations as data, and naive twins of the cache to run them against.
//!
//! The property tests here and the fuzz targets in `fuzz/` share this file: four bytes are one operation, so a fuzzer's
//! raw input is an operation list.

#![allow(dead_code)] // each includer uses its part

pub(crate) mod exact;
pub(crate) mod follower;

use cache::{Cache, Cause, Compute, LoadError, ManualClock, Policy};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// One wheel tick: clocks move by whole ticks, so that `maintain` carries off all the dead.
pub(crate) const TICK: Duration = Duration::from_nanos(1 << 20);

pub(crate) const CAPACITY: u64 = 12;

#[derive(Clone, Debug)]
pub(crate) enum Op {
    Get(u8),
    Peek(u8),
    Contains(u8),
    Insert {
        key: u8,
        weight: u8,
    },
    InsertWithTtl {
        key: u8,
        weight: u8,
        ticks: u8,
    },
    Remove(u8),
    /// Decides nothing, a value, or removal.
    Compute {
        key: u8,
        decision: Compute<u8>,
    },
    /// Single flight, with a loader that fails or makes a value.
    Load {
        key: u8,
        weight: Option<u8>,
    },
    RetainBelow(u8),
    Clear,
    Resize(u64),
    Advance {
        ticks: u8,
    },
    Iter,
}

impl Op {
    /// Every four bytes are an operation; the frequent ones have more of the first byte's values.
    pub(crate) fn decode([kind, key, a, b]: [u8; 4]) -> Self {
        let key = key % 24;
        // Mostly 1, at times nothing, at times more than fits.
        let weight = match a % 16 {
            0 => 0,
            1..=9 => 1,
            10..=14 => a % 16 - 8,
            _ => 30,
        };
        match kind % 64 {
            0..=15 => Self::Get(key),
            16..=18 => {
                let decision = match b % 4 {
                    0 => Compute::Keep,
                    1 => Compute::Remove,
                    _ => Compute::Put(weight),
                };
                Self::Compute { key, decision }
            }
            19..=21 => Self::Load { key, weight: (b % 4 > 0).then_some(weight) },
            22..=24 => Self::Peek(key),
            25..=26 => Self::Contains(key),
            27..=45 => Self::Insert { key, weight },
            46..=50 => Self::InsertWithTtl { key, weight, ticks: b % 90 },
            51..=54 => Self::Remove(key),
            55 => Self::RetainBelow(key),
            56 if a < 64 => Self::Clear,
            56..=57 => Self::Resize(1 + u64::from(a % 20)),
            58..=61 => Self::Advance { ticks: b % 70 },
            _ => Self::Iter,
        }
    }

    pub(crate) fn decode_all(bytes: &[u8]) -> Vec<Self> {
        bytes.chunks_exact(4).map(|four| Self::decode([four[0], four[1], four[2], four[3]])).collect()
    }
}

/// How the cache under test is built.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) policy: Policy,
    pub(crate) weighed: bool,
    pub(crate) ttl_ticks: Option<u32>,
    pub(crate) tti_ticks: Option<u32>,
    pub(crate) shards: usize,
    /// LFU halves its counts after so many uses.
    pub(crate) halve_every: Option<u64>,
}

impl Setup {
    pub(crate) fn weight(&self, weight: u8) -> u64 {
        if self.weighed { u64::from(weight) } else { 1 }
    }
}

/// A value knows its weight and its place in the history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Value {
    pub(crate) serial: u32,
    pub(crate) weight: u8,
}

pub(crate) type Event = (u8, Value, Cause);

/// The cache under test, with its clock and what its listener heard.
pub(crate) struct Subject {
    pub(crate) cache: Cache<u8, Value>,
    pub(crate) clock: ManualClock,
    heard: Arc<Mutex<Vec<Event>>>,
}

impl Subject {
    pub(crate) fn new(setup: Setup) -> Self {
        let (clock, heard) = (ManualClock::new(), Arc::new(Mutex::new(Vec::new())));
        let ears = Arc::clone(&heard);
        let mut builder = Cache::builder(CAPACITY)
            .policy(setup.policy)
            .shards(setup.shards)
            .seed(7)
            .clock(clock.clone())
            .on_evict(move |key: &u8, value: &Value, cause| ears.lock().unwrap().push((*key, *value, cause)));
        if let Some(uses) = setup.halve_every {
            builder = builder.halve_counts_every(uses);
        }
        if setup.weighed {
            builder = builder.weigher(|_, value| u64::from(value.weight));
        }
        if let Some(ticks) = setup.ttl_ticks {
            builder = builder.ttl(TICK * ticks);
        }
        if let Some(ticks) = setup.tti_ticks {
            builder = builder.tti(TICK * ticks);
        }
        Self { cache: builder.build().unwrap(), clock, heard }
    }

    /// What the listener heard since the last look, in a fixed order.
    pub(crate) fn heard(&self) -> Vec<Event> {
        let mut heard = std::mem::take(&mut *self.heard.lock().unwrap());
        heard.sort_by_key(|(key, value, cause)| (*key, *value, *cause as u8));
        heard
    }

    /// Computes; the decision must be asked for with what is there. What is there afterwards.
    pub(crate) fn compute(
        &self,
        key: u8,
        decision: &Compute<u8>,
        serial: u32,
        present: Option<Value>,
    ) -> Option<Value> {
        let computed = self.cache.compute(&key, |seen| {
            assert_eq!(seen, present);
            match *decision {
                Compute::Put(weight) => Compute::Put(Value { serial, weight }),
                Compute::Remove => Compute::Remove,
                _ => Compute::Keep,
            }
        });
        computed.unwrap()
    }

    /// Gets, or loads what is given, or fails to; `None` is the loader's failure.
    pub(crate) fn load(&self, key: u8, value: Option<Value>) -> Option<Value> {
        match self.cache.try_get_or_insert_with(&key, || value.ok_or("no")) {
            Ok(value) => Some(value),
            Err(LoadError::Failed(error)) => {
                assert_eq!(*error, "no");
                None
            }
            Err(error) => panic!("{error}"),
        }
    }

    pub(crate) fn content(&self) -> Vec<(u8, Value)> {
        let mut content: Vec<_> = self.cache.iter().collect();
        content.sort_unstable();
        content
    }
}
