//! Our own picks, through a pool.

use std::hint::black_box;
use std::time::Duration;

use balancers::{Algorithm, Lease, Outcome, Pool, Query, Reader};

use super::{Run, ids, over_keys, weights};

fn pool(algorithm: Algorithm, n: usize, weights: impl Iterator<Item = u32>) -> Pool<usize> {
    let pool = Pool::new(algorithm);
    let list = ids(n).into_iter().zip(weights).enumerate().map(|(at, (id, weight))| (id, weight, at));
    pool.update(|edit| edit.replace_all(list, balancers::Values::Replace))
        .expect("ids differ, weights are small");
    pool
}

fn even(algorithm: Algorithm, n: usize) -> Pool<usize> {
    pool(algorithm, n, std::iter::repeat_n(1, n))
}

/// And the member's value read, as pingora reads an address.
fn peek(mut reader: Reader<usize>) -> Run {
    over_keys(move |key| {
        black_box(reader.peek(&Query::for_key(key)).map_or(0, |seen| *seen.value()));
    })
}

/// A reference to the member's value, as the crates of tables and bids give one.
fn refer(mut reader: Reader<usize>) -> Run {
    over_keys(move |key| {
        black_box(reader.peek(&Query::for_key(key)).ok().map(|seen| seen.value()));
    })
}

fn pick(mut reader: Reader<usize>) -> Run {
    over_keys(move |key| drop(black_box(reader.pick(&Query::for_key(key)))))
}

fn pick_keyless(mut reader: Reader<usize>) -> Run {
    Box::new(move |n| (0..n).for_each(|_| drop(black_box(reader.pick(&Query::new())))))
}

fn lend(mut reader: Reader<usize>) -> Run {
    over_keys(move |key| drop(black_box(reader.lend(&Query::for_key(key)))))
}

fn lend_keyless(mut reader: Reader<usize>) -> Run {
    Box::new(move |n| (0..n).for_each(|_| drop(black_box(reader.lend(&Query::new())))))
}

/// A reference, where others give an index or a reference.
fn refer_keyless(mut reader: Reader<usize>) -> Run {
    Box::new(move |n| {
        for _ in 0..n {
            black_box(reader.peek(&Query::new()).ok().map(|seen| seen.value()));
        }
    })
}

pub(super) fn ring_peek(n: usize) -> Run {
    peek(even(Algorithm::Ring, n).reader())
}

pub(super) fn ring_pick(n: usize) -> Run {
    pick(even(Algorithm::Ring, n).reader())
}

pub(super) fn ring_pool(n: usize) -> Run {
    let pool = even(Algorithm::Ring, n);
    over_keys(move |key| drop(black_box(pool.pick(&Query::for_key(key)))))
}

pub(super) fn ketama(n: usize) -> Run {
    peek(even(Algorithm::Ketama, n).reader())
}

pub(super) fn p2c(n: usize) -> Run {
    lend_keyless(even(Algorithm::P2c, n).reader())
}

pub(super) fn p2c_pick(n: usize) -> Run {
    pick_keyless(even(Algorithm::P2c, n).reader())
}

pub(super) fn p2c_pool(n: usize) -> Run {
    let pool = even(Algorithm::P2c, n);
    Box::new(move |n| (0..n).for_each(|_| drop(black_box(pool.pick(&Query::new())))))
}

pub(super) fn peak_ewma(n: usize) -> Run {
    let mut reader = even(Algorithm::PeakEwma, n).reader();
    let mut nanos = 1_000_u32;
    Box::new(move |n| {
        for _ in 0..n {
            nanos = nanos.wrapping_mul(747_796_405).wrapping_add(1);
            let latency = Duration::new(0, nanos >> 12);
            if let Ok(loan) = black_box(reader.lend(&Query::new())) {
                loan.finish(Outcome { latency, ok: true });
            }
        }
    })
}

pub(super) fn least_load(n: usize) -> Run {
    lend_keyless(pool(Algorithm::LeastLoad, n, weights(n)).reader())
}

/// With four requests a member in flight, of which the oldest ends at each pick.
pub(super) fn least_loaded(n: usize) -> Run {
    let mut reader = even(Algorithm::LeastLoad, n).reader();
    let mut held: Vec<Lease<usize>> =
        (0..4 * n).map(|_| reader.pick(&Query::new()).expect("all are up")).collect();
    let mut rng = balancers::Rng::new(2);
    Box::new(move |n| {
        for _ in 0..n {
            let at = rng.below(held.len() as u64) as usize;
            held[at] = reader.pick(&Query::new()).expect("all are up");
        }
    })
}

pub(super) fn round_robin(n: usize) -> Run {
    refer_keyless(pool(Algorithm::RoundRobin, n, weights(n)).reader())
}

pub(super) fn random(n: usize) -> Run {
    refer_keyless(pool(Algorithm::Random, n, weights(n)).reader())
}

pub(super) fn maglev(n: usize) -> Run {
    refer(even(Algorithm::Maglev, n).reader())
}

pub(super) fn rendezvous(n: usize) -> Run {
    refer(even(Algorithm::Rendezvous, n).reader())
}

pub(super) fn bounded_ring(n: usize) -> Run {
    let mut reader = even(Algorithm::BoundedRing, n).reader();
    let held: Vec<Lease<usize>> =
        (0..10 * n as u64).map(|key| reader.pick(&Query::keyed(key)).expect("room")).collect();
    let mut run = lend(reader);
    Box::new(move |n| {
        black_box(&held);
        run(n);
    })
}
