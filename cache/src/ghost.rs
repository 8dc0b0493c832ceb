//! Who left lately: fingerprints with the time they left, the oldest forgotten first.
//!
//! ```text
//!     hash ─► row (64 bytes) = 16 × | fingerprint : 16 bits | when : 16 bits |       the latest first
//! ```
//!
//! A ghost counts while fewer than `span` others have followed it. A full row loses its oldest, so that a few leave
//! early; two keys are mistaken for each other once in about 4,000 lookups. Cost: O(1), one cache line; 4 bytes for
//! each entry of the span, rounded up to a power of two.

use crate::lanes::{self, LANES as ROW};

#[derive(Debug, Default)]
pub(crate) struct Ghosts {
    /// A power of two of them.
    rows: Vec<[u32; ROW]>,
    /// Ghosts ever noted.
    noted: u64,
    span: u64,
}

impl Ghosts {
    /// Remembers the last `span` from now on; what is remembered stays.
    #[inline]
    pub(crate) fn widen(&mut self, span: usize) {
        if self.span != span as u64 {
            self.span = span as u64;
            self.grow(span);
        }
    }

    #[cold]
    fn grow(&mut self, span: usize) {
        let rows = span.div_ceil(ROW - ROW / 4).next_power_of_two();
        if self.rows.is_empty() {
            self.rows = vec![[0; ROW]; rows];
        }
        while self.rows.len() < rows {
            let len = self.rows.len();
            self.rows.reserve_exact(len);
            self.rows.extend_from_within(..);
        }
    }

    pub(crate) fn note(&mut self, hash: u32) {
        self.noted += 1;
        let now = self.moment();
        let (row, fingerprint) = self.place(hash);
        let Some(cells) = self.rows.get_mut(row) else { return };
        // Over itself, else into a gap, else over the oldest; all that are later move on by one.
        let (own, gap) = (lanes::first(cells, fingerprint, FINGERPRINT), lanes::first(cells, 0, u32::MAX));
        let at = if own < ROW { own } else { gap.min(ROW - 1) };
        cells.copy_within(..at, 1);
        cells[0] = fingerprint | u32::from(now);
    }

    /// Whether this hash left lately; forgets it.
    pub(crate) fn recall(&mut self, hash: u32) -> bool {
        let (now, span) = (self.moment(), (self.span >> self.shift()) as u16);
        let (row, fingerprint) = self.place(hash);
        let Some(cells) = self.rows.get_mut(row) else { return false };
        let at = lanes::first(cells, fingerprint, FINGERPRINT);
        cells.get_mut(at).is_some_and(|cell| now.wrapping_sub(std::mem::take(cell) as u16) <= span)
    }

    pub(crate) fn heap_bytes(&self) -> usize {
        self.rows.capacity() * size_of::<[u32; ROW]>()
    }

    /// Time in ghosts noted, coarse enough that a span is at most a quarter of what 16 bits can tell apart.
    fn moment(&self) -> u16 {
        (self.noted >> self.shift()) as u16
    }

    fn shift(&self) -> u32 {
        (u64::BITS - self.span.leading_zeros()).saturating_sub(14)
    }

    /// The row of a hash, which exists if any does, and its fingerprint in place.
    fn place(&self, hash: u32) -> (usize, u32) {
        let mixed = u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // Never 0: that is an empty cell.
        (mixed as usize & self.rows.len().wrapping_sub(1), (mixed >> 32) as u32 & FINGERPRINT | 1 << 16)
    }
}

/// The bits of a cell that tell whose it is.
const FINGERPRINT: u32 = u32::MAX << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_the_span_and_little_more() {
        for span in [10, 1000, 100_000_u32] {
            let mut ghosts = Ghosts::default();
            ghosts.widen(span as usize);
            (0..span * 3).for_each(|hash| ghosts.note(hash.wrapping_mul(0x85eb_ca6b)));
            let known = |ghosts: &mut Ghosts, from: u32, to: u32| {
                (from..to).filter(|hash| ghosts.recall(hash.wrapping_mul(0x85eb_ca6b))).count() as u32
            };
            let lately = known(&mut ghosts, span * 2, span * 3);
            assert!(lately >= span - span / 10, "only {lately} of {span}");
            let long_ago = known(&mut ghosts, 0, span * 2);
            assert!(long_ago <= span / 50 + 1, "{long_ago} of {span} stayed too long");
        }
    }
}
