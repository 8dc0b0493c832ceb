//! What each algorithm says about a pick: words and numbers that are true of it.

use balancers::{Algorithm, Lease, Pool, Query};

/// Pools with a seed draw alike: what one says, its twin does.
fn pool(algorithm: Algorithm) -> Pool<()> {
    let pool = Pool::builder().seed(5).build(algorithm).unwrap();
    let members = [("a", 1), ("b", 2), ("c", 3)];
    pool.update(|edit| members.into_iter().try_for_each(|(id, weight)| edit.add(id, weight, ()))).unwrap();
    pool
}

fn hold(pool: &Pool<()>, n: u64) -> Vec<Lease<()>> {
    (0..n).map(|key| pool.pick(&Query::keyed(key)).unwrap()).collect()
}

#[test]
fn an_explanation_names_the_member_that_is_picked() {
    for algorithm in Algorithm::ALL {
        for key in 0..30 {
            let (pool, twin) = (pool(algorithm), pool(algorithm));
            let _held = (hold(&pool, key % 7), hold(&twin, key % 7));
            if key % 3 == 0 {
                pool.set_up("b", false).unwrap();
                twin.set_up("b", false).unwrap();
            }
            let why = pool.explain(&Query::keyed(key));
            let picked = twin.pick(&Query::keyed(key)).unwrap();
            assert!(
                why.contains(&format!("{:?}", picked.id())),
                "{algorithm}, {key}: {why}; it was {picked:?}"
            );
        }
    }
}

#[test]
fn a_rotation_too_long_to_be_laid_out_is_said_to_be() {
    let said = |weights: [u32; 4]| {
        let pool = Pool::new(Algorithm::RoundRobin);
        let mut members = ["a", "b", "c", "d"].into_iter().zip(weights);
        pool.update(|edit| members.try_for_each(|(id, weight)| edit.add(id, weight, ()))).unwrap();
        pool.explain(&Query::new())
    };
    let long = said([30_000, 30_000, 30_000, 29_999]);
    assert!(long.contains("of a rotation of 119999, worked out as it comes"), "{long}");
    let short = said([30_000, 30_000, 5_000, 536]);
    assert!(short.contains("is next from turn 0 of 8192 on"), "{short}");
}

#[test]
fn explanations_read_like_this() {
    let mut found = String::new();
    for algorithm in Algorithm::ALL {
        let pool = pool(algorithm);
        let _held = hold(&pool, 4);
        let well = pool.explain(&Query::keyed(7));
        let at_home = pool.candidates(&Query::keyed(7))[0].clone();
        pool.set_up(&at_home, false).unwrap();
        let ill = pool.explain(&Query::keyed(7));
        found += &format!("{algorithm}: {well}\n{algorithm}, {at_home} down: {ill}\n");
    }
    assert_eq!(found, include_str!("golden/explanations.txt"), "found:\n{found}");
}
