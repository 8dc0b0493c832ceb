//! Keys drawn by Zipf's law: the k-th most popular of n is asked for in proportion to 1 / kˢ.
//!
//! Ranks are drawn from the exact distribution by binary search in its sums, then scattered over the key space, so
//! that popular keys are no neighbours. The same seed gives the same keys everywhere.

/// A source of keys.
pub struct Zipf {
    sums: Vec<f64>,
    state: u64,
}

impl Zipf {
    /// Keys from `n` with exponent `s`.
    #[must_use]
    pub fn new(n: usize, s: f64, seed: u64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=n).map(|rank| {
            sum += (rank as f64).powf(-s);
            sum
        });
        Self { sums: sums.collect(), state: seed }
    }

    /// The key of a rank, 0 the most popular.
    #[must_use]
    pub fn key(rank: usize) -> u64 {
        mix(rank as u64 + 1)
    }

    /// The next `count` keys.
    pub fn take(&mut self, count: usize) -> Vec<u64> {
        self.take_ranks(count).into_iter().map(Self::key).collect()
    }

    /// The ranks of the next `count` keys.
    pub fn take_ranks(&mut self, count: usize) -> Vec<usize> {
        let total = self.sums.last().copied().unwrap_or(0.0);
        (0..count)
            .map(|_| {
                self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let drawn = (mix(self.state) >> 11) as f64 / (1u64 << 53) as f64 * total;
                self.sums.partition_point(|sum| *sum <= drawn)
            })
            .collect()
    }
}

/// SplitMix64's finisher.
fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rank_gets_its_share() {
        let keys = Zipf::new(1000, 1.0, 7).take(100_000);
        let first = keys.iter().filter(|key| **key == Zipf::key(0)).count();
        // 1 / H(1000) = 13.4 %; five standard deviations are 0.5 %.
        assert!((12_900..13_900).contains(&first), "{first}");
    }
}
