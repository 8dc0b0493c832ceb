//! A twin for every policy: it lets the cache choose its victims, and holds it to everything else.
//!
//! It believes the listener: what left is gone, all else must be there. And nothing leaves for lack of room while
//! there is room.

use super::{Op, Setup, Subject, TICK, Value};
use cache::{Cause, Compute};
use std::collections::BTreeMap;

pub(crate) struct Follower {
    setup: Setup,
    entries: BTreeMap<u8, Value>,
}

/// Runs the operations on the cache and the twin; panics at the first difference.
pub(crate) fn run(setup: Setup, ops: &[Op]) {
    let (subject, mut twin) = (Subject::new(setup), Follower { setup, entries: BTreeMap::new() });
    for (step, op) in ops.iter().enumerate() {
        twin.step(&subject, op.clone(), step as u32);
        subject.cache.validate();
        let expected: Vec<_> = twin.entries.iter().map(|(key, value)| (*key, *value)).collect();
        assert_eq!(subject.content(), expected, "after {op:?}");
        assert_eq!((subject.cache.weight(), subject.cache.len()), (twin.weight(), twin.entries.len()));
    }
}

impl Follower {
    fn step(&mut self, subject: &Subject, op: Op, serial: u32) {
        let cache = &subject.cache;
        match op {
            Op::Get(key) => assert_eq!(cache.get(&key), self.entries.get(&key).copied()),
            Op::Peek(key) => assert_eq!(cache.peek(&key), self.entries.get(&key).copied()),
            Op::Contains(key) => assert_eq!(cache.contains(&key), self.entries.contains_key(&key)),
            Op::Insert { key, weight } => {
                let stored = cache.insert(key, Value { serial, weight });
                self.stored(subject, key, Value { serial, weight }, stored);
            }
            Op::InsertWithTtl { key, weight, ticks } => {
                let stored = cache.insert_with_ttl(key, Value { serial, weight }, TICK * u32::from(ticks));
                assert!(!stored || ticks > 0);
                self.stored(subject, key, Value { serial, weight }, stored);
            }
            Op::Remove(key) => {
                let removed = cache.remove(&key);
                assert_eq!(removed, self.entries.get(&key).copied());
                self.follow(subject, &[Cause::Explicit]);
            }
            Op::Compute { key, decision } => self.compute(subject, key, &decision, serial),
            Op::Load { key, weight } => {
                self.load(subject, key, weight.map(|weight| Value { serial, weight }));
            }
            Op::RetainBelow(bound) => {
                cache.retain(|key, _| *key < bound);
                self.follow(subject, &[Cause::Explicit]);
                assert!(self.entries.keys().all(|key| *key < bound));
            }
            Op::Clear => {
                cache.clear();
                self.follow(subject, &[Cause::Explicit]);
                assert!(self.entries.is_empty());
            }
            Op::Resize(capacity) => {
                let fits = self.weight() <= capacity;
                cache.resize(capacity).unwrap();
                self.follow(subject, if fits { &[] } else { &[Cause::Size, Cause::Rejected] });
            }
            Op::Advance { ticks } => {
                subject.clock.advance(TICK * u32::from(ticks));
                cache.maintain();
                self.follow(subject, &[Cause::Expired]);
            }
            Op::Iter => {}
        }
        assert_eq!(subject.heard(), [], "an event nobody caused");
    }

    fn compute(&mut self, subject: &Subject, key: u8, decision: &Compute<u8>, serial: u32) {
        let present = self.entries.get(&key).copied();
        let after = subject.compute(key, decision, serial, present);
        match *decision {
            Compute::Put(weight) => {
                let value = Value { serial, weight };
                assert!(after.is_none_or(|after| after == value));
                self.stored(subject, key, value, after.is_some());
            }
            Compute::Remove => {
                self.follow(subject, &[Cause::Explicit]);
                assert_eq!((after, self.entries.get(&key)), (None, None));
            }
            _ => assert_eq!(after, present),
        }
    }

    fn load(&mut self, subject: &Subject, key: u8, value: Option<Value>) {
        let loaded = subject.load(key, value);
        if let Some(present) = self.entries.get(&key) {
            assert_eq!(loaded, Some(*present));
            return;
        }
        assert_eq!(loaded, value, "told even if it is not kept");
        if let Some(value) = value {
            self.stored(subject, key, value, subject.cache.contains(&key));
        }
    }

    fn stored(&mut self, subject: &Subject, key: u8, value: Value, stored: bool) {
        let (weight, capacity) = (self.setup.weight(value.weight), subject.cache.capacity());
        let others: u64 = self
            .entries
            .iter()
            .filter(|(other, _)| **other != key)
            .map(|(_, v)| self.setup.weight(v.weight))
            .sum();
        if !stored {
            self.follow_new(subject, Some((key, value)), &[Cause::Replaced, Cause::Rejected]);
            self.entries.remove(&key);
            return;
        }
        assert!(weight <= capacity, "{weight} stored in {capacity}");
        let fits = others + weight <= capacity;
        let allowed: &[_] =
            if fits { &[Cause::Replaced] } else { &[Cause::Replaced, Cause::Size, Cause::Rejected] };
        self.follow_new(subject, None, allowed);
        self.entries.insert(key, value);
    }

    fn follow(&mut self, subject: &Subject, allowed: &[Cause]) {
        self.follow_new(subject, None, allowed);
    }

    /// Takes out what left; each must have been there, with that value, and have left for an allowed cause.
    fn follow_new(&mut self, subject: &Subject, turned_away: Option<(u8, Value)>, allowed: &[Cause]) {
        let mut turned_away = turned_away;
        for (key, value, cause) in subject.heard() {
            assert!(allowed.contains(&cause), "{key} left as {cause}");
            if turned_away == Some((key, value)) {
                assert_eq!(cause, Cause::Rejected);
                turned_away = None;
            } else {
                assert_eq!(self.entries.remove(&key), Some(value), "{key} left twice or was never there");
            }
        }
        assert_eq!(turned_away, None, "a refused entry was not reported");
    }

    fn weight(&self) -> u64 {
        self.entries.values().map(|value| self.setup.weight(value.weight)).sum()
    }
}
