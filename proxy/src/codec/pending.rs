//! Bytes on their way to a socket: written behind, taken in front.

/// What is encoded and not yet taken.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    bytes: Vec<u8>,
    /// So many of them were taken.
    taken: usize,
}

impl Pending {
    /// Into memory that served before; what stands there is gone.
    pub(crate) fn within(mut bytes: Vec<u8>) -> Self {
        bytes.clear();
        Pending { bytes, taken: 0 }
    }

    /// Where more is written, behind what there is.
    pub(crate) fn room(&mut self) -> &mut Vec<u8> {
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

    /// The memory, for what comes next; none if it has become larger than `max`.
    pub(crate) fn into_memory(self, max: usize) -> Vec<u8> {
        if self.bytes.capacity() <= max { self.bytes } else { Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_behind_is_taken_in_front() {
        let mut pending = Pending::within(b"old".to_vec());
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
    fn large_memory_is_let_go() {
        let pending = || Pending::within(Vec::with_capacity(100));
        assert_eq!((pending().into_memory(100).capacity(), pending().into_memory(99).capacity()), (100, 0));
    }
}
