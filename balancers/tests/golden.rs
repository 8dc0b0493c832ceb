//! Placement that others depend on: equal to real implementations, and to our own of yesterday.

use std::collections::BTreeMap;

use balancers::algorithms::{Ketama, RoundRobin, Wish, jump_hash, maglev_table};
use balancers::{Algorithm, Balancer, Members, Options, Query, Rng, hash_key};
use xxhash_rust::xxh64::xxh64;

/// The lines of a data file that are not remarks.
fn lines(file: &str) -> impl Iterator<Item = &str> + Clone {
    file.lines().filter(|line| !line.starts_with('#'))
}

fn numbers<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> Vec<T> {
    text.split_whitespace().map(|number| number.parse().unwrap()).collect()
}

fn servers(text: &str) -> Vec<(&str, u32)> {
    text.split_whitespace()
        .map(|s| s.rsplit_once('^').unwrap())
        .map(|(id, w)| (id, w.parse().unwrap()))
        .collect()
}

/// The same list in a thousand orders.
fn shuffles<T: Clone>(list: &[T]) -> impl Iterator<Item = Vec<T>> {
    let mut rng = Rng::new(2026);
    (0..1000).map(move |_| {
        let mut list = list.to_vec();
        (1..list.len()).rev().for_each(|n| list.swap(n, rng.below(n as u64 + 1) as usize));
        list
    })
}

const KEYS: &str = include_str!("golden/nginx_keys.txt");

#[test]
fn round_robin_goes_as_nginx_goes() {
    for line in lines(include_str!("golden/nginx_swrr.txt")) {
        let (weights, picks) = line.split_once('|').unwrap();
        let (weights, picks) = (numbers::<u32>(weights), numbers::<usize>(picks));
        let ids: Vec<String> = (0..weights.len()).map(|n| format!("{n:02}")).collect();
        let list: Vec<(&str, u32)> = ids.iter().map(String::as_str).zip(weights).collect();
        for list in shuffles(&list) {
            let turns = RoundRobin::new(Members::new(list).unwrap(), 0);
            let pick = || turns.pick(&Query::new(), &mut Rng::new(0)).unwrap();
            assert_eq!(picks.iter().map(|_| pick()).collect::<Vec<_>>(), picks, "{line}");
        }
    }
}

#[test]
fn ketama_places_as_nginx_places() {
    for line in lines(include_str!("golden/nginx_ketama.txt")) {
        let (list, picks) = line.split_once('|').unwrap();
        for (n, list) in shuffles(&servers(list)).enumerate() {
            let ketama = Ketama::nginx(Members::new(list).unwrap()).unwrap();
            let home = |key: &str| ketama.home(&Query::for_key(key.as_bytes())).unwrap().to_string();
            // All keys for the first orders, a few for the rest: the circle must be the same one.
            let keys = if n < 20 { 1000 } else { 50 };
            assert_eq!(KEYS.lines().take(keys).map(home).collect::<String>(), picks.trim()[..keys], "{line}");
        }
    }
}

#[cfg(feature = "libketama")]
#[test]
fn libketama_places_as_memcached_clients_place() {
    let mut rows = lines(include_str!("golden/libketama.txt"));
    for (n, list) in shuffles(&servers(rows.next().unwrap())).enumerate() {
        let ketama = Ketama::libketama(Members::new(list).unwrap()).unwrap();
        for row in rows.clone().take(if n < 20 { 500 } else { 20 }) {
            let (key, server) = row.split_once(' ').unwrap();
            let home = ketama.home(&Query::for_key(key.as_bytes())).unwrap();
            assert_eq!(ketama.members().get(home).unwrap().id(), server, "key {key}");
        }
    }
    for line in lines(include_str!("golden/uhashring.txt")) {
        let (list, picks) = line.split_once('|').unwrap();
        let ketama = Ketama::libketama(Members::new(servers(list)).unwrap()).unwrap();
        for (n, server) in picks.split_whitespace().enumerate() {
            let home = ketama.home(&Query::for_key(format!("key{n}").as_bytes())).unwrap();
            assert_eq!(ketama.members().get(home).unwrap().id(), server, "key{n}");
        }
    }
}

#[test]
fn jump_hash_is_the_papers() {
    for line in lines(include_str!("golden/jump_hash.txt")) {
        let [key, buckets, bucket] = numbers::<u64>(line)[..] else { panic!("three numbers: {line}") };
        assert_eq!(u64::from(jump_hash(key, buckets as u32)), bucket, "{line}");
    }
    assert_eq!(jump_hash(7, 0), 0);
}

#[test]
fn maglev_fills_its_table_as_the_paper_does() {
    let wish = |(offset, skip)| Wish { offset, skip, weight: 1 };
    let paper = [(3, 4), (0, 2), (3, 1)].map(wish);
    assert_eq!(maglev_table(&paper, 7).unwrap(), [1, 0, 1, 0, 2, 2, 0]);
    assert_eq!(
        maglev_table(&[paper[0], paper[2]], 7).unwrap(),
        [0, 0, 0, 0, 1, 1, 1],
        "without B1; B2 is now 1"
    );
}

#[test]
fn maglev_fills_its_table_as_kkdai_and_envoy_do() {
    for line in lines(include_str!("golden/maglev_kkdai.txt")) {
        let [size, nodes, picks] = line.split('|').collect::<Vec<_>>()[..] else {
            panic!("three fields: {line}")
        };
        let size: u64 = size.trim().parse().unwrap();
        let salted = |salt: u8, name: &str| xxh64(&[&[salt], name.as_bytes()].concat(), 0);
        let wish = |name: &str| Wish {
            offset: (salted(0xba, name) % size) as u32,
            skip: (salted(0xbe, name) % (size - 1) + 1) as u32,
            weight: 1,
        };
        let table =
            maglev_table(&nodes.split_whitespace().map(wish).collect::<Vec<_>>(), size as u32).unwrap();
        let slot = |key: &str| (xxh64(key.as_bytes(), 0) % size) as usize;
        for (key, pick) in KEYS.lines().zip(numbers::<u16>(picks)) {
            assert_eq!(table[slot(key)], pick, "{key} of {size}");
        }
    }
    for line in lines(include_str!("golden/maglev_envoy.txt")) {
        let [size, hosts, table] = line.split('|').collect::<Vec<_>>()[..] else {
            panic!("three fields: {line}")
        };
        let (size, hosts): (u64, _) = (size.trim().parse().unwrap(), servers(hosts));
        let wish = |&(name, weight): &(&str, u32)| Wish {
            offset: (xxh64(name.as_bytes(), 0) % size) as u32,
            skip: (xxh64(name.as_bytes(), 1) % (size - 1) + 1) as u32,
            weight,
        };
        let found = maglev_table(&hosts.iter().map(wish).collect::<Vec<_>>(), size as u32).unwrap();
        assert_eq!(found, numbers::<u16>(table), "{line}");
    }
}

#[test]
fn keys_are_hashed_as_libxxhash_hashes() {
    let buffer: Vec<u8> =
        std::iter::successors(Some(2_654_435_761_u64), |g| Some(g.wrapping_mul(11_400_714_785_074_694_797)))
            .map(|g| (g >> 56) as u8)
            .take(4096)
            .collect();
    for line in lines(include_str!("golden/xxh3.txt")) {
        let (len, hash) = line.split_once(' ').unwrap();
        let len: usize = len.parse().unwrap();
        assert_eq!(hash_key(&buffer[..len]), u64::from_str_radix(hash, 16).unwrap(), "length {len}");
    }
}

/// Our own placement: for each algorithm that places by key, who gets the first 200 keys, by weight and without.
fn own_placement() -> String {
    let mut text = String::new();
    for algorithm in Algorithm::ALL {
        for weights in [[1, 1, 1, 1, 1, 1, 1], [3, 1, 4, 1, 5, 9, 2]] {
            let ids: Vec<String> = (0..7).map(|n| format!("10.0.0.{n}:80")).collect();
            let list = ids.iter().map(String::as_str).zip(weights);
            let balancer = algorithm.build(Members::new(list).unwrap(), &Options::default()).unwrap();
            let home = |key: &str| Some(balancer.home(&Query::for_key(key.as_bytes()))?.to_string());
            if let Some(homes) = KEYS.lines().take(200).map(home).collect::<Option<String>>() {
                let by_hash = |hash| balancer.home(&Query::keyed(hash)).unwrap().to_string();
                let by_hash: String = (0..100).map(by_hash).collect();
                let by_ip = |n| balancer.home(&Query::for_ip([192, 0, 2, n].into())).unwrap().to_string();
                let by_ip: String = (0..100).map(by_ip).collect();
                text += &format!("{algorithm} {weights:?}: {homes} {by_hash} {by_ip}\n");
            }
        }
    }
    text
}

#[test]
fn our_own_placement_is_frozen() {
    let frozen: BTreeMap<&str, &str> =
        lines(include_str!("golden/placement.txt")).map(|line| line.split_once(": ").unwrap()).collect();
    let found = own_placement();
    let found: BTreeMap<&str, &str> = found.lines().map(|line| line.split_once(": ").unwrap()).collect();
    for (case, placement) in frozen {
        assert_eq!(
            found.get(case),
            Some(&placement),
            "{case}: placement changed: this breaks every user's cache"
        );
    }
}

#[test]
fn every_algorithm_that_places_by_key_is_frozen() {
    let frozen = lines(include_str!("golden/placement.txt")).count();
    assert_eq!(
        own_placement().lines().count(),
        frozen,
        "add the lines of this to golden/placement.txt:\n{}",
        own_placement()
    );
}
