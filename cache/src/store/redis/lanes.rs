//! More connections to one server, while those open are busy.
//!
//! One connection carries thousands of small operations, but a value of a megabyte stands in everybody's way for as long as
//! it takes. So where the configuration allows it, an operation that finds each connection with [`BUSY`] others on it has
//! another opened, for those that come after. They are let go when they have been without work for `idle_timeout`, down to
//! `max_idle` of them.
//!
//! ```text
//!     main ──●●●●●●●●●──►        always there: pings, and all there is with a near tier (`watch` needs one order)
//!     lane ──●●●●──►  ◄── the next operation goes where fewest wait
//!     lane ──●●──►
//! ```

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use parking_lot::RwLock;
use tokio::time::{Instant, timeout};

use super::{
    keeper::{self, Driving},
    node::State,
    wire::Wire,
};

/// The connections of one line: the main one and its lanes.
pub(super) struct Lanes {
    main: Arc<Lane>,
    others: RwLock<Vec<Arc<Lane>>>,
    is_opening: AtomicBool,
    started: Instant,
}

/// One connection and what is on it.
pub(super) struct Lane {
    wire: Wire,
    waiting: AtomicUsize,
    /// Milliseconds after the line began, when it was last given work.
    used_at_ms: AtomicU64,
    /// The main one's is the keeper's.
    _driving: Option<Driving>,
}

/// A connection with one operation more on it.
pub(super) enum Riding<'a> {
    /// The only one there may be: nobody asks how many are on it.
    Main(&'a Wire),
    Lane(Arc<Lane>),
}

impl Lanes {
    pub(super) fn new(main: Wire) -> Self {
        let main = Arc::new(Lane::new(main, None));
        Self { main, others: RwLock::default(), is_opening: AtomicBool::new(false), started: Instant::now() }
    }

    /// The connection for the next operation: the one where fewest wait.
    pub(super) fn ride(self: &Arc<Self>, state: &Arc<State>) -> Riding<'_> {
        if state.limits.lanes == 1 {
            return Riding::Main(&self.main.wire);
        }
        let others = self.others.read();
        let lane = std::iter::once(&self.main)
            .chain(others.iter())
            .min_by_key(|lane| lane.waiting.load(Relaxed))
            .expect("the main one is always there");
        if lane.waiting.load(Relaxed) >= BUSY
            && others.len() + 1 < state.limits.lanes
            && !self.is_opening.swap(true, Relaxed)
        {
            tokio::spawn(open(self.clone(), state.clone()));
        }
        lane.used_at_ms.store(self.started.elapsed().as_millis() as u64, Relaxed);
        lane.waiting.fetch_add(1, Relaxed);
        Riding::Lane(lane.clone())
    }

    /// Whether the operation went over the main connection. Another one that broke is let go here.
    pub(super) fn was_main(&self, riding: &Riding<'_>) -> bool {
        let Riding::Lane(ridden) = riding else { return true };
        self.others.write().retain(|lane| !Arc::ptr_eq(lane, ridden));
        Arc::ptr_eq(&self.main, ridden)
    }

    /// Lets go of connections that have had no work for a while.
    pub(super) fn close_idle(&self, state: &State) {
        let now_ms = self.started.elapsed().as_millis() as u64;
        let limit_ms = state.limits.idle_timeout.as_millis() as u64;
        let mut others = self.others.write();
        // With the main one, `max_idle` may stay.
        let mut to_close = (others.len() + 1).saturating_sub(state.limits.lanes_idle.max(1));
        others.retain(|lane| {
            let is_idle = lane.waiting.load(Relaxed) == 0
                && now_ms.saturating_sub(lane.used_at_ms.load(Relaxed)) >= limit_ms;
            let stays = to_close == 0 || !is_idle;
            to_close -= usize::from(!stays);
            stays
        });
    }

    /// Connections open.
    pub(super) fn len(&self) -> usize {
        self.others.read().len() + 1
    }
}

impl Lane {
    fn new(wire: Wire, driving: Option<Driving>) -> Self {
        Self { wire, waiting: AtomicUsize::new(0), used_at_ms: AtomicU64::new(0), _driving: driving }
    }
}

impl Riding<'_> {
    pub(super) fn wire(&self) -> &Wire {
        match self {
            Self::Main(wire) => wire,
            Self::Lane(lane) => &lane.wire,
        }
    }
}

impl Drop for Riding<'_> {
    fn drop(&mut self) {
        if let Self::Lane(lane) = self {
            lane.waiting.fetch_sub(1, Relaxed);
        }
    }
}

/// Opens one more. Where that fails, those there are must do.
async fn open(lanes: Arc<Lanes>, state: Arc<State>) {
    let opened = timeout(state.limits.connect, keeper::dial(&state)).await;
    if let Ok(Ok((wire, driving))) = opened {
        let lane = Lane::new(wire, Some(driving));
        lane.used_at_ms.store(lanes.started.elapsed().as_millis() as u64, Relaxed);
        lanes.others.write().push(Arc::new(lane));
        state.counts.connects.fetch_add(1, Relaxed);
    }
    lanes.is_opening.store(false, Relaxed);
}

/// Operations on each connection from which on another is worth its while.
const BUSY: usize = 32;
