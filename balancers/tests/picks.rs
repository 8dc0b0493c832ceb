//! What seeded pools pick, pick by pick, for every algorithm: frozen in `golden/picks.txt`, which the Python package's tests
//! replay too (`bindings/tests/test_picks.py`), so that both languages send the same requests to the same members.
//!
//! A line: algorithm, seed, the picks as letters. `EVENLY_BLESS=1 cargo test -p balancers --test picks` writes the file anew.

use std::collections::VecDeque;
use std::fmt::Write;

use balancers::{Algorithm, Lease, Pool, Query};

const WEIGHTS: [(&str, u32); 7] = [("a", 1), ("b", 1), ("c", 2), ("d", 3), ("e", 5), ("f", 1), ("g", 4)];
const SEEDS: [u64; 3] = [0, 1, 2026];
const PICKS: usize = 300;
/// Requests under way: the oldest ends when one more begins.
const UNDER_WAY: usize = 9;

fn picks(algorithm: Algorithm, seed: u64) -> String {
    let pool: Pool<()> = Pool::builder().seed(seed).build(algorithm).unwrap();
    pool.update(|edit| WEIGHTS.iter().try_for_each(|&(id, weight)| edit.add(id, weight, ()))).unwrap();
    let mut held: VecDeque<Lease<()>> = VecDeque::new();
    let mut picked = String::new();
    for n in 0..PICKS {
        // One pick in five without a key.
        let key = format!("key-{}", n % 97);
        let query = if n % 5 == 4 { Query::new() } else { Query::for_key(key.as_bytes()) };
        let lease = pool.pick(&query).unwrap();
        picked.push_str(lease.id());
        held.push_back(lease);
        if held.len() > UNDER_WAY {
            held.pop_front();
        }
    }
    picked
}

#[test]
fn seeded_pools_pick_as_they_always_did() {
    let mut now = String::from("# Made by balancers/tests/picks.rs.\n");
    for algorithm in Algorithm::ALL {
        for seed in SEEDS {
            writeln!(now, "{algorithm} {seed} {}", picks(algorithm, seed)).unwrap();
        }
    }
    if std::env::var_os("EVENLY_BLESS").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/picks.txt"), &now).unwrap();
        return;
    }
    for (frozen, now) in include_str!("golden/picks.txt").lines().zip(now.lines()) {
        assert_eq!(frozen, now, "picks changed: seeded users, and the Python package, get others now");
    }
    assert_eq!(include_str!("golden/picks.txt").lines().count(), now.lines().count());
}
