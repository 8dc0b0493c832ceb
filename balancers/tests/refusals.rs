//! What is refused says what was found and what is allowed.

use balancers::{Algorithm, Change, EditError, Options, PickError, Pool, Query};

fn built(algorithm: Algorithm, options: Options) -> Result<Pool<()>, EditError> {
    Pool::builder().options(options).build(algorithm)
}

fn refused(algorithm: Algorithm, options: Options) -> String {
    built(algorithm, options).map(|_| ()).unwrap_err().to_string()
}

#[test]
fn options_that_an_algorithm_cannot_work_with() {
    let ring = Options::default().with_ring_points(0);
    assert_eq!(refused(Algorithm::Ring, ring), "option ring_points is 0 (must be at least 1)");
    for slots in [0, 1, 4, 65_536, 16_777_259] {
        let said = refused(Algorithm::Maglev, Options::default().with_maglev_slots(slots));
        assert_eq!(said, format!("option maglev_slots is {slots} (must be a prime from 2 to 16777213)"));
    }
}

#[test]
fn sets_that_an_algorithm_has_no_room_for_change_nothing() {
    let small = Options::default().with_maglev_slots(2);
    let pool = built(Algorithm::Maglev, small).unwrap();
    let add = |ids: &[&str]| pool.update(|edit| ids.iter().try_for_each(|id| edit.add(*id, 1, ())));
    add(&["a", "b"]).unwrap();
    let said = add(&["c"]).unwrap_err().to_string();
    assert!(said.starts_with("the weights ask for 3 points (at most 2)"), "{said}");
    assert_eq!(pool.len(), 2);
    for algorithm in [Algorithm::Ring, Algorithm::Ketama] {
        let pool: Pool<()> = Pool::new(algorithm);
        let many = pool.update(|edit| (0..3_000).try_for_each(|n| edit.add(format!("m{n}"), 65_535, ())));
        assert!(matches!(many, Err(EditError::TooManyPoints { found, max }) if found > max), "{algorithm}");
        assert!(pool.is_empty(), "{algorithm}");
    }
}

#[test]
fn edits_that_cannot_be() {
    let pool: Pool<()> = Pool::new(Algorithm::P2c);
    pool.update(|edit| edit.add("a", 1, ())).unwrap();
    let said = |change: Result<Change, EditError>| change.unwrap_err().to_string();
    assert_eq!(said(pool.update(|edit| edit.add("a", 1, ()))), "member \"a\" is there twice");
    assert_eq!(said(pool.update(|edit| edit.remove("b"))), "no member has the id \"b\"");
    assert_eq!(said(pool.update(|edit| edit.add("", 1, ()))), "an id of 0 bytes (must be 1 to 512)");
    let weight = said(pool.update(|edit| edit.add("b", 0, ())));
    assert_eq!(weight, "weight 0 for member \"b\" (must be 1 to 65535)");
    let empty = pool.update(|edit| {
        edit.refuse_empty();
        edit.remove("a")
    });
    assert_eq!(said(empty), "the set would have no members");
    let many = pool.update(|edit| (0..65_536_u32).try_for_each(|n| edit.add(format!("m{n}"), 1, ())));
    let many = said(many);
    assert_eq!(many, "65537 members (at most 65536)");
    pool.update(|edit| {
        assert_eq!(edit.ids().collect::<Vec<_>>(), ["a"], "nothing of what was refused stays");
        assert!(edit.contains("a") && !edit.contains("b"));
        Ok(())
    })
    .unwrap();
}

#[test]
fn each_reason_for_nobody_is_a_sentence_of_its_own() {
    let all = [PickError::Empty, PickError::AllDown, PickError::AllAvoided, PickError::Saturated];
    let said: std::collections::BTreeSet<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), all.len());
    let pool: Pool<()> = Pool::new(Algorithm::P2c);
    assert_eq!(pool.pick(&Query::new()).unwrap_err().to_string(), "the pool has no members");
}

/// Whoever explains himself has somebody to name or says that there is nobody.
#[test]
fn nobody_is_explained_by_every_algorithm() {
    for algorithm in Algorithm::ALL {
        let pool = built(algorithm, Options::default()).unwrap();
        let empty = pool.explain(&Query::keyed(1));
        pool.update(|edit| edit.add("a", 1, ())).unwrap();
        pool.set_up("a", false).unwrap();
        let down = pool.explain(&Query::keyed(1));
        assert!(!empty.contains("\"a\"") && !empty.is_empty(), "{algorithm}: {empty}");
        assert!(down.contains("nobody") || down.contains("down"), "{algorithm}: {down}");
    }
}
