//! The Philox4x32-10 bijection (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").

/// Multipliers of the two lanes.
const MULTIPLIER: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
/// Added to the key after each round: the golden ratio and √3 − 1, in 32 bits.
const WEYL: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];
const ROUNDS: usize = 10;

/// Ten rounds of Philox on a 128-bit counter under a 64-bit key.
///
/// For a fixed key this is a bijection of counters, so different counters never give the same block.
/// Word order is that of the reference implementation Random123, whose test vectors it meets.
#[must_use]
pub fn philox4x32_10(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let mut block = counter;
    let mut key = key;
    for _ in 0..ROUNDS {
        block = round(block, key);
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    block
}

fn round([c0, c1, c2, c3]: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let (high0, low0) = split(u64::from(MULTIPLIER[0]) * u64::from(c0));
    let (high1, low1) = split(u64::from(MULTIPLIER[1]) * u64::from(c2));
    [high1 ^ c1 ^ key[0], low1, high0 ^ c3 ^ key[1], low0]
}

/// `(high, low)` halves of a 64-bit word.
pub(crate) fn split(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `kat_vectors` of Random123, philox4x32 10.
    #[test]
    fn known_answers_of_random123() {
        let ones = u32::MAX;
        let cases = [
            (
                [0; 4],
                [0; 2],
                [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8],
            ),
            (
                [ones; 4],
                [ones; 2],
                [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd],
            ),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in cases {
            assert_eq!(
                philox4x32_10(counter, key),
                expected,
                "counter {counter:x?}, key {key:x?}"
            );
        }
    }
}
