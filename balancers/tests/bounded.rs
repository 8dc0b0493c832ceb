//! Bounded load holds, and never refuses while someone has room.

use std::sync::Barrier;

use balancers::{Algorithm, Lease, Options, PickError, Pool, Query};

fn pool(weights: &[u32], percent: u32) -> Pool<usize> {
    let options = Options::default().with_bound_percent(percent);
    let pool = Pool::builder().options(options).build(Algorithm::BoundedRing).unwrap();
    let add = |edit: &mut balancers::Edit<usize>| {
        weights.iter().enumerate().try_for_each(|(n, &weight)| edit.add(format!("m{n}"), weight, n))
    };
    pool.update(add).unwrap();
    pool
}

/// Nobody holds more than the ceiling of the lease that came last; ceilings only rise while nothing ends.
fn assert_bounded(pool: &Pool<usize>, percent: u64) {
    let members = pool.members();
    let in_flight: u64 = members.iter().map(|member| u64::from(member.in_flight)).sum();
    let weight: u64 = members.iter().map(|member| u64::from(member.weight)).sum();
    for member in &members {
        let ceiling = (percent * in_flight * u64::from(member.weight)).div_ceil(100 * weight);
        assert!(u64::from(member.in_flight) <= ceiling, "{member:?} over {ceiling} of {in_flight}");
    }
}

#[test]
fn one_hot_key_fills_members_up_to_their_ceilings() {
    for percent in [101, 125, 200, 1000] {
        let pool = pool(&[1, 2, 3, 4], percent);
        let mut leases: Vec<Lease<usize>> = Vec::new();
        for _ in 0..500 {
            leases.push(pool.pick(&Query::for_key(b"hot")).unwrap());
            assert_bounded(&pool, u64::from(percent));
        }
        drop(leases);
        assert!(pool.members().iter().all(|member| member.in_flight == 0));
    }
}

#[test]
fn eight_threads_never_overfill_a_member_and_are_never_refused() {
    let pool = pool(&[1, 1, 1, 5, 2], 110);
    let barrier = Barrier::new(8);
    std::thread::scope(|scope| {
        for thread in 0..8_u64 {
            let (pool, barrier) = (&pool, &barrier);
            scope.spawn(move || {
                let mut leases: Vec<Lease<usize>> = Vec::new();
                for round in 0..40_u64 {
                    // Everybody picks, nobody lets go: the ceilings only rise, so the bound can be seen at the end.
                    for n in 0..25 {
                        let key = if n % 2 == 0 { 0 } else { thread * 1000 + round + n };
                        leases.push(pool.pick(&Query::keyed(key)).expect("someone always has room"));
                    }
                    barrier.wait();
                    assert_bounded(pool, 110);
                    barrier.wait();
                    // Everybody lets go and picks at once: no refusal, whatever the order.
                    for n in 0..25 {
                        drop(leases.swap_remove((n * 7 + thread as usize) % leases.len()));
                        leases.push(pool.pick(&Query::keyed(0)).expect("someone always has room"));
                    }
                    leases.clear();
                    barrier.wait();
                }
            });
        }
    });
    assert!(pool.members().iter().all(|member| member.in_flight == 0));
}

#[test]
fn the_ceiling_is_that_of_the_members_that_are_up() {
    let pool = pool(&[1, 1, 1, 1], 125);
    pool.set_up("m0", false).unwrap();
    pool.set_up("m1", false).unwrap();
    let leases: Vec<Lease<usize>> = (0..100).map(|_| pool.pick(&Query::for_key(b"hot")).unwrap()).collect();
    assert!(pool.members().iter().all(|member| member.in_flight <= 63), "⌈1.25 · 100 / 2⌉");
    drop(leases);
}

#[test]
fn who_avoids_everyone_with_room_is_told_so() {
    let pool = pool(&[1, 1], 101);
    let first = pool.pick(&Query::for_key(b"hot")).unwrap();
    let second = pool.pick(&Query::for_key(b"hot").avoiding(first.tag())).unwrap();
    assert_ne!(*first, *second);
    // With three in flight the ceiling is ⌈1.01 · 3 / 2⌉ = 2; for the fourth it will be 3, for the fifth too.
    let pick = || pool.pick(&Query::for_key(b"hot").avoiding(first.tag()));
    let (_third, _fourth) = (pick().unwrap(), pick().unwrap());
    let refused = pick().unwrap_err();
    assert_eq!(refused, PickError::Saturated);
}

#[test]
fn bounds_that_cannot_hold_are_refused() {
    for percent in [0, 100, 100_001] {
        let options = Options::default().with_bound_percent(percent);
        let refused = Pool::builder().options(options).build::<()>(Algorithm::BoundedRing).unwrap_err();
        assert_eq!(refused.to_string(), format!("option bound_percent is {percent} (must be 101 to 100000)"));
    }
}
