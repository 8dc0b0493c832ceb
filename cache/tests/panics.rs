//! Panics in the user's code: no lock stays held, nothing is dropped twice or forgotten, and the cache goes on.

use cache::{Cache, Cause, Policy};
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

/// Counts the live; panics when the fuse has burnt down.
struct Bomb {
    id: u32,
    live: Arc<AtomicI64>,
    fuse: Arc<AtomicU32>,
}

impl Bomb {
    fn new(id: u32, live: &Arc<AtomicI64>, fuse: &Arc<AtomicU32>) -> Self {
        live.fetch_add(1, Ordering::Relaxed);
        Self { id, live: Arc::clone(live), fuse: Arc::clone(fuse) }
    }
}

fn burn(fuse: &AtomicU32) {
    if fuse.fetch_sub(1, Ordering::Relaxed) == 1 {
        panic!("as planned");
    }
}

impl Clone for Bomb {
    fn clone(&self) -> Self {
        burn(&self.fuse);
        Self::new(self.id, &self.live, &self.fuse)
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        self.live.fetch_sub(1, Ordering::Relaxed);
    }
}

impl PartialEq for Bomb {
    fn eq(&self, other: &Self) -> bool {
        burn(&self.fuse);
        self.id == other.id
    }
}

impl Eq for Bomb {}

impl Hash for Bomb {
    fn hash<H: Hasher>(&self, state: &mut H) {
        burn(&self.fuse);
        self.id.hash(state);
    }
}

#[test]
fn nothing_leaks_and_nothing_is_dropped_twice() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload().downcast_ref::<&str>() != Some(&"as planned") {
            usual(panic);
        }
    }));
    for policy in Policy::ALL {
        let (live, fuse, told) =
            (Arc::default(), Arc::new(AtomicU32::new(u32::MAX)), Arc::new(AtomicU32::new(0)));
        let (weigher_fuse, listener_fuse, ears) = (Arc::clone(&fuse), Arc::clone(&fuse), Arc::clone(&told));
        let cache = Cache::<Bomb, Bomb>::builder(20)
            .policy(*policy)
            .shards(2)
            .ttl(Duration::from_secs(3600))
            .weigher(move |_, value: &Bomb| {
                burn(&weigher_fuse);
                u64::from(value.id % 4)
            })
            .on_evict(move |_, _, _: Cause| {
                ears.fetch_add(1, Ordering::Relaxed);
                burn(&listener_fuse);
            })
            .build()
            .unwrap();
        let (mut panics, mut turn) = (0, 0_u32);
        for length in (1..60).cycle().take(3_000) {
            turn += 1;
            fuse.store(length, Ordering::Relaxed);
            let bomb = |id| Bomb::new(id, &live, &fuse);
            let key = turn.wrapping_mul(2_654_435_761) % 40;
            let outcome = catch_unwind(AssertUnwindSafe(|| match turn % 7 {
                0 => drop(cache.get(&bomb(key))),
                1 => drop(cache.remove(&bomb(key))),
                2 => drop(cache.get_or_insert_with(&bomb(key), || {
                    burn(&fuse);
                    bomb(key)
                })),
                3 => drop(cache.upsert(&bomb(key), |_| bomb(key + 1))),
                4 => cache.retain(|key, _| {
                    burn(&fuse);
                    key.id % 11 != turn % 11
                }),
                _ => drop(cache.insert(bomb(key), bomb(key))),
            }));
            panics += u32::from(outcome.is_err());
            fuse.store(u32::MAX, Ordering::Relaxed);
            cache.validate();
            assert_eq!(live.load(Ordering::Relaxed), 2 * cache.len() as i64, "{policy}, turn {turn}");
            let weight: u64 = cache.iter().map(|(_, value)| u64::from(value.id % 4)).sum();
            assert_eq!(weight, cache.weight(), "{policy}: reserved weight was lost");
        }
        assert!(panics > 100, "{policy}: only {panics} panics");
        let stats = cache.stats();
        let departed: u64 = Cause::ALL.iter().map(|cause| stats.departed(*cause)).sum();
        assert_eq!(u64::from(told.load(Ordering::Relaxed)), departed, "{policy}: the listener missed one");
        drop(cache);
        assert_eq!(live.load(Ordering::Relaxed), 0, "{policy}");
    }
}

/// A value whose drop uses the cache: it would wait for itself if dropped under a lock.
#[test]
fn values_are_dropped_outside_locks() {
    struct Busy(Cache<u32, Arc<Busy>>);
    impl Drop for Busy {
        fn drop(&mut self) {
            assert!(self.0.len() <= 3);
            self.0.remove(&1000);
        }
    }
    let cache = Cache::<u32, Arc<Busy>>::builder(3).policy(Policy::Lru).build().unwrap();
    for key in 0..10 {
        cache.insert(key, Arc::new(Busy(cache.clone())));
    }
    cache.insert(9, Arc::new(Busy(cache.clone())));
    cache.remove(&9);
    cache.retain(|key, _| *key != 8);
    cache.resize(1).unwrap();
    cache.clear();
    assert_eq!(cache.len(), 0);
}

#[test]
fn listeners_may_use_the_cache() {
    let slot: Arc<std::sync::OnceLock<Cache<u32, u32>>> = Arc::default();
    let seen = Arc::clone(&slot);
    let listener = move |key: &u32, _: &u32, cause| {
        if cause == Cause::Size {
            let cache = seen.get().unwrap();
            cache.maintain();
            assert_eq!(cache.get(key), None);
            cache.insert_with_ttl(*key + 100, 0, Duration::ZERO);
        }
    };
    let cache = slot.get_or_init(|| Cache::builder(2).on_evict(listener).build().unwrap());
    (0..50).for_each(|key| assert!(cache.insert(key, key)));
    assert_eq!(cache.len(), 2);
    cache.clear();
}
