//! Picks from a pool, while one member fails and another joins: `cargo run -p balancers --example pick`.
#![expect(clippy::print_stdout, reason = "an example that shows what it does")]

use balancers::{Algorithm, Pool, Query};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = Pool::new(Algorithm::RoundRobin);
    pool.update(|edit| {
        edit.add("a", 3, "10.0.0.1:80")?;
        edit.add("b", 1, "10.0.0.2:80")
    })?;

    let order = || {
        (0..8)
            .map(|_| pool.pick(&Query::new()).map(|lease| lease.id().to_owned()))
            .collect::<Result<String, _>>()
    };
    println!("weights 3 and 1: {}", order()?);
    pool.set_up("a", false)?;
    println!("a is down:       {}", order()?);
    pool.update(|edit| edit.add("c", 1, "10.0.0.3:80"))?;
    println!("c joins:         {}", order()?);
    pool.set_up("a", true)?;
    println!("a is back:       {}", order()?);
    Ok(())
}
