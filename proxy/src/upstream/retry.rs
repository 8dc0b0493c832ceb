//! May a request be sent again?
//!
//! A request that failed may have been carried out all the same. It is repeated only when that does no harm: the
//! method is idempotent (RFC 9110 §9.2.2), or nothing of the request reached the member; and only when its body is
//! still there to be sent.
//!
//! And only within a budget, so that retries cannot bring down what is only slow:
//!
//! ```text
//!     retries in 10 s  ≤  max(20 % of the requests in 10 s, 3 a second)
//! ```
//!
//! An attempt that reached nobody is no load on anybody, and free.

use http::Method;

use super::window::{SECONDS, Window};
use crate::config::RetryConfig;

/// How far a failed attempt got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reached {
    /// No connection: the member has seen nothing.
    Nothing,
    /// Something was written; the member may have acted.
    Member,
}

/// Whether a request with `method`, whose body is still whole, may be sent to another member.
pub(crate) fn may_repeat(method: &Method, reached: Reached) -> bool {
    reached == Reached::Nothing || is_idempotent(method)
}

pub(crate) fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::PUT | Method::DELETE | Method::OPTIONS | Method::TRACE
    )
}

/// Retries of a group in proportion to its requests.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    requests: Window,
    retries: Window,
}

impl Budget {
    /// A request came in.
    pub(crate) fn request(&self, second: u32) {
        self.requests.add(second);
    }

    /// Takes one retry from the budget, if there is one left.
    pub(crate) fn take(&self, second: u32, settings: &RetryConfig) -> bool {
        let share = self.requests.sum(second) * u64::from(settings.budget_percent) / 100;
        let allowed = share.max(u64::from(settings.budget_min * SECONDS));
        let is_allowed = self.retries.sum(second) < allowed;
        if is_allowed {
            self.retries.add(second);
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn post_is_never_sent_twice() {
        assert!(may_repeat(&Method::POST, Reached::Nothing));
        assert!(!may_repeat(&Method::POST, Reached::Member));
        assert!(!may_repeat(&Method::PATCH, Reached::Member));
        assert!(may_repeat(&Method::GET, Reached::Member));
        assert!(may_repeat(&Method::PUT, Reached::Member));
    }

    fn taken(budget: &Budget, second: u32) -> usize {
        (0..1000).take_while(|_| budget.take(second, &RetryConfig::default())).count()
    }

    #[test]
    fn retries_are_a_fifth_of_the_requests() {
        let budget = Budget::default();
        for second in 100..110 {
            (0..100).for_each(|_| budget.request(second));
        }
        assert_eq!(taken(&budget, 109), 200);
        // Eleven seconds later, with no requests, there is only the minimum.
        assert_eq!(taken(&budget, 120), 30);
    }

    #[test]
    fn a_little_is_always_allowed() {
        let budget = Budget::default();
        assert_eq!(taken(&budget, 100), 30);
        assert_eq!(taken(&budget, 105), 0, "spent for ten seconds");
        assert_eq!(taken(&budget, 110), 30);
        let none = RetryConfig { budget_percent: 0, budget_min: 0, ..RetryConfig::default() };
        assert!(!Budget::default().take(100, &none));
    }
}
