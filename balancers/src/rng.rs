//! Chance, handed in from outside: a small generator that the caller seeds.
//!
//! wyrand (Wang Yi): one 64-bit state, one wide multiplication a number, passes BigCrush and PractRand. It chooses
//! between members; it is no good for secrets.

/// A seeded generator of random numbers; the same seed gives the same numbers, for ever.
///
/// ```
/// let mut rng = balancers::Rng::new(7);
/// assert!((0..1000).all(|_| rng.below(3) < 3));
/// assert_eq!(balancers::Rng::new(7), balancers::Rng::new(7));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    state: u64,
}

impl Rng {
    /// A generator that starts from `seed`; any value is a good one.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Where it stands: [`Self::new`] of this goes on from here.
    #[cfg(feature = "std")]
    #[inline]
    pub(crate) fn state(&self) -> u64 {
        self.state
    }

    /// The next 64 random bits.
    #[inline]
    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0xa076_1d64_78bd_642f);
        let product = u128::from(self.state) * u128::from(self.state ^ 0xe703_7ed1_a0b4_28db);
        (product >> 64) as u64 ^ product as u64
    }

    /// A number below `bound`, or 0 when `bound` is 0. Skewed by at most `bound / 2^64`.
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn numbers_below_a_bound_are_spread_evenly() {
        let (mut rng, mut seen) = (Rng::new(1), [0_u32; 10]);
        for _ in 0..100_000 {
            seen[rng.below(10) as usize] += 1;
        }
        // 10,000 each; six standard deviations of the binomial are 569.
        assert!(seen.iter().all(|n| n.abs_diff(10_000) < 569), "{seen:?}");
    }

    #[test]
    fn below_zero_is_zero() {
        assert_eq!(Rng::new(1).below(0), 0);
    }
}
