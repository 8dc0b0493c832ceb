//! An open-loop simulation of servers behind balancers: what a policy does to the tail of the latencies.
//!
//! | file | |
//! |---|---|
//! | `policy.rs` | our pools, and models of others |
//! | `world.rs` | servers, arrivals, the clock |

pub mod policy;
pub mod world;
