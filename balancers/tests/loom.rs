//! Every interleaving of two threads: leases, updates, bounded load, the tree of least load.
//!
//! `make loom`, or `RUSTFLAGS="--cfg loom" cargo test -p balancers --test loom --release`.
#![cfg(loom)]

use balancers::{Algorithm, Lease, Options, Pool, Query};
use loom::thread;

fn pool(algorithm: Algorithm, members: u32) -> Pool<u32> {
    let options = Options::default().with_ring_points(2).with_bound_percent(101);
    let pool = Pool::builder().seed(1).options(options).build(algorithm).unwrap();
    pool.update(|edit| (0..members).try_for_each(|n| edit.add(format!("m{n}"), 1, n))).unwrap();
    pool
}

fn in_flight(pool: &Pool<u32>) -> Vec<u32> {
    pool.members().iter().map(|member| member.in_flight).collect()
}

/// As loom's own defaults, with a limit on how often a thread may be interrupted: more finds nothing more and takes
/// hours.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(preemptions);
    builder.check(model);
}

#[test]
fn leases_count_up_and_down_without_loss() {
    check(3, || {
        let pool = pool(Algorithm::RoundRobin, 2);
        let other = pool.clone();
        let thread = thread::spawn(move || {
            drop(other.pick(&Query::new()).unwrap());
            other.pick(&Query::new()).unwrap()
        });
        drop(pool.pick(&Query::new()).unwrap());
        let kept: Lease<u32> = thread.join().unwrap();
        assert_eq!(in_flight(&pool).iter().sum::<u32>(), 1);
        drop(kept);
        assert_eq!(in_flight(&pool), [0, 0]);
        assert_eq!(pool.members().iter().map(|member| member.picks).sum::<u64>(), 3);
    });
}

#[test]
fn a_reader_sees_one_state_or_the_other_and_then_the_newest() {
    check(3, || {
        let pool = pool(Algorithm::RoundRobin, 1);
        let mut reader = pool.reader();
        let thread = thread::spawn(move || {
            // Never nobody: who leaves takes picks until the new state is there.
            let lease = reader.pick(&Query::new()).unwrap();
            assert!(["m0", "m9"].contains(&lease.id()));
            (reader, lease)
        });
        pool.update(|edit| {
            edit.remove("m0")?;
            edit.add("m9", 1, 9)
        })
        .unwrap();
        let (mut reader, lease) = thread.join().unwrap();
        assert_eq!(reader.pick(&Query::new()).unwrap().id(), "m9");
        // The count of a lease from the old state is not lost when its member comes back.
        let from_old = lease.id() == "m0";
        pool.update(|edit| edit.add("m0", 1, 0)).unwrap();
        assert_eq!(in_flight(&pool), [u32::from(from_old), u32::from(!from_old)]);
        drop(lease);
        assert_eq!(in_flight(&pool), [0, 0]);
    });
}

#[test]
fn a_reader_knows_who_is_down_once_it_has_been_said() {
    check(3, || {
        let pool = pool(Algorithm::Ring, 2);
        let mut reader = pool.reader();
        let thread = thread::spawn(move || {
            // Whoever it is: the other thread is just saying it.
            drop(reader.pick(&Query::keyed(1)).unwrap());
            reader
        });
        pool.set_up("m0", false).unwrap();
        let mut reader = thread.join().unwrap();
        assert!((0..4).all(|key| reader.pick(&Query::keyed(key)).unwrap().id() == "m1"));
        pool.set_up("m0", true).unwrap();
        assert!((0..9).any(|key| reader.pick(&Query::keyed(key)).unwrap().id() == "m0"));
    });
}

#[test]
fn bounded_load_holds_in_every_interleaving() {
    // Ceilings of 1 while fewer than two are in flight: two leases on one key must be at two members, and neither
    // thread may be refused.
    check(3, || {
        let pool = pool(Algorithm::BoundedRing, 3);
        let other = pool.clone();
        let thread = thread::spawn(move || other.pick(&Query::keyed(7)).unwrap());
        let mine = pool.pick(&Query::keyed(7)).unwrap();
        let theirs = thread.join().unwrap();
        assert_ne!(*mine, *theirs);
        drop((mine, theirs));
        assert_eq!(in_flight(&pool), [0, 0, 0]);
    });
}

#[test]
fn bounded_load_holds_while_leases_end() {
    check(2, || {
        let pool = pool(Algorithm::BoundedRing, 3);
        let first = pool.pick(&Query::keyed(7)).unwrap();
        let second = pool.pick(&Query::keyed(7)).unwrap();
        let other = pool.clone();
        // One ends and one begins elsewhere. Whatever the order, at the grant of `mine` two or three are in flight
        // with it: the ceiling is ⌈1.01 · 2 / 3⌉ = 1 or ⌈1.01 · 3 / 3⌉ = 2.
        let thread = thread::spawn(move || {
            drop(first);
            other.pick(&Query::keyed(7)).unwrap()
        });
        let mine = pool.pick(&Query::keyed(7)).unwrap();
        let theirs = thread.join().unwrap();
        assert!(in_flight(&pool).iter().all(|&n| n <= 2));
        assert_eq!(in_flight(&pool).iter().sum::<u32>(), 3);
        drop((second, mine, theirs));
        assert_eq!(in_flight(&pool), [0, 0, 0]);
    });
}

#[test]
fn the_tree_of_least_load_is_right_once_everybody_is_done() {
    check(2, || {
        let pool = pool(Algorithm::LeastLoad, 2);
        let other = pool.clone();
        let thread = thread::spawn(move || {
            let kept = other.pick(&Query::new()).unwrap();
            drop(other.pick(&Query::new()).unwrap());
            kept
        });
        drop(pool.pick(&Query::new()).unwrap());
        let kept = thread.join().unwrap();
        // One is at work: the next three must go to the other, to either, and to the one left behind.
        let next = pool.pick(&Query::new()).unwrap();
        assert_ne!(*next, *kept);
        assert_eq!(in_flight(&pool), [1, 1]);
    });
}
