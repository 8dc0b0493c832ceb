//! Made-up request traces of many kinds, with seeds: to see whether a policy has learnt its traces by heart.
//!
//! | kind | what is asked for |
//! |---|---|
//! | `zipf` | popularity that never changes |
//! | `drift` | the same, every so often the next key becomes the most popular |
//! | `loop` | all keys in turn, again and again |
//! | `scans` | `zipf`, and now and then a long run of keys that never come back |
//! | `recency` | what was asked for lately, the later the likelier; or a new key |
//! | `bursts` | each new key a few times soon after one another, then never again |
//! | `phases` | `zipf`, `loop` and `recency` in turn, each for a while |
//! | `mixture` | the same three at once, request by request |

use crate::zipf::Zipf;

/// Every kind, by name.
pub const KINDS: [&str; 8] = ["zipf", "drift", "loop", "scans", "recency", "bursts", "phases", "mixture"];
/// Requests in a trace.
pub const LEN: usize = 400_000;
/// Keys that can be popular.
const KEYS: usize = 20_000;
/// Other kinds' keys begin here, each at a multiple of it.
const APART: u64 = 1 << 40;

/// A trace of a kind; `None` if there is no such kind.
#[must_use]
pub fn trace(kind: &str, seed: u64) -> Option<Vec<u64>> {
    Some(match kind {
        "zipf" => Zipf::new(KEYS, 0.7 + 0.2 * (seed % 3) as f64, seed).take(LEN),
        "drift" => drift(seed),
        "loop" => round_and_round(LEN, 1_500 + 900 * (seed % 5)),
        "scans" => scans(seed),
        "recency" => recency(LEN, seed),
        "bursts" => bursts(seed),
        "phases" => phases(seed),
        "mixture" => mixture(seed),
        _ => return None,
    })
}

struct Draw(u64);

impl Draw {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// From 0 to 1.
    fn share(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / (1u64 << 31) as f64
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.share() * bound as f64) as usize
    }
}

fn drift(seed: u64) -> Vec<u64> {
    let every = 20 << (seed % 4);
    let ranks = Zipf::new(KEYS, 0.9, seed).take_ranks(LEN);
    // The newcomer at each step is the most popular, all others go down by one.
    ranks.into_iter().enumerate().map(|(at, rank)| Zipf::key(KEYS + at / every - rank)).collect()
}

fn round_and_round(len: usize, keys: u64) -> Vec<u64> {
    (0..len as u64).map(|at| APART + at % keys).collect()
}

fn scans(seed: u64) -> Vec<u64> {
    let (mut draw, mut fresh, mut out) = (Draw::new(seed), 2 * APART, Vec::with_capacity(LEN));
    let popular = Zipf::new(KEYS, 0.9, seed).take(LEN);
    for key in popular {
        out.push(key);
        if draw.share() < 0.000_2 {
            let run = 500 + draw.below(4_000) as u64;
            out.extend(fresh..fresh + run);
            fresh += run;
        }
        if out.len() >= LEN {
            break;
        }
    }
    out
}

fn recency(len: usize, seed: u64) -> Vec<u64> {
    let (mut draw, mut out) = (Draw::new(seed), Vec::with_capacity(len));
    let reach = 200.0 * f64::from(1 << (seed % 4));
    for at in 0..len as u64 {
        let back = (-draw.share().max(1e-9).ln() * reach) as usize + 1;
        let again = draw.share() < 0.8 && back <= out.len();
        out.push(if again { out[out.len() - back] } else { 3 * APART + at });
    }
    out
}

fn bursts(seed: u64) -> Vec<u64> {
    let (mut draw, mut waiting, mut out) = (Draw::new(seed), Vec::new(), Vec::with_capacity(LEN));
    let mut fresh = 4 * APART;
    while out.len() < LEN {
        fresh += 1;
        let times = 1 + draw.below(5);
        waiting.extend(std::iter::repeat_n(fresh, times));
        while waiting.len() > 300 {
            let at = draw.below(waiting.len());
            out.push(waiting.swap_remove(at));
        }
    }
    out
}

fn phases(seed: u64) -> Vec<u64> {
    let each = 20_000 << (seed % 3);
    let kinds = [Zipf::new(KEYS, 0.9, seed).take(LEN), round_and_round(LEN, 2_000), recency(LEN, seed)];
    (0..LEN).map(|at| kinds[at / each % 3][at]).collect()
}

fn mixture(seed: u64) -> Vec<u64> {
    let kinds = [Zipf::new(KEYS, 0.9, seed).take(LEN), round_and_round(LEN, 2_000), recency(LEN, seed)];
    let (mut draw, mut next) = (Draw::new(seed), [0; 3]);
    (0..LEN)
        .map(|_| {
            let kind = draw.below(3);
            next[kind] += 1;
            kinds[kind][next[kind] - 1]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_there_and_repeats_itself() {
        for kind in KINDS {
            let trace = trace(kind, 1).expect("it is in the list");
            assert!(trace.len() >= LEN, "{kind}: {}", trace.len());
            assert_eq!(trace[..1000], super::trace(kind, 1).expect("as before")[..1000], "{kind}");
        }
        assert!(trace("none", 1).is_none());
    }
}
