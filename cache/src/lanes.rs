//! Sixteen numbers, one cache line, compared at once: no branch depends on where in the line an answer stands.

/// As many numbers as a line of 64 bytes holds.
pub(crate) const LANES: usize = 16;

/// Where the first number stands that equals `wanted` in the bits of `mask`; [`LANES`] or more if there is none.
#[inline(always)]
pub(crate) fn first(numbers: &[u32; LANES], wanted: u32, mask: u32) -> usize {
    let bits = numbers.iter().zip(BITS);
    let found =
        bits.fold(0_u32, |found, (number, bit)| found | if number & mask == wanted { bit } else { 0 });
    found.trailing_zeros() as usize
}

/// A bit for each number. The two high ones are there so that none is a power of two: the compiler would make shifts of
/// those, one by one, where it now compares four numbers with one instruction, 25 for all where it took 40.
const BITS: [u32; LANES] = {
    let mut bits = [3 << 20; LANES];
    let mut at = 0;
    while at < LANES {
        bits[at] |= 1 << at;
        at += 1;
    }
    bits
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equals_is_found_in_every_lane() {
        for at in 0..LANES {
            let mut numbers = [7 << 8; LANES];
            (at..LANES).for_each(|equal| numbers[equal] = 9 << 8 | equal as u32);
            assert_eq!(first(&numbers, 9 << 8, 0xff00), at);
            assert_eq!(first(&numbers, 9 << 8 | 15, u32::MAX), 15);
        }
        assert!(first(&[1; LANES], 0, u32::MAX) >= LANES);
    }
}
