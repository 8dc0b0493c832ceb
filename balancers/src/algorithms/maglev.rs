//! Maglev: a lookup table that every process computes alike; one load a pick, shares even to a percent.
//!
//! Every member prefers the table's slots in an order of its own; they take turns to claim their next free one.
//!
//! ```text
//!     order of member i:  (offset_i + j · skip_i) mod M        B1 claims 0, 2, …; B0 claims 3, 0 (taken), 4, …
//!
//!     table (M = 7)       B1 B0 B1 B0 B2 B2 B0                 without B1:   B0 B0 B0 B0 B2 B2 B2
//! ```
//!
//! Pick: one hash, one multiplication, one load. Memory: 2 bytes a slot, 131 KB at the default M = 65,537. A heavier
//! member gets more turns. When a member leaves its own slots move, and about half a percent of the others'
//! (`tests/churn.rs` holds it under one): M is fixed and does not follow the number of members, or everything would
//! move. A key whose member is down goes to another slot, the same one every time. Limit: no more members than
//! slots; shares are even while there are a hundred slots a member. Where not a single other key may move, use
//! [`Ring`](super::Ring) or [`Rendezvous`](super::Rendezvous). Source: D. Eisenbud et al., "Maglev", NSDI 2016;
//! weights as Envoy gives them.
//!
//! ```
//! use balancers::{Balancer, Members, Query, Rng, algorithms::Maglev};
//!
//! let maglev = Maglev::new(Members::new([("a", 1), ("b", 1), ("c", 2)])?, 65_537)?;
//! let hits = |n| (0..10_000).filter(|&key| maglev.home(&Query::keyed(key)) == Some(n)).count();
//! assert!(hits(2).abs_diff(5_000) < 200);
//! # Ok::<(), balancers::EditError>(())
//! ```

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::balancer::Balancer;
use crate::error::EditError;
use crate::hash::{mix, seeded};
use crate::lookup::{Lookup, Table, position, slot};
use crate::members::{Member, Members};
use crate::query::Query;
use crate::rng::Rng;

/// The largest table.
pub const MAGLEV_SLOTS_MAX: u32 = 1 << 24;

/// A Maglev table; see the module's page.
#[derive(Debug)]
pub struct Maglev {
    members: Members,
    table: Arc<[u16]>,
    slots: u32,
}

impl Maglev {
    /// Fills a table of `slots`, a prime.
    ///
    /// # Errors
    /// If `slots` is not a prime up to [`MAGLEV_SLOTS_MAX`], or there are more members than slots.
    pub fn new(members: Members, slots: u32) -> Result<Self, EditError> {
        if !is_prime(slots) || slots > MAGLEV_SLOTS_MAX {
            let allowed = "a prime from 2 to 16777213";
            return Err(EditError::Option { name: "maglev_slots", found: u64::from(slots), allowed });
        }
        if members.len() > slots as usize {
            return Err(EditError::TooManyPoints { found: members.len() as u64, max: u64::from(slots) });
        }
        let wish = |member: &Member| Wish {
            offset: (seeded(member.id().as_bytes(), 0) % u64::from(slots)) as u32,
            skip: (seeded(member.id().as_bytes(), 1) % u64::from(slots).saturating_sub(1).max(1)) as u32 + 1,
            weight: member.weight(),
        };
        let wishes: Vec<Wish> = members.iter().map(wish).collect();
        let table = maglev_table(&wishes, slots).expect("the size is prime and the wishes are within it");
        Ok(Self { members, table: table.into(), slots })
    }

    #[inline]
    fn at(&self, position: u64) -> Option<usize> {
        slot(&self.table, position)
    }

    #[cold]
    #[inline(never)]
    fn pick_admitted(&self, position: u64, query: &Query<'_>, rng: &mut Rng) -> Option<usize> {
        let mut probes =
            (0..=PROBES).filter_map(|n| self.at(if n == 0 { position } else { mix(position, n) }));
        let found = probes.find(|&index| self.members.admits(index, query, rng));
        found.or_else(|| self.members.draw(query, &mut Rng::new(position)))
    }
}

impl Balancer for Maglev {
    fn members(&self) -> &Members {
        &self.members
    }

    #[inline]
    fn pick(&self, query: &Query<'_>, rng: &mut Rng) -> Option<usize> {
        let position = position(query, rng);
        if self.members.admit_all(query) {
            self.at(position)
        } else {
            self.pick_admitted(position, query, rng)
        }
    }

    fn lookup(&self) -> Option<Lookup> {
        Some(Lookup(Table::Slots(self.table.clone())))
    }

    fn with_members(&self, members: Members) -> Result<Box<dyn Balancer>, EditError> {
        Ok(Box::new(Self::new(members, self.slots)?))
    }

    fn home(&self, query: &Query<'_>) -> Option<usize> {
        self.at(query.position()?)
    }

    fn explain(&self, query: &Query<'_>, rng: &mut Rng) -> String {
        let position = query.position().unwrap_or_else(|| rng.clone().next_u64());
        let Some(home) = self.at(position).map(|index| self.members.at(index)) else {
            return "the table is empty".into();
        };
        let slot = (u128::from(position) * u128::from(self.slots)) >> 64;
        let start = format!("the key falls on slot {slot} of {}, which is {:?}'s", self.slots, home.id());
        match self.pick(query, rng).map(|index| self.members.at(index)) {
            Some(picked) if picked.tag() == home.tag() => start,
            Some(picked) => {
                format!("{start}, which does not take it now; a further slot gives {:?}", picked.id())
            }
            None => format!("{start}, and nobody takes it now"),
        }
    }
}

/// In which order a member wants the slots of a Maglev table, and how often it has its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The first slot it wants; below the table's size.
    pub offset: u32,
    /// The distance to the next; 1 to the size minus 1 (1 if the size is 1).
    pub skip: u32,
    /// Its weight.
    pub weight: u32,
}

/// Fills a table as the paper does: for hash schemes of other implementations. `None` if the size is not a prime, a
/// wish does not fit it or has no weight, or there are more wishes than slots or than 65,536.
///
/// ```
/// use balancers::algorithms::{Wish, maglev_table};
///
/// let wish = |(offset, skip)| Wish { offset, skip, weight: 1 };
/// let table = maglev_table(&[(3, 4), (0, 2), (3, 1)].map(wish), 7);
/// assert_eq!(table, Some(vec![1, 0, 1, 0, 2, 2, 0])); // table 1 of the paper
/// ```
#[must_use]
pub fn maglev_table(wishes: &[Wish], size: u32) -> Option<Vec<u16>> {
    let fits = |w: &Wish| w.offset < size && (1..size.max(2)).contains(&w.skip) && w.weight > 0;
    if !is_prime(size) || !wishes.iter().all(fits) || wishes.len() > (size as usize).min(1 << 16) {
        return None;
    }
    let heaviest = u64::from(wishes.iter().map(|wish| wish.weight).max().unwrap_or(0));
    // Where each member looks next, and at which round it has earned its next turn.
    let mut state: Vec<(u32, u64)> = wishes.iter().map(|wish| (wish.offset, 0)).collect();
    let mut table = vec![0_u16; if wishes.is_empty() { 0 } else { size as usize }];
    let (mut taken, mut left) = (vec![false; size as usize], table.len());
    for round in 1_u64.. {
        for (index, (wish, (slot, due))) in wishes.iter().zip(&mut state).enumerate() {
            if left == 0 {
                return Some(table);
            }
            if round * u64::from(wish.weight) < *due {
                continue;
            }
            *due += heaviest;
            while core::mem::replace(&mut taken[*slot as usize], true) {
                *slot = step(*slot, wish.skip, size);
            }
            table[*slot as usize] = index as u16;
            *slot = step(*slot, wish.skip, size);
            left -= 1;
        }
        if left == 0 {
            break;
        }
    }
    Some(table)
}

/// Adding and taking off is all the modulo there is to do.
#[inline]
fn step(slot: u32, skip: u32, size: u32) -> u32 {
    let next = slot + skip;
    if next >= size { next - size } else { next }
}

fn is_prime(n: u32) -> bool {
    n >= 2 && (2..).take_while(|d: &u32| u64::from(*d).pow(2) <= u64::from(n)).all(|d| !n.is_multiple_of(d))
}

/// Slots tried for a key whose member does not take it.
const PROBES: u64 = 32;

#[cfg(test)]
mod tests {
    use super::{Wish, is_prime, maglev_table};

    #[test]
    fn tables_that_would_never_fill_are_refused() {
        let wish = |offset, skip, weight| Wish { offset, skip, weight };
        assert_eq!(maglev_table(&[wish(0, 2, 1)], 8), None, "not a prime");
        assert_eq!(maglev_table(&[wish(7, 1, 1)], 7), None, "offset outside");
        assert_eq!(maglev_table(&[wish(0, 0, 1)], 7), None, "no step");
        assert_eq!(maglev_table(&[wish(0, 7, 1)], 7), None, "a step around");
        assert_eq!(maglev_table(&[wish(0, 1, 0)], 7), None, "no weight");
        assert_eq!(maglev_table(&[wish(0, 1, 1); 8], 7), None, "more members than slots");
        assert_eq!(maglev_table(&[], 7), Some(vec![]));
        assert_eq!(maglev_table(&[wish(0, 1, 1); 2], 2), Some(vec![0, 1]));
    }

    #[test]
    fn primes_are_told_from_others() {
        let primes: Vec<u32> = (0..30).filter(|&n| is_prime(n)).collect();
        assert_eq!(primes, [2, 3, 5, 7, 11, 13, 17, 19, 23, 29]);
        assert!(is_prime(65_537) && !is_prime(65_539 * 3) && is_prime(16_777_213));
    }
}
