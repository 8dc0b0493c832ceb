//! W-TinyLFU, adaptive: frequency decides, and a window whose size is climbed to by its own hit ratio.
//!
//! ```text
//!     hit ratio of this sample better than of the last?   yes ─► go on: widen (or narrow) the window by a step
//!                                                         no  ─► turn round
//!     a step is 1/16 of the shard, shrinks by 2 % each time, and is full again when the ratio jumps by 5 points
//! ```
//!
//! The frame is [`Segments`]. A sample is ten accesses for each entry the shard may hold. Good nearly everywhere, slow
//! to follow where recency suddenly rules: [`Auto`](super::Auto) measures instead of climbing.
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

    fn sample(&mut self, is_hit: bool) {
        self.climber.accesses += 1;
        self.climber.hits += u64::from(is_hit);
        if self.climber.accesses >= self.segments.sample().max(SAMPLE_MIN) {
            let share = self.segments.share();
            let step = self.climber.step(share as f64);
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
    hits: u64,
    accesses: u64,
    last: Option<f64>,
    step: f64,
}

impl Climber {
    /// Ends a sample; by how much the window is to change.
    fn step(&mut self, share: f64) -> f64 {
        let ratio = self.hits as f64 / self.accesses as f64;
        (self.hits, self.accesses) = (0, 0);
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
    fn inserted(&mut self, slot: u32, facts: &Facts) {
        self.segments.inserted(slot, facts);
        self.sample(false);
    }

    #[inline]
    fn hit(&mut self, slot: u32, _hash: u32, facts: &Facts) {
        self.segments.hit(slot, facts);
        self.sample(true);
    }

    fn overwritten(&mut self, slot: u32, old_weight: u64, facts: &Facts) {
        self.segments.overwritten(slot, old_weight, facts);
    }

    fn victim(&mut self, keep: u32, facts: &Facts) -> Option<Victim> {
        self.segments.victim(keep, facts)
    }

    fn removed(&mut self, slot: u32, facts: &Facts) {
        self.segments.removed(slot, facts);
    }

    fn close(&mut self, hole: u32, last: u32) {
        self.segments.close(hole, last);
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

    fn validate(&self, facts: &Facts) {
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
            (climber.hits, climber.accesses) = (hits, 1000);
            climber.step(1600.0)
        };
        assert_eq!(sample(500), 100.0, "the first step is up");
        assert_eq!(sample(510), 98.0, "better: go on, a little less");
        assert_eq!(sample(505), -98.0 * STEP_DECAY, "worse: turn");
        assert_eq!(sample(400), 98.0 * STEP_DECAY * STEP_DECAY, "much worse: turn again");
        assert_eq!(sample(401), 100.0, "and after the jump with full steps");
    }
}
