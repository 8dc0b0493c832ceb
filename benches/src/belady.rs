//! The best there can be: Belady's rule with bypass, knowing the future.

use std::collections::{BTreeSet, HashMap};

/// Hits of the optimal cache of `capacity` entries over a trace: of all it holds and the newcomer, the one asked for
/// latest leaves, or never enters.
#[must_use]
pub fn hits(trace: &[u64], next_uses: &[u32], capacity: usize) -> u64 {
    let mut held = HashMap::new();
    let mut by_next_use = BTreeSet::new();
    let mut hits = 0;
    for (key, next_use) in trace.iter().zip(next_uses) {
        if let Some(old) = held.remove(key) {
            hits += 1;
            by_next_use.remove(&(old, *key));
        }
        if *next_use == u32::MAX {
            continue;
        }
        if held.len() == capacity {
            match by_next_use.last() {
                Some((latest, _)) if latest > next_use => {
                    if let Some((_, loser)) = by_next_use.pop_last() {
                        held.remove(&loser);
                    }
                }
                _ => continue,
            }
        }
        held.insert(*key, *next_use);
        by_next_use.insert((*next_use, *key));
    }
    hits
}

/// For each request, when its key is asked for again; `u32::MAX` for never.
#[must_use]
pub fn next_uses(trace: &[u64]) -> Vec<u32> {
    let mut later = HashMap::new();
    let mut next_uses = vec![u32::MAX; trace.len()];
    for (at, key) in trace.iter().enumerate().rev() {
        if let Some(next) = later.insert(*key, at as u32) {
            next_uses[at] = next;
        }
    }
    next_uses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_comes_back_soonest() {
        // Two places: 1 and 2 stay, 3 passes by.
        let trace = [1, 2, 3, 1, 2, 3, 1, 2];
        assert_eq!(hits(&trace, &next_uses(&trace), 2), 4);
        assert_eq!(hits(&trace, &next_uses(&trace), 3), 5);
        assert_eq!(hits(&[1, 2, 3], &next_uses(&[1, 2, 3]), 2), 0);
    }
}
