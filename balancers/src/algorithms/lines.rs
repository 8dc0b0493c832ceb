//! Which point is next on a circle, by one line of memory.
//!
//! The circle is cut into parts of one width, ten points in each on average. Each part has a line of 64 bytes that
//! knows its first fifteen points, and who comes behind the last:
//!
//! ```text
//!     ends      e₀ e₁ … e₁₄ ┆ 65535      where in the part each point is, in 65,536ths; 65535 where there is none
//!     owners    o₀ o₁ … o₁₄ ┆ next       whose it is; behind the last, the owner of the first point of the parts behind
//! ```
//!
//! A key's answer is the owner at the number of ends before it, which takes six comparisons: three for the group of four,
//! three inside it. Nobody can predict them, so none is a branch. A 65,536th may hold the key and a point, and a part may
//! have more points than fit: then, for one key of a hundred, the line says that it does not know.
//!
//! (Before, slots of three quarters of a point's width named the first of three points to look at: 12 instructions less, but
//! two lines of memory for each key. At 100 members that was as quick; at 1,000, with other work between the picks, 42 ns
//! where this takes 30.)

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use super::owners::Owners;

/// Lines, and where each part's points begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lines {
    lines: Box<[Line]>,
    /// The first point at or behind the beginning of each part, and of the end.
    starts: Box<[u32]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
#[repr(C, align(64))]
struct Line {
    ends: [u16; PLACES],
    owners: [u16; PLACES],
}

impl Lines {
    /// Over points in order.
    pub(super) fn new(places: &[u32], owners: &[u16]) -> Self {
        Self::in_parts(places.len().div_ceil(POINTS_A_LINE), places, owners)
    }

    pub(super) fn in_parts(count: usize, places: &[u32], owners: &[u16]) -> Self {
        let mut starts = Vec::with_capacity(count + 1);
        for (at, &place) in places.iter().enumerate() {
            // All that begin behind the last point, up to this one's own.
            let own = part_of(place, count) + 1;
            if own > starts.len() {
                starts.resize(own, at as u32);
            }
        }
        starts.resize(count + 1, places.len() as u32);
        let layout = Layout { places, owners, starts: &starts };
        let lines = (0..count).map(|part| layout.line(part)).collect();
        Self { lines, starts: starts.into() }
    }

    /// How many parts there are.
    #[cfg(test)]
    pub(super) fn parts(&self) -> usize {
        self.lines.len()
    }

    /// Who owns this place, if the line knows.
    #[inline(always)]
    pub(super) fn owner(&self, place: u32) -> Option<usize> {
        let product = u64::from(place) * self.lines.len() as u64;
        let Line { ends, owners } = self.lines.get((product >> 32) as usize)?;
        let key = (product >> 16) as u16;
        let before = |at: usize| usize::from(ends[at] < key);
        let group = 4 * (before(3) + before(7) + before(11));
        let at = group + before(group) + before(group + 1) + before(group + 2);
        (ends[at] > key).then(|| usize::from(owners[at]))
    }

    /// Which points are in this place's part.
    pub(super) fn points_around(&self, place: u32) -> Option<Range<usize>> {
        let part = part_of(place, self.lines.len());
        Some(*self.starts.get(part)? as usize..*self.starts.get(part + 1)? as usize)
    }

    /// After points came and went, in order: how many at which place. The points are the new ones. `None` if there are
    /// so many or so few now that the parts should be others.
    pub(super) fn changed(
        &self,
        names: &Owners,
        events: &[(u32, i32)],
        places: &[u32],
        owners: &[u16],
    ) -> Option<Self> {
        let count = self.lines.len();
        if !(count * POINTS_A_LINE_MIN..=count * POINTS_A_LINE_MAX).contains(&places.len()) {
            return None;
        }
        let starts = self.moved_starts(events);
        let layout = Layout { places, owners, starts: &starts };
        let mut lines = Vec::with_capacity(count);
        let parts = events.iter().map(|&(place, _)| part_of(place, count));
        // The last, too: it names the first point of all.
        for part in parts.chain([count - 1]) {
            let stale = layout.pointing_at(part)..part + 1;
            let untouched = self.lines.get(lines.len()..stale.start).unwrap_or_default();
            lines.extend(untouched.iter().map(|line| line.renamed(names)));
            lines.extend((lines.len()..stale.end).map(|part| layout.line(part)));
        }
        Some(Self { lines: lines.into(), starts: starts.into() })
    }

    fn moved_starts(&self, events: &[(u32, i32)]) -> Vec<u32> {
        let mut starts = Vec::with_capacity(self.starts.len());
        let mut moved = 0_u32;
        for &(place, by) in events {
            let to = part_of(place, self.lines.len()) + 1;
            if to > starts.len() {
                starts.extend(self.starts[starts.len()..to].iter().map(|at| at.wrapping_add(moved)));
            }
            moved = moved.wrapping_add_signed(by);
        }
        starts.extend(self.starts[starts.len()..].iter().map(|at| at.wrapping_add(moved)));
        starts
    }
}

/// Points and where each part's begin: all that lines are made of.
struct Layout<'a> {
    places: &'a [u32],
    owners: &'a [u16],
    starts: &'a [u32],
}

impl Layout<'_> {
    fn line(&self, part: usize) -> Line {
        let (from, to) = (self.starts[part] as usize, self.starts[part + 1] as usize);
        let next = self.owners.get(to).or(self.owners.first()).copied().unwrap_or_default();
        let mut line = Line { ends: [u16::MAX; PLACES], owners: [next; PLACES] };
        let ends = self.places[from..to].iter().map(|&place| end_of(place, self.starts.len() - 1));
        for (at, (end, &owner)) in ends.zip(&self.owners[from..to]).take(PLACES - 1).enumerate() {
            (line.ends[at], line.owners[at]) = (end, owner);
        }
        if to - from >= PLACES {
            // No key is before it: whoever gets there is told that the line does not know.
            line.ends[PLACES - 1] = 0;
        }
        line
    }

    /// The first of the parts before this one that name a point in it or behind it.
    fn pointing_at(&self, part: usize) -> usize {
        let is_empty = |part: usize| self.starts[part] == self.starts[part + 1];
        (1..part).rev().find(|&before| !is_empty(before)).unwrap_or(0)
    }
}

impl Line {
    fn renamed(&self, names: &Owners) -> Self {
        let mut line = self.clone();
        names.rename(&mut line.owners);
        line
    }
}

/// Which of so many parts a place is in.
#[inline]
fn part_of(place: u32, parts: usize) -> usize {
    ((u64::from(place) * parts as u64) >> 32) as usize
}

/// Where in its part a place is.
#[inline]
fn end_of(place: u32, parts: usize) -> u16 {
    ((u64::from(place) * parts as u64) >> 16) as u16
}

/// Points and one that is next.
const PLACES: usize = 16;
/// On average. With more, more parts have more than fit; with fewer, a ring is over 16 bytes a point, all in.
const POINTS_A_LINE: usize = 10;
const POINTS_A_LINE_MIN: usize = 9;
const POINTS_A_LINE_MAX: usize = 11;

#[cfg(test)]
mod tests {
    use super::{Line, Lines};
    use crate::rng::Rng;

    #[test]
    fn a_line_fills_a_cache_line_and_knows_the_answer_for_99_keys_of_100() {
        assert_eq!((size_of::<Line>(), align_of::<Line>()), (64, 64));
        let mut rng = Rng::new(1);
        let mut places: Vec<u32> = (0..16_000).map(|_| rng.next_u64() as u32).collect();
        places.sort_unstable();
        let lines = Lines::new(&places, &vec![0; places.len()]);
        let unknown = (0..100_000).filter(|_| lines.owner(rng.next_u64() as u32).is_none()).count();
        assert!((500..1200).contains(&unknown), "{unknown}");
    }
}
