//! What can be asked of a running proxy. The admin API knows no more of it than this.

use std::future::Future;

use crate::observe::{CacheFacts, Counters, Events, GroupFacts, History, NameFacts};

/// The proxy as its operators see it.
pub(crate) trait Desk: Send + Sync {
    fn counters(&self) -> &Counters;
    fn history(&self) -> &History;
    fn events(&self) -> &Events;
    fn groups(&self) -> Vec<GroupFacts>;
    fn cache(&self) -> CacheFacts;
    fn names(&self) -> NameFacts;
    fn access_log_dropped(&self) -> u64;
    /// The configuration in use, as TOML, secrets masked.
    fn config(&self) -> impl Future<Output = String> + Send;
    /// Whether new requests are welcome: not draining, and a member is up.
    fn is_ready(&self) -> bool;
    /// Changes the members of a group; what is said is for people.
    fn change(&self, group: &str, change: &Change) -> Result<String, Refusal>;
    /// Removes stored responses; tells how many.
    fn purge(&self, what: &Purge) -> impl Future<Output = Result<u64, Refusal>> + Send;
    /// Reads the configuration again; what is said is for people.
    fn reload(&self) -> impl Future<Output = Result<String, Refusal>> + Send;
}

/// A change of members at run time. A reload puts back what the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// As in `proxy_pass`: `host:port^weight`.
    Add(crate::config::Member),
    Remove(String),
    Weight(String, u32),
    /// No new requests; those at the member end in peace.
    Drain(String),
    Undrain(String),
}

/// Which stored responses to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Purge {
    Url(String),
    Prefix(String),
    Tag(String),
    All,
}

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// There is no such thing.
    NotFound(String),
    /// It cannot be done.
    Impossible(String),
    /// The proxy was built or configured without it.
    NotConfigured(String),
}
