//! `Core` beside a plain map: nothing is lost, nothing is told twice, and no more is kept than the capacity.

use cache::{Cause, Core, Gone, Newcomer, Policy};
use std::collections::BTreeMap;

/// What is in the cache: key to value, weight and deadline.
type Twin = BTreeMap<u32, (u64, u64, u64)>;

struct Pair {
    core: Core<u32, u64>,
    twin: Twin,
    weighed: bool,
    now: u64,
}

impl Pair {
    fn new(policy: Policy, weighed: bool) -> Pair {
        Pair { core: Core::new(policy, 40, weighed), twin: Twin::new(), weighed, now: 0 }
    }

    fn hash(key: u32) -> u32 {
        key.wrapping_mul(0x9e37_79b1)
    }

    fn find(&self, key: u32) -> Option<cache::Slot> {
        self.core.find(Self::hash(key), |other| *other == key)
    }

    fn insert(&mut self, key: u32, value: u64, weight: u64, deadline: u64) {
        let (found, mut gone) = (self.find(key), Gone::default());
        let newcomer = Newcomer { key, value, hash: Self::hash(key), weight, deadline };
        let fits = self.core.insert(newcomer, found, self.now, &mut gone);
        if fits {
            let mut left: Vec<_> = gone.drain().collect();
            if let Some((old, ..)) = self.twin.insert(key, (value, weight, deadline)) {
                let is_old = |(k, v, why): &(u32, u64, Cause)| (*k, *v, *why) == (key, old, Cause::Replaced);
                let at = left.iter().position(is_old).expect("the old value comes out");
                left.swap_remove(at);
            }
            // The newcomer itself may be among them, where the policy thinks little of it.
            self.part_with(left, Cause::Size);
        } else {
            assert!(weight > self.core.capacity(), "only what never fits is refused");
            assert_eq!(gone.drain().collect::<Vec<_>>(), [(key, value, Cause::Rejected)]);
        }
        assert!(gone.is_empty());
    }

    fn part_with(&mut self, left: Vec<(u32, u64, Cause)>, cause: Cause) {
        for (key, value, why) in left {
            let (known, _, deadline) = self.twin.remove(&key).expect("only what was in leaves, and once");
            assert_eq!(known, value);
            let is_right = match why {
                Cause::Rejected => cause == Cause::Size,
                Cause::Expired => deadline <= self.now,
                why => why == cause,
            };
            assert!(is_right, "{key}: {why:?}");
        }
    }

    fn check(&self) {
        let kept: Twin = self
            .core
            .iter()
            .map(|(key, value, deadline)| {
                let slot = self.find(*key).expect("what is listed is found");
                assert_eq!((self.core.key(slot), self.core.value(slot)), (key, value));
                assert_eq!(self.core.deadline(slot), deadline);
                (*key, (*value, self.core.weight_of(slot), deadline))
            })
            .collect();
        assert_eq!(kept, self.twin);
        let weight: u64 = self.twin.values().map(|(_, weight, _)| weight).sum();
        assert_eq!((self.core.weight(), self.core.len()), (weight, self.twin.len()));
        assert!(weight <= self.core.capacity());
        assert_eq!(self.core.is_empty(), self.twin.is_empty());
    }

    fn step(&mut self, lot: u64) {
        let (key, mut gone) = ((lot >> 8) as u32 % 60, Gone::default());
        match lot % 16 {
            0..8 => {
                let weight = if self.weighed { 1 + (lot >> 16) % 50 } else { 1 };
                let deadline =
                    if (lot >> 24).is_multiple_of(4) { self.now + 1 + (lot >> 32) % 100 } else { u64::MAX };
                self.insert(key, lot, weight, deadline);
            }
            8..11 => match self.find(key) {
                Some(slot) => assert_eq!(*self.core.hit(slot), self.twin[&key].0),
                None => assert!(!self.twin.contains_key(&key)),
            },
            11 => {
                if let Some(slot) = self.find(key) {
                    let taken = self.core.remove(slot, Cause::Explicit);
                    assert_eq!(Some(taken), self.twin.remove(&key).map(|(value, ..)| (key, value)));
                }
            }
            12 => {
                self.core.evict(&mut gone);
                let left: Vec<_> = gone.drain().collect();
                assert_eq!(left.len(), usize::from(!self.twin.is_empty()), "one at a time");
                self.part_with(left, Cause::Size);
            }
            13 => {
                self.now += lot >> 58;
                self.core.expire(self.now, &mut gone);
                let left: Vec<_> = gone.drain().collect();
                self.part_with(left, Cause::Expired);
                assert!(self.twin.values().all(|(.., deadline)| *deadline > self.now), "the dead are gone");
            }
            14 if (lot >> 40).is_multiple_of(8) => {
                self.core.clear(&mut gone);
                let left: Vec<_> = gone.drain().collect();
                self.part_with(left, Cause::Explicit);
                assert!(self.twin.is_empty());
            }
            _ => {
                self.core.resize(20 + (lot >> 40) % 40, &mut gone);
                let left: Vec<_> = gone.drain().collect();
                self.part_with(left, Cause::Size);
                assert!((20..60).contains(&self.core.capacity()));
            }
        }
    }
}

#[test]
fn what_is_not_in_it_came_out_once_with_its_cause() {
    for policy in [Policy::Auto, Policy::TinyLfu, Policy::S3Fifo, Policy::Lru, Policy::Lfu] {
        for weighed in [false, true] {
            let mut pair = Pair::new(policy, weighed);
            assert_eq!((pair.core.policy(), pair.core.is_weighed()), (policy, weighed));
            let mut lot = 7_u64;
            for _ in 0..3000 {
                lot = lot.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                pair.step(lot ^ lot >> 31);
                pair.check();
            }
        }
    }
}
