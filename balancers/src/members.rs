//! A validated, immutable set of members, ordered by id, with live numbers that outlive the set.
//!
//! Everything that places or rotates works on indices into this set. The order is that of the ids' bytes, never that
//! of insertion: two processes that list the same members in any order agree on every index.

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::clock::Clock;
use crate::error::{EditError, PickError};
use crate::live::{Live, Outcome};
use crate::query::Query;
use crate::rng::Rng;
use crate::shared::{Pace, Shared};

/// The most members in a set.
pub const MEMBERS_MAX: usize = 65_536;
/// The largest weight.
pub const WEIGHT_MAX: u32 = 65_535;
/// The longest id, in bytes.
pub const ID_LEN_MAX: usize = 512;

/// Names one member of a pool for as long as it has requests in flight, whatever updates come. Cheap to copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(u64);

impl Tag {
    pub(crate) const NOBODY: Self = Self(0);

    #[inline]
    pub(crate) fn of(live: &Live) -> Self {
        Self(live.number())
    }

    #[cfg(test)]
    pub(crate) const fn numbered(number: u64) -> Self {
        Self(number)
    }
}

/// One member: an id, a weight, and what is known of its load and health.
#[derive(Clone, Debug)]
pub struct Member {
    id: Arc<str>,
    weight: u32,
    live: Arc<Live>,
}

impl Member {
    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The weight, 1 to [`WEIGHT_MAX`].
    #[inline]
    #[must_use]
    pub fn weight(&self) -> u32 {
        self.weight
    }

    /// What to put into [`Query::avoiding`].
    #[inline]
    #[must_use]
    pub fn tag(&self) -> Tag {
        Tag::of(&self.live)
    }

    /// Requests in flight.
    #[inline]
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.live.in_flight()
    }

    /// Counts one request that starts. Pair it with [`Self::end`]; a [`Pool`](crate::Pool) does both.
    #[inline]
    pub fn start(&self) {
        self.live.start();
    }

    /// Counts one request that ended.
    #[inline]
    pub fn end(&self) {
        self.live.end();
    }

    /// Counts one request that ended, and learns from how it went.
    pub fn finish(&self, outcome: Outcome) {
        self.live.observe(outcome);
        self.live.end();
    }

    /// Whether it takes picks: neither down nor draining.
    #[inline]
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.live.is_open()
    }

    /// Whether it is to have turns: neither draining nor down, once what is known of it counts.
    pub(crate) fn has_turns(&self) -> bool {
        self.live.is_to_be_open()
    }

    pub(crate) fn from_parts(id: Arc<str>, weight: u32, live: Arc<Live>) -> Result<Self, EditError> {
        Self::check(&id, weight)?;
        Ok(Self { id, weight, live })
    }

    pub(crate) fn check(id: &Arc<str>, weight: u32) -> Result<(), EditError> {
        if id.is_empty() || id.len() > ID_LEN_MAX {
            return Err(EditError::IdLen { found: id.len() });
        }
        if weight == 0 || weight > WEIGHT_MAX {
            return Err(EditError::Weight { id: id.clone(), found: weight });
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    #[cfg(feature = "std")]
    pub(crate) fn live_arc(&self) -> Arc<Live> {
        self.live.clone()
    }

    #[cfg(feature = "std")]
    pub(crate) fn id_arc(&self) -> Arc<str> {
        self.id.clone()
    }
}

/// A set of members, ordered by id.
///
/// ```
/// use balancers::Members;
///
/// let members = Members::new([("b", 1), ("a", 2)])?;
/// assert_eq!(members.iter().map(|m| m.id()).collect::<Vec<_>>(), ["a", "b"]);
/// assert_eq!(members.total_weight(), 3);
/// assert!(Members::new([("a", 1), ("a", 1)]).is_err());
/// # Ok::<(), balancers::EditError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Members {
    list: Arc<[Member]>,
    total_weight: u64,
    shared: Arc<Shared>,
}

impl Members {
    /// A set of its own, all members up, nothing in flight.
    ///
    /// # Errors
    /// If an id is there twice, is empty or too long, a weight is 0 or too large, or there are too many members.
    #[cfg(feature = "std")]
    pub fn new<'a>(list: impl IntoIterator<Item = (&'a str, u32)>) -> Result<Self, EditError> {
        Self::with_clock(list, Arc::new(crate::clock::MonotonicClock::new()))
    }

    /// As [`Self::new`], with a clock from outside.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn with_clock<'a>(
        list: impl IntoIterator<Item = (&'a str, u32)>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, EditError> {
        let shared = Arc::new(Shared::new(clock, Pace::default()));
        let list = list.into_iter().map(|(id, weight)| {
            Member::from_parts(Arc::from(id), weight, Arc::new(Live::new(&shared, weight, None)))
        });
        let members = Self::from_parts(list.collect::<Result<Vec<_>, _>>()?, shared.clone())?;
        shared.set_open_weight(members.total_weight);
        Ok(members)
    }

    pub(crate) fn from_parts(mut list: Vec<Member>, shared: Arc<Shared>) -> Result<Self, EditError> {
        if list.len() > MEMBERS_MAX {
            return Err(EditError::TooMany { found: list.len() });
        }
        list.sort_by(|a, b| a.id.cmp(&b.id));
        if let Some(pair) = list.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(EditError::Duplicate { id: pair[0].id.clone() });
        }
        let total_weight = list.iter().map(|member| u64::from(member.weight)).sum();
        Ok(Self { list: list.into(), total_weight, shared })
    }

    /// How many there are.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// All of them, in the order of their ids.
    pub fn iter(&self) -> core::slice::Iter<'_, Member> {
        self.list.iter()
    }

    /// The member at an index that a pick returned.
    #[inline]
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&Member> {
        self.list.get(index)
    }

    /// Where the member with this id stands.
    #[must_use]
    pub fn index_of(&self, id: &str) -> Option<usize> {
        self.list.binary_search_by(|member| member.id.as_ref().cmp(id)).ok()
    }

    /// Where each of these members stands in another set; `None` for who is not there. One walk over both.
    pub(crate) fn positions_in(&self, other: &Self) -> Vec<Option<usize>> {
        let mut others = other.list.iter().enumerate().peekable();
        let find = |member: &Member| {
            // Members that stay share their id, so that mostly no text is compared.
            let is_same = |one: &Member| Arc::ptr_eq(&one.id, &member.id) || one.id == member.id;
            while others.next_if(|(_, one)| !is_same(one) && one.id < member.id).is_some() {}
            others.next_if(|(_, one)| is_same(one)).map(|(at, _)| at)
        };
        self.list.iter().map(find).collect()
    }

    /// The sum of all weights.
    #[inline]
    #[must_use]
    pub fn total_weight(&self) -> u64 {
        self.total_weight
    }

    /// Tells whether the member at `index` is up; returns whether that is new. (In a pool: [`Pool::set_up`].)
    ///
    /// [`Pool::set_up`]: crate::Pool::set_up
    pub fn set_up(&self, index: usize, is_up: bool) -> bool {
        let is_new = self.list.get(index).is_some_and(|member| member.live.set_up(is_up));
        if is_new {
            self.plan(0);
            self.settle();
        }
        is_new
    }

    /// Decides whether so few are up that all count as up: less than `panic_percent` of those that do not drain.
    pub(crate) fn plan(&self, panic_percent: u32) {
        let staying = self.list.iter().filter(|member| !member.live.is_draining());
        let (all, up) = staying.fold((0, 0), |(all, up), m| (all + 1, up + usize::from(m.live.is_up())));
        self.shared.set_panic(up * 100 < all * panic_percent as usize);
    }

    /// Makes health, draining and the plan count for picks.
    pub(crate) fn settle(&self) {
        self.list.iter().for_each(|member| member.live.settle());
        let open = self.list.iter().filter(|member| member.is_open());
        self.shared.set_open_weight(open.map(|member| u64::from(member.weight)).sum());
    }

    /// Whether every member takes this pick: all are up at full share, and none is to be avoided. Two comparisons, and
    /// no look at a member. The fast path of a pick begins with it and asks nothing more.
    #[inline]
    #[must_use]
    pub fn admit_all(&self, query: &Query<'_>) -> bool {
        self.shared.all_open() && !query.avoids_any()
    }

    /// Whether the member at `index` takes this pick: it is open, not avoided, and, while it comes back slowly, the
    /// pick falls into its share.
    #[inline]
    #[must_use]
    pub fn admits(&self, index: usize, query: &Query<'_>, rng: &mut Rng) -> bool {
        let member = &self.list[index];
        if query.avoids(member.tag()) {
            return false;
        }
        // By key, so that each key comes home once; by lot when there is no key.
        member.live.is_wide_open() || member.live.admits(query.hash().unwrap_or_else(|| rng.next_u64()))
    }

    /// Whether the member at `index` may take this pick at all: open and not avoided.
    #[inline]
    #[must_use]
    pub fn is_allowed(&self, index: usize, query: &Query<'_>) -> bool {
        let member = &self.list[index];
        member.live.is_open() && !(query.avoids_any() && query.avoids(member.tag()))
    }

    /// One of the allowed members, by weight: the last resort of every algorithm that draws lots. Takes two walks
    /// over the set.
    #[cold]
    #[inline(never)]
    pub fn draw(&self, query: &Query<'_>, rng: &mut Rng) -> Option<usize> {
        let allowed = || (0..self.len()).filter(|&index| self.is_allowed(index, query));
        let weight: u64 = allowed().map(|index| u64::from(self.list[index].weight)).sum();
        let mut left = rng.below(weight);
        // The second walk may see fewer members than the first, if one went down in between: then the last one seen.
        let mut last = None;
        for index in allowed() {
            let weight = u64::from(self.list[index].weight);
            if left < weight {
                return Some(index);
            }
            left -= weight;
            last = Some(index);
        }
        last
    }

    /// Why a pick found nobody.
    #[cold]
    #[inline(never)]
    #[must_use]
    pub fn why_nobody(&self, query: &Query<'_>) -> PickError {
        if self.is_empty() {
            PickError::Empty
        } else if !self.list.iter().any(Member::is_open) {
            PickError::AllDown
        } else if !(0..self.len()).any(|index| self.is_allowed(index, query)) {
            PickError::AllAvoided
        } else {
            PickError::Saturated
        }
    }

    #[inline]
    pub(crate) fn at(&self, index: usize) -> &Member {
        &self.list[index]
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl<'a> IntoIterator for &'a Members {
    type Item = &'a Member;
    type IntoIter = core::slice::Iter<'a, Member>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::{EditError, ID_LEN_MAX, Members, Query};

    #[test]
    fn faulty_sets_are_refused_with_the_value_and_the_limit() {
        let refusal = |list: &[(&str, u32)]| Members::new(list.iter().copied()).unwrap_err().to_string();
        assert_eq!(refusal(&[("b", 0)]), "weight 0 for member \"b\" (must be 1 to 65535)");
        assert_eq!(refusal(&[("b", 65_536)]), "weight 65536 for member \"b\" (must be 1 to 65535)");
        assert_eq!(refusal(&[("b", 1), ("a", 1), ("b", 2)]), "member \"b\" is there twice");
        assert_eq!(refusal(&[("", 1)]), "an id of 0 bytes (must be 1 to 512)");
        let long = "x".repeat(ID_LEN_MAX + 1);
        assert_eq!(
            Members::new([(long.as_str(), 1)]).unwrap_err(),
            EditError::IdLen { found: ID_LEN_MAX + 1 }
        );
    }

    #[cfg(feature = "std")]
    #[test]
    fn all_are_admitted_again_once_the_last_one_is_up() {
        let members = Members::new([("a", 1), ("b", 1)]).unwrap();
        assert!(members.admit_all(&Query::new()));
        for is_up in [false, true] {
            members.at(0).live().set_up(is_up);
            members.settle();
            assert_eq!(members.admit_all(&Query::new()), is_up, "without a look at a member");
        }
    }

    #[test]
    fn too_many_members_are_refused() {
        let ids: Vec<String> = (0..=super::MEMBERS_MAX).map(|n| n.to_string()).collect();
        let refused = Members::new(ids.iter().map(|id| (id.as_str(), 1))).unwrap_err();
        assert_eq!(refused.to_string(), "65537 members (at most 65536)");
    }
}
