//! Points of two members may fall on one place of a ring: however it grew, the same of them owns it.

use balancers::{Algorithm, Members, Options, Query, Rng};

/// 40 × 2,000 points that join 240,000: some four pairs share a place of 2³².
#[test]
fn a_ring_that_grew_step_by_step_is_the_ring_built_as_a_whole() {
    let ids: Vec<String> = (0..120).map(|id| id.to_string()).collect();
    let set = |count: usize| Members::new(ids[..count].iter().map(|id| (id.as_str(), 1))).unwrap();
    let options = Options::default().with_ring_points(2_000);
    let whole = Algorithm::Ring.build(set(120), &options).unwrap();
    let mut grown = Algorithm::Ring.build(set(80), &options).unwrap();
    for end in [90, 91, 92, 100, 101, 120] {
        grown = grown.with_members(set(end)).unwrap();
    }
    let mut rng = Rng::new(1);
    for key in 0..300_000 {
        let query = Query::keyed(key);
        assert_eq!(grown.pick(&query, &mut rng), whole.pick(&query, &mut rng), "{key}");
    }
}
