//! A ring as plain as it can be, and ours beside it through a list of changes. Shared by property tests and fuzz targets
//! (`#[path]`).

use std::collections::BTreeMap;

use balancers::algorithms::Ring;
use balancers::{Balancer, Members, Query, Rng, hash_key};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Grows a ring through these sets and compares where 200 keys are after each.
pub(crate) fn play(steps: &[BTreeMap<String, u32>], points: u32) {
    let members = |set: &BTreeMap<String, u32>| {
        Members::new(set.iter().map(|(id, &weight)| (id.as_str(), weight)))
            .expect("ids differ, weights are small")
    };
    let Some(first) = steps.first() else { return };
    let mut ring: Box<dyn Balancer> = Box::new(Ring::new(members(first), points).expect("few points"));
    for set in steps {
        ring = ring.with_members(members(set)).expect("few points");
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
            let found = ring.pick(&Query::for_key(&key.to_le_bytes()), &mut Rng::new(0));
            let found = found.and_then(|at| ring.members().get(at)).expect("all are up");
            assert_eq!(found.id(), expected, "key {key} of {set:?}");
        }
    }
}
