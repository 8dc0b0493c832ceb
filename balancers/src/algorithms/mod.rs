//! One algorithm, one file.
//!
//! | | cost of a pick | memory | keys moved when one of n leaves |
//! |---|---|---|---|
//! | [`Random`] | one random number, one load | 8 bytes a member | – |
//! | [`RoundRobin`] | one addition, one load | 2 bytes a turn, at most 65,536 turns | – |
//! | [`P2c`] | one or two random numbers, two loads | 8 bytes a member if weights differ | – |
//! | [`LeastLoad`] | see its page | see its page | – |
//! | [`Ring`] | one hash, two loads | 12 bytes a point | 1/n, exactly its own |
//! | [`BoundedRing`] | as `Ring`, and two exchanges | as `Ring` | 1/n, and what is over a ceiling |

mod bounded_ring;
mod least_load;
mod p2c;
mod random;
mod ring;
mod round_robin;

pub use bounded_ring::BoundedRing;
pub use least_load::LeastLoad;
pub use p2c::P2c;
pub use random::Random;
pub use ring::{RING_POINTS_MAX, Ring};
pub use round_robin::RoundRobin;
