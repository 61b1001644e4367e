//! A stable 64-bit hash for names: FNV-1a with a finaliser.

/// Hashes `bytes` to 64 well-mixed bits: FNV-1a, then the finaliser of MurmurHash3.
///
/// The value is the same on every machine and in every version, so it can stand in files and decide
/// splits: `Stream::new(seed, Purpose::Split, 0, hash64(name))`. It is not made to resist an adversary
/// who chooses names.
#[must_use]
pub fn hash64(bytes: &[u8]) -> u64 {
    let fnv = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    finalise(fnv)
}

/// Spreads every input bit over all output bits: FNV-1a alone leaves the top bits of short names alike.
fn finalise(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn values_are_pinned() {
        // FNV-1a of "" and "a" are published (0xcbf29ce484222325, 0xaf63dc4c8601ec8c).
        assert_eq!(hash64(b""), finalise(0xcbf2_9ce4_8422_2325));
        assert_eq!(hash64(b"a"), finalise(0xaf63_dc4c_8601_ec8c));
        assert_eq!(hash64(b"images/cell0001.png"), 0xc443_8758_95f5_8789);
    }

    #[test]
    fn near_names_differ_everywhere() {
        let hashes: Vec<u64> = (0..4096)
            .map(|i| hash64(format!("cell{i:04}.png").as_bytes()))
            .collect();
        assert_eq!(hashes.iter().collect::<HashSet<_>>().len(), 4096);
        for bit in 0..64 {
            let ones = hashes.iter().filter(|h| *h >> bit & 1 == 1).count();
            // 4096 fair coins: standard deviation 32; six of them.
            assert!(
                (2048 - 192..=2048 + 192).contains(&ones),
                "bit {bit}: {ones} of 4096"
            );
        }
    }
}
