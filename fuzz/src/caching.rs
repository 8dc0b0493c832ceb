//! Caches of every policy against naive twins, and single flight, stepped by hand.

use std::{
    cell::Cell,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use cache::{Cache, LoadError, Policy};
use operations::{Op, Setup, exact, follower};

#[path = "../../cache/tests/operations/mod.rs"]
mod operations;

/// Operations on a cache of any policy.
pub fn cache_ops(data: &[u8]) {
    let Some((&[policy, flags, ttl, tti], ops)) = data.split_first_chunk() else { return };
    let setup = Setup {
        policy: Policy::ALL[usize::from(policy) % Policy::ALL.len()],
        weighed: flags & 1 != 0,
        ttl_ticks: (flags & 2 != 0).then_some(u32::from(ttl % 100) + 1),
        tti_ticks: (flags & 4 != 0).then_some(u32::from(tti % 100) + 1),
        shards: 1 << (flags >> 3 & 3),
        halve_every: (flags & 32 != 0).then_some(u64::from(flags >> 6) * 9 + 1),
    };
    let ops = Op::decode_all(ops);
    if matches!(setup.policy, Policy::Lru | Policy::Lfu) {
        exact::run(setup, &ops);
    }
    follower::run(setup, &ops);
}

/// Callers of a few keys, begun, answered, failed and given up in any order: of one key one load runs at a time, nobody
/// gets a value that no load of his key made, and when all loads have ended nobody waits.
pub fn single_flight(data: &[u8]) {
    // As small as it gets with room for every key: a new one for each input is most of the work.
    let cache = Cache::<u8, u64>::builder(64).shards(1).build().expect("a capacity");
    let runs: [Cell<u32>; KEYS.len()] = Default::default();
    let mut callers: Vec<Caller<'_>> = Vec::new();
    for (turn, step) in data.chunks_exact(2).take(200).enumerate() {
        let nth = usize::from(step[1]) % callers.len().max(1);
        match step[0] % 8 {
            0..=2 => callers.push(Caller::new(&cache, &runs, usize::from(step[1]) % KEYS.len(), turn as u64)),
            3 | 4 => callers.iter_mut().skip(nth).take(1).for_each(Caller::step),
            5 => callers.iter_mut().skip(nth).take(1).for_each(|caller| caller.answer(true)),
            6 => callers.iter_mut().skip(nth).take(1).for_each(|caller| caller.answer(false)),
            _ if nth < callers.len() => drop(callers.swap_remove(nth)),
            _ => {}
        }
    }
    // Each round ends at least one load, and with it a caller.
    for _ in 0..=callers.len() {
        callers.iter_mut().for_each(|caller| caller.answer(true));
    }
    assert!(callers.iter().all(|caller| caller.waiting.is_none()), "somebody waits for ever");
    assert!(runs.iter().all(|run| run.get() == 0));
}

type Answer = Result<u64, LoadError<&'static str>>;

/// One who asks for a key.
struct Caller<'a> {
    waiting: Option<Pin<Box<dyn Future<Output = Answer> + 'a>>>,
    key: usize,
    /// What its own load ends with, once it may.
    end: Rc<Cell<Option<Result<u64, &'static str>>>>,
    value: u64,
}

impl<'a> Caller<'a> {
    /// Values name their key, so that a wrong one is seen.
    fn new(cache: &'a Cache<u8, u64>, runs: &'a [Cell<u32>], key: usize, turn: u64) -> Self {
        let end = Rc::new(Cell::new(None));
        let ending = Rc::clone(&end);
        let load = async move {
            let _running = Running::begin(&runs[key]);
            poll_fn(|_| ending.get().map_or(Poll::Pending, Poll::Ready)).await
        };
        let waiting = Box::pin(cache.try_get_or_insert_async(&KEYS[key], load));
        let mut caller =
            Self { waiting: Some(waiting), key, end, value: turn * KEYS.len() as u64 + key as u64 };
        caller.step();
        caller
    }

    fn answer(&mut self, is_good: bool) {
        self.end.set(Some(if is_good { Ok(self.value) } else { Err("failed") }));
        self.step();
    }

    fn step(&mut self) {
        let Some(waiting) = &mut self.waiting else { return };
        if let Poll::Ready(answer) = waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            self.waiting = None;
            match answer {
                Ok(value) => assert_eq!(value % KEYS.len() as u64, self.key as u64, "another key's value"),
                Err(LoadError::Failed(_)) => {}
                Err(other) => panic!("{other}"),
            }
        }
    }
}

/// A load under way.
struct Running<'a>(&'a Cell<u32>);

impl<'a> Running<'a> {
    fn begin(runs: &'a Cell<u32>) -> Self {
        assert_eq!(runs.replace(1), 0, "two loads of one key at once");
        Self(runs)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.set(0);
    }
}

static KEYS: [u8; 3] = [0, 1, 2];
