//! The rivals' picks, each as its own documentation would have it.

use std::future::{Ready, ready};
use std::hint::black_box;
use std::net::SocketAddr;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::task::noop_waker;
use rand::SeedableRng;
use rand::distr::Distribution;
use rand::rngs::SmallRng;
use tower::Service;
use tower::balance::p2c::Balance;
use tower::discover::{Discover, ServiceList};
use tower::load::{CompleteOnResponse, Load, PeakEwma, PendingRequests};
use weighted_rs::Weight;

use super::{Run, ids, over_keys, weights};

pub(super) fn pingora_ketama(n: usize) -> Run {
    let address = |id: String| -> SocketAddr { id.parse().expect("ids are addresses") };
    let buckets: Vec<_> = ids(n).into_iter().map(|id| pingora_ketama::Bucket::new(address(id), 1)).collect();
    let ring = pingora_ketama::Continuum::new(&buckets);
    over_keys(move |key| {
        black_box(ring.node(key));
    })
}

pub(super) fn hashring(n: usize) -> Run {
    let mut ring = hashring::HashRing::new();
    // It has no points of its own: 160 a member, as elsewhere.
    ring.batch_add((0..160).flat_map(|j| ids(n).into_iter().map(move |id| (id, j))).collect());
    over_keys(move |key| {
        black_box(ring.get(key));
    })
}

pub(super) fn maglev(n: usize) -> Run {
    let table = maglev::Maglev::with_capacity(ids(n), 65_537);
    over_keys(move |key| {
        black_box(maglev::ConsistentHasher::get(&table, key));
    })
}

pub(super) fn rendezvous(n: usize) -> Run {
    let ids: &'static [String] = ids(n).leak();
    let mut ring = hash_rings::rendezvous::Ring::new();
    ids.iter().for_each(|id| ring.insert_node(id, 1));
    over_keys(move |key| {
        black_box(ring.get_node(key));
    })
}

#[derive(Hash, PartialEq, Eq)]
struct Node(String);

impl hrw_hash::HrwNode for Node {}

pub(super) fn hrw_hash(n: usize) -> Run {
    let nodes = hrw_hash::HrwNodes::new(ids(n).into_iter().map(Node));
    over_keys(move |key| {
        black_box(nodes.sorted(key).next().is_some());
    })
}

pub(super) fn weighted_rs(n: usize) -> Run {
    let mut turns: weighted_rs::SmoothWeight<usize> = weighted_rs::SmoothWeight::new();
    weights(n).enumerate().for_each(|(at, weight)| turns.add(at, weight as isize));
    Box::new(move |n| {
        for _ in 0..n {
            black_box(turns.next());
        }
    })
}

pub(super) fn alias_index(n: usize) -> Run {
    let index =
        rand_distr::weighted::WeightedAliasIndex::new(weights(n).collect()).expect("weights are positive");
    let mut rng = SmallRng::seed_from_u64(1);
    Box::new(move |n| {
        for _ in 0..n {
            black_box(index.sample(&mut rng));
        }
    })
}

#[derive(Clone, Debug)]
struct Echo;

impl Service<()> for Echo {
    type Response = ();
    type Error = std::convert::Infallible;
    type Future = Ready<Result<(), Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(()))
    }
}

fn drive<D>(discover: D) -> Run
where
    D: Discover + Unpin + 'static,
    D::Key: std::hash::Hash + Clone,
    D::Error: Into<tower::BoxError>,
    D::Service: Service<()> + Load,
    <D::Service as Service<()>>::Error: Into<tower::BoxError>,
    <D::Service as Service<()>>::Future: 'static,
    <D::Service as Load>::Metric: std::fmt::Debug,
{
    let mut balance = Balance::new(discover);
    let waker = noop_waker();
    Box::new(move |n| {
        let mut context = Context::from_waker(&waker);
        for _ in 0..n {
            let is_ready = matches!(balance.poll_ready(&mut context), Poll::Ready(Ok(())));
            assert!(is_ready, "all services are ready");
            black_box(balance.call(()).now_or_never().is_some());
        }
    })
}

pub(super) fn tower_pending(n: usize) -> Run {
    let service = |_| PendingRequests::new(Echo, CompleteOnResponse::default());
    drive(ServiceList::new::<()>((0..n).map(service).collect::<Vec<_>>()))
}

pub(super) fn tower_peak_ewma(n: usize) -> Run {
    let (rtt, decay) = (Duration::from_millis(30), 10e9);
    let service = |_| PeakEwma::new(Echo, rtt, decay, CompleteOnResponse::default());
    drive(ServiceList::new::<()>((0..n).map(service).collect::<Vec<_>>()))
}
