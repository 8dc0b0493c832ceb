//! Prometheus metrics: collected when they are asked for, from the counts that are kept anyway.
//!
//! | file | question it answers |
//! |---|---|
//! | `table.rs` | which metrics there are, and what each means |
//! | `collect.rs` | where each number comes from |
//! | `exposition.rs` | how the text format is written |
//! | `process.rs` | what the operating system knows of us |

mod collect;
mod exposition;
mod process;
mod table;

pub(crate) use collect::{Sources, render};
pub use table::{METRICS, Metric, MetricKind};
