//! What a pick comes down to while everybody is up and nobody is to be avoided: one look into a table.
//!
//! For the algorithms of which this is true a [`Pool`](crate::Pool) does without the virtual call and the questions about
//! members, and all of a pick is compiled into the caller's loop (`make bench-picks` counts its instructions).

use alloc::sync::Arc;

use crate::algorithms::{Cells, Circle, Rotation};
use crate::query::Query;
use crate::rng::Rng;

/// A table that answers in place of [`Balancer::pick`](crate::Balancer::pick); see
/// [`Balancer::lookup`](crate::Balancer::lookup). Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lookup(pub(crate) Table);

#[derive(Clone, Debug)]
pub(crate) enum Table {
    /// Points on a circle, by the key's place.
    Circle(Arc<Circle>),
    /// Slots of equal width, by the key's position.
    Slots(Arc<[u16]>),
    /// Walker's cells, by lot.
    Cells(Cells),
    /// Turns: whoever looks takes one.
    Rotation(Arc<Rotation>),
}

impl Lookup {
    /// The index of a member; `None` if there are none. A query without a key is placed at random.
    #[inline(always)]
    #[must_use]
    pub fn find(&self, query: &Query<'_>, rng: &mut Rng) -> Option<usize> {
        self.0.find(query, rng)
    }
}

impl Table {
    #[inline(always)]
    pub(crate) fn find(&self, query: &Query<'_>, rng: &mut Rng) -> Option<usize> {
        match self {
            Self::Circle(circle) => circle.owner((position(query, rng) >> 32) as u32),
            Self::Slots(slots) => slot(slots, position(query, rng)),
            Self::Cells(cells) => cells.draw(rng),
            Self::Rotation(rotation) => rotation.take(),
        }
    }
}

/// Where the query stands: by its key, or anywhere if it has none.
#[inline]
pub(crate) fn position(query: &Query<'_>, rng: &mut Rng) -> u64 {
    query.position().unwrap_or_else(|| rng.next_u64())
}

/// Who has the slot at this position.
#[inline]
pub(crate) fn slot(slots: &[u16], position: u64) -> Option<usize> {
    let slot = (u128::from(position) * slots.len() as u128) >> 64;
    slots.get(slot as usize).map(|&index| usize::from(index))
}
