//! Bytes on their way to a socket: written behind, taken in front.
//!
//! The memory is a worker's, not a connection's: whoever has bytes next takes what the last one gave back, and who waits
//! holds none.

use std::cell::RefCell;

/// What is encoded and not yet taken.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    bytes: Vec<u8>,
    /// So many of them were taken.
    taken: usize,
}

impl Pending {
    /// Where more is written, behind what there is.
    pub(crate) fn room(&mut self) -> &mut Vec<u8> {
        if self.bytes.capacity() == 0 {
            self.bytes = SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(ROOM));
        }
        if self.taken > 0 {
            // Rarely: a socket mostly takes all. Otherwise what a slow reader took would be held with what it did not.
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        &mut self.bytes
    }

    /// What is to be taken.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes so many bytes off the front; they are there.
    pub(crate) fn advance(&mut self, count: usize) {
        self.taken += count;
        debug_assert!(self.taken <= self.bytes.len());
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        if bytes.capacity() == 0 || bytes.capacity() > ROOM_MAX {
            return;
        }
        bytes.clear();
        // A thread that ends keeps nothing.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_MAX {
                spare.push(bytes);
            }
        });
    }
}

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A head and a small body.
const ROOM: usize = 2 << 10;
/// What waits on a worker, and how large each may have become: 256 KiB at most.
const SPARE_MAX: usize = 32;
const ROOM_MAX: usize = 8 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_behind_is_taken_in_front() {
        let mut pending = Pending::default();
        assert!(pending.is_empty());
        pending.room().extend_from_slice(b"hello");
        pending.advance(3);
        assert_eq!((pending.rest(), pending.len()), (&b"lo"[..], 2));
        pending.room().extend_from_slice(b", you");
        assert_eq!((pending.rest(), pending.len()), (&b"lo, you"[..], 7));
        pending.advance(7);
        assert!(pending.is_empty());
        assert!(pending.room().is_empty(), "nothing of it is left");
    }

    #[test]
    fn memory_serves_again_and_nothing_of_it_is_seen() {
        let mut first = Pending::default();
        first.room().extend_from_slice(b"secret");
        first.advance(2);
        let place = first.room().as_ptr();
        drop(first);
        let mut next = Pending::default();
        assert!(next.room().is_empty() && next.room().as_ptr() == place);
    }

    #[test]
    fn what_is_kept_has_limits() {
        let mut large = Pending::default();
        large.room().reserve(ROOM_MAX + 1);
        drop(large);
        let mut many: Vec<Pending> = (0..100).map(|_| Pending::default()).collect();
        many.iter_mut().for_each(|pending| pending.room().push(0));
        drop(many);
        SPARE.with_borrow(|spare| {
            assert_eq!(spare.len(), SPARE_MAX);
            assert!(spare.iter().all(|bytes| bytes.capacity() <= ROOM_MAX));
        });
    }
}
