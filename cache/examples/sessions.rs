//! A session store: sessions end after half an hour without a request, and after eight hours in any case.
//!
//! `cargo run -p cache --example sessions`
#![allow(clippy::print_stdout)] // that is what it is for

use cache::{Cache, Cause, ManualClock};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq)]
struct Session {
    user: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A program would leave the clock out; with it the example takes no eight hours.
    let clock = ManualClock::new();
    let sessions = Cache::<u128, Session>::builder(100_000)
        .tti(30 * MINUTE)
        .ttl(8 * 60 * MINUTE)
        .clock(clock.clone())
        .on_evict(|_, session, cause| {
            if cause == Cause::Expired {
                println!("{} was logged out", session.user);
            }
        })
        .build()?;

    sessions.insert(0xa11ce, Session { user: "alice".into() });
    sessions.insert(0xb0b, Session { user: "bob".into() });
    for _ in 0..20 {
        clock.advance(20 * MINUTE);
        assert!(sessions.get(&0xa11ce).is_some(), "alice keeps coming back");
    }
    assert_eq!(sessions.get(&0xb0b), None, "bob did not");
    clock.advance(2 * 60 * MINUTE);
    sessions.maintain();
    assert!(sessions.is_empty());
    Ok(())
}
