//! Bounded loads: consistent hashing that never overfills a member.
//!
//! A plain ring sends a popular key's traffic to one member. Here each member has a ceiling
//!
//! ```text
//!     ceiling(m) = ⌈ c · (in_flight + 1) · weight(m) / Σ weight ⌉          c = 1.25 by default
//!
//!     ring   ──A────B────C────A────B──►      key lands on B, B is at its ceiling → next: C
//! ```
//!
//! where `in_flight` counts all requests of the set and the sum is over the members that are open. The ceilings of
//! all members together exceed what is in flight, so somebody always has room.
//!
//! The bound holds at the instant of every grant, in every interleaving of threads: a member's place is taken first,
//! the total is raised only if nobody has changed it since the ceiling was computed from it, and otherwise the
//! ceiling is computed anew (`tests/loom.rs`). Pick and count are therefore one step: [`Balancer::acquire`]; `pick`
//! alone only looks.
//!
//! Cost: the ring's, one division for each member visited, one exchange on the member's line and one on a line that
//! all share. Memory: the ring's. Not for keyless traffic: [`P2c`](super::P2c). Source: V. Mirrokni, M. Thorup,
//! M. Zadimoghaddam, "Consistent Hashing with Bounded Loads", 2016.
//!
//! ```
//! use balancers::{Balancer, Members, Query, Rng, algorithms::BoundedRing};
//!
//! let ring = BoundedRing::new(Members::new([("a", 1), ("b", 1), ("c", 1), ("d", 1)])?, 160, 125)?;
//! let (hot, mut rng) = (Query::for_key(b"hot"), Rng::new(1));
//! for _ in 0..100 {
//!     ring.acquire(&hot, &mut rng);
//! }
//! assert!(ring.members().iter().all(|m| m.in_flight() <= 32)); // ⌈1.25 · 100 / 4⌉
//! # Ok::<(), balancers::EditError>(())
//! ```

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::ring::{Ring, explain_circle};
use crate::balancer::Balancer;
use crate::error::EditError;
use crate::members::Members;
use crate::query::Query;
use crate::rng::Rng;
use crate::shared::total;

/// A ring whose members have a ceiling; see the module's page.
#[derive(Debug)]
pub struct BoundedRing {
    ring: Ring,
    percent: u32,
}

impl BoundedRing {
    /// A ring with a ceiling at `percent` of the fair share. From now on the members' total in flight is kept.
    ///
    /// # Errors
    /// As [`Ring::new`], and if `percent` is not 101 to 100,000.
    pub fn new(members: Members, points_per_weight: u32, percent: u32) -> Result<Self, EditError> {
        if !(101..=PERCENT_MAX).contains(&percent) {
            let allowed = "101 to 100000";
            return Err(EditError::Option { name: "bound_percent", found: u64::from(percent), allowed });
        }
        let in_flight = members.iter().map(|member| u64::from(member.in_flight())).sum();
        members.shared().keep_ledger(in_flight);
        Ok(Self { ring: Ring::new(members, points_per_weight)?, percent })
    }

    /// The most requests the member at `index` may have when one more than `in_flight` are under way.
    fn ceiling(&self, index: usize, in_flight: u64) -> u64 {
        let members = self.ring.members();
        let fair = u64::from(self.percent) * (in_flight + 1) * u64::from(members.at(index).weight());
        // At most 2^17 · 2^32 · 2^16: no overflow but in in_flight + 1, which the ledger holds below 2^32.
        fair.div_ceil(100 * members.shared().open_weight().max(1))
    }

    fn first_with_room(&self, in_flight: u64, query: &Query<'_>, rng: &mut Rng) -> Option<usize> {
        let members = self.ring.members();
        let has_room =
            |&index: &usize| u64::from(members.at(index).in_flight()) < self.ceiling(index, in_flight);
        let place = Ring::place(query, rng);
        let with_room = || self.ring.circle().walk(place).filter(has_room);
        let admitted = with_room().find(|&index| members.admits(index, query, rng));
        admitted.or_else(|| with_room().find(|&index| members.is_allowed(index, query)))
    }

    /// Takes a place at `index` under its ceiling; `None` if it is full by now.
    ///
    /// The grant is the exchange in the ledger. What we know at that instant: the total is the one the ceiling was
    /// computed from, and whoever has been granted a place here has raised the member's count before we read it.
    fn take(&self, index: usize, mut seen: u64) -> Option<usize> {
        let shared = self.ring.members().shared();
        let live = self.ring.members().at(index).live();
        if !live.start_below(self.ceiling(index, total(seen))) {
            return None;
        }
        while let Err(now) = shared.enter(seen) {
            seen = now;
            if u64::from(live.in_flight_now()) > self.ceiling(index, total(seen)) {
                live.unstart();
                return None;
            }
        }
        Some(index)
    }
}

impl BoundedRing {
    /// Whether nobody came or left since `seen`, and nobody has taken a place that is not yet in the ledger.
    #[cold]
    fn is_settled(&self, seen: u64) -> bool {
        let taken: u64 = self.members().iter().map(|member| u64::from(member.live().in_flight_now())).sum();
        taken <= total(seen) && self.members().shared().ledger() == seen
    }
}

impl Balancer for BoundedRing {
    fn members(&self) -> &Members {
        self.ring.members()
    }

    fn pick(&self, query: &Query<'_>, rng: &mut Rng) -> Option<usize> {
        self.first_with_room(total(self.members().shared().ledger()), query, rng)
    }

    fn acquire(&self, query: &Query<'_>, rng: &mut Rng) -> Option<usize> {
        let shared = self.members().shared();
        loop {
            let seen = shared.ledger();
            match self.first_with_room(total(seen), query, rng) {
                Some(index) => {
                    if let Some(taken) = self.take(index, seen) {
                        return Some(taken);
                    }
                }
                None if self.is_settled(seen) => return None,
                None => core::hint::spin_loop(),
            }
        }
    }

    fn with_members(&self, members: Members) -> Result<Box<dyn Balancer>, EditError> {
        Ok(Box::new(Self { ring: self.ring.changed(members)?, percent: self.percent }))
    }

    fn candidates(&self, query: &Query<'_>, rng: &mut Rng) -> Vec<usize> {
        let in_flight = total(self.members().shared().ledger());
        let mut order = self.ring.candidates(query, rng);
        order.retain(|&index| {
            u64::from(self.members().at(index).in_flight()) < self.ceiling(index, in_flight)
        });
        order
    }

    fn home(&self, query: &Query<'_>) -> Option<usize> {
        self.ring.home(query)
    }

    fn explain(&self, query: &Query<'_>, rng: &mut Rng) -> String {
        let place = Ring::place(query, &mut rng.clone());
        let (circle, members) = (self.ring.circle(), self.ring.members());
        let (home, picked) = (circle.owner(place), self.pick(query, rng));
        let in_flight = total(members.shared().ledger());
        let mut why = explain_circle(circle, place, members, picked);
        for index in home.into_iter().chain(picked.filter(|_| picked != home)) {
            let (member, ceiling) = (members.at(index), self.ceiling(index, in_flight));
            why += &format!("; {:?} has {} in flight of at most {ceiling}", member.id(), member.in_flight());
        }
        why
    }
}

const PERCENT_MAX: u32 = 100_000;
