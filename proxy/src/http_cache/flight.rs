//! Collapsed forwarding (RFC 9111 §4): many requests for one response make one request to the origin.
//!
//! ```text
//!     first request    ── leads ───────────► origin ──► head ──► body ─► ...
//!     same, meanwhile  ── waits ─┬─ head: storable and fits me ─► reads along
//!                                ├─ not to be shared           ─► goes itself at its turn; later ones at once, for a while
//!                                ├─ validated, stored          ─► looks into the store again
//!                                ├─ the origin failed          ─► looks again, once; one of the waiters leads
//!                                └─ the leader's client left   ─► looks again; one of the waiters leads
//! ```
//!
//! Nobody knows yet which fields select the response, so a request waits for any flight of its key unless Vary is
//! known, from what is stored or from a flight that has its head, and its fields differ. A flight ends with
//! the leader: when its guard is dropped, however that happens, nobody waits any more.
//!
//! A failure is handed over once: the leader may have met a broken connection, but when the one who leads next fails
//! as well, all who waited fail. So a failing origin is asked by one at a time, and nobody waits for more than two.

use super::entry::Entry;
use super::fill::Fill;
use super::key::Key;
use super::turns::{Turn, Turns};
use super::vary::Selecting;
use http::HeaderMap;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;

/// The flights under way.
pub(super) struct Flights<B> {
    table: Mutex<HashMap<Key, Vec<Flight<B>>>>,
    unshared: Unshared,
}

struct Flight<B> {
    number: u64,
    /// The leader's request fields.
    request: Arc<HeaderMap>,
    /// Selecting fields of what is stored under the key.
    known: Arc<[Selecting]>,
    landing: watch::Receiver<Option<Landing<B>>>,
    turns: Arc<Turns>,
}

/// What became of a flight.
pub(super) enum Landing<B> {
    /// A head that may be shared, and its body.
    Shared(Arc<Entry>, Arc<Fill<B>>),
    /// Not to be shared: because of the request that led, or by what the response says, which is remembered.
    Unshared {
        /// Later requests for the key should not wait for one another.
        is_remembered: bool,
    },
    /// The store has the answer now.
    Stored,
    /// The origin failed.
    Failed,
}

/// A place in a flight.
pub(super) enum Seat<B> {
    /// In front: fetch, and tell what came of it.
    Lead(Lead<B>),
    /// Behind: wait.
    Follow(Follow<B>),
    /// Not in a flight: recent answers could not be shared.
    Alone,
}

/// The leader's guard.
pub(super) struct Lead<B> {
    flights: Arc<Flights<B>>,
    key: Key,
    number: u64,
    landing: watch::Sender<Option<Landing<B>>>,
}

/// A follower's view.
pub(super) struct Follow<B> {
    landing: watch::Receiver<Option<Landing<B>>>,
    turns: Arc<Turns>,
}

impl<B> Flights<B> {
    /// None under way.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { table: Mutex::default(), unshared: Unshared::new() })
    }

    /// Takes a seat; `now_secs` ages the memory of what could not be shared.
    pub(super) fn board(
        self: &Arc<Self>,
        key: &Key,
        request: &HeaderMap,
        known: &[&Selecting],
        now_secs: u64,
    ) -> Seat<B> {
        if self.unshared.contains(key, now_secs) {
            return Seat::Alone;
        }
        let mut table = self.table.lock();
        let flights = table.entry(key.clone()).or_default();
        if let Some(flight) = flights.iter().find(|flight| flight.may_suit(request)) {
            let (landing, turns) = (flight.landing.clone(), Arc::clone(&flight.turns));
            return Seat::Follow(Follow { landing, turns });
        }
        let (landing, watching) = watch::channel(None);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        flights.push(Flight {
            number,
            request: Arc::new(request.clone()),
            known: known.iter().map(|selecting| (*selecting).clone()).collect(),
            landing: watching,
            turns: Arc::new(Turns::new()),
        });
        Seat::Lead(Lead { flights: Arc::clone(self), key: key.clone(), number, landing })
    }

    /// Leads a fetch in the background, if none is under way for the key.
    pub(super) fn board_alone(self: &Arc<Self>, key: &Key, request: &HeaderMap) -> Option<Lead<B>> {
        let mut table = self.table.lock();
        let flights = table.entry(key.clone()).or_default();
        if !flights.is_empty() {
            return None;
        }
        let (landing, watching) = watch::channel(None);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let request = Arc::new(request.clone());
        let turns = Arc::new(Turns::new());
        flights.push(Flight { number, request, known: Arc::new([]), landing: watching, turns });
        Some(Lead { flights: Arc::clone(self), key: key.clone(), number, landing })
    }

    fn remove(&self, key: &Key, number: u64) {
        let mut table = self.table.lock();
        let Some(flights) = table.get_mut(key) else { return };
        let at = flights.iter().position(|flight| flight.number == number);
        let gone = at.map(|at| flights.swap_remove(at));
        if flights.is_empty() {
            table.remove(key);
        }
        drop(table);
        drop(gone); // may hold the last handle of a fill, which has locks of its own
    }
}

impl<B> Flight<B> {
    /// Whether a request may get this flight's answer, as far as that is known.
    fn may_suit(&self, request: &HeaderMap) -> bool {
        if let Some(Landing::Shared(entry, _)) = &*self.landing.borrow() {
            return entry.selecting.fits(request);
        }
        self.known.iter().all(|selecting| selecting.of(&self.request).fits(request))
    }
}

impl<B> Lead<B> {
    /// Tells everyone; the flight is over.
    pub(super) fn land(self, landing: Landing<B>, now_secs: u64) {
        match landing {
            Landing::Unshared { is_remembered: true } => self.flights.unshared.insert(&self.key, now_secs),
            // What one client asks for must not switch collapsing off for all others.
            Landing::Unshared { is_remembered: false } => {}
            _ => self.flights.unshared.remove(&self.key),
        }
        self.landing.send_replace(Some(landing));
    }

    /// Tells everyone of a head; others may come along until the guard is dropped.
    pub(super) fn share(&self, entry: Arc<Entry>, fill: Arc<Fill<B>>) {
        self.flights.unshared.remove(&self.key);
        self.landing.send_replace(Some(Landing::Shared(entry, fill)));
    }
}

impl<B> Drop for Lead<B> {
    fn drop(&mut self) {
        self.flights.remove(&self.key, self.number);
    }
}

impl<B> Follow<B> {
    /// Waits for the leader; none when it left without a word.
    pub(super) async fn landing(&mut self) -> Option<Landing<B>> {
        self.landing.wait_for(Option::is_some).await.ok().and_then(|landing| landing.clone())
    }

    /// Waits for a turn to ask the origin oneself.
    pub(super) async fn turn(self) -> Turn {
        self.turns.take().await
    }
}

impl<B> Clone for Landing<B> {
    fn clone(&self) -> Self {
        match self {
            Self::Shared(entry, fill) => Self::Shared(Arc::clone(entry), Arc::clone(fill)),
            Self::Unshared { is_remembered } => Self::Unshared { is_remembered: *is_remembered },
            Self::Stored => Self::Stored,
            Self::Failed => Self::Failed,
        }
    }
}

/// Keys whose last answer could not be shared: requests for them do not wait for one another. A table of one slot a
/// hash, which forgets: a wrong answer costs a wait or a second fetch, never a wrong response.
struct Unshared {
    hasher: RandomState,
    slots: Box<[AtomicU64]>,
}

impl Unshared {
    fn new() -> Self {
        Self { hasher: RandomState::new(), slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect() }
    }

    /// The slot of a key, and its mark: the upper half of the hash over the last second that it counts.
    fn slot(&self, key: &Key) -> (&AtomicU64, u64) {
        let hash = self.hasher.hash_one(key);
        // The remainder is below the length of the table, a usize.
        let slot = usize::try_from(hash % self.slots.len() as u64).unwrap_or(0);
        (&self.slots[slot], hash & !u64::from(u32::MAX))
    }

    fn insert(&self, key: &Key, now_secs: u64) {
        let (slot, mark) = self.slot(key);
        // Relaxed: the slot orders nothing else.
        slot.store(mark | ((now_secs + REMEMBERED_SECS) & u64::from(u32::MAX)), Ordering::Relaxed);
    }

    fn remove(&self, key: &Key) {
        let (slot, mark) = self.slot(key);
        let kept = slot.load(Ordering::Relaxed);
        if kept != 0 && kept & !u64::from(u32::MAX) == mark {
            slot.store(0, Ordering::Relaxed);
        }
    }

    fn contains(&self, key: &Key, now_secs: u64) -> bool {
        let (slot, mark) = self.slot(key);
        let kept = slot.load(Ordering::Relaxed);
        kept != 0 && kept & !u64::from(u32::MAX) == mark && now_secs <= kept & u64::from(u32::MAX)
    }
}

/// Tells flights of one key apart.
static NUMBER: AtomicU64 = AtomicU64::new(0);
const SLOTS: usize = 4096;
/// How long after an answer that could not be shared requests go on their own.
const REMEMBERED_SECS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::super::settings::Settings;
    use super::*;

    fn key(path: &str) -> Key {
        Key::new("http", "a.test", path, &Settings::default())
    }

    #[test]
    fn what_could_not_be_shared_is_remembered_for_a_while() {
        let (unshared, start) = (Unshared::new(), 1_790_000_000);
        let keys: Vec<Key> = (0..64).map(|n| key(&format!("/{n}"))).collect();
        for key in &keys {
            assert!(!unshared.contains(key, start));
            unshared.insert(key, start);
            assert!((0..=REMEMBERED_SECS).all(|later| unshared.contains(key, start + later)));
            assert!(!unshared.contains(key, start + REMEMBERED_SECS + 1));
        }
        unshared.remove(&keys[63]);
        assert!(!unshared.contains(&keys[63], start));
        let kept = keys[..63].iter().filter(|key| unshared.contains(key, start)).count();
        assert!(kept >= 60, "{kept}: a slot may be taken by another key, but not many of 4,096");
    }

    #[test]
    fn a_fetch_in_the_background_is_led_once() {
        let flights = Flights::<()>::new();
        let (a, request) = (key("/a"), HeaderMap::new());
        let lead = flights.board_alone(&a, &request).expect("nobody is under way");
        assert!(flights.board_alone(&a, &request).is_none());
        assert!(flights.board_alone(&key("/b"), &request).is_some());
        drop(lead);
        assert!(flights.board_alone(&a, &request).is_some());
    }
}
