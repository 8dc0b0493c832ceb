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
mod links;
mod load;
mod policy;
mod shard;
mod sketch;
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
pub use stats::Stats;
