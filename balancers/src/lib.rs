//! Load balancing as a library: weights, load, health, live membership and exact placement, without I/O.
//!
//! A [`Pool`] holds members (anything: an address, a connection, a client) and answers one question: *who takes
//! this request?* It counts what is in flight, skips what is down, and can be changed while it is being asked.
//!
//! ```
//! use balancers::{Algorithm, Pool, Query};
//!
//! let pool = Pool::new(Algorithm::RoundRobin);
//! pool.update(|edit| {
//!     edit.add("a", 5, "10.0.0.1:80")?; // id, weight, your value
//!     edit.add("b", 1, "10.0.0.2:80")?;
//!     edit.add("c", 1, "10.0.0.3:80")
//! })?;
//!
//! let order: Vec<String> = (0..7).map(|_| pool.pick(&Query::new()).unwrap().id().to_owned()).collect();
//! assert_eq!(order.concat(), "aabacaa"); // smooth: never five in a row
//! # Ok::<(), balancers::EditError>(())
//! ```
//!
//! # Which algorithm when
//!
//! | algorithm | for | key | load |
//! |---|---|---|---|
//! | [`random`](algorithms::Random) | many callers, equal servers, no state wanted | – | – |
//! | [`round_robin`](algorithms::RoundRobin) | an even stream of equal requests, exact shares by weight | – | – |
//! | [`p2c`](algorithms::P2c) | the default: near the best balance at the price of two loads | – | in flight |
//! | `peak_ewma` | [`p2c`](algorithms::P2c) that sees slow and failing members | – | latency × in flight |
//! | [`least_load`](algorithms::LeastLoad) | one caller that sees all traffic: the shortest tail | – | in flight |
//! | `least_latency` | many callers that share the members: [`least_load`](algorithms::LeastLoad) by latency | – | latency × in flight |
//! | [`ring`](algorithms::Ring) | sticky keys: caches, sessions, shards | yes | – |
//! | [`bounded_ring`](algorithms::BoundedRing) | sticky keys where one key may be hot | yes | in flight |
//! | [`maglev`](algorithms::Maglev) | sticky keys at the lowest cost, evenly; ½ % more keys may move | yes | – |
//! | [`rendezvous`](algorithms::Rendezvous) | sticky keys over few members, with exact shares | yes | – |
//! | [`ketama`](algorithms::Ketama) | sticky keys shared with nginx or memcached clients | yes | – |
//! | `ip_hash` | sticky clients: [`ring`](algorithms::Ring) keyed by [`Query::for_ip`] | client address | – |
//!
//! What it costs, with n members of weight 1:
//!
//! | algorithm | a pick | memory | keys that move when one of n leaves |
//! |---|---|---|---|
//! | `random` | O(1) | 8 bytes a member | |
//! | `round_robin` | O(1), one line that all threads write | 2 bytes a turn, at most 65,536 turns | |
//! | `p2c`, `peak_ewma` | O(1) | none, or 8 bytes a member if weights differ | |
//! | `least_load` | O(log₈ n), about O(1) while loads are even | 16 bytes a member, 13 a leaf of its tree | |
//! | `least_latency` | O(n) | 8 bytes a member | |
//! | `ring`, `ip_hash` | O(1): a hash and one cache line | 12.8 bytes a point, 160 points a unit of weight | 1/n |
//! | `bounded_ring` | the ring's, and each member that is full | the ring's | 1/n, more while members are full |
//! | `ketama` | O(1), with a slower hash | the ring's | 1/n (libketama's scheme: a few more) |
//! | `maglev` | O(1): a hash and one cache line | 2 bytes a slot, 65,537 slots | 1/n and at most 1 % |
//! | `rendezvous` | O(n) | 12 bytes a member | 1/n |
//!
//! Besides, each member has some 400 bytes for its id, load and health. What picks cost beside other crates' is in
//! `benches/balancers.md`.
//!
//! And [`jump_hash`](algorithms::jump_hash), a function, for numbered shards.
//!
//! Requests in flight alone are blind to failure: a member that refuses at once always looks idle. Of 20 members with
//! two that fail fast, `p2c` sends these two 16 % of the requests and `least_load` 22 %, `peak_ewma` 0.5 % and
//! `least_latency` next to none (`benches/plots/tables.md`). So report outcomes ([`Lease::finish`]) and choose one of
//! the latter, or take failing members out with [`Pool::set_up`].
//!
//! Every algorithm knows weights, health, draining and members to avoid, and gives the same answer whatever the
//! order in which members were added.
//!
//! Without the feature `std` the algorithms remain, for any target with an allocator and 64-bit atomics (`make bare`).
#![forbid(unsafe_code)]
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

mod algorithm;
pub mod algorithms;
mod balancer;
mod clock;
mod error;
mod hash;
mod live;
mod lookup;
mod members;
#[cfg(feature = "serde")]
mod names;
#[cfg(feature = "std")]
mod pool;
mod query;
mod rng;
mod shared;
mod sync;
mod tournament;
#[cfg(feature = "tower")]
pub mod tower;

pub use algorithm::{Algorithm, KeyUse, Options, UnknownAlgorithm};
pub use balancer::Balancer;
#[cfg(feature = "std")]
pub use clock::MonotonicClock;
pub use clock::{Clock, ManualClock};
pub use error::{EditError, PickError};
pub use hash::hash_key;
pub use live::Outcome;
pub use lookup::Lookup;
pub use members::{ID_LEN_MAX, MEMBERS_MAX, Member, Members, Tag, WEIGHT_MAX};
#[cfg(feature = "std")]
pub use pool::{Change, Edit, Lease, Loan, MemberStatus, Peek, Pool, PoolBuilder, Reader, Values};
pub use query::Query;
pub use rng::Rng;

/// The README's code runs as a test.
#[cfg(all(doctest, feature = "std"))]
#[doc = include_str!("../README.md")]
struct Readme;
