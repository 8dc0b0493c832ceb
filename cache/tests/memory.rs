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
    }
}

#[test]
fn a_cache_for_a_thousand_million_costs_little_while_it_is_empty() {
    for policy in Policy::ALL {
        let cache = Cache::<u64, u64>::builder(1_000_000_000).policy(*policy).build().unwrap();
        assert!(cache.heap_bytes() < 64 << 10, "{policy}: {}", cache.heap_bytes());
    }
}
