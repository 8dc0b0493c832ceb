//! The configuration: a TOML file in, a [`Config`] that cannot be wrong out, or every fault at once.
//!
//! | file | question it answers |
//! |---|---|
//! | `model.rs` | what can be configured, with which defaults and limits |
//! | `read.rs` | which key sets what; goproxy's names included |
//! | `admission.rs`, `rules.rs` | who and what may come in |
//! | `limits.rs` | how much a client may have |
//! | `tls.rs` | certificates |
//! | `resilience.rs` | what is done about members that fail, are slow or are full |
//! | `access_log.rs` | the grammar of the access log |
//! | `keys.rs` | every key with its default, once: for `template.rs`, `schema.rs` and `effective.rs` |
//! | `address.rs` | the grammar of listeners and members |
//! | `discovery.rs` | the grammar of members that are found by name |
//! | `reader.rs` | how a table is read without missing a fault |
//! | `error.rs` | how faults are shown |
//!
//! ```
//! use evenly::config::Config;
//!
//! let config = Config::parse("cfg.toml", r#"
//!     [server]
//!     port = ":8080"
//!     proxy_pass = ["127.0.0.1:6000^10", "127.0.0.1:7000"]
//!     balance = "round_robin"
//! "#).unwrap();
//! assert_eq!(config.server.members[0].weight, 10);
//!
//! let faults = Config::parse("cfg.toml", "[server]\nprot = \":80\"\ninverse_mode = 9\n").unwrap_err();
//! assert!(faults.to_string().contains("cfg.toml:2:1"));
//! assert!(faults.to_string().contains("did you mean \"port\"?"));
//! ```

mod access_log;
mod address;
mod admission;
mod discovery;
mod effective;
mod error;
mod keys;
mod limits;
mod model;
mod read;
mod reader;
mod resilience;
mod rules;
mod schema;
mod secret;
mod template;
mod tls;
mod today;

pub use access_log::{AccessLog, LogField, PatternError, Piece};
pub use address::{Address, AddressError, Listen, Member, WEIGHT_MAX};
pub use admission::{AdmissionConfig, FAILURES_PER_MINUTE};
pub use discovery::{DnsConfig, Entry, Name};
pub use error::{Fault, Faults};
pub use keys::{KEYS, Key, Kind, SECTIONS, SectionAbout};
pub use limits::ConnectionLimits;
pub use model::{
    AdminConfig, CacheConfig, CacheProfile, CacheStore, Config, GroupConfig, LogLevel, MemoryConfig,
    RedisConfig, Secret, ServerConfig, Timeouts,
};
pub use resilience::{Check, HealthConfig, QueueConfig, Resilience, RetryConfig};
pub use schema::schema;
pub use template::template;
pub use tls::{CertificateFiles, ClientTlsConfig, TlsConfig};
