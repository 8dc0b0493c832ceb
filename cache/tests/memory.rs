//! Memory: what the documentation promises for an entry, and for a cache with none.

use cache::{Cache, Policy};

const ENTRIES: u64 = 50_000;

#[test]
fn an_entry_of_two_numbers_costs_no_more_than_is_promised() {
    for policy in Policy::ALL {
        let cache = Cache::<u64, u64>::builder(ENTRIES).policy(*policy).seed(1).build().unwrap();
        (0..ENTRIES * 2).for_each(|key| assert!(cache.insert(key, key)));
        let bytes = cache.heap_bytes() as f64 / cache.len() as f64;
        assert!(bytes <= 60.0, "{policy}: {bytes:.1} bytes an entry");
        // (K, V), hash, mark, and a link each way: what is told is all of it.
        assert!(bytes > 30.0, "{policy}: {bytes:.1} bytes an entry");
    }
}

#[test]
fn lfu_tells_of_the_rank_of_each_entry() {
    let bytes = |policy| {
        let cache = Cache::<u64, u64>::builder(ENTRIES).policy(policy).shards(1).seed(1).build().unwrap();
        (0..ENTRIES).for_each(|key| assert!(cache.insert(key, key)));
        cache.heap_bytes() as f64 / ENTRIES as f64
    };
    let rank = bytes(Policy::Lfu) - bytes(Policy::Lru);
    assert!((4.0..5.0).contains(&rank), "{rank:.2} bytes an entry");
}

#[test]
fn a_cache_for_a_thousand_million_costs_little_while_it_is_empty() {
    for policy in Policy::ALL {
        let cache = Cache::<u64, u64>::builder(1_000_000_000).policy(*policy).build().unwrap();
        assert!(cache.heap_bytes() < 64 << 10, "{policy}: {}", cache.heap_bytes());
    }
}
