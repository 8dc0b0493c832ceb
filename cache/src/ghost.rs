//! Who left lately: fingerprints with the time they left, the oldest forgotten first.
//!
//! ```text
//!     hash ─► row (64 bytes) = 16 × | fingerprint : 16 bits | when : 16 bits |
//! ```
//!
//! A ghost counts while fewer than `span` others have followed it. A full row loses its oldest, so that a few leave
//! early; two keys are mistaken for each other once in about 4,000 lookups. Cost: O(1), one cache line; 4 bytes for
//! each entry of the span, rounded up to a power of two.

const ROW: usize = 16;

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
    pub(crate) fn widen(&mut self, span: usize) {
        self.span = span as u64;
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
        let Some((row, fingerprint)) = self.place(hash) else { return };
        self.noted += 1;
        let now = self.moment();
        let age = |cell: &u32| if *cell == 0 { u16::MAX } else { now.wrapping_sub(*cell as u16) };
        let cells = &mut self.rows[row];
        let at = cells.iter().position(|cell| cell >> 16 == fingerprint);
        let oldest = || (0..ROW).max_by_key(|at| age(&cells[*at])).unwrap_or(0);
        let at = at.unwrap_or_else(oldest);
        cells[at] = fingerprint << 16 | u32::from(now);
    }

    /// Whether this hash left lately; forgets it.
    pub(crate) fn recall(&mut self, hash: u32) -> bool {
        let Some((row, fingerprint)) = self.place(hash) else { return false };
        let (now, span) = (self.moment(), (self.span >> self.shift()) as u16);
        let found = self.rows[row].iter_mut().find(|cell| **cell >> 16 == fingerprint);
        found.is_some_and(|cell| now.wrapping_sub(std::mem::take(cell) as u16) <= span)
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

    fn place(&self, hash: u32) -> Option<(usize, u32)> {
        let mixed = u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let row = mixed as usize & self.rows.len().checked_sub(1)?;
        // Never 0: that is an empty cell.
        Some((row, (mixed >> 48) as u32 | 1))
    }
}

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
