//! What is counted of one member.

use std::time::Duration;

use super::{Counter, Histogram};

/// Counts of one member, kept with it through reloads. About 4 KiB, nearly all of it the histogram.
#[derive(Debug, Default)]
pub(crate) struct MemberCounters {
    /// Answers by class: 1xx to 5xx.
    classes: [Counter; 5],
    /// Attempts without a usable answer.
    pub(crate) failures: Counter,
    /// Times it was taken out of service.
    pub(crate) ejections: Counter,
    pub(crate) connections_opened: Counter,
    pub(crate) connections_reused: Counter,
    /// From sending a request to the head of its answer.
    pub(crate) latency: Histogram,
}

impl MemberCounters {
    /// It answered.
    #[inline]
    pub(crate) fn answered(&self, status: http::StatusCode, latency: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, 5);
        self.classes[class - 1].add(1);
        self.latency.record(latency);
    }

    /// Answers by class.
    pub(crate) fn by_class(&self) -> [(&'static str, u64); 5] {
        let mut counts = CLASSES.map(|class| (class, 0));
        for (entry, counter) in counts.iter_mut().zip(&self.classes) {
            entry.1 = counter.count();
        }
        counts
    }
}

const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
