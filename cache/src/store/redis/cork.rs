//! When to write: at once, or after one turn of the runtime for those requests that are just being made.
//!
//! Many tasks are ready at the same moment, because their answers came in one packet. A driver that wrote as soon as it was
//! woken would make a system call for each of their requests, and a call costs more than everything else in an operation. One
//! that waited for all of them would leave the server without work, and then be without work itself. So what is gathered is
//! written when it is a third of what is under way, and what is less waits for one turn, never two: the driver goes to the end
//! of the queue and writes when it comes round. A full buffer ([`ENOUGH`]) does not wait, nor does a lone caller.
//!
//! ```text
//!     16 tasks ready, nothing under way      1 ─► 1 ─► 1 ─► 1 ─► 2 ─► 2 ─► 3 ─► 5 ─►       the server begins with the first
//! ```
//!
//! Seen with 100 bytes and 16 in flight, as shares of the rate of plain redis-rs (get, put; two cores, real-time priority, medians
//! of nine rounds): a third 0.98, 1.04; as much as is under way 0.94, 0.95; each at once 0.93, 0.73. What is under way weighs
//! more on a network with distance: there, more is gathered.
//!
//! Nagle's algorithm, which redis-rs leaves on, gathers in the kernel until an acknowledgement comes. On loopback that was
//! faster still (1.27, 1.06); over a network it would have a second request wait for the round trip of the first. It is off.

/// Whether to write now.
#[derive(Debug, Default)]
pub(super) struct Cork {
    is_held: bool,
}

impl Cork {
    /// True when `gathered` requests of `len` bytes, with `under_way` unanswered, should wait one turn for more. Never twice
    /// in a row.
    pub(super) fn holds_back(&mut self, gathered: usize, len: usize, under_way: usize) -> bool {
        self.is_held = !self.is_held && gathered * SHARE < under_way && len < ENOUGH;
        self.is_held
    }
}

/// What is gathered is written when it is this part of what is under way.
const SHARE: usize = 3;
/// Bytes for which a write is worth its while.
pub(super) const ENOUGH: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_of_what_is_under_way_is_written_at_once() {
        let mut cork = Cork::default();
        for (gathered, under_way) in [(1, 0), (1, 1), (1, 3), (3, 9), (4, 9)] {
            assert!(!cork.holds_back(gathered, 50, under_way), "{gathered} {under_way}");
        }
        assert!(!cork.holds_back(1, ENOUGH, 100));
        assert!(cork.holds_back(1, ENOUGH - 1, 4));
    }

    #[test]
    fn less_waits_one_turn_and_never_two() {
        let mut cork = Cork::default();
        for _ in 0..100 {
            assert!(cork.holds_back(1, 50, 16));
            assert!(!cork.holds_back(1, 50, 16));
        }
    }
}
