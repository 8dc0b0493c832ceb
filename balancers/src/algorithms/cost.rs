//! What "loaded" means to the algorithms that look at load.

use alloc::format;
use alloc::string::String;
use core::cmp::Ordering;

use crate::members::Member;

/// By what members are compared: always for their weight, exactly, as fractions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cost {
    /// Requests in flight. The right one for a caller that sees all traffic, and when service times vary widely.
    #[default]
    InFlight,
    /// Mean latency times (requests in flight + 1): sees slow members, members that others load, and members that
    /// fail. Needs [`Lease::finish`](crate::Lease::finish) to be told how requests went.
    Latency,
    /// As [`Self::Latency`], but a higher latency counts at once and in full, as in Finagle and tower: quicker to see a
    /// member go bad, and to mistake one slow request for it.
    PeakLatency,
}

impl Cost {
    /// Whether `a` is loaded less than `b` for its weight.
    #[inline(always)]
    pub(super) fn compare(self, a: &Member, b: &Member) -> Ordering {
        match self {
            Self::InFlight => {
                let left = u64::from(a.in_flight()) * u64::from(b.weight());
                left.cmp(&(u64::from(b.in_flight()) * u64::from(a.weight())))
            }
            Self::Latency | Self::PeakLatency => {
                let left = a.live().latency_cost() * u128::from(b.weight());
                left.cmp(&(b.live().latency_cost() * u128::from(a.weight())))
            }
        }
    }

    /// In words, for explanations.
    pub(super) fn describe(self, member: &Member) -> String {
        let in_flight = format!("{} in flight, weight {}", member.in_flight(), member.weight());
        match (self, member.live().latency()) {
            (Self::InFlight, _) => in_flight,
            (_, Some(latency)) => format!("{latency:?} × ({in_flight})"),
            (_, None) => format!("no latency known, {in_flight}"),
        }
    }
}
