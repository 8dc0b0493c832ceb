//! Points on a circle of 2³² places, found in O(1) and changed without sorting anew: what every ring stands on.
//!
//! ```text
//!     places, owners   of the points, in order             slots   about two for each point, all alike in width
//!
//!     slot      0      1      2      3      4      5
//!            ├──────┼──────┼─A────┼──────┼──────┼─B─C──┤   a slot without a point names whoever owns all of it,
//!               A      A      ↓      B      B      ↓       one with points the first of them
//! ```
//!
//! Three of five keys fall into a slot that names its owner: one look. The others step along the slot's points from its
//! first: two looks. (160,000 points, instructions: 300 by binary search, 36 by this; an Eytzinger layout gains a quarter
//! of the former.) Memory: 13½ bytes a point. A change copies the runs between the points that come and go, and fills the
//! slots around those anew.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crate::members::Members;
use crate::query::Query;
use crate::rng::Rng;

/// Sorted points and their index.
#[derive(Debug, Clone)]
pub(crate) struct Circle {
    /// All points, and a last one that repeats the first owner at the end of the circle, so that a search to the
    /// right always ends.
    places: Box<[u32]>,
    owners: Box<[u16]>,
    slots: Box<[u32]>,
}

impl Circle {
    /// Of points (place << 32 | owner) in any order. Two on one place are ordered by owner.
    pub(super) fn new(points: Vec<u64>) -> Self {
        let points = sorted(points);
        let places = points.iter().map(|point| (point >> 32) as u32).collect();
        let owners = points.iter().map(|&point| point as u16).collect();
        Self::laid_out(places, owners)
    }

    /// Of points in order.
    fn laid_out(places: Vec<u32>, owners: Vec<u16>) -> Self {
        let width = places.len() * SLOTS_FOR_8 / 8;
        let mut slots = vec![0; width];
        fill(&mut slots, width, 0, &places, &owners, 0);
        Self::closed(places, owners, slots)
    }

    fn closed(mut places: Vec<u32>, mut owners: Vec<u16>, slots: Vec<u32>) -> Self {
        if let Some(&first) = owners.first() {
            places.push(u32::MAX);
            owners.push(first);
        }
        Self { places: places.into(), owners: owners.into(), slots: slots.into() }
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
        let mut next = Points::with_room(has + 1);
        let mut events = Vec::with_capacity(gone.len() + come.len());
        let (mut gone_left, mut come_left, mut from) = (gone.iter().peekable(), come.iter().peekable(), 0);
        loop {
            let next_gone = gone_left.peek().map(|&&point| self.position(point));
            let next_come = come_left.peek().map(|&&point| self.position_for(point, names));
            match (next_gone, next_come) {
                (None, None) => break,
                (Some(at), other) if other.is_none_or(|come| at < come) => {
                    next.extend(self, from..at, names)?;
                    from = at + 1;
                    events.extend(gone_left.next().map(|&point| next.event(point, -1)));
                }
                (_, Some(at)) => {
                    next.extend(self, from..at, names)?;
                    from = at;
                    events.extend(come_left.next().map(|&point| next.join(point)));
                }
                (Some(_), None) => return None,
            }
        }
        next.extend(self, from..had, names)?;
        let Points(places, owners) = next;
        if !(has * 3 / 2..=has * 9 / 4).contains(&self.slots.len()) {
            return Some(Self::laid_out(places, owners));
        }
        let slots = self.moved_slots(names, &events, &places, &owners);
        Some(Self::closed(places, owners, slots))
    }

    /// How many points there are.
    pub(super) fn len(&self) -> usize {
        self.places.len().saturating_sub(1)
    }

    /// Who owns this place.
    #[inline]
    pub(crate) fn owner(&self, place: u32) -> Option<usize> {
        let slot = *self.slots.get(slot_of(place, self.slots.len()))?;
        if slot & POINTS == 0 {
            return Some(slot as usize);
        }
        let mut at = (slot & !POINTS) as usize;
        while *self.places.get(at)? < place {
            at += 1;
        }
        self.owners.get(at).map(|&owner| usize::from(owner))
    }

    /// The place of the point that owns this place.
    pub(super) fn point_for(&self, place: u32) -> Option<u32> {
        let at = self.find(place)?;
        self.places.get(if at == self.len() { 0 } else { at }).copied()
    }

    /// The owners of the points from this place on, once around.
    pub(super) fn walk(&self, place: u32) -> impl Iterator<Item = usize> + '_ {
        let (before, after) = self.owners[..self.len()].split_at(self.find(place).unwrap_or(0));
        after.iter().chain(before).map(|&owner| usize::from(owner))
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
    #[inline]
    fn find(&self, place: u32) -> Option<usize> {
        let from = self.slots.get(slot_of(place, self.slots.len())..)?;
        let mut at = match from.iter().find(|&&slot| slot & POINTS != 0) {
            Some(slot) => (slot & !POINTS) as usize,
            None => self.len(),
        };
        while *self.places.get(at)? < place {
            at += 1;
        }
        Some(at)
    }

    fn point(&self, at: usize) -> u64 {
        u64::from(self.places[at]) << 32 | u64::from(self.owners[at])
    }

    /// Where exactly this old point is.
    fn position(&self, point: u64) -> usize {
        let mut at = self.find((point >> 32) as u32).unwrap_or(self.len());
        while at < self.len() && self.point(at) < point {
            at += 1;
        }
        at
    }

    /// Before which old point this new one belongs.
    fn position_for(&self, point: u64, names: &Owners) -> usize {
        let mut at = self.find((point >> 32) as u32).unwrap_or(self.len());
        // Only on the same place does the owner decide; who left stands before everybody.
        let before = |at: usize| {
            u64::from(self.places[at]) == point >> 32
                && names.renamed(self.owners[at]).is_none_or(|old| old < point as u16)
        };
        while at < self.len() && before(at) {
            at += 1;
        }
        at
    }

    /// The old slots under the owners' new names, their points moved along, and filled anew around each event.
    fn moved_slots(&self, names: &Owners, events: &[Event], places: &[u32], owners: &[u16]) -> Vec<u32> {
        let mut slots = Vec::with_capacity(self.slots.len());
        let mut moved = 0_u32;
        for event in events {
            let to = slot_of(event.place, self.slots.len()).max(slots.len());
            names.copy_slots(&self.slots[slots.len()..to], moved, &mut slots);
            moved = moved.wrapping_add_signed(event.by);
        }
        names.copy_slots(&self.slots[slots.len()..], moved, &mut slots);
        let (mut filled, width) = (0, slots.len());
        for event in events {
            // From the point before on: what lies in between belongs to the next one.
            let mut at = event.at.saturating_sub(1);
            let from = if at == 0 { 0 } else { slot_of(places[at], width) };
            let to = places.get(event.at + 1).map_or(width, |&place| slot_of(place, width) + 1);
            if to > filled {
                let from = from.max(filled);
                while at > 0 && slot_of(places[at - 1], width) >= from {
                    at -= 1;
                }
                at += places[at..].iter().take_while(|&&place| slot_of(place, width) < from).count();
                fill(&mut slots[..to], width, from, places, owners, at);
                filled = to;
            }
        }
        let last = places.last().map_or(0, |&place| slot_of(place, width) + 1);
        slots[last..].fill(u32::from(owners.first().copied().unwrap_or(0)));
        slots
    }
}

/// A circle in the making: places and owners, in order.
struct Points(Vec<u32>, Vec<u16>);

/// A point that came or went: where on the circle, before which of the new points, and how many more there are now.
struct Event {
    place: u32,
    at: usize,
    by: i32,
}

impl Points {
    fn with_room(len: usize) -> Self {
        Self(Vec::with_capacity(len), Vec::with_capacity(len))
    }

    fn event(&self, point: u64, by: i32) -> Event {
        Event { place: (point >> 32) as u32, at: self.0.len(), by }
    }

    fn join(&mut self, point: u64) -> Event {
        let event = self.event(point, 1);
        self.0.push(event.place);
        self.1.push(point as u16);
        event
    }

    /// A run of old points, in which nobody left.
    fn extend(&mut self, old: &Circle, run: core::ops::Range<usize>, names: &Owners) -> Option<()> {
        self.0.extend_from_slice(old.places.get(run.clone())?);
        names.copy(old.owners.get(run)?, &mut self.1);
        Some(())
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
    fn copy(&self, run: &[u16], into: &mut Vec<u16>) {
        // One loop for each case, each without a branch inside.
        match self {
            Self::Up { first } => into.extend(run.iter().map(|&o| o + u16::from(o >= *first))),
            Self::Down { gone } => into.extend(run.iter().map(|&o| o - u16::from(o > *gone))),
            Self::Same => into.extend_from_slice(run),
            Self::Any(map) => into.extend(run.iter().map(|&o| map[usize::from(o)] as u16)),
        }
    }

    /// Copies slots whose points stand `moved` further on. Of an owner who left it makes what is filled in anew later.
    fn copy_slots(&self, run: &[u32], moved: u32, into: &mut Vec<u32>) {
        let each = |slot: u32, now: u32| if slot & POINTS == 0 { now } else { slot.wrapping_add(moved) };
        match self {
            Self::Up { first } => {
                into.extend(run.iter().map(|&s| each(s, s + u32::from(s >= u32::from(*first)))));
            }
            Self::Down { gone } => {
                into.extend(run.iter().map(|&s| each(s, s.wrapping_sub(u32::from(s > u32::from(*gone))))));
            }
            Self::Same => into.extend(run.iter().map(|&s| each(s, s))),
            Self::Any(map) => {
                into.extend(run.iter().map(|&s| each(s, map.get(s as usize).copied().unwrap_or(0))));
            }
        }
    }
}

/// Fills the slots from `from` to the end of the slice, the first of `width` in all, by the points from `at` on: the
/// first whose slot is not before `from`.
fn fill(slots: &mut [u32], width: usize, mut from: usize, places: &[u32], owners: &[u16], mut at: usize) {
    while from < slots.len() && at < places.len() {
        let slot = slot_of(places[at], width).min(slots.len());
        if slot >= from {
            slots[from..slot].fill(u32::from(owners[at]));
            if slot < slots.len() {
                slots[slot] = POINTS | at as u32;
            }
            from = slot + 1;
        }
        at += 1;
    }
    if from < slots.len() {
        slots[from..].fill(u32::from(owners.first().copied().unwrap_or(0)));
    }
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

/// Fifteen slots for eight points: with two for one, a ring of 160 points a member is over 16 bytes a point, all in.
const SLOTS_FOR_8: usize = 15;
/// Marks a slot with points in it; the other bits say which is the first. There are fewer than 2³¹.
const POINTS: u32 = 1 << 31;
const GONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::{Circle, Owners, fill};
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
                prop_assert_eq!((&changed.places, &changed.owners), (&anew.places, &anew.owners));
                let mut slots = vec![0; changed.slots.len()];
                fill(&mut slots, changed.slots.len(), 0, &anew.places[..anew.len()], &anew.owners, 0);
                prop_assert_eq!(&changed.slots[..], &slots);
            }
        }
    }
}
