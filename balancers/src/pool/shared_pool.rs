//! The pool: shared by all threads, picked from without a lock, changed one transaction at a time.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::fmt;
use core::time::Duration;
use std::hash::{BuildHasher, RandomState};
use std::sync::PoisonError;

use super::control::Control;
use super::current::Current;
use super::edit::{Change, Draft, Edit, Place};
use super::lease::Lease;
use super::reader::Reader;
use super::snapshot::Snapshot;
use crate::algorithm::Algorithm;
use crate::balancer::Balancer;
use crate::error::{EditError, PickError};
use crate::live::Live;
use crate::members::{Member, Members, Tag};
use crate::query::Query;
use crate::rng::Rng;
use crate::shared::Shared;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

/// A set of members that may change while it is picked from. Cheap to clone: all clones are the same pool.
///
/// ```
/// use balancers::{Algorithm, PickError, Pool, Query};
///
/// let pool = Pool::new(Algorithm::LeastLoad);
/// pool.update(|edit| {
///     edit.add("a", 1, "10.0.0.1:80")?;
///     edit.add("b", 1, "10.0.0.2:80")
/// })?;
///
/// pool.set_up("a", false)?; // a health check failed
/// assert_eq!(pool.pick(&Query::new()).unwrap().id(), "b");
///
/// pool.update(|edit| edit.remove("b"))?;
/// assert_eq!(pool.pick(&Query::new()).unwrap_err(), PickError::AllDown);
/// # Ok::<(), balancers::EditError>(())
/// ```
pub struct Pool<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    current: Current<Snapshot<T>>,
    /// Held by whoever changes something; never by a pick.
    control: Mutex<Control>,
    shared: Arc<Shared>,
    panic_percent: u32,
    seed: Option<AtomicU64>,
}

/// One member as it stands; see [`Pool::members`]. Its value is lent by [`Pool::with_value`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberStatus {
    /// The id.
    pub id: Arc<str>,
    /// The weight.
    pub weight: u32,
    /// What [`Pool::set_up`] said last.
    pub is_up: bool,
    /// Whether it drains.
    pub is_draining: bool,
    /// Requests in flight.
    pub in_flight: u32,
    /// Picks since the member joined (wraps at 2⁴⁰).
    pub picks: u64,
    /// The mean latency that [`Lease::finish`] reported, weighted towards now; `None` before the first report.
    pub latency: Option<Duration>,
}

impl<T> Pool<T> {
    /// An empty pool with default options.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Pool::builder().build(algorithm).expect("the default options are in range for every algorithm")
    }

    pub(super) fn empty(
        balancer: Arc<dyn Balancer>,
        shared: Arc<Shared>,
        panic_percent: u32,
        seed: Option<u64>,
    ) -> Self {
        let inner = Inner {
            current: Current::new(Snapshot::new(balancer, Arc::new([]))),
            control: Mutex::new(Control::default()),
            shared,
            panic_percent,
            seed: seed.map(AtomicU64::new),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Picks a member for one request. Takes no lock and never waits for an update.
    ///
    /// # Errors
    /// If the pool is empty, all members are down or draining, all that are up are to be avoided, or (bounded load,
    /// and only if some are avoided) all are at their ceiling.
    #[inline]
    pub fn pick(&self, query: &Query<'_>) -> Result<Lease<T>, PickError> {
        let snapshot = self.inner.current.borrow();
        self.with_rng(|rng| snapshot.start(query, rng).map(|seat| Lease::new(seat.clone())))
    }

    /// A handle for one thread's hot loop.
    #[must_use]
    pub fn reader(&self) -> Reader<T> {
        Reader::new(self.clone(), self.with_rng(|rng| Rng::new(rng.next_u64())))
    }

    /// Changes the members: all that the closure does takes effect at once when it returns `Ok`, and nothing at all
    /// otherwise. Load counts, health and latency of the members that stay are untouched. Picks go on meanwhile.
    ///
    /// The closure must not update the same pool.
    ///
    /// # Errors
    /// What the closure returns; and if a weight or id is out of its range, there are too many members or points, or
    /// the set is empty and [`Edit::refuse_empty`] was called.
    pub fn update(
        &self,
        edit: impl FnOnce(&mut Edit<T>) -> Result<(), EditError>,
    ) -> Result<Change, EditError> {
        // Declared before the lock, and so dropped after it: values that leave end here, and may use the pool as they do.
        let before;
        let mut control = self.control();
        before = self.snapshot();
        let mut draft = Edit::of(&before);
        edit(&mut draft)?;
        let draft = draft.finish()?;

        control.forget_idle();
        let members = self.members_of(&draft, &before, &mut control)?;
        let drained: Vec<bool> = draft.iter().map(|draft| draft.is_draining).collect();
        let drained_before = take_effect(&members, &drained);
        members.plan(self.inner.panic_percent);
        let balancer: Arc<dyn Balancer> = match before.balancer.with_members(members.clone()) {
            Ok(balancer) => Arc::from(balancer),
            Err(refused) => {
                take_effect(&members, &drained_before);
                take_effect(before.balancer.members(), &before.draining());
                before.balancer.members().plan(self.inner.panic_percent);
                control.give_up(&members, before.balancer.members());
                return Err(refused);
            }
        };
        let mut change = Change::between(&before.balancer, &balancer);
        change.note_draining(&members, &drained_before, &drained);
        let lives = members.iter().map(Member::live_arc);
        let seats = draft.into_iter().zip(lives).map(|(draft, live)| draft.into_seat(live)).collect();
        self.put(Snapshot::new(balancer, seats));
        // Only now is anybody closed: until the new state was there, the old one had to offer somebody.
        members.settle();
        control.see_off(&change.removed, &before.seats, &members);
        Ok(change)
    }

    /// Tells whether a member is up, as health checks see it. Returns whether that is new.
    ///
    /// # Errors
    /// If there is no member with this id.
    pub fn set_up(&self, id: &str, is_up: bool) -> Result<bool, EditError> {
        let _guard = self.control();
        let snapshot = self.snapshot();
        let members = snapshot.balancer.members();
        let member = members.index_of(id).map(|index| members.at(index));
        let member = member.ok_or_else(|| EditError::Unknown { id: id.into() })?;
        if !member.live().set_up(is_up) {
            return Ok(false);
        }
        members.plan(self.inner.panic_percent);
        members.settle();
        if snapshot.balancer.follows_health() {
            let balancer = Arc::from(snapshot.balancer.with_members(members.clone())?);
            self.put(Snapshot::new(balancer, snapshot.seats.clone()));
        }
        Ok(true)
    }

    /// Every member as it stands, in the order of ids.
    #[must_use]
    pub fn members(&self) -> Vec<MemberStatus> {
        let snapshot = self.inner.current.borrow();
        let members = snapshot.balancer.members().iter();
        let status = |member: &Member| MemberStatus {
            id: member.id_arc(),
            weight: member.weight(),
            is_up: member.live().is_up(),
            is_draining: member.live().is_draining(),
            in_flight: member.in_flight(),
            picks: member.live().picks(),
            latency: member.live().latency(),
        };
        members.map(status).collect()
    }

    /// How many members there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.current.borrow().seats.len()
    }

    /// Whether there are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a member, without a pick.
    #[must_use]
    pub fn with_value<R>(&self, id: &str, look: impl FnOnce(&T) -> R) -> Option<R> {
        let snapshot = self.inner.current.borrow();
        let index = snapshot.balancer.members().index_of(id)?;
        snapshot.seats.get(index).map(|seat| look(&seat.value))
    }

    /// What to put into [`Query::avoiding`] to keep a request away from this member; `None` if it is not there.
    ///
    /// ```
    /// use balancers::{Algorithm, Pool, Query};
    ///
    /// let pool = Pool::new(Algorithm::P2c);
    /// pool.update(|edit| {
    ///     edit.add("a", 1, ())?;
    ///     edit.add("b", 1, ())
    /// })?;
    /// let not_a = Query::new().avoiding(pool.tag("a").unwrap());
    /// assert_eq!(pool.pick(&not_a).unwrap().id(), "b");
    /// # Ok::<(), balancers::EditError>(())
    /// ```
    #[must_use]
    pub fn tag(&self, id: &str) -> Option<Tag> {
        let snapshot = self.inner.current.borrow();
        let members = snapshot.balancer.members();
        members.index_of(id).map(|index| members.at(index).tag())
    }

    /// Whether a member takes no new picks and has no request in flight. True of ids that are not there, and of
    /// removed ones whose last request has ended. It does not wait: ask again and again, from a timer or a loop.
    ///
    /// ```
    /// use balancers::{Algorithm, Pool, Query};
    ///
    /// let pool = Pool::new(Algorithm::P2c);
    /// pool.update(|edit| edit.add("a", 1, ()))?;
    /// let lease = pool.pick(&Query::new()).unwrap();
    /// pool.update(|edit| edit.drain("a"))?;
    /// assert!(pool.pick(&Query::new()).is_err() && !pool.drained("a")); // no new ones, one under way
    /// drop(lease);
    /// assert!(pool.drained("a"));
    /// # Ok::<(), balancers::EditError>(())
    /// ```
    #[must_use]
    pub fn drained(&self, id: &str) -> bool {
        let control = self.control();
        let snapshot = self.snapshot();
        let idle = |live: &Live| live.in_flight() == 0;
        match snapshot.balancer.members().index_of(id) {
            Some(index) => {
                snapshot.seats.get(index).is_none_or(|seat| seat.live.is_draining() && idle(&seat.live))
            }
            None => {
                control.retired.iter().filter(|(name, _)| name.as_ref() == id).all(|(_, live)| idle(live))
            }
        }
    }

    /// Every member that may take this request once, the best first.
    ///
    /// ```
    /// use balancers::{Algorithm, Pool, Query};
    ///
    /// let pool = Pool::new(Algorithm::Ring);
    /// pool.update(|edit| ["a", "b", "c"].into_iter().try_for_each(|id| edit.add(id, 1, ())))?;
    /// let query = Query::for_key(b"user 17");
    /// let replicas = pool.candidates(&query); // where to keep copies of it, too
    /// assert_eq!(replicas.len(), 3);
    /// assert_eq!(replicas[0].as_ref(), pool.pick(&query).unwrap().id());
    /// # Ok::<(), balancers::EditError>(())
    /// ```
    #[must_use]
    pub fn candidates(&self, query: &Query<'_>) -> Vec<Arc<str>> {
        let snapshot = self.inner.current.borrow();
        let order = self.with_rng(|rng| snapshot.balancer.candidates(query, rng));
        order
            .into_iter()
            .filter_map(|index| snapshot.balancer.members().get(index).map(Member::id_arc))
            .collect()
    }

    /// Why a pick just now would be answered as it is, in words and numbers. Counts nothing.
    ///
    /// ```
    /// use balancers::{Algorithm, Pool, Query};
    ///
    /// let pool = Pool::new(Algorithm::LeastLoad);
    /// assert_eq!(pool.explain(&Query::new()), "the pool has no members");
    /// pool.update(|edit| edit.add("a", 2, ()))?;
    /// let why = "\"a\" has the least load of those that take it: 0 in flight, weight 2; 1 have as much";
    /// assert_eq!(pool.explain(&Query::new()), why);
    /// # Ok::<(), balancers::EditError>(())
    /// ```
    #[must_use]
    pub fn explain(&self, query: &Query<'_>) -> String {
        let snapshot = self.inner.current.borrow();
        let members = snapshot.balancer.members();
        if (0..members.len()).any(|index| members.is_allowed(index, query)) {
            self.with_rng(|rng| snapshot.balancer.explain(query, rng))
        } else {
            members.why_nobody(query).to_string()
        }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.inner.shared
    }

    /// Makes this the newest state, and tells the readers.
    fn put(&self, snapshot: Snapshot<T>) {
        self.inner.current.replace(snapshot);
        self.inner.shared.one_update();
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot<T>> {
        self.inner.current.keep()
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        // A panic in an edit's closure leaves everything as it was, so a poisoned lock guards a sound state.
        self.inner.control.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn members_of(
        &self,
        draft: &[Draft<T>],
        before: &Snapshot<T>,
        control: &mut Control,
    ) -> Result<Members, EditError> {
        let member = |one: &Draft<T>| {
            let live = self.live_for(one, draft.len(), before, control);
            Member::from_parts(one.id.clone(), one.weight, live)
        };
        Members::from_parts(draft.iter().map(member).collect::<Result<_, _>>()?, self.inner.shared.clone())
    }

    /// The live numbers a draft goes on with: its own, those of a removed member of the same id, or new ones.
    fn live_for(
        &self,
        draft: &Draft<T>,
        size: usize,
        before: &Snapshot<T>,
        control: &mut Control,
    ) -> Arc<Live> {
        if let Place::Kept(seat) | Place::Renewed(seat, _) = &draft.place {
            return seat.live.clone();
        }
        if let Some(index) = before.balancer.members().index_of(&draft.id) {
            return before.seats[index].live.clone();
        }
        if let Some((_, live)) = control.retired.iter().find(|(id, _)| *id == draft.id) {
            live.set_up(true);
            return live.clone();
        }
        let leaf = self.inner.shared.wants_leaves().then(|| control.leaf(size));
        let live = Live::new(&self.inner.shared, draft.weight, leaf);
        if !before.seats.is_empty() {
            live.join_slowly();
        }
        Arc::new(live)
    }

    // One call of `use_it`: with two it is compiled apart, and what it returns goes through memory (7 ns).
    #[inline]
    fn with_rng<R>(&self, use_it: impl FnOnce(&mut Rng) -> R) -> R {
        let mut rng = match &self.inner.seed {
            // Numbers in a row are good seeds only if the first number drawn from each is far from the others': so
            // the first is drawn here.
            Some(seed) => Rng::new(Rng::new(seed.fetch_add(1, Ordering::Relaxed)).next_u64()),
            None => match CHANCE.get() {
                0 => first_chance(),
                state => Rng::new(state),
            },
        };
        let result = use_it(&mut rng);
        if self.inner.seed.is_none() {
            CHANCE.set(rng.state());
        }
        result
    }
}

#[cold]
#[inline(never)]
fn first_chance() -> Rng {
    Rng::new(RandomState::new().hash_one(0_u8))
}

impl<T> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

// By hand: an algorithm's tables have thousands of entries.
impl<T> fmt::Debug for Pool<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("members", &self.members()).finish_non_exhaustive()
    }
}

/// Sets weights and who drains; returns who did.
fn take_effect(members: &Members, draining: &[bool]) -> Vec<bool> {
    let set = |(member, &is_draining): (&Member, &bool)| {
        member.live().set_weight(member.weight());
        member.live().set_draining(is_draining)
    };
    members.iter().zip(draining).map(set).collect()
}

thread_local! {
    /// This thread's chance, for all pools without a seed.
    static CHANCE: Cell<u64> = const { Cell::new(0) };
}
