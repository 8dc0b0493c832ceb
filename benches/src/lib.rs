//! Rivals side by side: workloads, one adapter for each rival, and the programs that print the tables.

#[cfg(feature = "balancing-rivals")]
pub mod balancing;
pub mod simulation;
