//! Keeps a value that is older than a known change out of the near tier.
//!
//! A read of the far tier and the news that the key has changed travel separately and can pass each other:
//!
//! ```text
//!     reader   ticket ── GET ──────────► v1 ─────────────────────────── keep v1?   no: the ticket is void
//!     server            v1 read   v2 written by another ── news ─┐
//!     fence                                                       └► void(key), near forgets
//! ```
//!
//! Each key belongs to one of 1,024 counters; news of a change raises it. A reader takes a [`Ticket`] before it asks
//! and keeps what it got only if the counter stands where it stood. A writer raises it when it starts and when it has
//! ended, so that of two writers at once the one that ends last finds the other's mark and keeps nothing: the near tier never
//! holds what one of them wrote while the far tier holds what the other did. Keys that share a counter cost each other a
//! near miss, never an answer.
//!
//! Whoever keeps a value checks the ticket *after* it put the value in and takes it out again if it is void; whoever
//! brings news raises the counter *before* it takes the value out. In every order one of the two removes it.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use xxhash_rust::xxh3::xxh3_64;

pub(super) struct Fence {
    counters: Box<[AtomicU64]>,
    everything: AtomicU64,
}

/// The state of a key's counter at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ticket {
    counter: usize,
    stood_at: u64,
    everything_at: u64,
}

impl Fence {
    pub(super) fn new() -> Self {
        Self { counters: (0..COUNTERS).map(|_| AtomicU64::new(0)).collect(), everything: AtomicU64::new(0) }
    }

    /// For a reader, before it asks.
    pub(super) fn ticket(&self, key: &[u8]) -> Ticket {
        let counter = counter_of(key);
        Ticket {
            counter,
            stood_at: self.counters[counter].load(SeqCst),
            everything_at: self.everything.load(SeqCst),
        }
    }

    /// For a writer, before it sends: voids all others' tickets of the key.
    pub(super) fn begin_write(&self, key: &[u8]) -> Ticket {
        let counter = counter_of(key);
        let everything_at = self.everything.load(SeqCst);
        Ticket { counter, stood_at: self.counters[counter].fetch_add(1, SeqCst) + 1, everything_at }
    }

    /// For a writer, when it has its answer: voids all others' tickets again; its own is good if no one else did.
    pub(super) fn end_write(&self, ticket: Ticket) -> Ticket {
        self.counters[ticket.counter].fetch_add(1, SeqCst);
        Ticket { stood_at: ticket.stood_at + 1, ..ticket }
    }

    /// `key` has changed.
    pub(super) fn void(&self, key: &[u8]) {
        self.counters[counter_of(key)].fetch_add(1, SeqCst);
    }

    /// Anything may have changed.
    pub(super) fn void_everything(&self) {
        self.everything.fetch_add(1, SeqCst);
    }

    /// Whether nothing was heard of the ticket's key since.
    pub(super) fn is_good(&self, ticket: Ticket) -> bool {
        self.counters[ticket.counter].load(SeqCst) == ticket.stood_at
            && self.everything.load(SeqCst) == ticket.everything_at
    }
}

fn counter_of(key: &[u8]) -> usize {
    xxh3_64(key) as usize % COUNTERS
}

const COUNTERS: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_between_asking_and_keeping_voids_a_readers_ticket() {
        let fence = Fence::new();
        let ticket = fence.ticket(b"k");
        assert!(fence.is_good(ticket));
        fence.void(b"k");
        assert!(!fence.is_good(ticket));
        let ticket = fence.ticket(b"k");
        fence.void_everything();
        assert!(!fence.is_good(ticket));
    }

    #[test]
    fn a_lone_writer_keeps_its_value() {
        let fence = Fence::new();
        let ticket = fence.begin_write(b"k");
        assert!(fence.is_good(fence.end_write(ticket)));
    }

    #[test]
    fn a_reader_beside_a_writer_keeps_nothing() {
        let fence = Fence::new();
        let before = fence.ticket(b"k");
        let write = fence.begin_write(b"k");
        let during = fence.ticket(b"k");
        fence.end_write(write);
        assert!(!fence.is_good(before) && !fence.is_good(during));
    }

    #[test]
    fn of_two_writers_at_once_the_last_to_end_keeps_nothing() {
        // Every order of begin and end that makes them overlap.
        let fence = Fence::new();
        for first_begun_ends_first in [true, false] {
            let a = fence.begin_write(b"k");
            let b = fence.begin_write(b"k");
            let (first, last) = if first_begun_ends_first { (a, b) } else { (b, a) };
            fence.end_write(first);
            assert!(!fence.is_good(fence.end_write(last)), "{first_begun_ends_first}");
        }
    }
}
