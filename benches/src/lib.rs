//! Rivals side by side: workloads, one adapter for each rival, and the programs that print the tables.

#[cfg(feature = "balancing-rivals")]
pub mod balancing;
pub mod belady;
#[cfg(feature = "cache-rivals")]
pub mod cache_rivals;
pub mod caches;
pub mod counting;
pub mod instructions;
pub mod picture;
pub mod scoreboard;
pub mod simulation;
pub mod synthetic;
pub mod traces;
#[cfg(feature = "cache-rivals")]
pub mod w_tiny_lfu;
pub mod zipf;
