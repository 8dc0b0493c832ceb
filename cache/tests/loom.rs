//! Every interleaving of two threads: single flight, the shards' locks and the one budget, expiry against insertion.
//!
//! `make loom`, or `RUSTFLAGS="--cfg loom" cargo test -p cache --test loom --release`.
#![cfg(loom)]

use cache::{Cache, LoadError, ManualClock, Policy};
use loom::sync::atomic::{AtomicU64, Ordering::SeqCst};
use loom::thread;
use std::sync::Arc;
use std::time::Duration;

/// As loom's own defaults, with a limit on how often a thread may be interrupted: more finds nothing more and takes
/// hours.
fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(6);
    builder.check(model);
}

fn cache(capacity: u64, shards: usize) -> Cache<u64, u64> {
    Cache::builder(capacity).policy(Policy::Lru).shards(shards).seed(1).build().unwrap()
}

#[test]
fn a_key_is_loaded_once_and_both_get_the_value() {
    check(|| {
        let (cache, loads) = (cache(2, 1), Arc::new(AtomicU64::new(0)));
        let (other, counted) = (cache.clone(), loads.clone());
        let load = move |cache: &Cache<u64, u64>, loads: &AtomicU64| {
            cache.get_or_insert_with(&1, || 10 + loads.fetch_add(1, SeqCst)).unwrap()
        };
        let thread = thread::spawn(move || load(&other, &counted));
        assert_eq!(load(&cache, &loads), 10);
        assert_eq!(thread.join().unwrap(), 10);
        assert_eq!(loads.load(SeqCst), 1);
        cache.validate();
    });
}

#[test]
fn a_failed_load_strands_nobody_and_is_not_kept() {
    check(|| {
        let cache = cache(2, 1);
        let other = cache.clone();
        let thread = thread::spawn(move || other.try_get_or_insert_with(&1, || Err::<u64, _>("no")));
        let own = cache.try_get_or_insert_with(&1, || Ok::<_, &str>(7));
        let others = thread.join().unwrap();
        // Each has its own outcome or shares the other's.
        assert!(matches!(own, Ok(7)) || matches!(own, Err(LoadError::Failed(_))));
        assert!(matches!(others, Ok(7)) || matches!(others, Err(LoadError::Failed(_))));
        assert_eq!(cache.get_or_insert_with(&1, || 7).unwrap(), 7);
    });
}

#[test]
fn what_is_stored_by_hand_outlasts_a_load() {
    check(|| {
        let cache = cache(2, 1);
        let other = cache.clone();
        let thread = thread::spawn(move || other.get_or_insert_with(&1, || 10).unwrap());
        assert!(cache.insert(1, 20));
        assert!([10, 20].contains(&thread.join().unwrap()));
        assert_eq!(cache.get(&1), Some(20));
    });
}

#[test]
fn a_value_loaded_before_its_invalidation_is_not_kept() {
    check(|| {
        let (cache, truth) = (cache(2, 1), Arc::new(AtomicU64::new(1)));
        let (other, read) = (cache.clone(), truth.clone());
        let thread = thread::spawn(move || other.get_or_insert_with(&1, || read.load(SeqCst)).unwrap());
        truth.store(2, SeqCst);
        cache.remove(&1);
        thread.join().unwrap();
        assert_ne!(cache.get(&1), Some(1), "stale after the invalidation");
    });
}

#[test]
fn no_update_is_lost() {
    check(|| {
        let cache = cache(2, 1);
        let other = cache.clone();
        let add = |cache: &Cache<u64, u64>| cache.upsert(&1, |seen| seen.unwrap_or(0) + 1).unwrap();
        let thread = thread::spawn(move || add(&other));
        let own = add(&cache);
        let others = thread.join().unwrap();
        assert_eq!(own + others, 3);
        assert_eq!(cache.get(&1), Some(2));
    });
}

#[test]
fn as_many_as_fit_are_kept_and_the_sum_is_never_above_the_capacity() {
    check(|| {
        let cache = cache(2, 2);
        let other = cache.clone();
        let thread = thread::spawn(move || {
            assert!(other.insert(1, 1));
            assert!(other.weight() <= 2);
        });
        assert!(cache.insert(2, 2));
        thread.join().unwrap();
        assert_eq!((cache.get(&1), cache.get(&2), cache.weight()), (Some(1), Some(2), 2));
        cache.validate();
    });
}

#[test]
fn two_who_each_need_all_the_room_both_get_it_in_turn() {
    check(|| {
        let builder = Cache::builder(2).policy(Policy::Lru).shards(2).seed(1);
        let cache = builder.weigher(|_, weight: &u64| *weight).build().unwrap();
        cache.insert(3, 1);
        let other: Cache<u64, u64> = cache.clone();
        let thread = thread::spawn(move || assert!(other.insert(1, 2)));
        assert!(cache.insert(2, 2));
        assert!(cache.weight() <= 2);
        thread.join().unwrap();
        assert_eq!((cache.len(), cache.weight()), (1, 2));
        cache.validate();
    });
}

/// Once failed: a reservation that had read the old limit went through after the resize had counted.
#[test]
fn a_resize_and_an_insertion_end_within_the_new_capacity() {
    check(|| {
        let cache = cache(2, 2);
        cache.insert(1, 1);
        let other = cache.clone();
        let thread = thread::spawn(move || other.insert(2, 2));
        cache.resize(1).unwrap();
        assert!(cache.weight() <= 1);
        thread.join().unwrap();
        assert!(cache.weight() <= 1 && cache.len() <= 1);
        cache.validate();
    });
}

#[test]
fn the_dead_are_never_seen_and_their_successor_is_not_buried_with_them() {
    check(|| {
        let clock = ManualClock::new();
        let builder = Cache::builder(2).policy(Policy::Lru).shards(1).seed(1).clock(clock.clone());
        let cache: Cache<u64, u64> = builder.build().unwrap();
        let ttl = Duration::from_secs(1);
        cache.insert_with_ttl(1, 1, ttl);
        let other = cache.clone();
        let thread = thread::spawn(move || {
            clock.advance(ttl);
            assert_ne!(other.get(&1), Some(1), "a dead entry was returned");
        });
        assert!(cache.insert_with_ttl(1, 2, ttl * 2));
        thread.join().unwrap();
        assert_eq!(cache.get(&1), Some(2));
        assert_eq!(cache.len(), 1);
        cache.validate();
    });
}
