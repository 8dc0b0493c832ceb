//! What a cache has done so far.

use crate::Cause;

/// Counts since the cache was built, and what it holds now. Counted under the shards' locks, so exact.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Lookups that found a live entry.
    pub hits: u64,
    /// Lookups that found none.
    pub misses: u64,
    /// Values stored, new or over an old one.
    pub inserts: u64,
    /// Entries that left because their time was over.
    pub expired: u64,
    /// Entries removed by the user.
    pub explicit: u64,
    /// Values replaced by another under the same key.
    pub replaced: u64,
    /// Entries that made room.
    pub evicted: u64,
    /// Entries the policy or the capacity did not admit.
    pub rejected: u64,
    /// Entries held now, dead ones not yet carried off included.
    pub len: u64,
    /// Weight held now.
    pub weight: u64,
}

impl Stats {
    /// Hits in all lookups, 0 to 1; 0 before the first.
    #[must_use]
    pub fn hit_ratio(&self) -> f64 {
        let lookups = self.hits + self.misses;
        if lookups == 0 { 0.0 } else { self.hits as f64 / lookups as f64 }
    }

    /// Entries that left for this cause.
    #[must_use]
    pub fn departed(&self, cause: Cause) -> u64 {
        match cause {
            Cause::Expired => self.expired,
            Cause::Explicit => self.explicit,
            Cause::Replaced => self.replaced,
            Cause::Size => self.evicted,
            Cause::Rejected => self.rejected,
        }
    }

    pub(crate) fn count(&mut self, cause: Cause) {
        *match cause {
            Cause::Expired => &mut self.expired,
            Cause::Explicit => &mut self.explicit,
            Cause::Replaced => &mut self.replaced,
            Cause::Size => &mut self.evicted,
            Cause::Rejected => &mut self.rejected,
        } += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.hits += other.hits;
        self.misses += other.misses;
        self.inserts += other.inserts;
        for cause in Cause::ALL {
            *match cause {
                Cause::Expired => &mut self.expired,
                Cause::Explicit => &mut self.explicit,
                Cause::Replaced => &mut self.replaced,
                Cause::Size => &mut self.evicted,
                Cause::Rejected => &mut self.rejected,
            } += other.departed(cause);
        }
        self.len += other.len;
        self.weight += other.weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ratio_of_nothing_is_nothing() {
        assert_eq!(Stats::default().hit_ratio(), 0.0);
        assert_eq!(Stats { hits: 3, misses: 1, ..Stats::default() }.hit_ratio(), 0.75);
    }
}
