//! A circuit breaker: stop asking a server that does not answer.
//!
//! ```text
//!              3 failures in a row, or half of the last 20            a probe is sent
//!     Closed ─────────────────────────────────────────────► Open ──────────────────────► HalfOpen
//!        ▲                                                    ▲                              │
//!        │                                                    └──────── it failed ───────────┤
//!        └───────────────────────────────────── it was answered ─────────────────────────────┘
//! ```
//!
//! Only while it is closed do callers touch the network. Probes are sent by the connection's own task, never by a
//! caller, so a server that is down costs nobody more than the operations it took to notice.
//!
//! Cost while all is well: one relaxed load an operation, no writes. The outcomes are a row of bits, newest lowest; it
//! is only written while it holds a failure.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

/// Whether operations reach the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Circuit {
    /// They do.
    Closed,
    /// They are refused at once.
    Open,
    /// They are refused at once; a probe is on its way.
    HalfOpen,
}

impl Circuit {
    /// The state in a word, for logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

#[derive(Debug)]
pub(super) struct Breaker {
    failures_in_a_row: u32,
    outcomes: AtomicU64,
    circuit: AtomicU8,
}

impl Breaker {
    /// Opens after `failures_in_a_row` (1 to 64), or half of the last [`WINDOW`] outcomes.
    pub(super) fn new(failures_in_a_row: u32) -> Self {
        Self {
            failures_in_a_row: failures_in_a_row.clamp(1, u64::BITS),
            outcomes: AtomicU64::new(0),
            circuit: AtomicU8::new(0),
        }
    }

    pub(super) fn circuit(&self) -> Circuit {
        match self.circuit.load(Relaxed) {
            0 => Circuit::Closed,
            1 => Circuit::Open,
            _ => Circuit::HalfOpen,
        }
    }

    pub(super) fn set(&self, circuit: Circuit) {
        if circuit == Circuit::Closed {
            self.outcomes.store(0, Relaxed);
        }
        self.circuit.store(circuit as u8, Relaxed);
    }

    pub(super) fn record_success(&self) {
        // Relaxed, and lost updates are fine: the row is a heuristic, a success more or less does not matter.
        let outcomes = self.outcomes.load(Relaxed);
        if outcomes != 0 {
            self.outcomes.store(outcomes << 1, Relaxed);
        }
    }

    /// True when this failure is the one that should open the circuit.
    pub(super) fn record_failure(&self) -> bool {
        let before = self
            .outcomes
            .fetch_update(Relaxed, Relaxed, |outcomes| Some(outcomes << 1 | 1))
            .expect("the closure always gives a value");
        let outcomes = before << 1 | 1;
        outcomes.trailing_ones() >= self.failures_in_a_row
            || (outcomes & ((1 << WINDOW) - 1)).count_ones() >= WINDOW / 2
    }
}

/// Outcomes looked back on.
const WINDOW: u32 = 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn three_failures_in_a_row_open_it() {
        let breaker = Breaker::new(3);
        assert!(!breaker.record_failure());
        assert!(!breaker.record_failure());
        breaker.record_success();
        assert!(!breaker.record_failure());
        assert!(!breaker.record_failure());
        assert!(breaker.record_failure());
    }

    #[test]
    fn half_of_the_last_twenty_open_it() {
        let breaker = Breaker::new(64);
        for _ in 0..9 {
            assert!(!breaker.record_failure());
            breaker.record_success();
        }
        assert!(breaker.record_failure());
    }

    #[test]
    fn one_failure_in_three_never_opens_it() {
        let breaker = Breaker::new(3);
        for _ in 0..1_000 {
            assert!(!breaker.record_failure());
            breaker.record_success();
            breaker.record_success();
        }
    }

    #[test]
    fn closing_forgets() {
        let breaker = Breaker::new(2);
        assert!(!breaker.record_failure());
        breaker.set(Circuit::Open);
        breaker.set(Circuit::HalfOpen);
        assert_eq!(breaker.circuit(), Circuit::HalfOpen);
        breaker.set(Circuit::Closed);
        assert!(!breaker.record_failure());
        assert!(breaker.record_failure());
    }

    proptest! {
        #[test]
        fn agrees_with_a_list(outcomes in prop::collection::vec(any::<bool>(), 0..200), limit in 1_u32..64) {
            let breaker = Breaker::new(limit);
            let mut seen = Vec::new();
            for is_ok in outcomes {
                seen.push(is_ok);
                if is_ok {
                    breaker.record_success();
                    continue;
                }
                let in_a_row = seen.iter().rev().take_while(|ok| !**ok).count();
                let of_window = seen.iter().rev().take(WINDOW as usize).filter(|ok| !**ok).count();
                prop_assert_eq!(
                    breaker.record_failure(),
                    in_a_row >= limit as usize || of_window >= WINDOW as usize / 2
                );
            }
        }
    }
}
