//! Who moves when members come and go: only keys of those who did, exactly.
//!
//! The long run is `make balancers-long`: 10,000 changes, one after the other, and 10,000 keys after each.

use std::collections::BTreeMap;

use balancers::algorithms::Maglev;
use balancers::{Algorithm, Balancer, Members, Options, Query, Rng, hash_key};

const EXACT: [Algorithm; 5] =
    [Algorithm::Ring, Algorithm::IpHash, Algorithm::BoundedRing, Algorithm::Ketama, Algorithm::Rendezvous];

type Set = BTreeMap<String, u32>;

fn members(set: &Set) -> Members {
    Members::new(set.iter().map(|(id, &weight)| (id.as_str(), weight))).unwrap()
}

/// The hash of each key's member's id: cheap to keep and to compare, millions of times.
fn homes(balancer: &dyn Balancer, keys: u64) -> Vec<u64> {
    let names: Vec<u64> = balancer.members().iter().map(|member| hash_key(member.id().as_bytes())).collect();
    (0..keys).map(|key| names[balancer.home(&Query::keyed(key)).unwrap()]).collect()
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// One random change of one member; returns its id.
fn change(set: &mut Set, rng: &mut Rng) -> String {
    let id = format!("10.0.0.{}:80", rng.below(24));
    let weight = rng.below(4) as u32 + 1;
    if set.len() > 1 && set.contains_key(&id) && rng.below(2) == 0 {
        set.remove(&id);
    } else {
        set.insert(id.clone(), weight);
    }
    id
}

#[test]
fn leaving_joining_and_reweighted_members_move_only_their_own_keys() {
    let (changes, keys) = (setting("CHURN_CHANGES", 60), setting("CHURN_KEYS", 400));
    for algorithm in EXACT {
        let mut rng = Rng::new(11);
        let mut set: Set = (0..6).map(|n| (format!("10.0.0.{n}:80"), 1)).collect();
        let mut balancer = algorithm.build(members(&set), &Options::default()).unwrap();
        let mut before = homes(balancer.as_ref(), keys);
        for step in 0..changes {
            let was = set.clone();
            let id = change(&mut set, &mut rng);
            balancer = balancer.with_members(members(&set)).unwrap();
            let after = homes(balancer.as_ref(), keys);
            let grew = set.get(&id).copied().unwrap_or(0) > was.get(&id).copied().unwrap_or(0);
            let name = hash_key(id.as_bytes());
            for (old, new) in before.iter().zip(&after).filter(|(old, new)| old != new) {
                let mover = if grew { new } else { old };
                assert_eq!(*mover, name, "{algorithm}, step {step}: a key of another than {id} moved");
            }
            before = after;
        }
    }
}

/// A member that is down gives its keys away and gets exactly them back; all others stay.
#[test]
fn keys_of_a_member_that_is_down_come_back_with_it() {
    for algorithm in EXACT.into_iter().chain([Algorithm::Maglev]) {
        let set: Set = (0..10).map(|n| (format!("10.0.0.{n}:80"), n % 3 + 1)).collect();
        let balancer = algorithm.build(members(&set), &Options::default()).unwrap();
        let picks = |_: ()| -> Vec<usize> {
            (0..5000).map(|key| balancer.pick(&Query::keyed(key), &mut Rng::new(key)).unwrap()).collect()
        };
        let before = picks(());
        balancer.members().set_up(4, false);
        let during = picks(());
        assert_eq!(during, picks(()), "{algorithm}: keys without their member stay where they went");
        for (old, new) in before.iter().zip(&during) {
            assert!(*new != 4 && (*old == 4 || old == new), "{algorithm}: {old} → {new}");
        }
        balancer.members().set_up(4, true);
        assert_eq!(before, picks(()), "{algorithm}");
    }
}

#[test]
fn maglev_moves_at_most_a_percent_more_than_it_must() {
    for n in [10_u32, 100, 300] {
        let mut set: Set = (0..n).map(|n| (format!("10.0.{}.{}:80", n / 256, n % 256), 1)).collect();
        let build = |set: &Set| Maglev::new(members(set), 65_537).unwrap();
        let full = homes(&build(&set), 65_537);
        for gone in ["10.0.0.3:80", "10.0.0.7:80"] {
            set.remove(gone);
            let less = homes(&build(&set), 65_537);
            let extra = full
                .iter()
                .zip(&less)
                .filter(|(old, new)| old != new && **old != hash_key(gone.as_bytes()))
                .count();
            assert!(extra <= 655, "{extra} keys of {n} members moved without need");
            set.insert(gone.to_owned(), 1);
        }
    }
}
