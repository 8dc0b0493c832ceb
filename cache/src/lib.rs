//! In-memory caches: exact, fast, in safe Rust.
//!
//! ```
//! use cache::{Cache, Policy};
//!
//! let squares = Cache::builder(1_000).policy(Policy::Lru).build()?;
//! squares.insert(12, 144);
//! assert_eq!(squares.get(&12), Some(144));
//! assert_eq!(squares.get(&13), None);
//! assert_eq!(squares.stats().hit_ratio(), 0.5);
//! # Ok::<(), cache::BuildError>(())
//! ```
//!
//! # Which policy when
//!
//! | [`Policy`] | choose it when |
//! |---|---|
//! | [`Auto`](Policy::Auto) (default) | you do not know, or the workload changes |
//! | [`TinyLfu`](Policy::TinyLfu) | popularity is stable; as `Auto`, without its shadow caches |
//! | [`S3Fifo`](Policy::S3Fifo) | reads must be as cheap as can be and most keys are asked for once |
//! | [`Lru`](Policy::Lru) | recency alone matters, or you must predict what leaves |
//! | [`Lfu`](Policy::Lfu) | the favourites never change |
//!
//! Hit ratios and what an entry costs in memory stand in the crate's README.
//!
//! # Promises
//!
//! - The sum of weights never exceeds the capacity, at any instant any thread can see; one entry may use all of it;
//!   as many inserts as fit into an empty cache are all kept.
//! - A dead entry is never returned, by any operation, not by a nanosecond. There is no background thread.
//! - Values are dropped, and listeners and loaders run, outside all locks.
//! - No `unsafe`, no panic of our own on any input.
#![forbid(unsafe_code)]

mod budget;
mod builder;
mod cache;
mod clock;
mod compute;
mod core;
mod departed;
mod expiry;
mod flight;
mod ghost;
mod hasher;
mod index;
mod inner;
mod lanes;
#[cfg(not(loom))]
mod latch;
mod links;
mod load;
mod policy;
mod shard;
mod sketch;
#[cfg(feature = "serde")]
mod snapshot;
mod stats;
#[cfg(feature = "redis")]
pub mod store;
mod sync;

pub use builder::{BuildError, CacheBuilder, SHARDS_MAX};
pub use cache::Cache;
pub use clock::{Clock, ManualClock, SystemClock};
pub use compute::Compute;
pub use core::{Core, Gone, Slot};
pub use departed::Cause;
pub use flight::LoadError;
pub use hasher::KeyHasher;
pub use policy::{Policy, UnknownPolicy};
pub use shard::Newcomer;
#[cfg(feature = "serde")]
pub use snapshot::{Saved, Snapshot};
pub use stats::Stats;

/// The README's code runs as a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
