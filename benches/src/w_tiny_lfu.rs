//! Caffeine's policy as its authors describe it, for comparison: W-TinyLFU whose window is climbed to.
//!
//! ```text
//!     window (LRU, 1 % at first) ─► contest by the sketch's counts ─► probation ─ hit ─► protected (80 % of main)
//! ```
//!
//! A simple model, one lock around three lists of the `lru` crate: right in what it keeps, not fast. Frequencies stand
//! in a count-min sketch of 4 bits and four rows, halved after ten accesses for each entry; then, too, the window grows
//! or shrinks by a step, 1/16 of the capacity at first, 2 % less each time, anew if the hit ratio jumps by 5 points.
//! One in 128 of the candidates with a count above 5 that lose is let in all the same, against attacks by collision.
//! G. Einziger, O. Eytan, R. Friedman, B. Manes, "Adaptive software cache management", Middleware 2018.

use crate::caches::Contender;
use lru::LruCache;
use parking_lot::Mutex;

/// See the module's text.
pub struct WTinyLfu(Mutex<State>);

struct State {
    window: LruCache<u64, u64>,
    probation: LruCache<u64, u64>,
    protected: LruCache<u64, u64>,
    sketch: Sketch,
    capacity: usize,
    window_max: usize,
    hits: u64,
    accesses: u64,
    step: f64,
    last_ratio: f64,
    losers: u64,
}

impl WTinyLfu {
    /// A cache of so many entries.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self(Mutex::new(State {
            window: LruCache::unbounded(),
            probation: LruCache::unbounded(),
            protected: LruCache::unbounded(),
            sketch: Sketch::new(capacity),
            capacity,
            window_max: (capacity / 100).max(1),
            hits: 0,
            accesses: 0,
            step: capacity as f64 / 16.0,
            last_ratio: 0.0,
            losers: 0,
        }))
    }
}

impl Contender for WTinyLfu {
    fn get(&self, key: u64) -> Option<u64> {
        self.0.lock().get(key)
    }
    fn insert(&self, key: u64, value: u64) {
        self.0.lock().insert(key, value);
    }
    fn len(&self) -> usize {
        self.0.lock().len()
    }
}

impl State {
    fn len(&self) -> usize {
        self.window.len() + self.probation.len() + self.protected.len()
    }

    fn get(&mut self, key: u64) -> Option<u64> {
        self.sketch.count(key);
        let found = self.find(key);
        self.hits += u64::from(found.is_some());
        self.accesses += 1;
        if self.accesses >= 10 * self.capacity as u64 {
            self.climb();
        }
        found
    }

    fn find(&mut self, key: u64) -> Option<u64> {
        if let Some(value) = self.window.get(&key).or_else(|| self.protected.get(&key)) {
            return Some(*value);
        }
        let value = self.probation.pop(&key)?;
        self.protected.put(key, value);
        self.demote();
        Some(value)
    }

    fn insert(&mut self, key: u64, value: u64) {
        for list in [&mut self.window, &mut self.probation, &mut self.protected] {
            if let Some(old) = list.peek_mut(&key) {
                *old = value;
                return;
            }
        }
        self.window.put(key, value);
        while self.window.len() > self.window_max {
            let Some((candidate, value)) = self.window.pop_lru() else { break };
            let victim = self.probation.peek_lru().or_else(|| self.protected.peek_lru()).map(|(key, _)| *key);
            if self.len() < self.capacity {
                self.probation.put(candidate, value);
            } else if let Some(victim) = victim
                && self.admits(candidate, victim)
            {
                if self.probation.pop(&victim).is_none() {
                    self.protected.pop(&victim);
                }
                self.probation.put(candidate, value);
            }
        }
    }

    fn admits(&mut self, candidate: u64, victim: u64) -> bool {
        let count = self.sketch.estimate(candidate);
        if count > self.sketch.estimate(victim) {
            return true;
        }
        self.losers += u64::from(count > 5);
        count > 5 && self.losers.is_multiple_of(128)
    }

    fn demote(&mut self) {
        let main = self.capacity.saturating_sub(self.window_max);
        while self.protected.len() > main * 4 / 5 {
            let Some((key, value)) = self.protected.pop_lru() else { break };
            self.probation.put(key, value);
        }
    }

    fn climb(&mut self) {
        let ratio = self.hits as f64 / self.accesses as f64;
        let change = ratio - self.last_ratio;
        let amount = if change >= 0.0 { self.step } else { -self.step };
        self.step =
            if change.abs() >= 0.05 { (self.capacity as f64 / 16.0).copysign(amount) } else { amount * 0.98 };
        (self.hits, self.accesses, self.last_ratio) = (0, 0, ratio);
        let most = self.capacity as f64 * 0.8;
        self.window_max = (self.window_max as f64 + amount).clamp(1.0, most.max(1.0)) as usize;
        self.demote();
        while self.window.len() > self.window_max {
            let Some((key, value)) = self.window.pop_lru() else { break };
            self.probation.put(key, value);
        }
        while self.window.len() < self.window_max {
            let Some((key, value)) = self.probation.pop_lru().or_else(|| self.protected.pop_lru()) else {
                break;
            };
            self.window.put(key, value);
        }
    }
}

struct Sketch {
    rows: [Vec<u8>; 4],
    additions: usize,
    sample: usize,
}

impl Sketch {
    fn new(capacity: usize) -> Self {
        let width = 4 * capacity.next_power_of_two();
        Self { rows: std::array::from_fn(|_| vec![0; width]), additions: 0, sample: 10 * capacity }
    }

    fn at(&self, row: usize, key: u64) -> usize {
        const SEEDS: [u64; 4] =
            [0xc3a5_c85c_97cb_3127, 0xb492_b66f_be98_f273, 0x9ae1_6a3b_2f90_404f, 0xcbf2_9ce4_8422_2325];
        let mixed = (key ^ key >> 32).wrapping_add(SEEDS[row]).wrapping_mul(SEEDS[row]);
        (mixed >> 32) as usize & (self.rows[row].len() - 1)
    }

    fn count(&mut self, key: u64) {
        for row in 0..4 {
            let at = self.at(row, key);
            self.rows[row][at] = (self.rows[row][at] + 1).min(15);
        }
        self.additions += 1;
        if self.additions >= self.sample {
            self.additions /= 2;
            self.rows.iter_mut().flatten().for_each(|count| *count /= 2);
        }
    }

    fn estimate(&self, key: u64) -> u8 {
        (0..4).map(|row| self.rows[row][self.at(row, key)]).min().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_within_its_capacity_and_keeps_a_loop_lru_would_lose() {
        let cache = WTinyLfu::new(100);
        let mut hits = 0;
        for _ in 0..50 {
            for key in 0..120 {
                if cache.get(key).is_some() {
                    hits += 1;
                } else {
                    cache.insert(key, key);
                }
                assert!(cache.len() <= 100);
            }
        }
        assert!(hits > 3000, "{hits} of 6000, where LRU has none");
    }
}
