//! Power of two choices: draw two members by weight, take the less loaded.
//!
//! ```text
//!     a, b = two different members drawn by weight       take a   if  load(a) · weight(b) ≤ load(b) · weight(a)
//!                                                             b   otherwise
//! ```
//!
//! Looking at two instead of one takes the largest load from √n above the mean to within ln ln n of it, and the herd
//! that follows one "best" member never forms. Load is requests in flight (`p2c`) or [latency](super::Cost::PeakLatency)
//! times requests in flight (`peak_ewma`).
//!
//! Pick: O(1), two loads; no shared state but the counts. Memory: nothing when all weights are equal, else 8 bytes a
//! member. Not for a single caller that sees all traffic and wants the shortest tail: [`LeastLoad`](super::LeastLoad).
//! Sources: M. Mitzenmacher, "The power of two choices in randomized load balancing", 2001; Finagle's peak EWMA.
//!
//! ```
//! use balancers::{Balancer, Members, Query, Rng, algorithms::{Cost, P2c}};
//!
//! let p2c = P2c::new(Members::new([("a", 1), ("b", 1)])?, Cost::InFlight);
//! let mut rng = Rng::new(1);
//! for _ in 0..100 {
//!     p2c.acquire(&Query::new(), &mut rng);
//! }
//! assert_eq!(p2c.members().iter().map(|m| m.in_flight()).collect::<Vec<_>>(), [50, 50]);
//! # Ok::<(), balancers::EditError>(())
//! ```

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::hint::select_unpredictable;

use super::cost::Cost;
use super::random::Cells;
use crate::balancer::Balancer;
use crate::error::EditError;
use crate::members::{Member, Members};
use crate::query::Query;
use crate::rng::Rng;

/// Power of two choices; see the module's page.
#[derive(Debug)]
pub struct P2c {
    members: Members,
    pairs: Pairs,
    cost: Cost,
}

impl P2c {
    /// Lays out the cells to draw from. O(members).
    #[must_use]
    pub fn new(members: Members, cost: Cost) -> Self {
        if cost == Cost::PeakLatency {
            members.shared().count_peaks();
        }
        let pairs = Pairs::new(&members);
        Self { members, pairs, cost }
    }

    #[cold]
    #[inline(never)]
    fn pick_admitted(&self, query: &Query<'_>, rng: &mut Rng) -> Option<usize> {
        for _ in 0..DRAWS {
            let (a, b) = self.pairs.draw(rng)?;
            match (self.members.admits(a, query, rng), self.members.admits(b, query, rng)) {
                (true, true) => return Some(self.lighter(a, b)),
                (true, false) => return Some(a),
                (false, true) => return Some(b),
                (false, false) => {}
            }
        }
        self.members.draw(query, rng)
    }

    #[inline(always)]
    fn lighter(&self, a: usize, b: usize) -> usize {
        let order = self.cost.compare(self.members.at(a), self.members.at(b));
        // Nobody can predict it; a mispredicted branch costs more than both loads.
        select_unpredictable(order.is_le(), a, b)
    }
}

impl Balancer for P2c {
    fn members(&self) -> &Members {
        &self.members
    }

    #[inline]
    fn pick(&self, query: &Query<'_>, rng: &mut Rng) -> Option<usize> {
        if !self.members.admit_all(query) {
            return self.pick_admitted(query, rng);
        }
        let (a, b) = self.pairs.draw(rng)?;
        Some(self.lighter(a, b))
    }

    #[inline]
    fn acquire(&self, query: &Query<'_>, rng: &mut Rng) -> Option<usize> {
        let index = self.pick(query, rng)?;
        self.members.at(index).start();
        Some(index)
    }

    fn with_members(&self, members: Members) -> Result<Box<dyn Balancer>, EditError> {
        Ok(Box::new(Self::new(members, self.cost)))
    }

    fn explain(&self, query: &Query<'_>, rng: &mut Rng) -> String {
        let drawn = self.pairs.draw(&mut rng.clone());
        let (Some((a, b)), Some(picked)) = (drawn, self.pick(query, rng)) else {
            return "nobody takes it now".into();
        };
        let [a, b, picked] = [a, b, picked].map(|index| self.members.at(index));
        let loads =
            format!("{:?} ({}) and {:?} ({})", a.id(), self.cost.describe(a), b.id(), self.cost.describe(b));
        if [a.tag(), b.tag()].contains(&picked.tag()) {
            format!("of {loads}, drawn by lot, {:?} is the less loaded that takes it", picked.id())
        } else {
            format!("{loads} were drawn by lot and do not take it now; {:?} was drawn next", picked.id())
        }
    }
}

/// Draws two different members by weight.
#[derive(Debug)]
enum Pairs {
    Equal { n: u64 },
    Weighted(Cells),
}

impl Pairs {
    fn new(members: &Members) -> Self {
        let mut weights = members.iter().map(Member::weight);
        let first = weights.next();
        if weights.all(|weight| Some(weight) == first) {
            Self::Equal { n: members.len() as u64 }
        } else {
            Self::Weighted(Cells::new(members))
        }
    }

    /// Two different indices; twice the same if there is only one member.
    #[inline(always)]
    fn draw(&self, rng: &mut Rng) -> Option<(usize, usize)> {
        match self {
            Self::Equal { n: 0 } => None,
            Self::Equal { n } => {
                // Both halves of one number: the second index is drawn from the others and steps over the first.
                let number = rng.next_u64();
                let a = ((number >> 32) * n) >> 32;
                let b = ((number & 0xffff_ffff) * (n - 1)) >> 32;
                Some((a as usize, (b + u64::from(b >= a && *n > 1)) as usize))
            }
            Self::Weighted(cells) => {
                let a = cells.draw(rng)?;
                // One heavy member may come again and again; after a few draws anyone else will do.
                let other = (0..REDRAWS).find_map(|_| cells.draw(rng).filter(|&b| b != a));
                Some((a, other.unwrap_or_else(|| cells.other_than(a, rng))))
            }
        }
    }
}

/// Pairs drawn before the whole set is walked.
const DRAWS: usize = 8;
/// Draws of the second of a pair.
const REDRAWS: usize = 4;

#[cfg(test)]
mod tests {
    use super::Pairs;
    use crate::members::Members;
    use crate::rng::Rng;

    #[test]
    fn pairs_are_two_different_members_even_beside_a_giant() {
        for weights in [[1, 1, 1], [65_535, 1, 1], [5, 1, 1]] {
            let pairs = Pairs::new(&Members::new(["a", "b", "c"].into_iter().zip(weights)).unwrap());
            let mut rng = Rng::new(3);
            assert!((0..10_000).all(|_| pairs.draw(&mut rng).is_some_and(|(a, b)| a != b && a < 3 && b < 3)));
        }
    }

    #[test]
    fn one_member_makes_a_pair_with_itself() {
        let pairs = Pairs::new(&Members::new([("a", 9)]).unwrap());
        assert_eq!(pairs.draw(&mut Rng::new(1)), Some((0, 0)));
    }
}
