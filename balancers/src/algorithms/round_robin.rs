//! Round robin by weight, smooth: everyone in turn, heavy members more often, nobody in bursts.
//!
//! The order is nginx's, pick for pick. Each turn every member earns its weight; the richest goes and pays the sum
//! of all weights (a tie goes to the first).
//!
//! ```text
//!     weights 5 1 1     turns   a a b a c a a │ a a b a c a a │ …        not  a a a a a b c
//! ```
//!
//! The whole order (it repeats after Σ weight / gcd turns) is laid out once; a pick takes the next ticket and looks
//! it up (`rotation.rs`). Orders of more than 65,536 turns are worked out as they come, in O(log members) and with the same bound, if
//! not in nginx's order (`fair_turns.rs`, which also says what a thread that is stopped at that work costs). Pick: O(1),
//! one addition on a shared line. Memory: 2 bytes a turn. At every moment each member has had its quota of picks within
//! less than one. When a member goes down the order is laid out anew for those who are up,
//! so that its turns do not all fall to whoever stands behind it. After a change of members the rotation goes on
//! from the same phase. Not for requests of unequal cost: use [`LeastLoad`](super::LeastLoad) or
//! [`P2c`](super::P2c). Source: nginx, `ngx_http_upstream_round_robin.c` (2012).
//!
//! ```
//! use balancers::{Balancer, Members, Query, Rng, algorithms::RoundRobin};
//!
//! let turns = RoundRobin::new(Members::new([("a", 4), ("b", 2), ("c", 1)])?, 0);
//! let order: Vec<_> = (0..7).filter_map(|_| turns.pick(&Query::new(), &mut Rng::new(0))).collect();
//! assert_eq!(order, [0, 1, 0, 2, 0, 1, 0]);
//! # Ok::<(), balancers::EditError>(())
//! ```

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::fair_turns::FairTurns;
use super::rotation::{Rotation, Tickets};
use crate::balancer::Balancer;
use crate::error::EditError;
use crate::lookup::{Lookup, Table};
use crate::members::{Member, Members};
use crate::query::Query;
use crate::rng::Rng;

/// Smooth weighted round robin; see the module's page.
#[derive(Debug)]
pub struct RoundRobin {
    members: Members,
    turns: Turns,
}

/// Whose turn it is.
#[derive(Debug)]
enum Turns {
    /// The whole order.
    LaidOut(Arc<Rotation>),
    /// Of an order that is too long.
    AsTheyCome(Box<FairTurns>, Tickets),
}

impl Turns {
    /// `first_turn` turns into the order that is laid out; one that is not has no far end to start from.
    fn new(order: Order, first_turn: u64) -> Self {
        match order {
            Order::LaidOut(turns) => Self::LaidOut(Arc::new(Rotation::new(turns, first_turn))),
            Order::TooLong(members) => {
                Self::AsTheyCome(Box::new(FairTurns::new(members)), Tickets::from(first_turn % 1024))
            }
        }
    }

    fn period(&self) -> u64 {
        match self {
            Self::LaidOut(rotation) => rotation.turns().len() as u64,
            Self::AsTheyCome(turns, _) => turns.period(),
        }
    }

    /// The ticket that is taken next.
    fn next(&self) -> u64 {
        match self {
            Self::LaidOut(rotation) => rotation.tickets().next(),
            Self::AsTheyCome(_, tickets) => tickets.next(),
        }
    }
}

impl RoundRobin {
    /// Lays out the order and starts `first_turn` turns into it.
    #[must_use]
    pub fn new(members: Members, first_turn: u64) -> Self {
        let turns = Turns::new(lay_out(&members), first_turn);
        Self { members, turns }
    }
}

impl RoundRobin {
    #[inline]
    fn take_turn(&self) -> Option<usize> {
        match &self.turns {
            Turns::LaidOut(rotation) => rotation.take(),
            Turns::AsTheyCome(turns, tickets) => Some(turns.turn(tickets.take())),
        }
    }

    #[cold]
    #[inline(never)]
    fn take_admitted_turn(&self, query: &Query<'_>, rng: &mut Rng) -> Option<usize> {
        for _ in 0..self.members.len().min(SKIPS) {
            let index = self.take_turn()?;
            if self.members.admits(index, query, rng) {
                return Some(index);
            }
        }
        self.members.draw(query, rng)
    }
}

impl Balancer for RoundRobin {
    fn members(&self) -> &Members {
        &self.members
    }

    #[inline]
    fn pick(&self, query: &Query<'_>, rng: &mut Rng) -> Option<usize> {
        if self.members.admit_all(query) { self.take_turn() } else { self.take_admitted_turn(query, rng) }
    }

    fn lookup(&self) -> Option<Lookup> {
        match &self.turns {
            Turns::LaidOut(rotation) => Some(Lookup(Table::Rotation(rotation.clone()))),
            Turns::AsTheyCome(..) => None,
        }
    }

    fn with_members(&self, members: Members) -> Result<Box<dyn Balancer>, EditError> {
        // The same place in the rotation: starting over would send the first pick after every change to the same
        // member.
        let order = lay_out(&members);
        let first = match (&order, self.turns.next().checked_rem(self.turns.period())) {
            (Order::LaidOut(turns), Some(place)) => place * turns.len() as u64 / self.turns.period(),
            _ => 0,
        };
        Ok(Box::new(Self { members, turns: Turns::new(order, first) }))
    }

    fn candidates(&self, query: &Query<'_>, _rng: &mut Rng) -> Vec<usize> {
        // From the next turn on, without taking it; those without a turn (down when it was laid out) come last. An order
        // that is worked out as it comes is not known ahead: then by index.
        let turns: &[u16] = if let Turns::LaidOut(rotation) = &self.turns { rotation.turns() } else { &[] };
        let mut seen = vec![false; self.members.len()];
        let next = (self.turns.next() % (turns.len() as u64).max(1)) as usize;
        let (before, after) = turns.split_at(next);
        let turns = after.iter().chain(before).map(|&index| usize::from(index));
        let fresh = |&index: &usize| !core::mem::replace(&mut seen[index], true);
        turns
            .chain(0..self.members.len())
            .filter(fresh)
            .filter(|&i| self.members.is_allowed(i, query))
            .collect()
    }

    fn explain(&self, query: &Query<'_>, rng: &mut Rng) -> String {
        let (next, period) = (self.turns.next(), self.turns.period());
        match (self.candidates(query, rng).first(), &self.turns) {
            (None, _) => "nobody takes it now".into(),
            (Some(&index), Turns::LaidOut(_)) => {
                let id = self.members.at(index).id();
                format!("{id:?} is next from turn {} of {period} on", next % period.max(1))
            }
            (Some(_), Turns::AsTheyCome(..)) => {
                format!("turn {next} of a rotation of {period}, worked out as it comes")
            }
        }
    }

    fn follows_health(&self) -> bool {
        true
    }
}

/// What the turns are made of.
enum Order {
    /// Who has each turn of one whole rotation.
    LaidOut(Box<[u16]>),
    /// Members and their weights: together more than are laid out.
    TooLong(Vec<(u16, u32)>),
}

/// The order of one whole rotation of those who are open (of all, if nobody is).
///
/// Members of one weight go in turn among themselves, so that only one of each weight has to be compared: O(turns ·
/// different weights), and turns that differ are few (n different weights sum to n²/2 at least).
fn lay_out(members: &Members) -> Order {
    let nobody_open = !members.iter().any(Member::has_turns);
    let mut classes: BTreeMap<u64, Vec<u16>> = BTreeMap::new();
    for (index, member) in members.iter().enumerate() {
        if nobody_open || member.has_turns() {
            classes.entry(u64::from(member.weight())).or_default().push(index as u16);
        }
    }
    let divisor = classes.keys().copied().fold(0, gcd).max(1);
    let sum: u64 = classes.iter().map(|(weight, who)| weight / divisor * who.len() as u64).sum();
    if sum > TURNS_MAX {
        let each = |(weight, who): (u64, Vec<u16>)| {
            who.into_iter().map(move |index| (index, (weight / divisor) as u32))
        };
        let mut members: Vec<(u16, u32)> = classes.into_iter().flat_map(each).collect();
        members.sort_unstable();
        return Order::TooLong(members);
    }
    let mut classes: Vec<Class> = classes
        .into_iter()
        .map(|(weight, who)| Class { weight: (weight / divisor) as i64, who, next: 0, rounds: 0 })
        .collect();
    let total: i64 = classes.iter().map(|class| class.weight * class.who.len() as i64).sum();
    let turns = (1..=total)
        .filter_map(|turn| {
            // After `turn` earnings a member that went `rounds` times owns this much.
            let wealth = |class: &Class| class.weight * turn - total * class.rounds;
            classes
                .iter_mut()
                .max_by_key(|class| (wealth(class), Reverse(class.who[class.next])))
                .map(Class::go)
        })
        .collect();
    Order::LaidOut(turns)
}

/// Members of one weight, who go in turn.
struct Class {
    weight: i64,
    who: Vec<u16>,
    next: usize,
    rounds: i64,
}

impl Class {
    fn go(&mut self) -> u16 {
        let gone = self.who[self.next];
        self.next += 1;
        if self.next == self.who.len() {
            self.next = 0;
            self.rounds += 1;
        }
        gone
    }
}

const fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Tickets drawn before the whole set is walked.
const SKIPS: usize = 64;
/// The most turns that are laid out ahead.
const TURNS_MAX: u64 = 65_536;
