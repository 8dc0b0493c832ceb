//! Bytes under a key for a while: in this process, on Redis, or in both tiers.
//!
//! | store | holds | a read costs | shared by |
//! |---|---|---|---|
//! | [`Redis`] | what the server has room for | a round trip | every process with the same namespace |
//!
//! All of them are a [`Store`], so that code written for one works on the others, also as `dyn Store`. None of them is
//! ever the reason that a request fails or waits: see [`StoreError::is_outage`].

mod contract;
mod entry;
mod error;
mod redis;

pub use contract::{Keep, Store, StoreFuture};
pub use entry::Oddity;
pub use error::StoreError;
pub use redis::{Address, Circuit, Redis, RedisConfig, RedisStats, RedisTls};
