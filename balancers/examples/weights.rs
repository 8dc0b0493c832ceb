//! Weights that change at run time: a canary gets more and more, and no load count is lost:
//! `cargo run -p balancers --example weights`.
#![expect(clippy::print_stdout, reason = "an example that shows what it does")]

use balancers::{Algorithm, Pool, Query};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::new(Algorithm::Ring);
    pool.update(|edit| {
        edit.add("stable", 95, ())?;
        edit.add("canary", 5, ())
    })?;
    for canary in [5, 20, 50, 100] {
        let change = pool.update(|edit| {
            edit.set_weight("stable", 101 - canary)?;
            edit.set_weight("canary", canary)
        })?;
        let users = 10_000;
        let on_canary = (0..users)
            .filter(|&user| pool.pick(&Query::keyed(user)).is_ok_and(|lease| lease.id() == "canary"));
        let (share, moved) = (on_canary.count() as f64 / users as f64, change.keys_moved());
        println!("weight {canary:>3}: {:>5.1} % of the users, {:>4.1} % moved", share * 100.0, moved * 100.0);
    }
    Ok(())
}
