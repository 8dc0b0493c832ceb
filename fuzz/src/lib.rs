//! What every fuzz target checks, as a function of its bytes.
//!
//! libFuzzer runs them (`make fuzz`), and so does a plain test, over the saved inputs in `seeds/` and inputs made of them
//! (`tests/replay.rs`): a target that rots is noticed without a fuzzer. Operation lists and naive models are the ones of
//! the property tests, included by their path.
//!
//! | file | targets |
//! |---|---|
//! | `answers.rs` | `answers` (members, by our client and by hyper's), `replies` (Redis) |
//! | `balancing.rs` | `members`, `pool_ops`, `ring_churn` |
//! | `caching.rs` | `cache_ops` (every policy), `single_flight` |
//! | `http_caching.rs` | `cache_control`, `vary`, `entry` |
//! | `requests.rs` | `sanitise`, `target`, `basic_auth`, `proxy_protocol`, `forwarded` |
//! | `settings.rs` | `config`, `rules` |
//! | `wire.rs` | `requests` |

mod answers;
mod balancing;
mod caching;
mod http_caching;
mod requests;
mod settings;
mod wire;

pub use answers::{answers, replies};
pub use balancing::{members, pool_ops, ring_churn};
pub use caching::{cache_ops, single_flight};
pub use http_caching::{cache_control, entry, vary};
pub use requests::{basic_auth, forwarded, proxy_protocol, sanitise, target};
pub use settings::{config, rules};
pub use wire::requests;

/// A check of some bytes: it panics where they break a promise.
pub type Target = fn(&[u8]);

/// Every target by the name of its program.
pub const TARGETS: &[(&str, Target)] = &[
    ("answers", answers),
    ("basic_auth", basic_auth),
    ("cache_control", cache_control),
    ("cache_ops", cache_ops),
    ("config", config),
    ("entry", entry),
    ("forwarded", forwarded),
    ("members", members),
    ("pool_ops", pool_ops),
    ("proxy_protocol", proxy_protocol),
    ("replies", replies),
    ("requests", requests),
    ("ring_churn", ring_churn),
    ("rules", rules),
    ("sanitise", sanitise),
    ("single_flight", single_flight),
    ("target", target),
    ("vary", vary),
];
