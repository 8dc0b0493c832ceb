//! Members, pools and rings against naive twins.

use std::collections::BTreeMap;

use balancers::{Algorithm, EditError, Members, WEIGHT_MAX};

#[path = "../../balancers/tests/support/naive_ring.rs"]
mod naive_ring;
#[path = "../../balancers/tests/support/pool_ops.rs"]
mod operations;

/// A set is refused for its first fault and else holds exactly what was listed, in the order of its ids.
pub fn members(data: &[u8]) {
    let list: Vec<(String, u32)> = data.chunks_exact(3).map(|c| (id(c[0]), weight(c[1], c[2]))).collect();
    let mut twin = BTreeMap::new();
    let is_bad = list.iter().any(|(id, weight)| id.is_empty() || *weight == 0 || *weight > WEIGHT_MAX);
    let is_twice = list.iter().any(|(id, weight)| twin.insert(id.clone(), *weight).is_some());
    match Members::new(list.iter().map(|(id, weight)| (id.as_str(), *weight))) {
        Ok(set) => {
            assert!(!is_bad && !is_twice, "{list:?}");
            let held: Vec<_> = set.iter().map(|member| (member.id().to_owned(), member.weight())).collect();
            assert_eq!(held, twin.into_iter().collect::<Vec<_>>());
        }
        Err(EditError::Duplicate { .. }) => assert!(is_twice && !is_bad, "{list:?}"),
        Err(EditError::Weight { .. } | EditError::IdLen { .. }) => assert!(is_bad, "{list:?}"),
        Err(other) => panic!("{other}: {list:?}"),
    }
}

/// Operations on a live pool of any algorithm.
pub fn pool_ops(data: &[u8]) {
    let Some((&algorithm, ops)) = data.split_first() else { return };
    let algorithm = Algorithm::ALL[usize::from(algorithm) % Algorithm::ALL.len()];
    operations::play(algorithm, &operations::decode(ops));
}

/// A ring that grew by changes places like points sorted and searched one by one.
pub fn ring_churn(data: &[u8]) {
    let Some((&points, rest)) = data.split_first() else { return };
    let set = |bytes: &[u8]| -> BTreeMap<String, u32> {
        bytes.chunks_exact(2).map(|c| (format!("{:x}", c[0] % 24), u32::from(c[1] % 5) + 1)).collect()
    };
    let steps: Vec<_> = rest.chunks(12).take(8).map(set).filter(|set| !set.is_empty()).collect();
    naive_ring::play(&steps, u32::from(points % 30) + 1);
}

fn id(byte: u8) -> String {
    if byte == 0 { String::new() } else { format!("m{}", byte % 40) }
}

fn weight(kind: u8, low: u8) -> u32 {
    match kind {
        0 => 0,
        1 => WEIGHT_MAX,
        2 => WEIGHT_MAX + 1 + u32::from(low),
        _ => u32::from(low) + 1,
    }
}
