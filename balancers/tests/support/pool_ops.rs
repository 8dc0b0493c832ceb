//! Lists of operations on a pool, played against a naive model. Shared by property tests and fuzz targets
//! (`#[path]`), which both make the list of bytes.

use std::collections::BTreeMap;

use balancers::{Algorithm, EditError, Lease, Outcome, PickError, Pool, Query, Values};

/// One step.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    Add {
        id: u8,
        weight: u8,
    },
    Remove {
        id: u8,
    },
    Reweight {
        id: u8,
        weight: u8,
    },
    Drain {
        id: u8,
    },
    Undrain {
        id: u8,
    },
    SetUp {
        id: u8,
        is_up: bool,
    },
    ReplaceAll {
        from: u8,
        count: u8,
        keep: bool,
    },
    /// Two edits of which the second fails: nothing may happen.
    Refused {
        id: u8,
    },
    /// A pick that avoids whom the last `avoid` leases are at.
    Pick {
        key: u8,
        avoid: u8,
    },
    Release {
        nth: u8,
        ok: bool,
    },
    /// Drops a lease while unwinding.
    Panic {
        nth: u8,
    },
}

/// Four bytes an operation; a rest is left out.
pub(crate) fn decode(bytes: &[u8]) -> Vec<Op> {
    let ops = bytes.chunks_exact(4).map(|c| {
        let (id, x, y) = (c[1] % 12, c[2], c[3]);
        match c[0] % 24 {
            0..=2 => Op::Add { id, weight: x % 9 },
            3 => Op::Remove { id },
            4 => Op::Reweight { id, weight: x % 9 },
            5 => Op::Drain { id },
            6 => Op::Undrain { id },
            7 | 8 => Op::SetUp { id, is_up: x % 3 != 0 },
            9 => Op::ReplaceAll { from: id, count: x % 8, keep: y % 2 == 0 },
            10 => Op::Refused { id },
            11 => Op::Panic { nth: x },
            12..=15 => Op::Release { nth: x, ok: y % 4 != 0 },
            _ => Op::Pick { key: x, avoid: if y % 3 == 0 { y % 5 } else { 0 } },
        }
    });
    ops.collect()
}

#[derive(Clone, Debug, PartialEq)]
struct Twin {
    weight: u32,
    value: u32,
    is_up: bool,
    is_draining: bool,
}

/// Plays the list; panics where the pool and the model differ.
pub(crate) fn play(algorithm: Algorithm, ops: &[Op]) {
    let pool: Pool<u32> = Pool::builder().seed(1).build(algorithm).expect("the defaults are in range");
    let mut world = World { algorithm, pool, twins: BTreeMap::new(), leases: Vec::new(), next_value: 0 };
    for &op in ops {
        world.step(op);
        world.check(op);
    }
    world.leases.clear();
    assert!(world.pool.members().iter().all(|member| member.in_flight == 0), "{algorithm}: leases ended");
}

struct World {
    algorithm: Algorithm,
    pool: Pool<u32>,
    twins: BTreeMap<String, Twin>,
    leases: Vec<Lease<u32>>,
    next_value: u32,
}

impl World {
    fn step(&mut self, op: Op) {
        match op {
            Op::Add { id, weight } => self.add(&name(id), u32::from(weight)),
            Op::Remove { id } => {
                let done = self.pool.update(|edit| edit.remove(&name(id)));
                assert_eq!(done.is_ok(), self.twins.remove(&name(id)).is_some());
            }
            Op::Reweight { id, weight } => {
                let done = self.pool.update(|edit| edit.set_weight(&name(id), u32::from(weight))).is_ok();
                let twin = self.twins.get_mut(&name(id)).filter(|_| weight > 0);
                assert_eq!(done, twin.map(|twin| twin.weight = u32::from(weight)).is_some());
            }
            Op::Drain { id } | Op::Undrain { id } => {
                let drain = matches!(op, Op::Drain { .. });
                let edit =
                    |id: &str| self.pool.update(|edit| if drain { edit.drain(id) } else { edit.undrain(id) });
                let (done, twin) = (edit(&name(id)).is_ok(), self.twins.get_mut(&name(id)));
                assert_eq!(done, twin.map(|twin| twin.is_draining = drain).is_some());
            }
            Op::SetUp { id, is_up } => {
                let twin = self.twins.get_mut(&name(id));
                let news = twin.map(|twin| std::mem::replace(&mut twin.is_up, is_up) != is_up);
                assert_eq!(self.pool.set_up(&name(id), is_up).ok(), news);
            }
            Op::ReplaceAll { from, count, keep } => self.replace_all(from, count, keep),
            Op::Refused { id } => {
                let refused = self.pool.update(|edit| {
                    if edit.remove(&name(id)).is_err() {
                        edit.add(name(id), 1, 0)?;
                    }
                    edit.remove("nobody")
                });
                assert_eq!(refused.unwrap_err(), EditError::Unknown { id: "nobody".into() });
            }
            Op::Pick { key, avoid } => self.pick(key, avoid),
            Op::Release { nth, ok } if !self.leases.is_empty() => {
                let lease = self.leases.swap_remove(usize::from(nth) % self.leases.len());
                let latency = std::time::Duration::from_micros(u64::from(nth));
                if ok { lease.finish(Outcome { latency, ok: nth % 2 == 0 }) } else { drop(lease) }
            }
            Op::Panic { nth } if !self.leases.is_empty() => {
                let lease = self.leases.swap_remove(usize::from(nth) % self.leases.len());
                let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
                    let _held = lease;
                    std::panic::resume_unwind(Box::new("a request failed"));
                }));
                assert!(unwound.is_err());
            }
            Op::Release { .. } | Op::Panic { .. } => {}
        }
    }

    fn add(&mut self, id: &str, weight: u32) {
        self.next_value += 1;
        let value = self.next_value;
        let done = self.pool.update(|edit| edit.add(id, weight, value)).is_ok();
        assert_eq!(done, weight > 0 && !self.twins.contains_key(id));
        if done {
            self.twins.insert(id.to_owned(), Twin { weight, value, is_up: true, is_draining: false });
        }
    }

    fn replace_all(&mut self, from: u8, count: u8, keep: bool) {
        self.next_value += 1;
        let value = self.next_value;
        let list = || (from..from + count).map(|id| (name(id % 12), u32::from(id % 3) + 1, value));
        let values = if keep { Values::Keep } else { Values::Replace };
        self.pool
            .update(|edit| edit.replace_all(list(), values))
            .expect("the ids differ and the weights are small");
        let old = std::mem::take(&mut self.twins);
        for (id, weight, value) in list() {
            let twin = match old.get(&id) {
                Some(twin) if keep => Twin { weight, ..twin.clone() },
                Some(twin) => Twin { weight, value, ..twin.clone() },
                None => Twin { weight, value, is_up: true, is_draining: false },
            };
            self.twins.insert(id, twin);
        }
    }

    fn pick(&mut self, key: u8, avoid: u8) {
        let key = [key];
        let avoided: Vec<_> = self.leases.iter().rev().take(usize::from(avoid)).collect();
        let query = avoided.iter().fold(Query::for_key(&key), |query, lease| query.avoiding(lease.tag()));
        let open = |id: &str| self.twins.get(id).is_some_and(|twin| twin.is_up && !twin.is_draining);
        let allowed: Vec<&String> = self
            .twins
            .keys()
            .filter(|id| open(id) && avoided.iter().all(|lease| lease.id() != id.as_str()))
            .collect();
        let order = self.pool.candidates(&query);
        let loads_before = self.loads();
        match self.pool.pick(&query) {
            Ok(lease) => {
                assert!(
                    allowed.iter().any(|id| id.as_str() == lease.id()),
                    "{} picked {}",
                    self.algorithm,
                    lease.id()
                );
                assert_eq!(*lease, self.twins[lease.id()].value);
                if self.algorithm == Algorithm::LeastLoad {
                    let cost = |id: &str| f64::from(loads_before[id]) / f64::from(self.twins[id].weight);
                    assert!(allowed.iter().all(|id| cost(lease.id()) <= cost(id)), "not the least");
                }
                assert!(!self.pool.explain(&query).is_empty());
                self.leases.push(lease);
            }
            Err(PickError::Empty) => assert!(self.twins.is_empty()),
            Err(PickError::AllDown) => {
                assert!(!self.twins.is_empty() && self.twins.keys().all(|id| !open(id)));
            }
            Err(PickError::AllAvoided) => assert!(allowed.is_empty() && self.twins.keys().any(|id| open(id))),
            Err(PickError::Saturated) => {
                assert!(
                    self.algorithm == Algorithm::BoundedRing && !avoided.is_empty() && !allowed.is_empty()
                );
            }
            Err(other) => panic!("an error the model does not know: {other}"),
        }
        let mut order: Vec<&str> = order.iter().map(AsRef::as_ref).collect();
        order.sort_unstable();
        if self.algorithm == Algorithm::BoundedRing {
            assert!(order.iter().all(|id| allowed.iter().any(|allowed| allowed == id)));
        } else {
            assert_eq!(order, allowed, "{}: every candidate once", self.algorithm);
        }
    }

    fn loads(&self) -> BTreeMap<String, u32> {
        self.pool.members().into_iter().map(|member| (member.id.to_string(), member.in_flight)).collect()
    }

    fn check(&self, op: Op) {
        let members = self.pool.members();
        let found: BTreeMap<String, Twin> = members
            .iter()
            .map(|member| {
                let value = self.pool.with_value(&member.id, |value| *value).expect("the member is there");
                let (is_up, is_draining) = (member.is_up, member.is_draining);
                (member.id.to_string(), Twin { weight: member.weight, value, is_up, is_draining })
            })
            .collect();
        assert_eq!(found, self.twins, "{} after {op:?}", self.algorithm);
        for member in &members {
            let held = self.leases.iter().filter(|lease| lease.id() == member.id.as_ref()).count();
            assert_eq!(member.in_flight as usize, held, "{} after {op:?}: {}", self.algorithm, member.id);
            assert_eq!(self.pool.drained(&member.id), member.is_draining && held == 0);
        }
    }
}

fn name(id: u8) -> String {
    format!("member {id}")
}
