//! Where keys and members stand on the circle: frozen for ever (scheme 1).
//!
//! ```text
//!     key bytes ─ xxh3-64 ─► hash ─ spread ─► position        point j of a member = xxh3-64(id, seed = j), top 32 bits
//! ```
//!
//! A change of any line here moves keys in every user's cache; `tests/golden.rs` holds the vectors that forbid it.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The hash that [`Query::for_key`](crate::Query::for_key) gives a key: xxh3-64. Stable between versions and machines.
///
/// ```
/// assert_eq!(balancers::hash_key(b""), 0x2d06_8005_38d3_94c2); // the published vector
/// ```
#[inline]
#[must_use]
pub fn hash_key(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// Makes a position of a caller's hash. Callers hand in counters and pointers as hashes; the top bits decide.
#[inline]
pub(crate) const fn spread(hash: u64) -> u64 {
    (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The hash that was spread to this position.
#[inline]
pub(crate) const fn unspread(position: u64) -> u64 {
    let hash = position.wrapping_mul(0xf1de_83e1_9937_733d); // the factor's inverse
    hash ^ (hash >> 32)
}

/// Point `j` of a member on the ring.
#[inline]
pub(crate) fn ring_point(id: &[u8], j: u32) -> u32 {
    (xxh3_64_with_seed(id, u64::from(j)) >> 32) as u32
}

/// A member's own hash, for tables and bids.
pub(crate) fn seeded(id: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(id, seed)
}

/// A well mixed number of two (splitmix64's finaliser).
#[inline]
pub(crate) const fn mix(a: u64, b: u64) -> u64 {
    let x = a ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::{mix, spread, unspread};

    #[test]
    fn a_position_tells_its_hash() {
        for hash in (0..1000).map(|n| mix(n, 7)).chain([0, 1, u64::MAX, 1 << 32, u64::from(u32::MAX)]) {
            assert_eq!(unspread(spread(hash)), hash);
        }
    }
}
