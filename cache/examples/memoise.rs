//! Memoise a function: each argument is computed once, whichever threads ask.
//!
//! `cargo run -p cache --example memoise`
#![allow(clippy::print_stdout)] // that is what it is for

use cache::Cache;
use std::sync::atomic::{AtomicU32, Ordering};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let computed = AtomicU32::new(0);
    let lengths = Cache::<u64, u32>::builder(10_000).build()?;
    // The length of the Collatz sequence that starts at `n`.
    let length = |n: u64| {
        lengths.get_or_insert_with(&n, || {
            computed.fetch_add(1, Ordering::Relaxed);
            let next = |n: &u64| (*n > 1).then(|| if n.is_multiple_of(2) { n / 2 } else { 3 * n + 1 });
            std::iter::successors(Some(n), next).count() as u32
        })
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (1..1_000).for_each(|n| assert!(length(n).is_ok())));
        }
    });
    assert_eq!(length(27)?, 112);
    assert_eq!(computed.load(Ordering::Relaxed), 999, "four threads, each argument once");
    println!("length of 27: {}; {:?}", length(27)?, lengths.stats());
    Ok(())
}
