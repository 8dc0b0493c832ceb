//! What the proxy tells about itself.
//!
//! | file | what |
//! |---|---|
//! | `histogram.rs` | how long requests take |
//! | `counters.rs` | how many there were |

mod counters;
mod histogram;

pub use counters::Counters;
pub use histogram::{Histogram, Snapshot};
