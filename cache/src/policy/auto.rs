//! Auto: W-TinyLFU whose window is chosen by measuring, not by climbing.
//!
//! ```text
//!     a sample of the keys ─► shadows with windows of  1 %   5 %   20 %   50 %   100 %     the one with the most hits
//!                             (frequency …                            … LRU)                sets the cache's window
//! ```
//!
//! No policy wins everywhere, and between "frequency alone" and "recency alone" the window's width decides. Here every
//! shard runs the same frame ([`Segments`]), and one set of [`Shadow`]s for the whole cache says which width serves
//! the present workload: hits of the last few sample periods, the past counting less and less; a change must promise
//! a full point of hit ratio.
//!
//! Cost: the frame's, and for one access in `entries / 256` five accesses to small caches (every access while the
//! cache holds fewer than that), except for [`Repeats`]; some 64 KiB a cache. Lost against the best width in hindsight: see the table of the
//! bench `hit_ratio`.

use super::repeats::{EPOCHS, Repeats};
use super::segments::Segments;
use super::shadow::Shadow;
use super::{Facts, Replacement, Victim};
use crate::sync::{AtomicU32, Mutex};
use std::sync::Arc;
use std::sync::atomic::Ordering;

pub(crate) struct Auto {
    segments: Segments,
    chooser: Arc<Chooser>,
    repeats: Repeats,
    /// As the chooser last said.
    window: u32,
}

/// Windows tried, in thousandths.
const WINDOWS: [u32; 5] = [10, 50, 200, 500, 1000];
/// The one to begin with: the best on average.
const FIRST: usize = 2;
/// Entries of a shadow.
const SHADOW_ENTRIES: u64 = 256;
/// Accesses seen by the shadows between two choices: as many as their entries, but not fewer than this.
const ROUND_MIN: u64 = 50;
/// What the past is worth after each round.
const DECAY: f64 = 0.9;
/// The difference of hit ratios that is worth a change.
const MARGIN: f64 = 0.01;

/// What all shards of a cache share: the shadows and their verdict.
pub(crate) struct Chooser {
    /// The window to use, in thousandths. Relaxed, as the threshold: a hint, ordering nothing.
    window: AtomicU32,
    /// Keys whose mixed hash is below it are sampled; 0 until the number of entries is known.
    threshold: AtomicU32,
    /// Changes each time a sixteenth of a shadow's entries have come.
    epoch: AtomicU32,
    shards: u64,
    weighed: bool,
    trial: Mutex<Trial>,
}

struct Trial {
    shadows: Vec<Shadow>,
    scores: [f64; WINDOWS.len()],
    chosen: usize,
    seen: u64,
    /// Accesses that missed in any of them.
    entered: u64,
    round: u64,
    capacity: u64,
}

impl Chooser {
    pub(crate) fn new(capacity: u64, shards: usize, weighed: bool) -> Self {
        let trial = Trial {
            shadows: Vec::new(),
            scores: [0.0; WINDOWS.len()],
            chosen: FIRST,
            seen: 0,
            entered: 0,
            round: ROUND_MIN,
            capacity,
        };
        let chooser = Self {
            window: AtomicU32::new(WINDOWS[FIRST]),
            threshold: AtomicU32::new(0),
            epoch: AtomicU32::new(0),
            shards: shards as u64,
            weighed,
            trial: Mutex::new(trial),
        };
        if !weighed {
            chooser.begin(capacity, capacity);
        }
        chooser
    }

    /// Begins anew with another capacity; the first shard to say so does it.
    fn resize(&self, capacity: u64) {
        let mut trial = self.trial.lock();
        if std::mem::replace(&mut trial.capacity, capacity) != capacity {
            trial.shadows.clear();
            drop(trial);
            self.threshold.store(0, Ordering::Relaxed);
            if !self.weighed {
                self.begin(capacity, capacity);
            }
        }
    }

    /// Starts the shadows for a cache of so many entries and such a capacity.
    fn begin(&self, entries: u64, capacity: u64) {
        let rate = (SHADOW_ENTRIES as f64 / entries.max(1) as f64).min(1.0);
        let own = ((capacity as f64 * rate) as u64).max(1);
        let mut trial = self.trial.lock();
        let window = |permille: &u32| (u128::from(own) * u128::from(*permille) / 1000) as u64;
        trial.shadows = WINDOWS.iter().map(|permille| Shadow::new(own, window(permille))).collect();
        trial.scores = [0.0; WINDOWS.len()];
        trial.round = entries.clamp(ROUND_MIN, SHADOW_ENTRIES);
        (trial.seen, trial.capacity) = (0, capacity);
        self.threshold.store(((rate * f64::from(u32::MAX)) as u32).max(1), Ordering::Relaxed);
    }

    /// A sampled access, after so many others that all shadows hit.
    #[cold]
    fn observe(&self, hash: u32, weight: u64, hits: u64) {
        let mut trial = self.trial.lock();
        let mut missed = false;
        for shadow in &mut trial.shadows {
            shadow.pass(hits);
            missed |= !shadow.access(hash, weight);
        }
        let before = trial.seen;
        trial.seen += hits + 1;
        trial.entered += u64::from(missed);
        let entries = trial.round.min(SHADOW_ENTRIES);
        self.epoch.store((trial.entered * EPOCHS / entries) as u32, Ordering::Relaxed);
        let rounds = trial.seen / trial.round - before / trial.round;
        if rounds > 0 && !trial.shadows.is_empty() {
            self.window.store(WINDOWS[trial.choose(rounds)], Ordering::Relaxed);
        }
    }

    fn heap_bytes(&self) -> usize {
        size_of::<Self>() + self.trial.lock().shadows.iter().map(Shadow::heap_bytes).sum::<usize>()
    }
}

impl Trial {
    /// Weighs up the rounds that have ended.
    fn choose(&mut self, rounds: u64) -> usize {
        let kept = DECAY.powi(rounds.min(1000) as i32);
        for (score, shadow) in self.scores.iter_mut().zip(&mut self.shadows) {
            *score = *score * kept + shadow.take_hits() as f64;
        }
        let best = (0..WINDOWS.len()).max_by(|a, b| self.scores[*a].total_cmp(&self.scores[*b]));
        // The accesses the scores are made of.
        let accesses = (self.round as f64 / (1.0 - DECAY)).min(self.seen as f64);
        if let Some(best) = best
            && self.scores[best] > self.scores[self.chosen] + MARGIN * accesses
        {
            self.chosen = best;
        }
        self.chosen
    }
}

impl Auto {
    pub(crate) fn new(share: u64, chooser: Arc<Chooser>) -> Self {
        let window = chooser.window.load(Ordering::Relaxed);
        let (segments, repeats) = (Segments::new(share, part(share, window)), Repeats::new(chooser.shards));
        Self { segments, chooser, repeats, window }
    }

    fn sample<T>(&mut self, slot: u32, facts: &Facts<T>) {
        let hash = facts.hash(slot);
        if facts.is_sampled(hash) {
            let epoch = self.chooser.epoch.load(Ordering::Relaxed);
            if self.repeats.is_telling(hash, epoch as u16) {
                self.chooser.observe(hash, facts.weight(slot), self.repeats.take_held_back());
            }
        }
    }

    /// What a hit compares with stands beside the marks.
    fn follow_threshold<T>(&self, facts: &mut Facts<T>) {
        facts.threshold = self.chooser.threshold.load(Ordering::Relaxed);
    }

    /// Follows the chooser; a weighed cache begins to measure here, when it is first full.
    fn follow<T>(&mut self, facts: &mut Facts<T>) {
        self.follow_threshold(facts);
        if facts.threshold == 0 {
            let capacity = self.chooser.trial.lock().capacity;
            self.chooser.begin(facts.len() as u64 * self.chooser.shards, capacity);
        }
        let window = self.chooser.window.load(Ordering::Relaxed);
        if window != self.window {
            self.window = window;
            self.segments.set_window(part(self.segments.share(), window));
        }
    }
}

fn part(share: u64, permille: u32) -> u64 {
    (u128::from(share) * u128::from(permille) / 1000) as u64
}

impl Replacement for Auto {
    fn foresee<T>(&self, hash: u32, facts: &Facts<T>) {
        self.segments.foresee(hash, facts);
    }

    fn foresee_leave<T>(&self, slot: u32, facts: &Facts<T>) {
        self.segments.foresee_leave(slot, facts);
    }

    fn inserted<T>(&mut self, slot: u32, facts: &mut Facts<T>) {
        self.segments.inserted(slot, facts);
        self.follow_threshold(facts);
        self.repeats.arrived();
        self.sample(slot, facts);
    }

    fn hit<T>(&mut self, slot: u32, facts: &mut Facts<T>) {
        self.segments.used(slot, facts);
        self.sample(slot, facts);
        if self.repeats.is_quiet() {
            facts.threshold = 0;
        }
    }

    fn overwritten<T>(&mut self, slot: u32, old_weight: u64, facts: &mut Facts<T>) {
        self.segments.overwritten(slot, old_weight, facts);
    }

    fn victim<T>(&mut self, keep: u32, facts: &mut Facts<T>) -> Option<Victim> {
        self.follow(facts);
        self.segments.victim(keep, facts)
    }

    fn removed<T>(&mut self, slot: u32, facts: &mut Facts<T>) {
        self.segments.removed(slot, facts);
    }

    fn close<T>(&mut self, hole: u32, last: u32, facts: &Facts<T>) {
        self.segments.close(hole, last, facts);
    }

    fn reserve(&mut self, slots: usize) {
        self.segments.reserve(slots);
    }

    fn clear(&mut self) {
        self.segments.clear();
    }

    fn set_share(&mut self, share: u64) {
        self.segments.set_share(share);
        self.chooser.resize(share.saturating_mul(self.chooser.shards));
    }

    fn heap_bytes(&self) -> usize {
        self.segments.heap_bytes()
            + self.repeats.heap_bytes()
            + self.chooser.heap_bytes() / self.chooser.shards as usize
    }

    fn validate<T>(&self, facts: &Facts<T>) {
        self.segments.validate(facts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The window after so many accesses to the keys that `key` says, each of the whole sample.
    fn window_after(accesses: u32, key: impl Fn(u32) -> u32) -> u32 {
        let chooser = Chooser::new(SHADOW_ENTRIES, 1, false);
        assert_eq!(chooser.window.load(Ordering::Relaxed), WINDOWS[FIRST]);
        (0..accesses).for_each(|at| chooser.observe(key(at).wrapping_mul(0x9e37_79b1), 1, 0));
        chooser.window.load(Ordering::Relaxed)
    }

    #[test]
    fn what_the_shadows_see_makes_the_window() {
        let last = WINDOWS[WINDOWS.len() - 1];
        // A loop longer than the cache: recency keeps nothing of it.
        assert_eq!(window_after(20_000, |at| at % 320), WINDOWS[0]);
        // Each key comes twice, 200 others between, and never again: what is frequent says nothing.
        assert_eq!(window_after(20_000, |at| if at % 2 == 0 { at } else { at.saturating_sub(201) }), last);
        // Fewer accesses than a round choose nothing.
        assert_eq!(window_after(SHADOW_ENTRIES as u32 - 1, |at| at % 320), WINDOWS[FIRST]);
    }

    #[test]
    fn hits_that_all_shadows_would_have_count_as_accesses() {
        let chooser = Chooser::new(SHADOW_ENTRIES, 1, false);
        let seen = || chooser.trial.lock().seen;
        chooser.observe(1, 1, 0);
        chooser.observe(1, 1, 9);
        assert_eq!((seen(), chooser.trial.lock().entered), (11, 1));
        // An epoch is a sixteenth of a shadow's entries that missed.
        (2..=SHADOW_ENTRIES as u32).for_each(|key| chooser.observe(key.wrapping_mul(0x9e37_79b1), 1, 0));
        assert_eq!(u64::from(chooser.epoch.load(Ordering::Relaxed)), EPOCHS);
    }

    #[test]
    fn where_nothing_comes_the_sample_is_left_alone_until_something_does() {
        let mut auto = Auto::new(10, Arc::new(Chooser::new(10, 1, false)));
        let mut facts = Facts::new(false, true);
        for slot in 0..2 {
            facts.push((), slot * 77, 1);
            auto.inserted(slot, &mut facts);
            assert_eq!(facts.threshold, u32::MAX, "all keys of so small a cache are in the sample");
            (0..5000).for_each(|_| auto.hit(slot, &mut facts));
            assert_eq!(facts.threshold, 0);
        }
    }
}
