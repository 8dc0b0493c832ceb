//! Least load: the member with the smallest load for its weight, of all; ties are spread by weight.
//!
//! ```text
//!     take the member with the smallest   load / weight        compared exactly, as fractions
//! ```
//!
//! One caller that sees all traffic gets the shortest queues there are from requests in flight (`least_load`); many
//! callers that each see only their own get them from [latency](super::Cost::Latency) times requests in flight
//! (`least_latency`), which shows what the others do (`benches/src/bin/simulate.rs` has the tables).
//!
//! Pick, by requests in flight in a [`Pool`](crate::Pool): the members' loads are kept in a tree of minima, so the
//! least is found and kept up to date in O(log₈ members) at most and about O(1) among equals. Memory: 16 bytes a
//! member and 13 a leaf, of which there are 8, 64, 512 and so on. By latency, and outside of a pool: O(members), nothing. Not for pools of thousands of members that are
//! shared by many threads, who all write the same few lines: [`P2c`](super::P2c).
//!
//! ```
//! use balancers::{Balancer, Members, Query, Rng, algorithms::{Cost, LeastLoad}};
//!
//! let least = LeastLoad::new(Members::new([("a", 2), ("b", 1)])?, Cost::InFlight);
//! let mut rng = Rng::new(1);
//! for _ in 0..30 {
//!     least.acquire(&Query::new(), &mut rng);
//! }
//! assert_eq!(least.members().iter().map(|m| m.in_flight()).collect::<Vec<_>>(), [20, 10]);
//! # Ok::<(), balancers::EditError>(())
//! ```

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::cost::Cost;
use super::random::Cells;
use crate::balancer::Balancer;
use crate::error::EditError;
use crate::members::Members;
use crate::query::Query;
use crate::rng::Rng;
use crate::tournament::Tournament;

/// Exact least load by weight; see the module's page.
#[derive(Debug)]
pub struct LeastLoad {
    members: Members,
    cost: Cost,
    cells: Cells,
    trees: Trees,
}

impl LeastLoad {
    /// Over a set of members. O(members).
    #[must_use]
    pub fn new(members: Members, cost: Cost) -> Self {
        match cost {
            Cost::InFlight => members.shared().want_leaves(),
            Cost::Latency => {}
            Cost::PeakLatency => members.shared().count_peaks(),
        }
        let trees = match cost {
            Cost::InFlight => Trees::of(&members).unwrap_or_default(),
            Cost::Latency | Cost::PeakLatency => Trees::default(),
        };
        Self { cells: Cells::new(&members), members, cost, trees }
    }

    /// The least of all by the trees: whoever of equals a lot by weight falls nearest to.
    #[inline]
    fn by_trees(&self, rng: &mut Rng) -> Option<usize> {
        let &(drawn, lot) = self.trees.leaves.get(self.cells.draw(rng)?)?;
        let trees = &self.trees.list;
        let least = trees.iter().map(|(tree, _)| tree.least()).min()?;
        let drawn = trees.get(drawn as usize).filter(|(tree, _)| tree.least() == least);
        let (tree, whose) = match drawn {
            Some(tree) => tree,
            None => trees.iter().find(|(tree, _)| tree.least() == least)?,
        };
        let leaf = tree.find(lot as usize & (tree.leaves() - 1))?;
        // A leaf without an owner belongs to a member that this set does not have.
        whose.get(leaf).map(|&index| index as usize).filter(|&index| index < self.members.len())
    }

    /// The least of all that take the pick, one by one.
    #[inline(never)]
    fn by_scan(&self, query: &Query<'_>, rng: &mut Rng) -> Option<usize> {
        let mut best: Option<usize> = None;
        let mut tied = 0;
        for (index, member) in self.members.iter().enumerate() {
            let order = best.map(|best| self.cost.compare(member, self.members.at(best)));
            if order.is_some_and(core::cmp::Ordering::is_gt) || !self.members.admits(index, query, rng) {
                continue;
            }
            // Of equals each is kept with its share of the weight seen so far.
            let weight = u64::from(member.weight());
            tied = if order.is_some_and(core::cmp::Ordering::is_eq) { tied + weight } else { weight };
            if rng.below(tied) < weight {
                best = Some(index);
            }
        }
        best.or_else(|| self.members.draw(query, rng))
    }
}

impl Balancer for LeastLoad {
    fn members(&self) -> &Members {
        &self.members
    }

    #[inline]
    fn pick(&self, query: &Query<'_>, rng: &mut Rng) -> Option<usize> {
        if !self.members.admit_all(query) {
            return self.by_scan(query, rng);
        }
        self.by_trees(rng).or_else(|| self.by_scan(query, rng))
    }

    fn with_members(&self, members: Members) -> Result<Box<dyn Balancer>, EditError> {
        Ok(Box::new(Self::new(members, self.cost)))
    }

    fn candidates(&self, query: &Query<'_>, rng: &mut Rng) -> Vec<usize> {
        let allowed = (0..self.members.len()).filter(|&index| self.members.is_allowed(index, query));
        let mut order: Vec<(u64, usize)> = allowed.map(|index| (rng.next_u64(), index)).collect();
        order.sort_by(|&(lot_a, a), &(lot_b, b)| {
            self.cost.compare(self.members.at(a), self.members.at(b)).then(lot_a.cmp(&lot_b))
        });
        order.into_iter().map(|(_, index)| index).collect()
    }

    fn explain(&self, query: &Query<'_>, rng: &mut Rng) -> String {
        let Some(picked) = self.pick(query, rng).map(|index| self.members.at(index)) else {
            return "nobody takes it now".into();
        };
        let alike = self.members.iter().filter(|member| self.cost.compare(member, picked).is_eq()).count();
        let load = self.cost.describe(picked);
        format!("{:?} has the least load of those that take it: {load}; {alike} have as much", picked.id())
    }
}

/// A tree of minima, and for each leaf the index of its member (`u32::MAX` for none of this set).
type Tree = (Arc<Tournament>, Box<[u32]>);

/// The trees that hold the members' loads. None if some member is in none.
#[derive(Debug, Default)]
struct Trees {
    list: Box<[Tree]>,
    /// Each member's tree and leaf: to look at the member for them would be two far lines more.
    leaves: Box<[(u32, u32)]>,
}

impl Trees {
    fn of(members: &Members) -> Option<Self> {
        let (mut list, mut leaves): (Vec<Tree>, _) = (Vec::new(), Vec::with_capacity(members.len()));
        for (index, member) in members.iter().enumerate() {
            let leaf = member.live().leaf()?;
            let known = list.iter().position(|(tree, _)| Arc::ptr_eq(tree, &leaf.tree));
            let at = known.unwrap_or_else(|| {
                list.push((leaf.tree.clone(), vec![u32::MAX; leaf.tree.leaves()].into()));
                list.len() - 1
            });
            list[at].1[leaf.at as usize] = index as u32;
            leaves.push((at as u32, leaf.at));
        }
        Some(Self { list: list.into(), leaves: leaves.into() })
    }
}
