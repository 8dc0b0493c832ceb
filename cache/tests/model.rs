//! Every operation list gives the answers, contents and events of a naive twin, for each policy.
//!
//! `PROPTEST_CASES=100000 cargo test --release -p cache --test model` for a long run.

mod operations;

use cache::Policy;
use operations::{Op, Setup, exact, follower};
use proptest::prelude::*;

fn ops() -> impl Strategy<Value = Vec<Op>> {
    prop::collection::vec(any::<[u8; 4]>().prop_map(Op::decode), 0..300)
}

fn setups(policies: &'static [Policy]) -> impl Strategy<Value = Setup> {
    let ticks = || prop::option::weighted(0.4, 1..100u32);
    let halve_every = prop::option::weighted(0.4, 1..40u64);
    (prop::sample::select(policies), any::<bool>(), ticks(), ticks(), 0..3u32, halve_every).prop_map(
        |(policy, weighed, ttl_ticks, tti_ticks, shards, halve_every)| Setup {
            halve_every,
            policy,
            weighed,
            ttl_ticks,
            tti_ticks,
            shards: 1 << shards,
        },
    )
}

proptest! {
    #[test]
    fn lru_and_lfu_are_exact(setup in setups(&[Policy::Lru, Policy::Lfu]), ops in ops()) {
        exact::run(setup, &ops);
    }

    #[test]
    fn every_policy_keeps_the_promises_over_shards(setup in setups(Policy::ALL), ops in ops()) {
        follower::run(setup, &ops);
    }
}

#[test]
fn as_many_inserts_as_fit_are_all_kept() {
    for policy in Policy::ALL {
        for shards in [1, 4, 16, 64] {
            let cache = cache::Cache::builder(1000).policy(*policy).shards(shards).build().unwrap();
            for key in 0..1000 {
                assert!(cache.insert(key, key));
            }
            assert!((0..1000).all(|key| cache.contains(&key)), "{policy} with {shards} shards lost one");
            cache.insert(1000, 1000);
            assert_eq!(cache.len(), 1000);
        }
    }
}

#[test]
fn one_entry_may_use_the_whole_capacity() {
    for policy in Policy::ALL {
        let cache =
            cache::Cache::builder(1000).policy(*policy).shards(16).weigher(|_, w: &u64| *w).build().unwrap();
        for key in 0..200 {
            cache.insert(key, 7);
        }
        assert!(cache.insert(777, 1000));
        assert_eq!((cache.get(&777), cache.len(), cache.weight()), (Some(1000), 1, 1000));
        assert!(!cache.insert(777, 1001), "heavier than everything");
        assert_eq!((cache.get(&777), cache.weight()), (None, 0));
    }
}
