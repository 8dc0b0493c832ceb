//! An algorithm's table answers as the algorithm does: a pool may ask either.

use balancers::{Algorithm, Members, Options, Query, Rng};

#[test]
fn tables_answer_as_their_algorithms_do() {
    let mut with_table = Vec::new();
    for algorithm in Algorithm::ALL {
        for n in [0, 1, 2, 7, 300] {
            let ids: Vec<String> = (0..n).map(|n| format!("m{n}")).collect();
            let members = Members::new(ids.iter().zip(1..).map(|(id, n)| (id.as_str(), n % 5 + 1))).unwrap();
            // Two of them, because a look into a rotation takes a turn of its balancer.
            let [twin, balancer] = [members.clone(), members]
                .map(|members| algorithm.build(members, &Options::default()).unwrap());
            let Some(table) = twin.lookup() else { continue };
            with_table.push(algorithm);
            let (mut one, mut other) = (Rng::new(1), Rng::new(1));
            for key in 0..5000_u64 {
                let query = if key % 3 == 0 { Query::new() } else { Query::keyed(key) };
                assert_eq!(
                    table.find(&query, &mut one),
                    balancer.pick(&query, &mut other),
                    "{algorithm}, {key}"
                );
            }
            assert_eq!(one, other, "{algorithm} draws as many numbers");
        }
    }
    with_table.dedup();
    use Algorithm::{IpHash, Maglev, Random, Ring, RoundRobin};
    assert_eq!(with_table, [Random, RoundRobin, Ring, Maglev, IpHash]);
}
