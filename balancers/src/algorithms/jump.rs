//! Jump consistent hashing: a key to one of `buckets` numbers, with no memory at all.
//!
//! ```text
//!     b, j = −1, 0;   while j < n:   b = j;   j = (b + 1) · 2³¹ / (next random number of the key)
//! ```
//!
//! O(ln n). When the number grows from n to n + 1, exactly 1/(n + 1) of the keys move, all to the new bucket. Only
//! the last bucket can go, and there are no weights: good for numbered shards, not for a set of servers that come
//! and go ([`Ring`](super::Ring)). Source: J. Lamping, E. Veach, 2014. The division is the paper's, in IEEE double
//! precision, whose results are the same on every machine.
//!
//! ```
//! use balancers::algorithms::jump_hash;
//!
//! assert_eq!(jump_hash(1, 1000), 549); // as Go's go-jump
//! ```

/// The bucket of a key: below `buckets`, and 0 if that is 0.
#[must_use]
pub fn jump_hash(mut key: u64, buckets: u32) -> u32 {
    let (mut bucket, mut next) = (0, 0_u64);
    while next < u64::from(buckets) {
        bucket = next as u32;
        key = key.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(1);
        next = ((next + 1) as f64 * ((1_u64 << 31) as f64 / ((key >> 33) + 1) as f64)) as u64;
    }
    bucket
}
