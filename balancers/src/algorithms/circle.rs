//! Points on a circle of 2³² places, found in O(1) and changed without sorting anew: what every ring stands on.
//!
//! ```text
//!     places    0x00a1… 0x01c7… 0x03f0… …     in order            owners    17 4 99 …     whose each point is
//! ```
//!
//! A key looks at one line of an index (`lines.rs`), the same way and without a branch for whatever key; one key in a
//! hundred searches the points. (160,000 points: 300 instructions by binary search, 35 by this; an Eytzinger layout gains a
//! quarter of the former. Measure with keys that are new each time: processors learn the way of thousands of keys by heart.)
//! Memory: 12.8 bytes a point. A change copies the runs between the points that come and go, and their lines.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use super::lines::Lines;
use super::owners::Owners;
use crate::members::Members;
use crate::query::Query;
use crate::rng::Rng;

/// Sorted points and their index.
#[derive(Debug, Clone)]
pub(crate) struct Circle {
    places: Box<[u32]>,
    owners: Box<[u16]>,
    lines: Lines,
}

impl Circle {
    /// Of points (place << 32 | owner) in any order. Two on one place are ordered by owner.
    pub(super) fn new(points: Vec<u64>) -> Self {
        let points = sorted(points);
        Self::laid_out(
            points.iter().map(|&point| place_of(point)).collect(),
            points.iter().map(|&point| point as u16).collect(),
        )
    }

    /// Of points in order.
    fn laid_out(places: Box<[u32]>, owners: Box<[u16]>) -> Self {
        Self { lines: Lines::new(&places, &owners), places, owners }
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
        let (mut places, mut owners) = (Vec::with_capacity(has), Vec::with_capacity(has));
        let mut events = Vec::with_capacity(gone.len() + come.len());
        let (mut gone_left, mut come_left, mut from) = (gone.iter().peekable(), come.iter().peekable(), 0);
        loop {
            let next_gone = gone_left.peek().map(|&&point| self.position(point));
            let next_come = come_left.peek().map(|&&point| self.position_for(point, names));
            // The points up to the next that goes or comes stay.
            let to = next_gone.unwrap_or(had).min(next_come.unwrap_or(had));
            places.extend_from_slice(self.places.get(from..to)?);
            let stayed = owners.len();
            owners.extend_from_slice(&self.owners[from..to]);
            names.rename(&mut owners[stayed..]);
            from = to;
            if next_come == Some(to) {
                let joins = come_left.next();
                places.extend(joins.map(|&point| place_of(point)));
                owners.extend(joins.map(|&point| point as u16));
                events.extend(joins.map(|&point| (place_of(point), 1)));
            } else if next_gone == Some(to) {
                from += 1;
                events.extend(gone_left.next().map(|&point| (place_of(point), -1)));
            } else {
                break;
            }
        }
        let (places, owners) = (places.into_boxed_slice(), owners.into_boxed_slice());
        match self.lines.changed(names, &events, &places, &owners) {
            Some(lines) => Some(Self { places, owners, lines }),
            None => Some(Self::laid_out(places, owners)),
        }
    }

    /// How many points there are.
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    /// Who owns this place.
    #[inline]
    pub(crate) fn owner(&self, place: u32) -> Option<usize> {
        self.lines.owner(place).or_else(|| self.owner_by_search(place))
    }

    #[cold]
    #[inline(never)]
    fn owner_by_search(&self, place: u32) -> Option<usize> {
        self.owners.get(self.find(place)?).map(|&owner| usize::from(owner))
    }

    /// The place of the point that owns this place.
    pub(super) fn point_for(&self, place: u32) -> Option<u32> {
        self.places.get(self.find(place)?).copied()
    }

    /// The owners of the points from this place on, once around.
    pub(super) fn walk(&self, place: u32) -> impl Iterator<Item = usize> + '_ {
        let (before, after) = self.owners.split_at(self.find(place).unwrap_or(0));
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

    /// The point that owns this place.
    #[inline]
    fn find(&self, place: u32) -> Option<usize> {
        let at = self.first_from(place)?;
        Some(if at == self.len() { 0 } else { at })
    }

    /// The first point at or after `place`; how many there are if none is.
    #[inline]
    fn first_from(&self, place: u32) -> Option<usize> {
        let around = self.lines.points_around(place)?;
        let before = self.places.get(around.clone())?.partition_point(|&point| point < place);
        Some(around.start + before)
    }

    /// Where exactly this old point is.
    fn position(&self, point: u64) -> usize {
        self.position_where(point, |owner| usize::from(owner) < owner_of(point))
    }

    /// Before which old point this new one belongs.
    fn position_for(&self, point: u64, names: &Owners) -> usize {
        // Who left stands before everybody.
        self.position_where(point, |old| {
            names.renamed(old).is_none_or(|old| usize::from(old) < owner_of(point))
        })
    }

    /// Behind all points before this place, and on it behind those of owners that are before.
    fn position_where(&self, point: u64, is_before: impl Fn(u16) -> bool) -> usize {
        let mut at = self.first_from(place_of(point)).unwrap_or(self.len());
        while at < self.len() && self.places[at] == place_of(point) && is_before(self.owners[at]) {
            at += 1;
        }
        at
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

#[cfg(test)]
mod tests {
    use super::{Circle, Lines, Owners};
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
                prop_assert_eq!(&changed.places, &anew.places);
                prop_assert_eq!(&changed.owners, &anew.owners);
                let lines = Lines::in_parts(changed.lines.parts(), &anew.places, &anew.owners);
                prop_assert_eq!(&changed.lines, &lines);
            }
        }
    }
}
