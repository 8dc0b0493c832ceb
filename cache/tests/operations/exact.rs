//! A twin that knows exactly what LRU and LFU must do: a plain `Vec`, searched from end to end.

use super::{CAPACITY, Event, Op, Setup, Subject, TICK, Value};
use cache::{Cause, Compute, Policy};

struct Entry {
    key: u8,
    value: Value,
    weight: u64,
    count: u64,
    touched: u64,
    end: u64,
    deadline: u64,
}

pub(crate) struct Twin {
    setup: Setup,
    entries: Vec<Entry>,
    capacity: u64,
    now: u64,
    steps: u64,
    uses: u64,
    events: Vec<Event>,
}

/// Runs the operations on the cache (one shard) and the twin; panics at the first difference.
pub(crate) fn run(setup: Setup, ops: &[Op]) {
    let setup = Setup { shards: 1, ..setup };
    let (subject, mut twin) = (Subject::new(setup), Twin::new(setup));
    for (step, op) in ops.iter().enumerate() {
        twin.step(&subject, op.clone(), step as u32);
        subject.cache.validate();
        assert_eq!(subject.content(), twin.content(), "after {op:?}");
        assert_eq!(subject.heard(), twin.events(), "events of {op:?}");
        let (stats, weight) = (subject.cache.stats(), twin.weight());
        assert_eq!((subject.cache.weight(), stats.weight), (weight, weight));
        assert_eq!((subject.cache.len(), stats.len), (twin.entries.len(), twin.entries.len() as u64));
    }
}

impl Twin {
    fn new(setup: Setup) -> Self {
        Self { setup, entries: Vec::new(), capacity: CAPACITY, now: 0, steps: 0, uses: 0, events: Vec::new() }
    }

    fn step(&mut self, subject: &Subject, op: Op, serial: u32) {
        self.steps += 1;
        let cache = &subject.cache;
        match op {
            Op::Get(key) => assert_eq!(cache.get(&key), self.get(key)),
            Op::Peek(key) => assert_eq!(cache.peek(&key), self.find(key).map(|at| self.entries[at].value)),
            Op::Contains(key) => assert_eq!(cache.contains(&key), self.find(key).is_some()),
            Op::Insert { key, weight } => {
                let value = Value { serial, weight };
                assert_eq!(cache.insert(key, value), self.insert(key, value, self.setup.ttl_ticks));
            }
            Op::InsertWithTtl { key, weight, ticks } => {
                let value = Value { serial, weight };
                let stored = cache.insert_with_ttl(key, value, TICK * u32::from(ticks));
                assert_eq!(stored, self.insert(key, value, Some(u32::from(ticks))));
            }
            Op::Remove(key) => {
                let removed = self.find(key).map(|at| self.depart(at, Cause::Explicit));
                assert_eq!(cache.remove(&key), removed);
            }
            Op::Compute { key, decision } => self.compute(subject, key, &decision, serial),
            Op::Load { key, weight } => {
                self.load(subject, key, weight.map(|weight| Value { serial, weight }));
            }
            Op::RetainBelow(bound) => {
                cache.retain(|key, _| *key < bound);
                while let Some(at) = self.entries.iter().position(|entry| entry.key >= bound) {
                    self.depart(at, Cause::Explicit);
                }
            }
            Op::Clear => {
                cache.clear();
                self.uses = 0;
                while !self.entries.is_empty() {
                    self.depart(0, Cause::Explicit);
                }
            }
            Op::Resize(capacity) => {
                cache.resize(capacity).unwrap();
                self.capacity = capacity;
                self.make_room(0, None);
                assert_eq!(cache.capacity(), capacity);
            }
            Op::Advance { ticks } => {
                subject.clock.advance(TICK * u32::from(ticks));
                cache.maintain();
                self.now += u64::from(ticks);
                while let Some(at) = self.entries.iter().position(|entry| entry.deadline <= self.now) {
                    self.depart(at, Cause::Expired);
                }
            }
            Op::Iter => assert_eq!(subject.content(), self.content()),
        }
    }

    fn compute(&mut self, subject: &Subject, key: u8, decision: &Compute<u8>, serial: u32) {
        let present = self.find(key).map(|at| self.entries[at].value);
        let computed = subject.compute(key, decision, serial, present);
        let after = match *decision {
            Compute::Put(weight) => {
                let value = Value { serial, weight };
                self.insert(key, value, self.setup.ttl_ticks).then_some(value)
            }
            Compute::Remove => {
                self.find(key).map(|at| self.depart(at, Cause::Explicit));
                None
            }
            _ => present,
        };
        assert_eq!(computed, after);
    }

    fn load(&mut self, subject: &Subject, key: u8, value: Option<Value>) {
        let loaded = subject.load(key, value);
        if let Some(present) = self.get(key) {
            assert_eq!(loaded, Some(present));
            return;
        }
        assert_eq!(loaded, value, "told even if it is not kept");
        if let Some(value) = value {
            self.insert(key, value, self.setup.ttl_ticks);
        }
    }

    fn get(&mut self, key: u8) -> Option<Value> {
        let at = self.find(key)?;
        self.touch(at);
        let value = self.entries[at].value;
        self.used();
        Some(value)
    }

    fn insert(&mut self, key: u8, value: Value, ttl: Option<u32>) -> bool {
        let weight = self.setup.weight(value.weight);
        let present = self.find(key);
        if weight > self.capacity || ttl == Some(0) {
            if let Some(at) = present {
                self.depart(at, Cause::Replaced);
            }
            self.events.push((key, value, Cause::Rejected));
            return false;
        }
        let end = ttl.map_or(u64::MAX, |ticks| self.now + u64::from(ticks));
        if let Some(at) = present {
            let old = self.entries[at].weight;
            if weight > old {
                self.make_room(weight - old, Some(key));
            }
            let at = self.find(key).unwrap();
            self.events.push((key, self.entries[at].value, Cause::Replaced));
            let entry = &mut self.entries[at];
            (entry.value, entry.weight, entry.end, entry.deadline) = (value, weight, end, 0);
            self.touch(at);
            self.used();
        } else {
            self.make_room(weight, None);
            self.entries.push(Entry { key, value, weight, count: 0, touched: 0, end, deadline: 0 });
            self.touch(self.entries.len() - 1);
        }
        true
    }

    fn make_room(&mut self, weight: u64, keep: Option<u8>) {
        while self.weight() + weight > self.capacity {
            let others = (0..self.entries.len()).filter(|at| Some(self.entries[*at].key) != keep);
            let rank = |at: &usize| {
                let entry = &self.entries[*at];
                (if self.setup.policy == Policy::Lfu { entry.count } else { 0 }, entry.touched)
            };
            let victim = others.min_by_key(rank).expect("room can always be made");
            self.depart(victim, Cause::Size);
        }
    }

    fn touch(&mut self, at: usize) {
        let idle = self.setup.tti_ticks.map_or(u64::MAX, |ticks| self.now + u64::from(ticks));
        let entry = &mut self.entries[at];
        entry.count += 1;
        entry.touched = self.steps;
        entry.deadline = entry.end.min(idle);
    }

    /// Counts a hit or an overwriting; at times halves all counts. Those that become equal leave in the old order.
    fn used(&mut self) {
        self.uses += 1;
        let halves = self.setup.policy == Policy::Lfu;
        if !halves || self.setup.halve_every.is_none_or(|every| self.uses < every) {
            return;
        }
        self.uses = 0;
        self.entries.sort_by_key(|entry| (entry.count, entry.touched));
        for (place, entry) in self.entries.iter_mut().enumerate() {
            entry.count = (entry.count / 2).max(1);
            // Before all that will be touched from now on.
            entry.touched = place as u64;
        }
        self.steps = self.steps.max(self.entries.len() as u64);
    }

    fn depart(&mut self, at: usize, cause: Cause) -> Value {
        let entry = self.entries.remove(at);
        self.events.push((entry.key, entry.value, cause));
        entry.value
    }

    fn find(&self, key: u8) -> Option<usize> {
        self.entries.iter().position(|entry| entry.key == key)
    }

    fn weight(&self) -> u64 {
        self.entries.iter().map(|entry| entry.weight).sum()
    }

    fn content(&self) -> Vec<(u8, Value)> {
        let mut content: Vec<_> = self.entries.iter().map(|entry| (entry.key, entry.value)).collect();
        content.sort_unstable();
        content
    }

    fn events(&mut self) -> Vec<Event> {
        let mut events = std::mem::take(&mut self.events);
        events.sort_by_key(|(key, value, cause)| (*key, *value, *cause as u8));
        events
    }
}
