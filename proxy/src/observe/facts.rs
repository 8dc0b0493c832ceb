//! What is known of the proxy at one moment: read by metrics, the admin API and the dashboard alike.

use std::sync::Arc;

use super::{MemberCounters, member_window::Pace};

/// A group of members and how it is balanced.
#[derive(Debug, Clone)]
pub(crate) struct GroupFacts {
    pub(crate) name: Arc<str>,
    pub(crate) algorithm: &'static str,
    /// Requests that wait for a place at a member.
    pub(crate) queued: u32,
    pub(crate) members: Vec<MemberFacts>,
}

/// One member.
#[derive(Debug, Clone)]
pub(crate) struct MemberFacts {
    pub(crate) id: Arc<str>,
    pub(crate) weight: u32,
    pub(crate) is_up: bool,
    pub(crate) is_draining: bool,
    pub(crate) in_flight: u32,
    pub(crate) picks: u64,
    pub(crate) counters: Arc<MemberCounters>,
    /// Over the last seconds; unknown without a sampler.
    pub(crate) pace: Option<Pace>,
}

/// Questions to DNS for members by name, by how they ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct NameFacts {
    pub(crate) answered: u64,
    pub(crate) failed: u64,
}

/// What the cache did and what it holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CacheFacts {
    pub(crate) hits: u64,
    pub(crate) misses: u64,
    pub(crate) stale: u64,
    pub(crate) revalidated: u64,
    pub(crate) collapsed: u64,
    pub(crate) redis: RedisFacts,
    pub(crate) entries: u64,
    pub(crate) bytes: u64,
    pub(crate) evictions: u64,
}

/// How Redis does, where the cache is on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RedisFacts {
    pub(crate) errors: u64,
    pub(crate) timeouts: u64,
    pub(crate) disconnects: u64,
    pub(crate) refused: u64,
    /// It is not asked, because it failed.
    pub(crate) is_given_up: bool,
}

impl RedisFacts {
    /// Each way an operation can fail with its name.
    pub(crate) fn by_kind(&self) -> [(&'static str, u64); 4] {
        [
            ("answer", self.errors),
            ("timeout", self.timeouts),
            ("disconnect", self.disconnects),
            ("refused", self.refused),
        ]
    }
}

impl CacheFacts {
    /// Each result with its name.
    pub(crate) fn by_result(&self) -> [(&'static str, u64); 5] {
        [
            ("hit", self.hits),
            ("miss", self.misses),
            ("stale", self.stale),
            ("revalidated", self.revalidated),
            ("collapsed", self.collapsed),
        ]
    }

    /// Requests that asked the cache.
    pub(crate) fn lookups(&self) -> u64 {
        self.by_result().iter().map(|(_, count)| count).sum()
    }

    /// Requests for which no member had to send a body of their own.
    pub(crate) fn served(&self) -> u64 {
        self.lookups() - self.misses
    }
}
