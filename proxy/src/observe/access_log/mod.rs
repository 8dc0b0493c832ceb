//! The access log: one line for each request, also for refused ones, written when its answer has ended.
//!
//! | file | question it answers |
//! |---|---|
//! | `entry.rs` | what is known of a request |
//! | `line.rs` | how that becomes a line |
//! | `escape.rs` | why nothing a client sends can fake a line |
//! | `mask.rs` | which parts of a target are secrets |
//! | `writer.rs` | where lines go, without making anybody wait |

mod entry;
mod escape;
mod line;
mod mask;
mod writer;

pub(crate) use entry::Entry;
pub(crate) use writer::AccessLogWriter;
