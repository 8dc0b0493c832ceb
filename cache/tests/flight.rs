//! One load for a key: shared by those who wait, handed over when its leader fails, never in its own way.

use cache::{Cache, Compute, LoadError, ManualClock};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

type Numbers = Cache<u32, u32>;

fn numbers() -> Numbers {
    Cache::builder(100).build().unwrap()
}

/// Starts a load that ends when told to, and returns once it is under way.
fn slow_load(cache: &Numbers, key: u32) -> (mpsc::Sender<Result<u32, String>>, thread::JoinHandle<bool>) {
    let (finish, finished) = mpsc::channel();
    let (started, has_started) = mpsc::channel();
    let cache = cache.clone();
    let leader = thread::spawn(move || {
        let load = || {
            started.send(()).unwrap();
            finished.recv().unwrap()
        };
        cache.try_get_or_insert_with(&key, load).is_ok()
    });
    has_started.recv().unwrap();
    (finish, leader)
}

#[test]
fn eight_threads_share_one_load() {
    for _ in 0..50 {
        let (cache, loads, barrier) = (numbers(), AtomicU32::new(0), Barrier::new(8));
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    barrier.wait();
                    let load = || {
                        thread::yield_now();
                        loads.fetch_add(1, Ordering::Relaxed) + 7
                    };
                    assert_eq!(cache.get_or_insert_with(&1, load).unwrap(), 7);
                });
            }
        });
        assert_eq!(loads.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn an_error_is_shared_with_those_who_wait_and_not_kept() {
    let cache = numbers();
    let (finish, leader) = slow_load(&cache, 1);
    let mut waiting = pin!(cache.try_get_or_insert_async(&1, async { Err::<u32, _>("mine".to_owned()) }));
    assert!(poll(waiting.as_mut()).is_pending());
    finish.send(Err("theirs".to_owned())).unwrap();
    assert!(!leader.join().unwrap());
    match poll(waiting) {
        Poll::Ready(Err(LoadError::Failed(error))) => assert_eq!(*error, "theirs"),
        other => panic!("{other:?}"),
    }
    assert_eq!(cache.try_get_or_insert_with(&1, || Ok::<_, String>(5)).unwrap(), 5);
}

#[test]
fn an_error_of_a_type_the_waiter_does_not_know_is_its_own_to_find_out() {
    let cache = numbers();
    let (finish, leader) = slow_load(&cache, 1);
    let mut waiting = pin!(cache.try_get_or_insert_async(&1, async { Err::<u32, _>(404) }));
    assert!(poll(waiting.as_mut()).is_pending());
    finish.send(Err("theirs".to_owned())).unwrap();
    leader.join().unwrap();
    assert!(matches!(poll(waiting), Poll::Ready(Err(LoadError::Failed(error))) if *error == 404));
}

#[test]
fn errors_are_kept_for_the_negative_time_to_live() {
    let clock = ManualClock::new();
    let cache: Numbers =
        Cache::builder(10).negative_ttl(Duration::from_secs(5)).clock(clock.clone()).build().unwrap();
    let loads = AtomicU32::new(0);
    let ask = || {
        cache.try_get_or_insert_with(&1, || {
            loads.fetch_add(1, Ordering::Relaxed);
            Err::<u32, _>("down")
        })
    };
    assert!(ask().is_err() && ask().is_err());
    assert_eq!(loads.load(Ordering::Relaxed), 1);
    clock.advance(Duration::from_secs(5));
    assert!(ask().is_err());
    assert_eq!(loads.load(Ordering::Relaxed), 2);
    cache.insert(1, 9);
    assert_eq!(ask().unwrap(), 9, "a value stored by hand ends it");
    cache.remove(&1);
    for key in 0..3000 {
        assert!(cache.try_get_or_insert_with(&key, || Err::<u32, _>("down")).is_err());
    }
}

#[test]
fn a_panic_reaches_its_caller_only_and_a_waiter_loads() {
    let cache = numbers();
    let (started, has_started) = mpsc::channel();
    let (go, gone) = mpsc::channel::<()>();
    thread::scope(|scope| {
        let leading = cache.clone();
        let leader = scope.spawn(move || {
            let load = || -> u32 {
                started.send(()).unwrap();
                gone.recv().unwrap();
                panic!("as planned")
            };
            catch_unwind(AssertUnwindSafe(|| leading.get_or_insert_with(&1, load))).is_err()
        });
        has_started.recv().unwrap();
        let loads = AtomicU32::new(0);
        let load = || loads.fetch_add(1, Ordering::Relaxed);
        let (one, other) = (cache.clone(), cache.clone());
        let mut one = pin!(one.get_or_insert_async(&1, async { load() }));
        let mut other = pin!(other.get_or_insert_async(&1, async { load() }));
        assert!(poll(one.as_mut()).is_pending() && poll(other.as_mut()).is_pending());
        go.send(()).unwrap();
        assert!(leader.join().unwrap());
        assert!(matches!(poll(one), Poll::Ready(Ok(0))));
        assert!(matches!(poll(other), Poll::Ready(Ok(0))));
        assert_eq!(loads.load(Ordering::Relaxed), 1);
    });
}

#[test]
fn a_dropped_future_hands_over_to_one_who_waits() {
    let cache = numbers();
    let mut leader = Box::pin(cache.get_or_insert_async(&1, std::future::pending()));
    assert!(poll(leader.as_mut()).is_pending());
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut waiting = pin!(cache.get_or_insert_async(&1, async { 5 }));
    let mut given_up = Box::pin(cache.get_or_insert_async(&1, async { 6 }));
    assert!(waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(given_up.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(given_up);
    drop(leader);
    assert_eq!(bell.rung.load(Ordering::Relaxed), 1, "only who still waits is woken");
    assert!(matches!(poll(waiting), Poll::Ready(Ok(5))));
    assert_eq!(cache.get(&1), Some(5));
}

#[test]
fn asking_for_its_own_key_is_an_error_at_once_and_other_keys_are_free() {
    let cache = numbers();
    let loaded = cache.get_or_insert_with(&1, || {
        assert!(matches!(cache.get_or_insert_with(&1, || 0), Err(LoadError::Reentrant)));
        assert!(matches!(cache.compute(&1, |_| Compute::Keep), Err(LoadError::Reentrant)));
        cache.insert(3, 3);
        cache.get_or_insert_with(&2, || cache.get(&3).unwrap() + 1).unwrap()
    });
    assert_eq!((loaded.unwrap(), cache.get(&1), cache.get(&2)), (4, Some(4), Some(4)));

    let mut asynchronous = pin!(cache.get_or_insert_async(&10, async {
        assert!(matches!(cache.get_or_insert_async(&10, async { 0 }).await, Err(LoadError::Reentrant)));
        assert!(matches!(cache.get_or_insert_with(&10, || 0), Err(LoadError::Reentrant)));
        cache.get_or_insert_async(&11, async { 5 }).await.unwrap()
    }));
    assert!(matches!(poll(asynchronous.as_mut()), Poll::Ready(Ok(5))));
    assert!(matches!(
        cache.compute(&20, |_| Compute::Put(cache.upsert(&20, |_| 1).map_or(2, |_| 3))),
        Ok(Some(2))
    ));
}

#[test]
fn what_is_done_by_hand_during_a_load_stays_done() {
    let cache = numbers();
    for by_hand in [
        Numbers::clear as fn(&Numbers),
        |cache| cache.retain(|_, _| true),
        |cache| assert_eq!(cache.remove(&1), None),
    ] {
        let (finish, leader) = slow_load(&cache, 1);
        by_hand(&cache);
        finish.send(Ok(1)).unwrap();
        assert!(leader.join().unwrap(), "the caller gets its value");
        assert_eq!(cache.get(&1), None, "but a value from before the removal is not kept");
    }
    let (finish, leader) = slow_load(&cache, 1);
    cache.insert(1, 2);
    finish.send(Ok(1)).unwrap();
    leader.join().unwrap();
    assert_eq!(cache.get(&1), Some(2));
}

#[test]
fn nobody_waits_longer_than_the_load_timeout() {
    let clock = ManualClock::new();
    let builder = Cache::builder(10).load_timeout(Duration::from_millis(20)).clock(clock.clone());
    let cache: Numbers = builder.build().unwrap();
    let (finish, leader) = slow_load(&cache, 1);
    let since = Instant::now();
    assert!(matches!(cache.get_or_insert_with(&1, || 0), Err(LoadError::TimedOut)));
    assert!(since.elapsed() >= Duration::from_millis(20));
    clock.advance(Duration::from_millis(20));
    assert_eq!(cache.get_or_insert_with(&1, || 8).unwrap(), 8, "the old flight is given up");
    finish.send(Ok(1)).unwrap();
    assert!(leader.join().unwrap());
    assert_eq!(cache.get(&1), Some(8), "and its late value is not kept");
}

#[test]
fn a_too_heavy_value_reaches_all_who_asked() {
    let cache = Cache::<u32, u32>::builder(10).weigher(|_, weight| u64::from(*weight)).build().unwrap();
    assert_eq!(cache.get_or_insert_with(&1, || 11).unwrap(), 11);
    assert_eq!((cache.get(&1), cache.stats().rejected), (None, 1));
}

#[test]
fn no_update_is_lost() {
    let cache = numbers();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..500 {
                    cache.upsert(&1, |old| old.unwrap_or(0) + 1).unwrap();
                }
            });
        }
    });
    assert_eq!(cache.get(&1), Some(4000));
}

#[test]
fn a_computation_overtaken_by_hand_is_asked_again() {
    let cache = numbers();
    cache.insert(1, 1);
    let mut seen = Vec::new();
    let after = cache.compute(&1, |present| {
        seen.push(present);
        if seen.len() == 1 {
            cache.insert(1, 10);
        }
        Compute::Put(present.unwrap_or(0) + 1)
    });
    assert_eq!((after.unwrap(), seen), (Some(11), vec![Some(1), Some(10)]));
    assert_eq!(cache.compute(&1, |_| Compute::Remove).unwrap(), None);
    assert_eq!(cache.get(&1), None);
}

#[derive(Default)]
struct Bell {
    rung: AtomicU32,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.fetch_add(1, Ordering::Relaxed);
    }
}

fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
