//! One question to a balancer: the request's key, and the members it must not go to.

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::hash::{hash_key, spread, unspread};
use crate::members::Tag;

/// What a pick is asked for: a key (for the algorithms that place by key) and members to avoid (for retries).
///
/// ```
/// use balancers::{Algorithm, Pool, Query};
///
/// let pool = Pool::new(Algorithm::Ring);
/// pool.update(|edit| {
///     edit.add("a", 1, ())?;
///     edit.add("b", 1, ())
/// })?;
///
/// let query = Query::for_key(b"user 17");
/// let first = pool.pick(&query).unwrap();
/// let second = pool.pick(&query.clone().avoiding(first.tag())).unwrap();
/// assert_ne!(first.id(), second.id());
/// # Ok::<(), balancers::EditError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Query<'k> {
    // Hashed when the query is made: there the key's length is often known, and the hash shrinks to a few instructions.
    // The position is kept and not the hash, which follows from it: then a pick need not carry both.
    position: Option<u64>,
    key: Option<&'k [u8]>,
    avoid: Avoid,
}

impl Query<'static> {
    /// A query without a key. Algorithms that place by key then pick at random.
    #[inline]
    #[must_use]
    pub const fn new() -> Self {
        Self { position: None, key: None, avoid: Avoid::Nobody }
    }

    /// A query by a hash of the caller's own. It need not be a good one: it is spread before use.
    #[inline]
    #[must_use]
    pub const fn keyed(hash: u64) -> Self {
        Self { position: Some(spread(hash)), key: None, avoid: Avoid::Nobody }
    }

    /// A query by client address. An IPv4 address mapped into IPv6 is the same client as the plain one.
    ///
    /// ```
    /// use balancers::Query;
    /// let (plain, mapped) = ("192.0.2.7".parse().unwrap(), "::ffff:192.0.2.7".parse().unwrap());
    /// assert_eq!(Query::for_ip(plain).hash(), Query::for_ip(mapped).hash());
    /// ```
    #[must_use]
    pub fn for_ip(address: IpAddr) -> Self {
        Self::for_ip_prefix(address, 32, 128)
    }

    /// A query by the client's network: only the first `v4_bits` or `v6_bits` of the address count. Use 64 for
    /// IPv6 to keep a household together, whose addresses change daily.
    #[must_use]
    pub fn for_ip_prefix(address: IpAddr, v4_bits: u8, v6_bits: u8) -> Self {
        Self::keyed(match address.to_canonical() {
            IpAddr::V4(v4) => {
                let kept = u32::MAX.checked_shl(32 - u32::from(v4_bits.min(32))).unwrap_or(0);
                hash_key(&(u32::from(v4) & kept).to_be_bytes())
            }
            IpAddr::V6(v6) => {
                let kept = u128::MAX.checked_shl(128 - u32::from(v6_bits.min(128))).unwrap_or(0);
                hash_key(&(u128::from(v6) & kept).to_be_bytes())
            }
        })
    }
}

impl<'k> Query<'k> {
    /// A query by a key: a path, a user, a session. Equal bytes go to the same member.
    #[inline]
    #[must_use]
    pub fn for_key(key: &'k [u8]) -> Self {
        Self { position: Some(spread(hash_key(key))), key: Some(key), avoid: Avoid::Nobody }
    }

    /// The same query, but never answered with this member. No allocation for the first four.
    #[inline]
    #[must_use]
    pub fn avoiding(mut self, tag: Tag) -> Self {
        self.avoid.push(tag);
        self
    }

    /// The same query elsewhere in memory. Mostly there is nobody to avoid, and nothing that would need it there.
    #[cfg(feature = "std")]
    #[inline(always)]
    pub(crate) fn copy(&self) -> Self {
        if self.avoids_any() {
            self.clone()
        } else {
            Self { position: self.position, key: self.key, avoid: Avoid::Nobody }
        }
    }

    /// Whether this member is to be avoided.
    #[inline]
    #[must_use]
    pub fn avoids(&self, tag: Tag) -> bool {
        self.avoid.contains(tag)
    }

    /// Whether any member is to be avoided.
    #[inline]
    #[must_use]
    pub fn avoids_any(&self) -> bool {
        !matches!(self.avoid, Avoid::Nobody)
    }

    /// The key's bytes, if the query was made from bytes.
    #[inline]
    #[must_use]
    pub fn key(&self) -> Option<&'k [u8]> {
        self.key
    }

    /// The key's hash (see [`hash_key`]), if the query has a key.
    #[inline]
    #[must_use]
    pub fn hash(&self) -> Option<u64> {
        self.position.map(unspread)
    }

    /// Where the key stands on the circle: its hash, spread over all bits.
    #[inline]
    #[must_use]
    pub fn position(&self) -> Option<u64> {
        self.position
    }
}

/// Whom to avoid: mostly nobody, which costs nothing to make; a few in place; many on the heap, in order, so that a
/// query that avoids thousands is still answered quickly.
#[derive(Clone, Debug, Default)]
enum Avoid {
    #[default]
    Nobody,
    Few {
        len: usize,
        tags: [Tag; FEW],
    },
    Many(Vec<Tag>),
}

impl Avoid {
    fn push(&mut self, tag: Tag) {
        match self {
            Self::Nobody => *self = Self::Few { len: 1, tags: [tag, Tag::NOBODY, Tag::NOBODY, Tag::NOBODY] },
            Self::Few { len, tags } if *len < FEW => {
                tags[*len] = tag;
                *len += 1;
            }
            Self::Few { tags, .. } => {
                let mut many = tags.to_vec();
                many.push(tag);
                many.sort_unstable();
                *self = Self::Many(many);
            }
            Self::Many(many) => many.insert(many.partition_point(|&other| other < tag), tag),
        }
    }

    fn contains(&self, tag: Tag) -> bool {
        match self {
            Self::Nobody => false,
            Self::Few { tags, .. } => tags.contains(&tag),
            Self::Many(many) => many.binary_search(&tag).is_ok(),
        }
    }
}

const FEW: usize = 4;

#[cfg(test)]
mod tests {
    use super::{Query, Tag};

    #[test]
    fn every_avoided_member_is_avoided_past_the_inline_ones() {
        let query = (1..=9).fold(Query::new(), |query, n| query.avoiding(Tag::numbered(n)));
        assert!((1..=9).all(|n| query.avoids(Tag::numbered(n))));
        assert!(!query.avoids(Tag::numbered(10)));
        assert!(!Query::new().avoids(Tag::numbered(1)) && !Query::new().avoids_any());
    }

    #[test]
    fn a_prefix_keeps_a_network_together_and_others_apart() {
        let at = |text: &str, v4, v6| Query::for_ip_prefix(text.parse().unwrap(), v4, v6).hash();
        assert_eq!(at("192.0.2.7", 24, 64), at("192.0.2.200", 24, 64));
        assert_ne!(at("192.0.2.7", 24, 64), at("192.0.3.7", 24, 64));
        assert_eq!(at("2001:db8::1", 24, 64), at("2001:db8::2", 24, 64));
        assert_ne!(at("2001:db8::1", 24, 64), at("2001:db8:0:1::1", 24, 64));
        assert_eq!(at("192.0.2.7", 0, 0), at("198.51.100.1", 0, 0));
        assert_eq!(at("192.0.2.7", 255, 255), at("192.0.2.7", 32, 128));
    }
}
