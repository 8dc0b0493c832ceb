//! What every algorithm is: a question in, an index out.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::Debug;

use crate::error::EditError;
use crate::lookup::Lookup;
use crate::members::Members;
use crate::query::Query;
use crate::rng::Rng;

/// A load-balancing algorithm over one immutable set of members.
///
/// Chance comes in as `rng`, load and health are read from the members, the key from the query: nothing else decides.
/// A [`Pool`](crate::Pool) adds live membership and leases; on its own a balancer is used like this:
///
/// ```
/// use balancers::{Algorithm, Members, Options, Query, Rng};
///
/// let members = Members::new([("a", 1), ("b", 3)])?;
/// let balancer = Algorithm::LeastLoad.build(members, &Options::default())?;
/// let mut rng = Rng::new(1);
///
/// for _ in 0..8 {
///     balancer.acquire(&Query::new(), &mut rng).expect("both are up");
/// }
/// let in_flight: Vec<u32> = balancer.members().iter().map(|m| m.in_flight()).collect();
/// assert_eq!(in_flight, [2, 6]); // by weight
/// # Ok::<(), balancers::EditError>(())
/// ```
pub trait Balancer: Send + Sync + Debug {
    /// The set it picks from.
    fn members(&self) -> &Members;

    /// The index of a member that is allowed and should take this request; `None` if there is none.
    fn pick(&self, query: &Query<'_>, rng: &mut Rng) -> Option<usize>;

    /// The same algorithm over another set, reusing what it can.
    ///
    /// # Errors
    /// If the set asks for more than the algorithm allows (points on a ring).
    fn with_members(&self, members: Members) -> Result<Box<dyn Balancer>, EditError>;

    /// Picks and counts one request more, in one step. End it with [`Member::end`](crate::Member::end).
    fn acquire(&self, query: &Query<'_>, rng: &mut Rng) -> Option<usize> {
        let index = self.pick(query, rng)?;
        self.members().at(index).start();
        Some(index)
    }

    /// A table that answers [`Self::pick`] while every member is up at full share and the query avoids nobody, if there is
    /// one.
    fn lookup(&self) -> Option<Lookup> {
        None
    }

    /// Every allowed member once, the best first.
    fn candidates(&self, query: &Query<'_>, rng: &mut Rng) -> Vec<usize> {
        let (mut query, mut order) = (query.clone(), Vec::new());
        while let Some(index) = self.pick(&query, rng) {
            query = query.avoiding(self.members().at(index).tag());
            order.push(index);
        }
        order
    }

    /// The member a key belongs to while everyone is up and idle; `None` for algorithms that do not place by key.
    fn home(&self, _query: &Query<'_>) -> Option<usize> {
        None
    }

    /// Why a pick just now would be answered as it is, in words and numbers.
    fn explain(&self, query: &Query<'_>, rng: &mut Rng) -> String {
        match self.pick(query, rng).map(|index| self.members().at(index)) {
            Some(member) => {
                let (id, weight, total) = (member.id(), member.weight(), self.members().total_weight());
                format!("{id:?} was drawn by lot; its weight is {weight} of {total}")
            }
            None => "nobody takes it now".into(),
        }
    }

    /// Whether to be built anew when a member's health changes, because it lays out turns ahead of time.
    fn follows_health(&self) -> bool {
        false
    }
}
