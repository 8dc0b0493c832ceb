//! Rendezvous (highest random weight): every member bids for the key, the highest bid wins. No table, exact weights.
//!
//! ```text
//!     u = hash(key, member) in (0, 1]        bid = −log u / weight        the smallest wins
//! ```
//!
//! A member's share is its weight's, with nothing but chance around it; when one leaves, its keys spread over all
//! others by weight, and no other key moves: the smoothest placement there is, at the price of asking everybody.
//! Members of one weight are compared by their hash alone; only the best of each weight needs the logarithm, which is
//! a table with interpolation in whole numbers, the same on every machine.
//!
//! Pick: O(members), about a nanosecond each, and 5 for each different weight. Memory: 12 bytes a member. Not for
//! thousands of members: [`Ring`](super::Ring). Source: D. Thaler, C. Ravishankar, 1996; weights after C. Schindelhauer,
//! G. Schomaker, 2005.
//!
//! ```
//! use balancers::{Balancer, Members, Query, Rng, algorithms::Rendezvous};
//!
//! let rendezvous = Rendezvous::new(Members::new([("a", 1), ("b", 3)])?);
//! let b = (0..10_000).filter(|&key| rendezvous.home(&Query::keyed(key)) == Some(1)).count();
//! assert!((7_300..7_700).contains(&b));
//! # Ok::<(), balancers::EditError>(())
//! ```

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use crate::balancer::Balancer;
use crate::error::EditError;
use crate::hash::seeded;
use crate::members::Members;
use crate::query::Query;
use crate::rng::Rng;

/// Weighted rendezvous hashing; see the module's page.
#[derive(Debug)]
pub struct Rendezvous {
    members: Members,
    /// One for each different weight, with its part of `bidders`.
    classes: Box<[(u32, Range<usize>)]>,
    /// Seeds and indices, weight by weight, in the order of ids.
    seeds: Box<[u64]>,
    indices: Box<[u32]>,
}

impl Rendezvous {
    /// Hashes the ids. O(members).
    #[must_use]
    pub fn new(members: Members) -> Self {
        let mut by_weight: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (index, member) in members.iter().enumerate() {
            by_weight.entry(member.weight()).or_default().push(index as u32);
        }
        let (mut classes, mut indices) = (Vec::new(), Vec::with_capacity(members.len()));
        for (weight, who) in by_weight {
            let from = indices.len();
            indices.extend(who);
            classes.push((weight, from..indices.len()));
        }
        let seeds =
            indices.iter().map(|&index| seeded(members.at(index as usize).id().as_bytes(), 0)).collect();
        Self { classes: classes.into(), seeds, indices: indices.into(), members }
    }

    /// The winner for a position.
    #[inline]
    fn best(&self, position: u64) -> Option<usize> {
        let winners = self.classes.iter().map(|(weight, range)| {
            let (mut best, mut at) = (0, range.start);
            for (n, &seed) in self.seeds[range.clone()].iter().enumerate() {
                let hash = bid(position, seed);
                // The first of equals: the smaller id.
                if hash > best {
                    (best, at) = (hash, range.start + n);
                }
            }
            (best, *weight, self.indices[at])
        });
        lowest(winners, self.classes.len())
    }

    #[cold]
    #[inline(never)]
    fn pick_admitted(&self, position: u64, query: &Query<'_>, rng: &mut Rng) -> Option<usize> {
        self.best_of(position, |index| self.members.admits(index, query, rng))
            .or_else(|| self.best_of(position, |index| self.members.is_allowed(index, query)))
    }

    fn best_of(&self, position: u64, mut passes: impl FnMut(usize) -> bool) -> Option<usize> {
        lowest(self.bids(position).filter(|&(_, _, index)| passes(index as usize)), 2)
    }

    /// Everybody, the best bid first.
    fn ranking(&self, position: u64) -> Vec<usize> {
        let mut bids: Vec<Bid> = self.bids(position).collect();
        bids.sort_unstable_by(|a, b| compare(*a, *b));
        bids.into_iter().map(|(_, _, index)| index as usize).collect()
    }

    fn bids(&self, position: u64) -> impl Iterator<Item = Bid> + '_ {
        let bidders = self.classes.iter().flat_map(|(weight, range)| range.clone().map(|at| (*weight, at)));
        bidders.map(move |(weight, at)| (bid(position, self.seeds[at]), weight, self.indices[at]))
    }
}

impl Balancer for Rendezvous {
    fn members(&self) -> &Members {
        &self.members
    }

    #[inline]
    fn pick(&self, query: &Query<'_>, rng: &mut Rng) -> Option<usize> {
        let position = query.position().unwrap_or_else(|| rng.next_u64());
        if self.members.admit_all(query) {
            self.best(position)
        } else {
            self.pick_admitted(position, query, rng)
        }
    }

    fn with_members(&self, members: Members) -> Result<Box<dyn Balancer>, EditError> {
        Ok(Box::new(Self::new(members)))
    }

    fn candidates(&self, query: &Query<'_>, rng: &mut Rng) -> Vec<usize> {
        let position = query.position().unwrap_or_else(|| rng.next_u64());
        let mut ranking = self.ranking(position);
        ranking.retain(|&index| self.members.is_allowed(index, query));
        ranking
    }

    fn home(&self, query: &Query<'_>) -> Option<usize> {
        self.best(query.position()?)
    }

    fn explain(&self, query: &Query<'_>, rng: &mut Rng) -> String {
        let position = query.position().unwrap_or_else(|| rng.clone().next_u64());
        let picked = self.pick(query, rng);
        let ranking = self.ranking(position);
        let name = |index: usize| self.members.at(index).id();
        match (picked, ranking.first()) {
            (None, None) => "nobody bids".into(),
            (None, Some(&first)) => {
                format!("{:?} bids best of {}, but nobody takes it now", name(first), ranking.len())
            }
            (Some(picked), Some(&first)) if picked == first => {
                format!("{:?} bids best of {}", name(picked), ranking.len())
            }
            (Some(picked), _) => {
                let rank = ranking.iter().position(|&index| index == picked).unwrap_or(0) + 1;
                format!(
                    "{:?} has bid {rank} of {}; those before it do not take it now",
                    name(picked),
                    ranking.len()
                )
            }
        }
    }
}

/// A member's hash of a key.
#[inline]
fn bid(position: u64, seed: u64) -> u64 {
    let product = u128::from(position ^ seed) * u128::from(seed.rotate_left(32) ^ SECRET);
    (product >> 64) as u64 ^ product as u64
}

/// A hash, a weight and an index.
type Bid = (u64, u32, u32);

/// The bid that wins. With one class the hash has decided, and no logarithm is taken.
#[inline]
fn lowest(bids: impl Iterator<Item = Bid>, classes: usize) -> Option<usize> {
    let winner = if classes == 1 { bids.last() } else { bids.min_by(|a, b| compare(*a, *b)) };
    winner.map(|(_, _, index)| index as usize)
}

/// −log(a) / weight(a) against −log(b) / weight(b); of equals the smaller id.
fn compare(a: Bid, b: Bid) -> core::cmp::Ordering {
    let left = cost(a.0) * u64::from(b.1);
    let right = cost(b.0) * u64::from(a.1);
    left.cmp(&right).then(b.0.cmp(&a.0)).then(a.2.cmp(&b.2))
}

/// −log₂ of `(hash + 1) / 2⁶⁴`, with 32 bits behind the point: below 2³⁸.
fn cost(hash: u64) -> u64 {
    let zeros = (hash | 1).leading_zeros();
    let mantissa = (hash | 1) << zeros << 1;
    let (cell, rest) = ((mantissa >> 54) as usize, mantissa >> 22 & 0xffff_ffff);
    let log = LOG[cell] + (((LOG[cell + 1] - LOG[cell]) * rest) >> 32);
    (64 << 32) - ((u64::from(63 - zeros) << 32) + log)
}

/// log₂(1 + n/1024), with 32 bits behind the point, bit by bit: square; if that is 2 or more, the bit is one; halve.
const LOG: [u64; 1025] = {
    let mut table = [0; 1025];
    let mut n = 0;
    while n < 1024 {
        let (mut y, mut log, mut bit) = ((1024 + n as u128) << 52, 0, 0);
        while bit < 32 {
            y = (y * y) >> 62;
            log <<= 1;
            if y >= 2 << 62 {
                y >>= 1;
                log |= 1;
            }
            bit += 1;
        }
        table[n] = log;
        n += 1;
    }
    table[1024] = 1 << 32;
    table
};

const SECRET: u64 = 0x9fb2_1c65_1e98_df25;

#[cfg(test)]
mod tests {
    use super::cost;

    #[test]
    fn the_logarithm_is_right_and_never_rises() {
        let mut last = u64::MAX;
        for step in 1..100_000_u64 {
            let hash = step * (u64::MAX / 100_000);
            let exact = 64.0 - (hash as f64).log2();
            let found = cost(hash) as f64 / 2_f64.powi(32);
            assert!((found - exact).abs() < 1e-6 + exact * 1e-3, "{hash}: {found} {exact}");
            assert!(cost(hash) <= last);
            last = cost(hash);
        }
        assert!(cost(0) < 65 << 32 && cost(u64::MAX) < 1 << 22);
    }
}
