//! Building, and one member that leaves and joins: two updates of a pool.

use std::hint::black_box;

use balancers::{Algorithm, Members, Options, Pool, Values};

use super::{Run, ids};

fn build(algorithm: Algorithm, n: usize) -> Run {
    let ids = ids(n);
    Box::new(move |times| {
        for _ in 0..times {
            let members = Members::new(ids.iter().map(|id| (id.as_str(), 1))).expect("ids differ");
            black_box(algorithm.build(members, &Options::default()).expect("the defaults are in range"));
        }
    })
}

pub(super) fn ring(n: usize) -> Run {
    build(Algorithm::Ring, n)
}

pub(super) fn maglev(n: usize) -> Run {
    build(Algorithm::Maglev, n)
}

pub(super) fn ring_churn(n: usize) -> Run {
    let pool: Pool<()> = Pool::new(Algorithm::Ring);
    let list = ids(n).into_iter().map(|id| (id, 1, ()));
    pool.update(|edit| edit.replace_all(list, Values::Keep)).expect("ids differ");
    let one = ids(n).swap_remove(n / 2);
    Box::new(move |times| {
        for _ in 0..times {
            pool.update(|edit| edit.remove(&one)).expect("it is there");
            pool.update(|edit| edit.add(one.as_str(), 1, ())).expect("it is not there");
        }
    })
}

pub(super) fn pingora_ketama(n: usize) -> Run {
    let bucket = |id: &String| pingora_ketama::Bucket::new(id.parse().expect("ids are addresses"), 1);
    let buckets: Vec<_> = ids(n).iter().map(bucket).collect();
    Box::new(move |times| {
        for _ in 0..times {
            black_box(pingora_ketama::Continuum::new(&buckets));
        }
    })
}

pub(super) fn maglev_crate(n: usize) -> Run {
    let ids = ids(n);
    Box::new(move |times| {
        for _ in 0..times {
            black_box(maglev::Maglev::with_capacity(ids.clone(), 65_537));
        }
    })
}
