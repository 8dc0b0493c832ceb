//! Who only looks sees whom a pick would have taken, and nothing is counted.

use balancers::{Algorithm, PickError, Pool, Query};

fn pool(algorithm: Algorithm) -> Pool<u32> {
    let pool = Pool::builder().seed(5).build(algorithm).unwrap();
    let members = [("a", 1), ("b", 2), ("c", 3)];
    pool.update(|edit| members.into_iter().try_for_each(|(id, weight)| edit.add(id, weight, weight * 10)))
        .unwrap();
    pool
}

#[test]
fn what_is_seen_is_a_member_with_its_value_and_is_not_counted() {
    for algorithm in Algorithm::ALL {
        let pool = pool(algorithm);
        let mut reader = pool.reader();
        for key in 0..50 {
            let seen = reader.peek(&Query::keyed(key)).unwrap();
            let value = pool.with_value(seen.id(), |value| *value);
            assert_eq!(value, Some(*seen.value()), "{algorithm}");
            assert_eq!(pool.tag(seen.id()), Some(seen.tag()), "{algorithm}");
        }
        assert!(
            pool.members().iter().all(|member| member.in_flight == 0 && member.picks == 0),
            "{algorithm}"
        );
        assert_eq!(reader.pool().len(), 3);
        assert_eq!(pool.tag("nobody"), None);
    }
}

/// The key alone decides, so the one seen is the one picked, and with whom he is avoided the next.
#[test]
fn of_a_key_the_one_seen_is_the_one_picked() {
    for algorithm in [Algorithm::Ring, Algorithm::Ketama, Algorithm::Maglev, Algorithm::Rendezvous] {
        let pool = pool(algorithm);
        let mut reader = pool.reader().clone();
        for key in 0..50 {
            let candidates = pool.candidates(&Query::keyed(key));
            let first = reader.peek(&Query::keyed(key)).unwrap();
            assert_eq!(first.id(), &*candidates[0], "{algorithm}");
            let tag = first.tag();
            assert_eq!(
                reader.peek(&Query::keyed(key).avoiding(tag)).unwrap().id(),
                &*candidates[1],
                "{algorithm}"
            );
            assert_eq!(reader.pick(&Query::keyed(key)).unwrap().id(), &*candidates[0], "{algorithm}");
        }
    }
}

#[test]
fn nobody_to_be_seen_has_the_reasons_of_a_pick() {
    for algorithm in Algorithm::ALL {
        let pool = pool(algorithm);
        let mut reader = pool.reader();
        let all = ["a", "b", "c"].map(|id| pool.tag(id).unwrap());
        let seen = |reader: &mut balancers::Reader<u32>, query: &Query<'_>| {
            reader.peek(query).map(|_| ()).unwrap_err()
        };
        let avoiding = all.iter().fold(Query::keyed(1), |query, tag| query.avoiding(*tag));
        assert_eq!(seen(&mut reader, &avoiding), PickError::AllAvoided, "{algorithm}");
        for id in ["a", "b"] {
            pool.set_up(id, false).unwrap();
        }
        assert_eq!(reader.peek(&Query::keyed(1)).unwrap().id(), "c", "{algorithm}");
        pool.set_up("c", false).unwrap();
        assert_eq!(seen(&mut reader, &Query::keyed(1)), PickError::AllDown, "{algorithm}");
        pool.update(|edit| ["a", "b", "c"].iter().try_for_each(|id| edit.remove(id))).unwrap();
        assert!(pool.is_empty());
        assert_eq!(seen(&mut reader, &Query::keyed(1)), PickError::Empty, "{algorithm}");
    }
}
