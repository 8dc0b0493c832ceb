//! What is remembered of latencies: what a failure counts for, and how long it is held against a member.

use std::{sync::Arc, time::Duration};

use balancers::{Algorithm, Balancer, ManualClock, Member, Members, Options, Outcome, Pool, Query, Rng};

#[test]
fn a_failure_counts_for_what_it_was_said_to_and_is_forgotten_by_half_in_each_memory() {
    let clock = Arc::new(ManualClock::new());
    let (memory, failure) = (Duration::from_secs(2), Duration::from_millis(80));
    let builder = Pool::builder().clock(clock.clone()).latency_memory(memory).failure_latency(failure);
    let pool = builder.build(Algorithm::LeastLatency).unwrap();
    pool.update(|edit| ["good", "bad"].iter().try_for_each(|id| edit.add(*id, 1, ()))).unwrap();
    let first = pool.pick(&Query::new()).unwrap();
    let second = pool.pick(&Query::new()).unwrap();
    for lease in [first, second] {
        // Nobody is as quick as who refuses at once.
        let ok = lease.id() == "good";
        let latency = Duration::from_millis(if ok { 10 } else { 1 });
        lease.finish(Outcome { latency, ok });
    }
    let latency = |id: &str| pool.members().iter().find(|member| &*member.id == id).unwrap().latency;
    assert_eq!((latency("good"), latency("bad")), (Some(Duration::from_millis(10)), Some(failure)));
    let picked = || pool.pick(&Query::new()).unwrap().id().to_owned();
    assert!((0..20).all(|_| picked() == "good"));
    // 80 ms fade to 5 in four memories; the other's 10 are kept fresh by new ones.
    clock.advance(memory * 4);
    let lease = pool.pick(&Query::new().avoiding(pool.tag("bad").unwrap())).unwrap();
    lease.finish(Outcome { latency: Duration::from_millis(10), ok: true });
    assert_eq!(picked(), "bad");
}

/// A host that has a balancer and no pool counts by itself.
#[test]
fn who_counts_by_himself_is_counted_alike() {
    let members = Members::new([("a", 1), ("b", 1)]).unwrap();
    let balancer = Algorithm::LeastLoad.build(members, &Options::default()).unwrap();
    let mut rng = Rng::new(1);
    let mut pick = |balancer: &dyn Balancer| balancer.pick(&Query::new(), &mut rng).unwrap();
    let member = |index| balancer.members().iter().nth(index).unwrap();
    let busy = pick(&*balancer);
    member(busy).start();
    let idle = pick(&*balancer);
    assert_ne!(idle, busy);
    member(idle).start();
    member(idle).start();
    assert_eq!(pick(&*balancer), busy);
    member(idle).end();
    member(idle).finish(Outcome { latency: Duration::from_millis(3), ok: true });
    assert_eq!((member(idle).in_flight(), member(busy).in_flight()), (0, 1));
    assert_eq!(pick(&*balancer), idle);
    assert_eq!(balancer.members().into_iter().map(Member::in_flight).sum::<u32>(), 1);
}
