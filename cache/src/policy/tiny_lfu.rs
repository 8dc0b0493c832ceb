//! W-TinyLFU, adaptive: frequency decides, and a window whose size is climbed to by its own hit ratio.
//!
//! ```text
//!     hit ratio of this sample better than of the last?   yes ─► go on: widen (or narrow) the window by a step
//!                                                         no  ─► turn round
//!     a step is 1/16 of the shard, shrinks by 2 % each time, and is full again when the ratio jumps by 5 points
//! ```
//!
//! The frame is [`Segments`]. A sample is ten accesses for each entry the shard may hold. Good nearly everywhere, slow
//! to follow where recency suddenly rules: [`Auto`](super::Auto) measures instead of climbing. A hit counts nothing but
//! itself: the sample is looked at when something is inserted.
//!
//! Cost: as the frame. G. Einziger, O. Eytan, R. Friedman, B. Manes, "Adaptive software cache management",
//! Middleware 2018.

use super::segments::Segments;
use super::{Facts, Replacement, Victim};

pub(crate) struct TinyLfu {
    segments: Segments,
    climber: Climber,
}

impl TinyLfu {
    pub(crate) fn new(share: u64) -> Self {
        Self { segments: Segments::new(share, share / 100), climber: Climber::default() }
    }

    fn sample<T>(&mut self, facts: &Facts<T>) {
        self.climber.misses += 1;
        let hits = facts.hits - self.climber.hits_before;
        if self.climber.misses + hits >= self.segments.sample().max(SAMPLE_MIN) {
            let share = self.segments.share();
            self.climber.hits_before = facts.hits;
            let step = self.climber.step(hits, share as f64);
            // The main part is never nothing, unless there is room for one part alone.
            let window = (self.segments.window() as f64 + step).clamp(1.0, (share as f64 * 0.99).max(1.0));
            self.segments.set_window(window as u64);
        }
    }
}

/// Fewest accesses a hit ratio is taken from.
const SAMPLE_MIN: u64 = 100;
const STEP: f64 = 1.0 / 16.0;
const STEP_DECAY: f64 = 0.98;
/// A change of the hit ratio that calls for full steps again.
const JUMP: f64 = 0.05;

#[derive(Default)]
struct Climber {
    /// Hits there had been before this sample.
    hits_before: u64,
    misses: u64,
    last: Option<f64>,
    step: f64,
}

impl Climber {
    /// Ends a sample; by how much the window is to change.
    fn step(&mut self, hits: u64, share: f64) -> f64 {
        let ratio = hits as f64 / (hits + self.misses) as f64;
        self.misses = 0;
        let change = ratio - self.last.unwrap_or(ratio);
        if self.last.is_none() {
            self.step = STEP * share;
        }
        self.last = Some(ratio);
        let amount = if change < 0.0 { -self.step } else { self.step };
        self.step = if change.abs() >= JUMP { (STEP * share).copysign(amount) } else { amount * STEP_DECAY };
        amount
    }
}

impl Replacement for TinyLfu {
    fn foresee<T>(&self, hash: u32, facts: &Facts<T>) {
        self.segments.foresee(hash, facts);
    }

    fn foresee_leave<T>(&self, slot: u32, facts: &Facts<T>) {
        self.segments.foresee_leave(slot, facts);
    }

    fn inserted<T>(&mut self, slot: u32, facts: &mut Facts<T>) {
        self.segments.inserted(slot, facts);
        self.sample(facts);
    }

    fn hit<T>(&mut self, slot: u32, facts: &mut Facts<T>) {
        self.segments.used(slot, facts);
    }

    fn overwritten<T>(&mut self, slot: u32, old_weight: u64, facts: &mut Facts<T>) {
        self.segments.overwritten(slot, old_weight, facts);
    }

    fn victim<T>(&mut self, keep: u32, facts: &mut Facts<T>) -> Option<Victim> {
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
    }

    fn heap_bytes(&self) -> usize {
        self.segments.heap_bytes()
    }

    fn validate<T>(&self, facts: &Facts<T>) {
        self.segments.validate(facts);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn climbs_on_while_it_gets_better_and_turns_when_it_does_not() {
        let mut climber = Climber::default();
        let mut sample = |hits| {
            climber.misses = 1000 - hits;
            climber.step(hits, 1600.0)
        };
        assert_eq!(sample(500), 100.0, "the first step is up");
        assert_eq!(sample(510), 98.0, "better: go on, a little less");
        assert_eq!(sample(505), -98.0 * STEP_DECAY, "worse: turn");
        assert_eq!(sample(400), 98.0 * STEP_DECAY * STEP_DECAY, "much worse: turn again");
        assert_eq!(sample(401), 100.0, "and after the jump with full steps");
    }
    #[test]
    fn the_window_climbs_to_all_but_a_hundredth_and_down_to_one() {
        let (mut policy, mut facts) = (TinyLfu::new(1000), Facts::<()>::new(false, true));
        let mut sample = |misses: u64| {
            facts.hits += 10_000 - misses;
            (0..misses).for_each(|_| policy.sample(&facts));
            policy.segments.window()
        };
        assert_eq!(sample(100), 10 + 62, "the first step is up, a sixteenth");
        assert_eq!((0..100).map(|_| sample(100)).last(), Some(990), "no worse: on");
        assert!(sample(2000) < 990, "worse: back");
        assert_eq!((0..100).map(|_| sample(2000)).last(), Some(1), "no worse: on");
    }
}
