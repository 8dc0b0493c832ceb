//! Every algorithm's pool against a naive model, step by step; and rings against naive rings.

#[path = "support/naive_ring.rs"]
mod naive_ring;
#[path = "support/pool_ops.rs"]
mod pool_ops;

use balancers::Algorithm;
use proptest::prelude::*;

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
        naive_ring::play(&steps, points);
    }
}

/// `PROPTEST_CASES` for a long run, few otherwise.
fn cases(few: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(few)
}
