//! MD5, by which libketama places points and keys. Not for anything that must be safe.
//!
//! Written here, because a look-up in such a ring is little else: 64 steps that each wait for the one before. Keys of up to 55
//! bytes take one block, put together on the stack. RFC 1321, section 3.4.

/// The digest, as four little-endian words.
pub(super) fn md5(message: &[u8]) -> [u32; 4] {
    let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    let (blocks, rest) = message.as_chunks();
    for block in blocks {
        state = compressed(state, block);
    }
    let mut last = [0; 64];
    last[..rest.len()].copy_from_slice(rest);
    last[rest.len()] = 0x80;
    if rest.len() >= LENGTH_AT {
        state = compressed(state, &last);
        last = [0; 64];
    }
    last[LENGTH_AT..].copy_from_slice(&(message.len() as u64).wrapping_mul(8).to_le_bytes());
    compressed(state, &last)
}

/// Sixteen steps, written out: a loop stays a loop, which takes a quarter longer.
macro_rules! round {
    ($state:ident, $first:literal, $word:expr, $turns:expr, $mix:expr) => {
        round!($state, $first, $word, $turns, $mix; 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    ($state:ident, $first:literal, $word:expr, $turns:expr, $mix:expr; $($i:literal)*) => {
        $($state = step($state, $word($i), SINES[$first + $i], $turns[$i % 4], $mix);)*
    };
}

fn compressed(state: [u32; 4], block: &[u8; 64]) -> [u32; 4] {
    let (words, _) = block.as_chunks();
    let word = |at: usize| u32::from_le_bytes(words[at % 16]);
    let mut s = state;
    round!(s, 0, |i: usize| word(i), [7, 12, 17, 22], |b, c, d| (0, d ^ (b & (c ^ d))));
    // The RFC's (b & d) | (c & !d): no bit is in both, so that the halves may be added, and one need not wait for `b`.
    round!(s, 16, |i: usize| word(5 * i + 1), [5, 9, 14, 20], |b, c, d| (c & !d, b & d));
    round!(s, 32, |i: usize| word(3 * i + 5), [4, 11, 16, 23], |b, c, d| (0, b ^ (c ^ d)));
    round!(s, 48, |i: usize| word(7 * i), [6, 10, 15, 21], |b, c, d| (0, c ^ (b | !d)));
    core::array::from_fn(|n| state[n].wrapping_add(s[n]))
}

/// `mix` gives two parts of the sum: one that is there early, and one that waits for `b`, the step before.
#[inline(always)]
fn step(
    [a, b, c, d]: [u32; 4],
    word: u32,
    sine: u32,
    turn: u32,
    mix: impl Fn(u32, u32, u32) -> (u32, u32),
) -> [u32; 4] {
    let (early, late) = mix(b, c, d);
    let sum = a.wrapping_add(word).wrapping_add(sine).wrapping_add(early).wrapping_add(late);
    [d, b.wrapping_add(sum.rotate_left(turn)), b, c]
}

/// Where a block's last eight bytes begin: the length of the message in bits.
const LENGTH_AT: usize = 56;

/// ⌊ 2³² · | sin(i + 1) | ⌋
#[rustfmt::skip]
const SINES: [u32; 64] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::String;

    use super::md5;

    fn hex(message: &str) -> String {
        md5(message.as_bytes()).iter().map(|word| format!("{:08x}", word.swap_bytes())).collect()
    }

    #[test]
    fn digests_are_the_rfc_s() {
        // RFC 1321, appendix A.5.
        assert_eq!(hex(""), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(hex("a"), "0cc175b9c0f1b6a831c399e269772661");
        assert_eq!(hex("message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
        let digits = "12345678901234567890123456789012345678901234567890123456789012345678901234567890";
        assert_eq!(hex(digits), "57edf4a22be3c955ac49da2e2107b67a");
    }

    #[test]
    fn messages_that_end_at_the_edge_of_a_block_are_padded_right() {
        // By coreutils' md5sum, of so many times the letter x.
        for (len, digest) in [
            (55, "04364420e25c512fd958a70738aa8f72"),
            (56, "668a72d5ba17f08e62dabcafad6db14b"),
            (63, "7dc2ca208106a2f703567bdff99d8981"),
            (64, "c1bb4f81d892b2d57947682aeb252456"),
            (119, "ab347a5f68c8a443cfcddc633f12c24f"),
            (120, "fb98667f98096de92620b64f46e1c5b5"),
            (128, "d69cb61a6ee87200676eb0d4b90edbcb"),
        ] {
            assert_eq!(hex(&"x".repeat(len)), digest, "{len} bytes");
        }
    }
}
