//! Bytes under a key for a while: in this process, on Redis, or in both tiers.
//!
//! | store | holds | a read costs | shared by |
//! |---|---|---|---|
//! | [`Memory`] | up to a number of bytes | some 100 ns | this process |
//! | [`Tiered`] | a near [`Memory`] in front of a far [`Redis`] | as its tiers | as [`Redis`], with a stated delay |
//! | [`Redis`] | what the server has room for | a round trip | every process with the same namespace |
//!
//! [`Typed`] keeps Rust values in any of them; [`SingleFlight`] lets one of many processes load what all of them miss.
//!
//! All of them are a [`Store`], so that code written for one works on the others, also as `dyn Store`. None of them is
//! ever the reason that a request fails or waits: see [`StoreError::is_outage`].

mod contract;
mod entry;
mod error;
mod fence;
mod memory;
mod redis;
mod single_flight;
pub mod tiered;
mod typed;

pub use contract::{Keep, Store, StoreFuture};
pub use entry::Oddity;
pub use error::StoreError;
pub use memory::Memory;
#[doc(hidden)]
pub use redis::replies_in;
pub use redis::{Address, Circuit, Hearing, Redis, RedisConfig, RedisStats, RedisTls};
pub use single_flight::SingleFlight;
#[doc(inline)]
pub use tiered::{Tiered, TieredConfig, TieredStats};
pub use typed::{Codec, Typed};
