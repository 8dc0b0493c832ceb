//! Random by weight: one number drawn, one line read, whatever the weights.
//!
//! Walker's alias method: as many cells as members, each split between its own member and one other, so that every
//! member's area is its weight.
//!
//! ```text
//!     weights 4 2 1 1         cell   0      1      2      3
//!                                  ┌─────┬─────┬──────┬──────┐      draw a cell and a height:
//!                                  │  0  │  1  │ 0    │ 0    │      below the line its own member,
//!                                  │     │     ├──2───┼──3───┤      above it the other
//!                                  └─────┴─────┴──────┴──────┘
//! ```
//!
//! Pick: O(1), no shared state, so it scales with threads. Memory: 8 bytes a member. A member's probability is its
//! share of the weight within 2⁻³². Not for few requests that must be even: chance leaves gaps of √n; use
//! [`RoundRobin`](super::RoundRobin). Source: A. J. Walker, 1977; M. D. Vose, 1991.
//!
//! ```
//! use balancers::{Balancer, Members, Query, Rng, algorithms::Random};
//!
//! let random = Random::new(Members::new([("a", 1), ("b", 3)])?);
//! let mut rng = Rng::new(42);
//! let b = (0..10_000).filter(|_| random.pick(&Query::new(), &mut rng) == Some(1)).count();
//! assert!((7_300..7_700).contains(&b));
//! # Ok::<(), balancers::EditError>(())
//! ```

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hint::select_unpredictable;

use crate::balancer::Balancer;
use crate::error::EditError;
use crate::lookup::{Lookup, Table};
use crate::members::Members;
use crate::query::Query;
use crate::rng::Rng;

/// Random by weight; see the module's page.
#[derive(Debug)]
pub struct Random {
    members: Members,
    cells: Cells,
}

impl Random {
    /// Lays out the cells. O(members).
    #[must_use]
    pub fn new(members: Members) -> Self {
        let cells = Cells::new(&members);
        Self { members, cells }
    }
}

impl Random {
    /// A rejected draw is drawn again, which leaves the others' shares in proportion.
    #[cold]
    #[inline(never)]
    fn draw_admitted(&self, query: &Query<'_>, rng: &mut Rng) -> Option<usize> {
        for _ in 0..DRAWS {
            let index = self.cells.draw(rng)?;
            if self.members.admits(index, query, rng) {
                return Some(index);
            }
        }
        self.members.draw(query, rng)
    }
}

impl Balancer for Random {
    fn members(&self) -> &Members {
        &self.members
    }

    #[inline]
    fn pick(&self, query: &Query<'_>, rng: &mut Rng) -> Option<usize> {
        if self.members.admit_all(query) { self.cells.draw(rng) } else { self.draw_admitted(query, rng) }
    }

    fn lookup(&self) -> Option<Lookup> {
        Some(Lookup(Table::Cells(self.cells.clone())))
    }

    fn with_members(&self, members: Members) -> Result<Box<dyn Balancer>, EditError> {
        Ok(Box::new(Self::new(members)))
    }
}

/// Draws before the whole set is walked.
const DRAWS: usize = 8;

/// Walker's table: in each cell the height of its own member (upper half) and the other member (lower half).
#[derive(Clone, Debug)]
pub(crate) struct Cells(Arc<[u64]>);

impl Cells {
    pub(super) fn new(members: &Members) -> Self {
        let (n, total) = (members.len() as u64, members.total_weight());
        // Areas in units of 1/(n · total): a cell holds `total`, a member `weight · n`. At most 2^32 each.
        let mut area: Vec<u64> = members.iter().map(|member| u64::from(member.weight()) * n).collect();
        let mut cells: Vec<u64> = (0..n).map(|own| FULL | own).collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..members.len()).partition(|&index| area[index] < total);
        while let (Some(poor), Some(&rich)) = (small.pop(), large.last()) {
            cells[poor] = ((area[poor] << 32) / total) << 32 | rich as u64;
            area[rich] -= total - area[poor];
            if area[rich] < total {
                large.pop();
                small.push(rich);
            }
        }
        Self(cells.into())
    }

    #[inline]
    pub(crate) fn draw(&self, rng: &mut Rng) -> Option<usize> {
        let number = rng.next_u64();
        let own = ((number & LOW) * self.0.len() as u64) >> 32;
        let cell = *self.0.get(own as usize)?;
        // Nobody can predict this choice; without the hint the processor tries, and loses 7 ns a pick.
        Some(select_unpredictable(number >> 32 < cell >> 32, own, cell & LOW) as usize)
    }

    /// Any member but `index`, all alike; `index` itself if there is no other.
    pub(super) fn other_than(&self, index: usize, rng: &mut Rng) -> usize {
        let other = rng.below((self.0.len() as u64).saturating_sub(1)) as usize;
        if self.0.len() > 1 { other + usize::from(other >= index) } else { index }
    }
}

const LOW: u64 = 0xffff_ffff;
/// A cell that is all its own member's (but for 2^-32).
const FULL: u64 = LOW << 32;

#[cfg(test)]
mod tests {
    use super::{Cells, LOW};
    use crate::members::Members;
    use crate::rng::Rng;

    #[test]
    fn another_is_anybody_else_and_oneself_if_alone() {
        let mut rng = Rng::new(3);
        let cells = |n: usize| Cells([0].repeat(n).into());
        assert_eq!(cells(1).other_than(0, &mut rng), 0);
        for own in 0..3 {
            let mut seen: Vec<usize> = (0..100).map(|_| cells(3).other_than(own, &mut rng)).collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen, (0..3).filter(|&other| other != own).collect::<Vec<_>>());
        }
    }

    #[test]
    fn areas_are_the_weights_within_a_rounding() {
        for weights in [&[1_u32][..], &[5, 1, 1], &[1, 50, 50, 99], &[65_535, 1], &[7; 33]] {
            let ids: Vec<String> = (0..weights.len()).map(|n| format!("m{n:03}")).collect();
            let members = Members::new(ids.iter().map(String::as_str).zip(weights.iter().copied())).unwrap();
            let mut area = vec![0_f64; weights.len()];
            for (own, cell) in Cells::new(&members).0.iter().enumerate() {
                let height = (cell >> 32) as f64 / LOW as f64;
                area[own] += height;
                area[(cell & LOW) as usize] += 1.0 - height;
            }
            for (area, &weight) in area.iter().zip(weights) {
                let share = f64::from(weight) / members.total_weight() as f64;
                assert!((area / weights.len() as f64 - share).abs() < 1e-8, "{weights:?}");
            }
        }
    }
}
