//! pingora's balancers, alone and behind its `LoadBalancer`, which asks about health too.

use std::collections::BTreeSet;
use std::hint::black_box;
use std::sync::Arc;

use pingora_load_balancing::selection::{BackendIter, BackendSelection, Consistent, Random, RoundRobin};
use pingora_load_balancing::{Backend, Backends, LoadBalancer, discovery};

use super::{Run, ids, over_keys, weights};

fn backends(n: usize, weights: impl Iterator<Item = u32>) -> BTreeSet<Backend> {
    let backend = |(id, weight): (String, u32)| {
        Backend::new_with_weight(&id, weight as usize).expect("ids are addresses")
    };
    ids(n).into_iter().zip(weights).map(backend).collect()
}

fn select<S>(backends: BTreeSet<Backend>) -> Run
where
    S: BackendSelection + Send + Sync + 'static,
    S::Iter: BackendIter,
{
    let balancer: LoadBalancer<S> =
        LoadBalancer::from_backends(Backends::new(discovery::Static::new(backends)));
    futures_util::FutureExt::now_or_never(balancer.update())
        .expect("a static list is there at once")
        .expect("a static list has no faults");
    over_keys(move |key| {
        let backend = black_box(balancer.select(key, 8));
        assert!(backend.is_some(), "all backends are ready");
    })
}

fn iterate<S>(selection: S) -> Run
where
    S: BackendSelection + Send + Sync + 'static,
    S::Iter: BackendIter,
{
    let selection = Arc::new(selection);
    Box::new(move |times| {
        for _ in 0..times {
            black_box(selection.iter(&[]).next().is_some());
        }
    })
}

pub(super) fn consistent(n: usize) -> Run {
    select::<Consistent>(backends(n, std::iter::repeat_n(1, n)))
}

pub(super) fn round_robin_select(n: usize) -> Run {
    select::<RoundRobin>(backends(n, weights(n)))
}

pub(super) fn round_robin(n: usize) -> Run {
    iterate(RoundRobin::build(&backends(n, weights(n))))
}

pub(super) fn random(n: usize) -> Run {
    iterate(Random::build(&backends(n, weights(n))))
}
