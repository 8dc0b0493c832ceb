//! Deadlines: exact to the nanosecond, and never much work at once.

use cache::{Cache, Cause, Clock, ManualClock, Policy};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const NANO: Duration = Duration::from_nanos(1);
const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn the_dead_are_seen_by_nothing_from_the_very_nanosecond() {
    let clock = ManualClock::new();
    let cache = Cache::builder(10).ttl(MINUTE).clock(clock.clone()).build().unwrap();
    cache.insert(1, "a");
    clock.advance(MINUTE - NANO);
    assert_eq!((cache.get(&1), cache.iter().count()), (Some("a"), 1));
    clock.advance(NANO);
    assert_eq!(
        (cache.iter().count(), cache.peek(&1), cache.contains(&1), cache.get(&1)),
        (0, None, false, None)
    );
    assert_eq!(cache.stats().expired, 1);
    cache.insert(1, "b");
    clock.advance(MINUTE);
    assert_eq!(cache.remove(&1), None);
    cache.insert(1, "c");
    clock.advance(MINUTE);
    assert_eq!(cache.get_or_insert_with(&1, || "d").unwrap(), "d");
    clock.advance(MINUTE);
    assert_eq!(cache.upsert(&1, |old| old.unwrap_or("none")).unwrap(), "none");
}

#[test]
fn a_reinserted_entry_starts_again_and_each_may_have_its_own_time() {
    let clock = ManualClock::new();
    let cache = Cache::builder(10)
        .ttl(MINUTE)
        .lifetime(|key: &u32, _| (*key == 7).then_some(MINUTE * 3))
        .clock(clock.clone())
        .build()
        .unwrap();
    cache.insert(1, ());
    cache.insert(7, ());
    cache.insert_with_ttl(8, (), Duration::MAX);
    assert!(!cache.insert_with_ttl(9, (), Duration::ZERO));
    clock.advance(MINUTE / 2);
    cache.insert(1, ());
    clock.advance(MINUTE / 2);
    assert!(cache.contains(&1), "stored anew half a minute ago");
    clock.advance(MINUTE);
    assert_eq!((cache.contains(&1), cache.contains(&7), cache.contains(&8)), (false, true, true));
    clock.advance(MINUTE * 1_000_000);
    assert_eq!((cache.contains(&7), cache.contains(&8), cache.contains(&9)), (false, true, false));
}

#[test]
fn use_postpones_idle_death_but_not_the_end_of_life() {
    let clock = ManualClock::new();
    let cache = Cache::builder(10).tti(MINUTE).ttl(MINUTE * 3).clock(clock.clone()).build().unwrap();
    cache.insert(1, ());
    cache.insert(2, ());
    for _ in 0..5 {
        clock.advance(MINUTE / 2);
        assert!(cache.get(&1).is_some());
    }
    assert!(!cache.contains(&2));
    clock.advance(MINUTE / 2);
    assert!(!cache.contains(&1), "three minutes are three minutes");
}

/// The work of one operation is counted, not timed: so many departures at most, however many have died.
#[test]
fn thirty_thousand_deaths_at_one_instant_are_carried_off_a_few_at_a_time() {
    for policy in Policy::ALL {
        let (clock, departed) = (ManualClock::new(), Arc::new(AtomicU32::new(0)));
        let ears = Arc::clone(&departed);
        let cache = Cache::<u32, u32>::builder(30_000)
            .policy(*policy)
            .ttl(MINUTE)
            .clock(clock.clone())
            .on_evict(move |_, _, cause| {
                // Shards differ by chance: some of the last to come made room.
                ears.fetch_add(u32::from(cause == Cause::Expired), Ordering::Relaxed);
            })
            .build()
            .unwrap();
        (0..30_000).for_each(|key| assert!(cache.insert(key, key)));
        clock.advance(MINUTE * 2);
        let within = |most: u32| assert!(departed.swap(0, Ordering::Relaxed) <= most, "{policy}");
        for turn in 0..1_500 {
            let (known, new) = (turn * 20, 30_000 + turn * 4);
            assert_eq!(cache.get(&known), None);
            within(1);
            assert!(!cache.contains(&(known + 1)));
            within(1);
            assert_eq!(cache.remove(&(known + 2)), None);
            within(1);
            cache.insert(new, 0);
            within(8);
            // The old value under the key is dead, too.
            cache.insert(known + 3, 0);
            within(8 + 1);
            assert_eq!(cache.get_or_insert_with(&(known + 4), || 1).unwrap(), 1);
            within(1 + 8);
            assert_eq!(cache.upsert(&(new + 1), |old| old.unwrap_or(2)).unwrap(), 2);
            within(8);
        }
        cache.validate();
        assert_eq!(cache.len(), 6_000, "{policy}: and all are gone before long");
    }
}

#[test]
fn without_deadlines_the_clock_is_never_read() {
    struct Forbidden;
    impl Clock for Forbidden {
        fn now(&self) -> Duration {
            panic!("the clock was read")
        }
    }
    let cache = Cache::builder(10).clock(Forbidden).build().unwrap();
    (0..100).for_each(|key| assert!(cache.insert(key, key)));
    assert_eq!((cache.get(&99), cache.remove(&99)), (Some(99), Some(99)));
    cache.upsert(&1, |_| 1).unwrap();
    cache.get_or_insert_with(&2, || 2).unwrap();
}
