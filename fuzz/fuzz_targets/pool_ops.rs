//! Operations on a live pool against the naive twin of the property tests.
#![no_main]

use balancers::Algorithm;
use libfuzzer_sys::fuzz_target;

#[path = "../../balancers/tests/support/pool_ops.rs"]
mod pool_ops;

fuzz_target!(|data: &[u8]| {
    let Some((&algorithm, ops)) = data.split_first() else { return };
    let algorithm = Algorithm::ALL[usize::from(algorithm) % Algorithm::ALL.len()];
    pool_ops::play(algorithm, &pool_ops::decode(ops));
});
