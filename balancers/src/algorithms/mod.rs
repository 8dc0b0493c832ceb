//! One algorithm, one file.
//!
//! | | cost of a pick | memory | keys moved when one of n leaves |
//! |---|---|---|---|
//! | [`Random`] | one random number, one load | 8 bytes a member | – |
//! | [`RoundRobin`] | one addition, one load | 2 bytes a turn, at most 65,536 turns | – |
//! | [`P2c`] | one or two random numbers, two loads | 8 bytes a member if weights differ | – |
//! | [`LeastLoad`] | O(log₈ members), about O(1) among equals; by latency O(members) | 17 bytes a member | – |
//! | [`Ring`], [`Ketama`] | one hash, one cache line | 12.8 bytes a point, 160 points a member | 1/n, exactly its own |
//! | [`BoundedRing`] | as `Ring`, a division and two exchanges | as `Ring` | 1/n, and what is over a ceiling |
//! | [`Maglev`] | one hash, one load | 2 bytes a slot, 65,537 slots | 1/n and ½ % |
//! | [`Rendezvous`] | about 1 ns a member | 12 bytes a member | 1/n, exactly its own |
//! | [`jump_hash`] | O(ln n) | nothing | only the last can leave |

mod bounded_ring;
mod circle;
mod cost;
mod fair_turns;
mod jump;
mod ketama;
mod least_load;
mod lines;
mod maglev;
mod owners;
mod p2c;
mod random;
mod rendezvous;
mod ring;
mod rotation;
mod round_robin;

pub(crate) use circle::Circle;
pub(crate) use random::Cells;
pub(crate) use rotation::Rotation;

pub use bounded_ring::BoundedRing;
pub use cost::Cost;
pub use jump::jump_hash;
pub use ketama::{Ketama, KetamaScheme};
pub use least_load::LeastLoad;
pub use maglev::{MAGLEV_SLOTS_MAX, Maglev, Wish, maglev_table};
pub use p2c::P2c;
pub use random::Random;
pub use rendezvous::Rendezvous;
pub use ring::{RING_POINTS_MAX, Ring};
pub use round_robin::RoundRobin;
