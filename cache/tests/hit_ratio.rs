//! What each policy is for: who keeps the favourites while strangers pass by, and that `auto` takes up with the
//! workload. Real traces, rivals and the optimum: the bench `hit_ratio`.

use cache::{Cache, Policy};

const CAPACITY: u64 = 1000;

/// The hit ratio of the second half of these accesses, each a get and on a miss an insertion.
fn hit_ratio(cache: &Cache<u64, ()>, accesses: impl ExactSizeIterator<Item = u64>) -> f64 {
    let half = accesses.len() / 2;
    let mut hits = 0;
    for (turn, key) in accesses.enumerate() {
        if cache.get(&key).is_none() {
            cache.insert(key, ());
        } else if turn >= half {
            hits += 1;
        }
    }
    hits as f64 / half as f64
}

fn cache(policy: Policy) -> Cache<u64, ()> {
    Cache::builder(CAPACITY).policy(policy).shards(1).seed(1).build().unwrap()
}

/// A loop through 1,200 keys.
fn round_and_round() -> impl ExactSizeIterator<Item = u64> {
    (0..60_000_u32).map(|turn| u64::from(turn) % 1200)
}

/// Each key comes twice, 400 new ones apart, and never again.
fn twice() -> impl ExactSizeIterator<Item = u64> {
    (0..120_000_u32).map(|turn| (1 << 32) + u64::from(turn / 2) + if turn % 2 == 0 { 400 } else { 0 })
}

/// Every other access is one of 800 favourites, none of which comes regularly; the rest come once.
fn favourites_and_strangers() -> impl ExactSizeIterator<Item = u64> {
    (0..120_000_u32).map(|turn| {
        // SplitMix64's finish.
        let mixed = u64::from(turn).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 31).wrapping_mul(0x94d0_49bb_1331_11eb);
        if turn % 2 == 0 { (mixed >> 33) % 800 } else { (2 << 32) + u64::from(turn) }
    })
}

#[test]
fn all_but_lru_keep_the_favourites_while_strangers_pass_by() {
    for policy in Policy::ALL {
        let ratio = hit_ratio(&cache(*policy), favourites_and_strangers());
        let bounds = if *policy == Policy::Lru { 0.2..0.35 } else { 0.43..0.5001 };
        assert!(bounds.contains(&ratio), "{policy}: {ratio}");
    }
}

#[test]
fn auto_takes_the_better_side_of_recency_and_frequency_and_changes_it() {
    let (auto, lru) = (cache(Policy::Auto), cache(Policy::Lru));
    assert_eq!(hit_ratio(&lru, round_and_round()), 0.0);
    assert_eq!(hit_ratio(&lru, twice()), 0.5);
    for _ in 0..2 {
        let looping = hit_ratio(&auto, round_and_round());
        assert!(looping > 0.7, "{looping} of a loop that could have 0.83");
        let recent = hit_ratio(&auto, twice());
        assert!(recent > 0.45, "{recent} where LRU has 0.5");
    }
}
