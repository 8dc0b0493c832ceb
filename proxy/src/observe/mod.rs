//! What the proxy tells about itself.
//!
//! | file | what |
//! |---|---|
//! | `counters.rs`, `member.rs` | how many there were, in all and for each member |
//! | `histogram.rs` | how long things take |
//! | `facts.rs` | all of it at one moment |
//! | `member_window.rs`, `history.rs` | the last seconds of each member, the last minutes of all |
//! | `events.rs` | what went wrong lately, and what was changed |
//! | `observer.rs` | follows a request to the last byte of its answer |
//! | `request_id.rs` | an id for each request |
//! | `access_log/` | a line for each request |
//! | `metrics/` | a page for Prometheus |
//! | `admin/` | the listener for people and programs that operate the proxy; the dashboard |

mod access_log;
mod admin;
mod counters;
mod events;
mod facts;
mod histogram;
mod history;
mod member;
mod member_window;
mod metrics;
mod observer;
mod request_id;

pub(crate) use access_log::{AccessLogWriter, Entry};
pub(crate) use admin::{Change, Desk, Guard, Purge, Refusal, answer};
pub(crate) use counters::Counter;
pub use counters::Counters;
pub(crate) use events::{EventKind, Events};
pub(crate) use facts::{CacheFacts, GroupFacts, MemberFacts, NameFacts, RedisFacts};
pub use histogram::{Histogram, Snapshot};
pub(crate) use history::History;
pub(crate) use member::MemberCounters;
pub use metrics::{METRICS, Metric, MetricKind};
pub(crate) use observer::{Note, Observed, Observer, Trail};
pub(crate) use request_id::{REQUEST_ID, settle as settle_request_id};
