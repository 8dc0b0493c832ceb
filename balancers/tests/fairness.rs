//! Who gets how much: the bounds that each algorithm promises, with fixed seeds.

use balancers::algorithms::{Cost, LeastLoad, P2c, Random, RoundRobin};
use balancers::{Algorithm, Balancer, KeyUse, Members, Options, Query, Rng};
use proptest::prelude::*;

fn members(weights: &[u32]) -> Members {
    let ids: Vec<String> = (0..weights.len()).map(|n| format!("10.0.{}.{}:80", n / 256, n % 256)).collect();
    let mut sorted = ids.clone();
    sorted.sort();
    // The index of a member is that of its weight.
    Members::new(sorted.iter().map(String::as_str).zip(weights.iter().copied())).unwrap()
}

fn counts(n: usize, picks: impl Iterator<Item = usize>) -> Vec<u64> {
    picks.fold(vec![0; n], |mut counts, index| {
        counts[index] += 1;
        counts
    })
}

/// The largest chi-square to be expected once in a million (Wilson and Hilferty).
fn chi_square_limit(free: f64) -> f64 {
    let spread = 2.0 / (9.0 * free);
    free * (1.0 - spread + 4.75 * spread.sqrt()).powi(3)
}

fn chi_square(counts: &[u64], weights: &[u32]) -> f64 {
    let (all, total) = (counts.iter().sum::<u64>() as f64, weights.iter().sum::<u32>());
    let term = |(&count, &weight): (&u64, &u32)| {
        let expected = all * f64::from(weight) / f64::from(total);
        (count as f64 - expected).powi(2) / expected
    };
    counts.iter().zip(weights).map(term).sum()
}

#[test]
fn keys_are_spread_within_the_bound_of_the_points() {
    let keyed = Algorithm::ALL.into_iter().filter(|algorithm| algorithm.key_use() != KeyUse::Ignored);
    for algorithm in keyed {
        for weights in [vec![1; 10], vec![1; 100], (0..40).map(|n| n % 4 + 1).collect::<Vec<u32>>()] {
            let balancer = algorithm.build(members(&weights), &Options::default()).unwrap();
            let keys = 60_000_u64;
            let counts =
                counts(weights.len(), (0..keys).map(|key| balancer.home(&Query::keyed(key)).unwrap()));
            let total: u32 = weights.iter().sum();
            for (count, &weight) in counts.into_iter().zip(&weights) {
                let share = f64::from(weight) / f64::from(total);
                // The points' own spread, and that of the keys.
                let spread = ((1.0 - share) / (160.0 * f64::from(weight))).sqrt()
                    + (1.0 / (keys as f64 * share)).sqrt();
                let off = (count as f64 / keys as f64 / share - 1.0).abs();
                assert!(off < 4.0 * spread, "{algorithm}: {off} from its share, {} allowed", 4.0 * spread);
            }
        }
    }
}

#[test]
fn random_and_rendezvous_are_as_even_as_chance() {
    for weights in [vec![1; 20], vec![5, 1, 1], vec![1, 50, 50, 99], (1..60).collect::<Vec<u32>>()] {
        let limit = chi_square_limit(weights.len() as f64 - 1.0);
        let (random, mut rng) = (Random::new(members(&weights)), Rng::new(5));
        let lots = counts(weights.len(), (0..200_000).map(|_| random.pick(&Query::new(), &mut rng).unwrap()));
        assert!(chi_square(&lots, &weights) < limit, "random {weights:?}");
        let bids = Algorithm::Rendezvous.build(members(&weights), &Options::default()).unwrap();
        let keys = counts(weights.len(), (0..60_000).map(|key| bids.home(&Query::keyed(key)).unwrap()));
        assert!(chi_square(&keys, &weights) < limit, "rendezvous {weights:?}");
    }
}

#[test]
fn random_stays_in_proportion_when_some_are_down() {
    let weights = [4, 9, 2, 7];
    let random = Random::new(members(&weights));
    random.members().set_up(1, false);
    let mut rng = Rng::new(8);
    let lots = counts(4, (0..100_000).map(|_| random.pick(&Query::new(), &mut rng).unwrap()));
    assert_eq!(lots[1], 0);
    assert!(chi_square(&[lots[0], lots[2], lots[3]], &[4, 2, 7]) < chi_square_limit(2.0), "{lots:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(16), ..ProptestConfig::default() })]

    #[test]
    fn round_robin_keeps_everyone_within_one_of_its_quota(
        weights in prop::collection::vec(1_u32..200, 1..40),
        down in prop::collection::vec(any::<bool>(), 40),
    ) {
        let all = members(&weights);
        let up: Vec<bool> = (0..weights.len()).map(|n| n == 0 || !down[n]).collect();
        for n in (0..weights.len()).filter(|&n| !up[n]) {
            all.set_up(n, false);
        }
        let turns = RoundRobin::new(all, 0);
        let total: u32 = weights.iter().zip(&up).filter(|(_, up)| **up).map(|(weight, _)| weight).sum();
        let mut counts = vec![0_f64; weights.len()];
        for turn in 1..=2 * total {
            counts[turns.pick(&Query::new(), &mut Rng::new(0)).unwrap()] += 1.0;
            for n in 0..weights.len() {
                let quota = if up[n] { f64::from(turn) * f64::from(weights[n]) / f64::from(total) } else { 0.0 };
                prop_assert!((counts[n] - quota).abs() < 1.0, "turn {}: {} against {}", turn, counts[n], quota);
            }
        }
    }

    #[test]
    fn round_robin_of_huge_weights_keeps_its_quota_too(weights in prop::collection::vec(20_000_u32..65_536, 4..9)) {
        let turns = RoundRobin::new(members(&weights), 0);
        let total: u32 = weights.iter().sum();
        let mut counts = vec![0_f64; weights.len()];
        for turn in 1..=70_000_u32 {
            counts[turns.pick(&Query::new(), &mut Rng::new(0)).unwrap()] += 1.0;
            for (count, &weight) in counts.iter().zip(&weights).take(if turn % 50 == 0 { 9 } else { 1 }) {
                let quota = f64::from(turn) * f64::from(weight) / f64::from(total);
                prop_assert!((count - quota).abs() < 1.0, "turn {}: {} against {}", turn, count, quota);
            }
        }
    }

    #[test]
    fn least_load_in_balance_is_by_weight(weights in prop::collection::vec(1_u32..30, 1..20), rounds in 1_u32..4) {
        let least = LeastLoad::new(members(&weights), Cost::InFlight);
        let mut rng = Rng::new(3);
        for _ in 0..weights.iter().sum::<u32>() * rounds {
            least.acquire(&Query::new(), &mut rng);
        }
        for (member, weight) in least.members().iter().zip(&weights) {
            prop_assert!(member.in_flight().abs_diff(weight * rounds) <= 1);
        }
    }
}

#[test]
fn two_choices_keep_the_fullest_within_four_of_the_mean() {
    for n in [100_usize, 1000] {
        let p2c = P2c::new(members(&vec![1; n]), Cost::InFlight);
        let mut rng = Rng::new(1);
        for _ in 0..100 * n {
            p2c.acquire(&Query::new(), &mut rng);
        }
        let fullest = p2c.members().iter().map(balancers::Member::in_flight).max().unwrap();
        assert!(fullest <= 104, "{fullest} of 100 in the mean");
    }
}

#[test]
fn ties_of_least_load_are_spread_by_weight() {
    for weights in [vec![1_u32; 11], vec![3, 1, 1, 5]] {
        let least = LeastLoad::new(members(&weights), Cost::InFlight);
        let mut rng = Rng::new(6);
        let idle = counts(weights.len(), (0..100_000).map(|_| least.pick(&Query::new(), &mut rng).unwrap()));
        assert!(chi_square(&idle, &weights) < chi_square_limit(weights.len() as f64 - 1.0), "{idle:?}");
        // In a pool, where loads stand in a tree.
        let pool = balancers::Pool::builder().seed(4).build(Algorithm::LeastLoad).unwrap();
        let member = |edit: &mut balancers::Edit<usize>, n: usize| edit.add(format!("{n:02}"), weights[n], n);
        pool.update(|edit| (0..weights.len()).try_for_each(|n| member(edit, n))).unwrap();
        let idle = counts(weights.len(), (0..100_000).map(|_| *pool.pick(&Query::new()).unwrap()));
        assert!(chi_square(&idle, &weights) < chi_square_limit(weights.len() as f64 - 1.0), "{idle:?}");
    }
}

/// `PROPTEST_CASES` for a long run, few otherwise.
fn cases(few: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(few)
}
