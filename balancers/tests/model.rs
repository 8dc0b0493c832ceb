//! Every algorithm's pool against a naive model, step by step; and rings against naive rings.

#[path = "support/pool_ops.rs"]
mod pool_ops;

use balancers::algorithms::Ring;
use balancers::{Algorithm, Balancer, Members, Query, Rng, hash_key};
use proptest::prelude::*;
use xxhash_rust::xxh3::xxh3_64_with_seed;

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(12), ..ProptestConfig::default() })]

    #[test]
    fn a_pool_does_what_the_model_does(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let ops = pool_ops::decode(&bytes);
        for algorithm in Algorithm::ALL {
            pool_ops::play(algorithm, &ops);
        }
    }

    /// The circle that grew by changes places like points sorted and searched one by one.
    #[test]
    fn a_ring_places_like_a_naive_ring(
        steps in prop::collection::vec(prop::collection::btree_map("[a-f]{1,2}", 1_u32..5, 1..6), 1..5),
        points in 1_u32..30,
    ) {
        let members = |set: &std::collections::BTreeMap<String, u32>| {
            Members::new(set.iter().map(|(id, &weight)| (id.as_str(), weight))).unwrap()
        };
        let mut ring: Box<dyn Balancer> = Box::new(Ring::new(members(&steps[0]), points).unwrap());
        for set in &steps {
            ring = ring.with_members(members(set)).unwrap();
            let mut naive: Vec<(u32, &str)> = Vec::new();
            for (id, weight) in set {
                let place = |j| (xxh3_64_with_seed(id.as_bytes(), u64::from(j)) >> 32) as u32;
                naive.extend((0..weight * points).map(|j| (place(j), id.as_str())));
            }
            naive.sort_unstable();
            for key in 0..200_u32 {
                let hash = hash_key(&key.to_le_bytes());
                let at = ((hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32;
                let expected = naive.iter().find(|point| point.0 >= at).unwrap_or(&naive[0]).1;
                let found = ring.pick(&Query::for_key(&key.to_le_bytes()), &mut Rng::new(0)).unwrap();
                prop_assert_eq!(ring.members().get(found).unwrap().id(), expected);
            }
        }
    }
}

/// `PROPTEST_CASES` for a long run, few otherwise.
fn cases(few: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(few)
}
