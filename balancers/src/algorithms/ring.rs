//! The ring: consistent hashing by key, exact weights by points, frozen placement.
//!
//! Every member puts `160 · weight` points on a circle of 2³² places; a key belongs to the first point at or after
//! its own place.
//!
//! ```text
//!     0 ──A────B────C────A────B──────A── 2³²          key at × ... ──×──►B
//! ```
//!
//! The number of points a member has depends on its own weight alone, so a member that joins takes keys and one that
//! leaves gives up its own: nothing moves between two members that stay (`tests/churn.rs`). Two points on one place
//! belong to the smaller id. A key whose member is down goes to the next point of a member that is up, and comes
//! back with it.
//!
//! Pick: O(1), one hash and one cache line. Memory: 12.8 bytes a point. A member's share is within √(1/points)
//! of its weight: 8 % at 160 points. Limit: [`RING_POINTS_MAX`] points. Not for a key that alone is too much for a
//! member: [`BoundedRing`](super::BoundedRing). Source: D. Karger et al., "Consistent Hashing and Random Trees", 1997.
//!
//! ```
//! use balancers::{Balancer, Members, Query, Rng, algorithms::Ring};
//!
//! let ring = Ring::new(Members::new([("cache-1", 1), ("cache-2", 1), ("cache-3", 1)])?, 160)?;
//! let pick = |key: &str| ring.pick(&Query::for_key(key.as_bytes()), &mut Rng::new(0));
//! assert_eq!(pick("/logo.png"), pick("/logo.png"));
//! # Ok::<(), balancers::EditError>(())
//! ```

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::ops::Range;

use super::circle::Circle;
use super::owners::Owners;
use crate::balancer::Balancer;
use crate::error::EditError;
use crate::hash::ring_point;
use crate::lookup::{Lookup, Table, position};
use crate::members::{Member, Members};
use crate::query::Query;
use crate::rng::Rng;

/// The most points on a ring (215 MB of them).
pub const RING_POINTS_MAX: u64 = 1 << 24;

/// A consistent ring; see the module's page.
#[derive(Debug)]
pub struct Ring {
    members: Members,
    circle: Arc<Circle>,
    points_per_weight: u32,
}

impl Ring {
    /// Puts `points_per_weight · weight` points of each member on the circle.
    ///
    /// # Errors
    /// If `points_per_weight` is 0 or there would be more than [`RING_POINTS_MAX`] points.
    pub fn new(members: Members, points_per_weight: u32) -> Result<Self, EditError> {
        let found = checked_points(&members, points_per_weight)?;
        let mut points = Vec::with_capacity(found);
        for (index, member) in members.iter().enumerate() {
            put(&mut points, member, index, 0..member.weight() * points_per_weight);
        }
        Ok(Self { members, circle: Arc::new(Circle::new(points)), points_per_weight })
    }

    /// Points for each unit of weight.
    #[must_use]
    pub fn points_per_weight(&self) -> u32 {
        self.points_per_weight
    }

    /// The same ring over other members: only the points that come and go are computed.
    pub(super) fn changed(&self, members: Members) -> Result<Self, EditError> {
        let per = self.points_per_weight;
        checked_points(&members, per)?;
        let circle =
            changed_circle(&self.circle, &self.members, &members, |points, member, index, weights| {
                put(points, member, index, weights.start * per..weights.end * per);
            });
        match circle {
            Some(circle) => Ok(Self { members, circle: Arc::new(circle), points_per_weight: per }),
            None => Self::new(members, per),
        }
    }

    /// Where the query's key stands on the circle; anywhere, if it has none.
    #[inline]
    pub(super) fn place(query: &Query<'_>, rng: &mut Rng) -> u32 {
        (position(query, rng) >> 32) as u32
    }

    pub(super) fn circle(&self) -> &Circle {
        &self.circle
    }
}

impl Balancer for Ring {
    fn members(&self) -> &Members {
        &self.members
    }

    #[inline]
    fn pick(&self, query: &Query<'_>, rng: &mut Rng) -> Option<usize> {
        self.circle.pick(Self::place(query, rng), &self.members, query, rng)
    }

    fn with_members(&self, members: Members) -> Result<Box<dyn Balancer>, EditError> {
        Ok(Box::new(self.changed(members)?))
    }

    fn lookup(&self) -> Option<Lookup> {
        Some(Lookup(Table::Circle(self.circle.clone())))
    }

    fn candidates(&self, query: &Query<'_>, rng: &mut Rng) -> Vec<usize> {
        self.circle.order(Self::place(query, rng), &self.members, query)
    }

    fn home(&self, query: &Query<'_>) -> Option<usize> {
        self.circle.owner((query.position()? >> 32) as u32)
    }

    fn explain(&self, query: &Query<'_>, rng: &mut Rng) -> String {
        let place = Self::place(query, &mut rng.clone());
        explain_circle(&self.circle, place, &self.members, self.pick(query, rng))
    }
}

/// The circle over other members, whose points depend on their own weight alone: those of a smaller weight are the first
/// of those of a larger one. `put` adds a member's points that stand for a range of its weight.
pub(super) fn changed_circle(
    circle: &Circle,
    old: &Members,
    new: &Members,
    put: impl Fn(&mut Vec<u64>, &Member, usize, Range<u32>),
) -> Option<Circle> {
    // What is in `those` and not in `others`.
    let only = |those: &Members, others: &Members| {
        let mut points = Vec::new();
        let positions = those.positions_in(others).into_iter();
        for ((index, member), other) in those.iter().enumerate().zip(positions) {
            let other = other.map_or(0, |index| others.at(index).weight());
            if other < member.weight() {
                put(&mut points, member, index, other..member.weight());
            }
        }
        points
    };
    circle.changed(&Owners::between(old, new), only(old, new), only(new, old))
}

/// Why a circle gave this member for this place.
pub(super) fn explain_circle(
    circle: &Circle,
    place: u32,
    members: &Members,
    picked: Option<usize>,
) -> String {
    let (Some(home), Some(point)) = (circle.owner(place), circle.point_for(place)) else {
        return "the circle has no points".into();
    };
    let home = members.at(home);
    let start = format!(
        "the key stands at {place:#010x}; the next of {} points, {point:#010x}, is {:?}'s",
        circle.len(),
        home.id()
    );
    match picked.map(|index| members.at(index)) {
        Some(picked) if picked.tag() == home.tag() => start,
        Some(picked) => format!(
            "{start}, which does not take it now; the next on the circle that does is {:?}",
            picked.id()
        ),
        None => format!("{start}, and nobody on the circle takes it now"),
    }
}

fn put(points: &mut Vec<u64>, member: &Member, index: usize, range: Range<u32>) {
    points.extend(range.map(|j| u64::from(ring_point(member.id().as_bytes(), j)) << 32 | index as u64));
}

fn checked_points(members: &Members, points_per_weight: u32) -> Result<usize, EditError> {
    if points_per_weight == 0 {
        return Err(EditError::Option { name: "ring_points", found: 0, allowed: "at least 1" });
    }
    let found = members.total_weight().saturating_mul(u64::from(points_per_weight));
    if found > RING_POINTS_MAX {
        return Err(EditError::TooManyPoints { found, max: RING_POINTS_MAX });
    }
    Ok(found as usize)
}
