//! Many threads: no one sees a value older than one already stored, a weight above the capacity, or an entry twice.

use cache::{Cache, Cause, Policy};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

const KEYS: u64 = 64;
const ROUNDS: u64 = 3_000;

/// A small generator, so that each thread does something else and each run the same.
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Each key has one writer, whose serials rise. A reader notes the last serial stored before it asks: it may get a
/// newer one or nothing (evicted, removed), never an older one, and none that was not yet begun.
#[test]
fn reads_never_go_back_in_time() {
    for policy in Policy::ALL {
        let cache = Cache::<u64, u64>::builder(40).policy(*policy).shards(4).build().unwrap();
        let begun: Vec<_> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
        let stored: Vec<_> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
        thread::scope(|scope| {
            for writer in 0..4 {
                let (cache, begun, stored) = (&cache, &begun, &stored);
                scope.spawn(move || {
                    let mut draw = Draw(writer);
                    for serial in 1..=ROUNDS {
                        let key = draw.below(KEYS / 4) * 4 + writer;
                        begun[key as usize].store(serial, Ordering::SeqCst);
                        match draw.below(8) {
                            0 => drop(cache.remove(&key).is_some()),
                            1 => assert_eq!(cache.upsert(&key, |_| serial).unwrap(), serial),
                            _ => assert!(cache.insert(key, serial)),
                        }
                        stored[key as usize].store(serial, Ordering::SeqCst);
                    }
                });
            }
            for reader in 4..8 {
                let (cache, begun, stored) = (&cache, &begun, &stored);
                scope.spawn(move || {
                    let mut draw = Draw(reader);
                    for _ in 0..ROUNDS * 2 {
                        let key = draw.below(KEYS);
                        let before = stored[key as usize].load(Ordering::SeqCst);
                        if let Some(seen) = cache.get(&key) {
                            let newest = begun[key as usize].load(Ordering::SeqCst);
                            assert!(
                                before <= seen && seen <= newest,
                                "{policy}: {seen} not in {before}..={newest}"
                            );
                        }
                    }
                });
            }
        });
        cache.validate();
    }
}

#[test]
fn weight_stays_within_capacity_and_every_entry_leaves_once() {
    for policy in Policy::ALL {
        let departed = std::sync::Arc::new(AtomicU64::new(0));
        let ears = std::sync::Arc::clone(&departed);
        let cache = Cache::<u64, u64>::builder(1_000)
            .policy(*policy)
            .shards(8)
            .weigher(|_, weight| *weight)
            .on_evict(move |_, _, _: Cause| {
                ears.fetch_add(1, Ordering::Relaxed);
            })
            .build()
            .unwrap();
        let (inserted, is_over) = (AtomicU64::new(0), AtomicBool::new(false));
        thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    let (weight, stats) = (cache.weight(), cache.stats());
                    assert!(weight <= 1_000 && stats.weight <= 1_000, "{policy}: {weight} {}", stats.weight);
                    thread::yield_now();
                }
            });
            let workers: Vec<_> = (0..6)
                .map(|worker| {
                    let (cache, inserted) = (&cache, &inserted);
                    scope.spawn(move || {
                        let mut draw = Draw(worker);
                        for _ in 0..ROUNDS {
                            let key = draw.below(300);
                            match draw.below(100) {
                                // Now and then one that needs the whole cache, or more than it.
                                0 => drop(cache.insert(key, 1_000)),
                                1 => drop(cache.insert(key, 1_001)),
                                2..80 => drop(cache.insert(key, draw.below(20))),
                                _ => {
                                    cache.remove(&key);
                                    continue;
                                }
                            }
                            inserted.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            workers.into_iter().for_each(|worker| worker.join().unwrap());
            is_over.store(true, Ordering::Relaxed);
            watcher.join().unwrap();
        });
        cache.validate();
        let live = cache.len() as u64;
        assert_eq!(
            inserted.into_inner(),
            departed.load(Ordering::Relaxed) + live,
            "{policy}: an entry is lost or doubled"
        );
    }
}

#[test]
fn resizing_under_load_ends_within_the_new_capacity() {
    let cache = Cache::<u64, u64>::builder(500).shards(4).build().unwrap();
    thread::scope(|scope| {
        for worker in 0..4 {
            let cache = &cache;
            scope.spawn(move || {
                let mut draw = Draw(worker);
                (0..ROUNDS * 3).for_each(|_| assert!(cache.insert(draw.below(2_000), 0)));
            });
        }
        for capacity in [10, 400, 1, 300, 20] {
            cache.resize(capacity).unwrap();
            assert_eq!(cache.capacity(), capacity);
            assert!(cache.weight() <= capacity);
        }
    });
    cache.validate();
    assert!(cache.len() <= 20);
}
