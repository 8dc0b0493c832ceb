//! The default hasher: fast, and seeded, so that nobody outside can choose keys that collide.

use foldhash::SharedSeed;
use foldhash::quality::{FoldHasher, SeedableRandomState};
use std::fmt;
use std::hash::BuildHasher;

/// Builds hashers with a seed of their own: from the machine's randomness, or given, for runs that can be repeated.
///
/// A given seed makes placement predictable: use it in tests and simulations, not where strangers choose the keys.
#[derive(Clone)]
pub struct KeyHasher {
    state: SeedableRandomState,
}

impl KeyHasher {
    /// A hasher whose hashes are the same in every run with this seed.
    #[must_use]
    pub fn with_seed(seed: u64) -> Self {
        Self { state: SeedableRandomState::with_seed(seed, SharedSeed::global_fixed()) }
    }
}

impl Default for KeyHasher {
    fn default() -> Self {
        Self { state: SeedableRandomState::random() }
    }
}

impl fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the seed: it is a secret.
        f.write_str("KeyHasher")
    }
}

impl BuildHasher for KeyHasher {
    type Hasher = FoldHasher<'static>;

    #[inline]
    fn build_hasher(&self) -> Self::Hasher {
        self.state.build_hasher()
    }
}
