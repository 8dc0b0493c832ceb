//! Points on a circle of 2³² places, found in O(1) and changed without sorting anew: what every ring stands on.
//!
//! ```text
//!     points   place << 32 | owner, in order            slots   eleven for eight points, all alike in width
//!
//!     slot      0      1      2      3      4      5
//!            ├──────┼──────┼─A────┼──────┼──────┼─B─C──┤   each names the first point at or behind its beginning
//!               A      A      A      B      B      B
//! ```
//!
//! A key looks at its slot, and at the three points from the one that it names on. Which of them it is to be nobody can
//! predict, so that it is chosen without a branch; 99 keys of 100 need no fourth. (160,000 points: 300
//! instructions by binary search, 30 by this; an Eytzinger layout gains a quarter of the former. Slots that name the owner
//! where no point is in them, one look instead of two for three keys of five, were four times slower with keys that are
//! new each time: 24 ns for 5.2. With keys that come again processors learn even that branch, so measure with new ones.)
//! Memory: 13½ bytes a point. A change copies the runs between the points that come and go, and counts the slots on.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::hint::select_unpredictable;

use crate::members::Members;
use crate::query::Query;
use crate::rng::Rng;

/// Sorted points and their index.
#[derive(Debug, Clone)]
pub(crate) struct Circle {
    /// All points, and three more that repeat the first owner at the end of the circle, so that a search to the right
    /// always ends.
    points: Box<[u64]>,
    slots: Box<[u32]>,
}

impl Circle {
    /// Of points (place << 32 | owner) in any order. Two on one place are ordered by owner.
    pub(super) fn new(points: Vec<u64>) -> Self {
        Self::laid_out(sorted(points))
    }

    /// Of points in order.
    fn laid_out(points: Vec<u64>) -> Self {
        let width = points.len() * SLOTS_FOR_8 / 8;
        let mut slots = Vec::with_capacity(width);
        for (at, &point) in points.iter().enumerate() {
            // All slots since the last point's, up to its own.
            let own = slot_of(place_of(point), width) + 1;
            if own > slots.len() {
                slots.resize(own, at as u32);
            }
        }
        slots.resize(width, points.len() as u32);
        Self::closed(points, slots)
    }

    fn closed(mut points: Vec<u64>, slots: Vec<u32>) -> Self {
        if let Some(&first) = points.first() {
            points.extend([u64::from(u32::MAX) << 32 | u64::from(first as u16); ENDS]);
        }
        Self { points: points.into(), slots: slots.into() }
    }

    /// The circle after points came and went; `names` says which index an old owner has now.
    ///
    /// Gives up (`None`) when so much changes that sorting is cheaper.
    pub(super) fn changed(&self, names: &Owners, mut gone: Vec<u64>, mut come: Vec<u64>) -> Option<Self> {
        let had = self.len();
        let has = (had + come.len()).checked_sub(gone.len())?;
        if has == 0 || (gone.len() + come.len()) * 4 > had {
            return None;
        }
        gone.sort_unstable();
        come.sort_unstable();
        let mut points = Vec::with_capacity(has + ENDS);
        let mut events = Vec::with_capacity(gone.len() + come.len());
        let (mut gone_left, mut come_left, mut from) = (gone.iter().peekable(), come.iter().peekable(), 0);
        loop {
            let next_gone = gone_left.peek().map(|&&point| self.position(point));
            let next_come = come_left.peek().map(|&&point| self.position_for(point, names));
            match (next_gone, next_come) {
                (None, None) => break,
                (Some(at), other) if other.is_none_or(|come| at < come) => {
                    names.copy(self.points.get(from..at)?, &mut points);
                    from = at + 1;
                    events.extend(gone_left.next().map(|&point| (place_of(point), -1)));
                }
                (_, Some(at)) => {
                    names.copy(self.points.get(from..at)?, &mut points);
                    from = at;
                    let joins = come_left.next();
                    points.extend(joins);
                    events.extend(joins.map(|&point| (place_of(point), 1)));
                }
                (Some(_), None) => return None,
            }
        }
        names.copy(self.points.get(from..had)?, &mut points);
        if !(has * 9 / 8..=has * 13 / 8).contains(&self.slots.len()) {
            return Some(Self::laid_out(points));
        }
        Some(Self::closed(points, self.moved_slots(&events)))
    }

    /// How many points there are.
    pub(super) fn len(&self) -> usize {
        self.points.len().saturating_sub(ENDS)
    }

    /// Who owns this place.
    #[inline]
    pub(crate) fn owner(&self, place: u32) -> Option<usize> {
        let key = u64::from(place) << 32;
        let at = *self.slots.get(slot_of(place, self.slots.len()))? as usize;
        let &[first, second, third] = self.points.get(at..at + ENDS)? else { return None };
        let behind_first = select_unpredictable(first < key, second, first);
        let point = select_unpredictable(second < key, third, behind_first);
        if point < key { self.find(place).map(|at| owner_of(self.points[at])) } else { Some(owner_of(point)) }
    }

    /// The place of the point that owns this place.
    pub(super) fn point_for(&self, place: u32) -> Option<u32> {
        let at = self.find(place)?;
        self.points.get(if at == self.len() { 0 } else { at }).map(|&point| place_of(point))
    }

    /// The owners of the points from this place on, once around.
    pub(super) fn walk(&self, place: u32) -> impl Iterator<Item = usize> + '_ {
        let (before, after) = self.points[..self.len()].split_at(self.find(place).unwrap_or(0));
        after.iter().chain(before).map(|&point| owner_of(point))
    }

    /// The first owner from this place on that takes the pick.
    #[inline]
    pub(super) fn pick(
        &self,
        place: u32,
        members: &Members,
        query: &Query<'_>,
        rng: &mut Rng,
    ) -> Option<usize> {
        if members.admit_all(query) {
            self.owner(place)
        } else {
            self.pick_admitted(place, members, query, rng)
        }
    }

    #[cold]
    #[inline(never)]
    fn pick_admitted(
        &self,
        place: u32,
        members: &Members,
        query: &Query<'_>,
        rng: &mut Rng,
    ) -> Option<usize> {
        let mut fallback = None;
        for index in self.walk(place) {
            if members.admits(index, query, rng) {
                return Some(index);
            }
            if fallback.is_none() && members.is_allowed(index, query) {
                fallback = Some(index);
            }
        }
        // Only members that ramp up are left: better one of them than nobody.
        fallback
    }

    /// All allowed owners from this place on, each once.
    pub(super) fn order(&self, place: u32, members: &Members, query: &Query<'_>) -> Vec<usize> {
        let mut seen = vec![false; members.len()];
        let fresh = |&index: &usize| !core::mem::replace(&mut seen[index], true);
        self.walk(place).filter(fresh).filter(|&index| members.is_allowed(index, query)).collect()
    }

    /// The first point at or after `place`; past the last, the one that closes the circle.
    #[cold]
    #[inline(never)]
    fn find(&self, place: u32) -> Option<usize> {
        let key = u64::from(place) << 32;
        let mut at = *self.slots.get(slot_of(place, self.slots.len()))? as usize;
        while *self.points.get(at)? < key {
            at += 1;
        }
        Some(at)
    }

    /// Where exactly this old point is.
    fn position(&self, point: u64) -> usize {
        let mut at = self.find(place_of(point)).unwrap_or(self.len());
        while at < self.len() && self.points[at] < point {
            at += 1;
        }
        at
    }

    /// Before which old point this new one belongs.
    fn position_for(&self, point: u64, names: &Owners) -> usize {
        let mut at = self.find(place_of(point)).unwrap_or(self.len());
        // Only on the same place does the owner decide; who left stands before everybody.
        let before = |old: u64| {
            place_of(old) == place_of(point)
                && names.renamed(old as u16).is_none_or(|old| usize::from(old) < owner_of(point))
        };
        while at < self.len() && before(self.points[at]) {
            at += 1;
        }
        at
    }

    /// The slots after these events, in order: how many points came (or went) at which place. What a slot names stands
    /// behind all that happened before the slot.
    fn moved_slots(&self, events: &[(u32, i32)]) -> Vec<u32> {
        let mut slots = Vec::with_capacity(self.slots.len());
        let mut moved = 0_u32;
        for &(place, by) in events {
            let to = slot_of(place, self.slots.len()) + 1;
            if to > slots.len() {
                slots.extend(self.slots[slots.len()..to].iter().map(|at| at.wrapping_add(moved)));
            }
            moved = moved.wrapping_add_signed(by);
        }
        slots.extend(self.slots[slots.len()..].iter().map(|at| at.wrapping_add(moved)));
        slots
    }
}

/// Which index each member of an old set has in a new one.
#[derive(Debug)]
pub(super) enum Owners {
    /// Everybody from `first` on stands one further: one member joined there.
    Up { first: u16 },
    /// Everybody after `gone` stands one before: that one left.
    Down { gone: u16 },
    /// Nobody came or left.
    Same,
    /// Anything else; `GONE` for who left.
    Any(Vec<u32>),
}

impl Owners {
    pub(super) fn between(old: &Members, new: &Members) -> Self {
        let positions = old.positions_in(new).into_iter();
        let map: Vec<u32> = positions.map(|position| position.map_or(GONE, |index| index as u32)).collect();
        let first_off = map.iter().enumerate().position(|(index, &now)| now != index as u32);
        let left = map.iter().filter(|&&now| now == GONE).count();
        // Where nobody stands elsewhere, one may have joined behind all: then no old owner is `first`.
        let first = u16::try_from(first_off.unwrap_or(map.len())).ok();
        match (first, left) {
            (_, 0) if old.len() == new.len() => Self::Same,
            (Some(first), 0) if new.len() == old.len() + 1 => Self::Up { first },
            (Some(gone), 1) if new.len() + 1 == old.len() => Self::Down { gone },
            _ => Self::Any(map),
        }
    }

    /// The old owner's new index; `None` if it left.
    #[inline]
    fn renamed(&self, owner: u16) -> Option<u16> {
        match self {
            Self::Up { first } => Some(owner + u16::from(owner >= *first)),
            Self::Down { gone } => (owner != *gone).then(|| owner - u16::from(owner > *gone)),
            Self::Same => Some(owner),
            Self::Any(map) => map.get(usize::from(owner)).filter(|&&now| now != GONE).map(|&now| now as u16),
        }
    }

    /// Copies a run in which nobody left.
    fn copy(&self, run: &[u64], into: &mut Vec<u64>) {
        // One loop for each case, each without a branch inside.
        match self {
            Self::Up { first } => into.extend(run.iter().map(|&p| p + u64::from(p as u16 >= *first))),
            Self::Down { gone } => into.extend(run.iter().map(|&p| p - u64::from(p as u16 > *gone))),
            Self::Same => into.extend_from_slice(run),
            Self::Any(map) => {
                into.extend(run.iter().map(|&p| p & !0xffff | u64::from(map[owner_of(p)] as u16)));
            }
        }
    }
}

#[inline]
fn place_of(point: u64) -> u32 {
    (point >> 32) as u32
}

#[inline]
fn owner_of(point: u64) -> usize {
    usize::from(point as u16)
}

/// Which of so many slots a place falls into.
#[inline]
fn slot_of(place: u32, slots: usize) -> usize {
    ((u64::from(place) * slots as u64) >> 32) as usize
}

/// Sorts hashes: they are spread evenly, so that putting each into its place by its top bits leaves little to do.
fn sorted(points: Vec<u64>) -> Vec<u64> {
    let shift = points.len().max(2).leading_zeros() + 1;
    let bucket = |point: u64| (point >> shift) as usize;
    let mut ends = vec![0_u32; bucket(u64::MAX) + 1];
    points.iter().for_each(|&point| ends[bucket(point)] += 1);
    let mut sum = 0;
    for end in &mut ends {
        sum += core::mem::replace(end, sum);
    }
    let mut sorted = vec![0; points.len()];
    for point in points {
        let end = &mut ends[bucket(point)];
        sorted[*end as usize] = point;
        *end += 1;
    }
    let mut from = 0;
    for end in ends {
        sorted[from..end as usize].sort_unstable();
        from = end as usize;
    }
    sorted
}

/// With more, a ring of 160 points a member is over 16 bytes a point, all in; with fewer, more steps cannot be foretold.
const SLOTS_FOR_8: usize = 11;
/// Points behind the last, as many as a key looks at: room for them saves a copy.
pub(super) const ENDS: usize = 3;
const GONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::{Circle, Owners, slot_of};
    use crate::members::Members;
    use proptest::prelude::*;

    fn pack(points: &[(u32, u32)]) -> Vec<u64> {
        points.iter().map(|&(place, owner)| u64::from(place) << 32 | u64::from(owner)).collect()
    }

    proptest! {
        #[test]
        fn the_index_finds_what_a_search_finds(
            mut points in prop::collection::vec((any::<u32>(), 0_u32..9), 0..200),
            places in prop::collection::vec(any::<u32>(), 50),
        ) {
            let circle = Circle::new(pack(&points));
            points.sort_unstable();
            let packed = pack(&points);
            for place in places.into_iter().chain(points.iter().map(|p| p.0)).chain([0, u32::MAX]) {
                let naive = packed.iter().find(|p| (*p >> 32) as u32 >= place).or(packed.first());
                prop_assert_eq!(circle.owner(place), naive.map(|p| (p & 0xffff) as usize));
                prop_assert_eq!(circle.point_for(place), naive.map(|p| (p >> 32) as u32));
                prop_assert_eq!(circle.walk(place).count(), points.len());
                prop_assert_eq!(circle.walk(place).next(), circle.owner(place));
            }
        }

        #[test]
        fn a_changed_circle_is_the_circle_built_anew(
            // Few places and few top bits, so that points share places and buckets.
            old in prop::collection::btree_map("[a-h]", prop::collection::btree_set(0_u32..40, 1..60), 2..8),
            new in prop::collection::btree_map("[a-h]", prop::collection::btree_set(0_u32..40, 1..60), 2..8),
            change_few in any::<bool>(),
            few in 0_usize..8,
        ) {
            let mut new = new;
            if change_few {
                let kept = old.iter().enumerate().filter(|(n, _)| *n != few).map(|(_, (id, p))| (id.clone(), p.clone()));
                new = kept.collect();
            }
            let members = |set: &std::collections::BTreeMap<String, _>| {
                Members::new(set.keys().map(|id| (id.as_str(), 1))).unwrap()
            };
            let point = |members: &Members, id: &str, place: u32| {
                u64::from(place.reverse_bits()) << 32 | members.index_of(id).unwrap() as u64
            };
            let (before, after) = (members(&old), members(&new));
            let all = |members: &Members, set: &std::collections::BTreeMap<String, std::collections::BTreeSet<u32>>| {
                let each = set.iter().flat_map(|(id, places)| places.iter().map(move |&place| (id, place)));
                each.map(|(id, place)| point(members, id, place)).collect::<Vec<u64>>()
            };
            let in_both = |id: &String, place: &u32| old.get(id).is_some_and(|s| s.contains(place))
                && new.get(id).is_some_and(|s| s.contains(place));
            let only = |members: &Members, set: &std::collections::BTreeMap<String, std::collections::BTreeSet<u32>>| {
                let each = set.iter().flat_map(|(id, places)| places.iter().map(move |place| (id, place)));
                each.filter(|(id, place)| !in_both(id, place)).map(|(id, &p)| point(members, id, p)).collect::<Vec<u64>>()
            };
            let circle = Circle::new(all(&before, &old));
            let owners = Owners::between(&before, &after);
            if let Some(changed) = circle.changed(&owners, only(&before, &old), only(&after, &new)) {
                let anew = Circle::new(all(&after, &new));
                prop_assert_eq!(&changed.points, &anew.points);
                let first_in = |slot| {
                    let before = |p: &&u64| slot_of((**p >> 32) as u32, changed.slots.len()) < slot;
                    anew.points[..anew.len()].iter().filter(before).count() as u32
                };
                let slots: Vec<u32> = (0..changed.slots.len()).map(first_in).collect();
                prop_assert_eq!(&changed.slots[..], &slots);
            }
        }
    }
}
