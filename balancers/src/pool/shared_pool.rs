//! The pool: shared by all threads, picked from without a lock, changed one transaction at a time.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::cell::Cell;
use core::time::Duration;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;

use super::edit::{Change, Draft, Edit, Place};
use super::lease::Lease;
use super::reader::Reader;
use super::snapshot::Snapshot;
use crate::algorithm::{Algorithm, Options};
use crate::balancer::Balancer;
use crate::clock::{Clock, MonotonicClock};
use crate::error::{EditError, PickError};
use crate::live::{Live, Shared};
use crate::members::{Member, Members};
use crate::query::Query;
use crate::rng::Rng;
use crate::sync::{AtomicU64, Ordering};

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
#[derive(Debug)]
pub struct Pool<T> {
    inner: Arc<Inner<T>>,
}

#[derive(Debug)]
struct Inner<T> {
    current: ArcSwap<Snapshot<T>>,
    version: AtomicU64,
    /// Held by whoever changes something; never by a pick.
    retired: Mutex<Vec<(Arc<str>, Arc<Live>)>>,
    shared: Arc<Shared>,
    panic_percent: u32,
    seed: Option<AtomicU64>,
}

/// One member as it stands; see [`Pool::members`].
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

/// Settings of a pool; see [`Pool::builder`].
#[derive(Debug)]
pub struct PoolBuilder {
    options: Options,
    seed: Option<u64>,
    panic_percent: u32,
    slow_start: Duration,
    clock: Option<Arc<dyn Clock>>,
}

impl PoolBuilder {
    /// Options of the algorithm.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Makes [`Pool::pick`] repeatable: the same picks in the same order from one thread. (Picks of a seeded pool
    /// share one counter; without a seed each thread has its own.)
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// When fewer than this percentage of the members are up, all count as up: the health checks are more likely
    /// wrong than that many members. 0, the default, never; 100 whenever one is down.
    #[must_use]
    pub fn panic_threshold(mut self, percent: u32) -> Self {
        self.panic_percent = percent.min(100);
        self
    }

    /// A member that was down and comes back gets its share little by little over this time (default: at once).
    #[must_use]
    pub fn slow_start(mut self, window: Duration) -> Self {
        self.slow_start = window;
        self
    }

    /// The clock for slow start and latency decay (default: the system's).
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// An empty pool.
    ///
    /// # Errors
    /// If an option is out of its range.
    pub fn build<T>(self, algorithm: Algorithm) -> Result<Pool<T>, EditError> {
        let options = self.options.clone();
        self.build_with(|members| algorithm.build(members, &options))
    }

    /// An empty pool with an algorithm of the caller's own. The function is called once, with no members;
    /// [`Balancer::with_members`] makes all that follow.
    ///
    /// # Errors
    /// If the function fails.
    pub fn build_with<T>(
        self,
        balancer: impl FnOnce(Members) -> Result<Box<dyn Balancer>, EditError>,
    ) -> Result<Pool<T>, EditError> {
        let clock = self.clock.unwrap_or_else(|| Arc::new(MonotonicClock::new()));
        let shared = Arc::new(Shared::new(clock, self.slow_start));
        let balancer = Arc::from(balancer(Members::from_parts(Vec::new(), shared.clone())?)?);
        Ok(Pool {
            inner: Arc::new(Inner {
                current: ArcSwap::from_pointee(Snapshot { balancer, seats: Box::new([]) }),
                version: AtomicU64::new(0),
                retired: Mutex::new(Vec::new()),
                shared,
                panic_percent: self.panic_percent,
                seed: self.seed.map(AtomicU64::new),
            }),
        })
    }
}

impl Pool<()> {
    /// Settings for a pool of any value type.
    #[must_use]
    pub fn builder() -> PoolBuilder {
        PoolBuilder {
            options: Options::default(),
            seed: None,
            panic_percent: 0,
            slow_start: Duration::ZERO,
            clock: None,
        }
    }
}

impl<T> Pool<T> {
    /// An empty pool with default options.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Pool::builder().build(algorithm).expect("the default options are in range for every algorithm")
    }

    /// Picks a member for one request. Takes no lock and never waits for an update.
    ///
    /// # Errors
    /// If the pool is empty, all members are down or draining, all that are up are to be avoided, or (bounded load,
    /// and only if some are avoided) all are at their ceiling.
    #[inline]
    pub fn pick(&self, query: &Query<'_>) -> Result<Lease<T>, PickError> {
        let snapshot = self.inner.current.load();
        self.with_rng(|rng| snapshot.pick(query, rng))
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
        let mut retired = self.control();
        let before = self.snapshot();
        let mut draft = Edit::of(&before);
        edit(&mut draft)?;
        let draft = draft.finish()?;

        // Whom nobody holds any more is forgotten: no lease, no reader, no pick under way.
        retired.retain(|(_, live)| Arc::strong_count(live) > 1);
        let lives: Vec<Arc<Live>> =
            draft.iter().map(|draft| self.live_for(draft, &before, &retired)).collect();
        let list = draft
            .iter()
            .zip(&lives)
            .map(|(d, live)| Member::from_parts(d.id.clone(), d.weight, live.clone()));
        let members = Members::from_parts(list.collect::<Result<_, _>>()?, self.inner.shared.clone())?;

        let drained: Vec<bool> = draft.iter().map(|draft| draft.is_draining).collect();
        let drained_before = swap_draining(&members, &drained);
        self.settle(&members);
        let balancer: Arc<dyn Balancer> = match before.balancer.with_members(members) {
            Ok(balancer) => Arc::from(balancer),
            Err(refused) => {
                swap_draining_back(&lives, &drained_before);
                self.settle(before.balancer.members());
                return Err(refused);
            }
        };
        let mut change = Change::between(&before.balancer, &balancer);
        change.note_draining(balancer.members(), &drained_before, &drained);
        for id in &change.removed {
            let index =
                before.balancer.members().index_of(id).expect("a removed member was in the set before");
            retired.push((id.clone(), before.seats[index].live.clone()));
        }
        let seats = draft.into_iter().zip(lives).map(|(draft, live)| draft.into_seat(live)).collect();
        self.publish(Snapshot { balancer, seats });
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
        self.settle(members);
        if snapshot.balancer.follows_health() {
            let balancer = Arc::from(snapshot.balancer.with_members(members.clone())?);
            self.publish(Snapshot { balancer, seats: snapshot.seats.clone() });
        }
        Ok(true)
    }

    /// Every member as it stands, in the order of ids.
    #[must_use]
    pub fn members(&self) -> Vec<MemberStatus> {
        let snapshot = self.inner.current.load();
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
        self.inner.current.load().seats.len()
    }

    /// Whether there are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a member, without a pick.
    #[must_use]
    pub fn with_value<R>(&self, id: &str, look: impl FnOnce(&T) -> R) -> Option<R> {
        let snapshot = self.inner.current.load();
        let index = snapshot.balancer.members().index_of(id)?;
        snapshot.seats.get(index).map(|seat| look(&seat.value))
    }

    /// Whether a member takes no new picks and has no request in flight. True of ids that are not there, and of
    /// removed ones whose last request has ended.
    #[must_use]
    pub fn drained(&self, id: &str) -> bool {
        let retired = self.control();
        let snapshot = self.snapshot();
        let idle = |live: &Live| live.in_flight() == 0;
        match snapshot.balancer.members().index_of(id) {
            Some(index) => {
                snapshot.seats.get(index).is_none_or(|seat| seat.live.is_draining() && idle(&seat.live))
            }
            None => retired.iter().filter(|(name, _)| name.as_ref() == id).all(|(_, live)| idle(live)),
        }
    }

    /// Every member that may take this request once, the best first.
    #[must_use]
    pub fn candidates(&self, query: &Query<'_>) -> Vec<Arc<str>> {
        let snapshot = self.inner.current.load();
        let order = self.with_rng(|rng| snapshot.balancer.candidates(query, rng));
        order
            .into_iter()
            .filter_map(|index| snapshot.balancer.members().get(index).map(Member::id_arc))
            .collect()
    }

    pub(super) fn version(&self) -> u64 {
        self.inner.version.load(Ordering::Acquire)
    }

    pub(super) fn snapshot(&self) -> Arc<Snapshot<T>> {
        self.inner.current.load_full()
    }

    fn publish(&self, snapshot: Snapshot<T>) {
        self.inner.current.store(Arc::new(snapshot));
        // After the pointer: whoever sees the new number finds the new state.
        self.inner.version.fetch_add(1, Ordering::Release);
    }

    fn control(&self) -> MutexGuard<'_, Vec<(Arc<str>, Arc<Live>)>> {
        // A panic in an edit's closure leaves everything as it was, so a poisoned lock guards a sound state.
        self.inner.retired.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The live numbers a draft goes on with: its own, those of a removed member of the same id, or new ones.
    fn live_for(
        &self,
        draft: &Draft<T>,
        before: &Snapshot<T>,
        retired: &[(Arc<str>, Arc<Live>)],
    ) -> Arc<Live> {
        if let Place::Kept(seat) | Place::Renewed(seat, _) = &draft.place {
            return seat.live.clone();
        }
        if let Some(index) = before.balancer.members().index_of(&draft.id) {
            return before.seats[index].live.clone();
        }
        if let Some((_, live)) = retired.iter().find(|(id, _)| *id == draft.id) {
            live.set_up(true);
            return live.clone();
        }
        let live = Live::new(&self.inner.shared);
        if !before.seats.is_empty() {
            live.join_slowly();
        }
        Arc::new(live)
    }

    /// Makes health and draining count, with the panic threshold.
    fn settle(&self, members: &Members) {
        let staying = members.iter().filter(|member| !member.live().is_draining());
        let (all, up) = staying.fold((0, 0), |(all, up), m| (all + 1, up + usize::from(m.live().is_up())));
        let panic = up * 100 < all * self.inner.panic_percent as usize;
        members.iter().for_each(|member| member.live().settle(panic));
        let open = members.iter().filter(|member| member.is_open());
        self.inner.shared.set_open_weight(open.map(|member| u64::from(member.weight())).sum());
    }

    #[inline]
    fn with_rng<R>(&self, use_it: impl FnOnce(&mut Rng) -> R) -> R {
        if let Some(seed) = &self.inner.seed {
            // Numbers in a row are good seeds only if the first number drawn from each is far from the others': so
            // the first is drawn here.
            let mut rng = Rng::new(seed.fetch_add(1, Ordering::Relaxed));
            return use_it(&mut Rng::new(rng.next_u64()));
        }
        CHANCE.with(|chance| {
            let mut rng = Rng::new(match chance.get() {
                0 => RandomState::new().hash_one(0_u8),
                state => state,
            });
            let result = use_it(&mut rng);
            chance.set(rng.state());
            result
        })
    }
}

impl<T> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

/// Sets who drains; returns who did.
fn swap_draining(members: &Members, draining: &[bool]) -> Vec<bool> {
    let swap = |(member, &new): (&Member, &bool)| member.live().set_draining(new);
    members.iter().zip(draining).map(swap).collect()
}

fn swap_draining_back(lives: &[Arc<Live>], draining: &[bool]) {
    for (live, &before) in lives.iter().zip(draining) {
        live.set_draining(before);
    }
}

thread_local! {
    /// This thread's chance, for all pools without a seed.
    static CHANCE: Cell<u64> = const { Cell::new(0) };
}
