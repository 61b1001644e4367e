//! Damage to a file: bits, numbers, pieces.

use fcmae_random::Stream;

/// A file grows by no more than this.
const MOST_GROWTH: usize = 64 << 10;

/// Headers are at the start, and most of what can go wrong is there.
const HEAD: usize = 1 << 10;

/// Numbers at which programs go wrong, beside those around powers of two.
const NUMBERS: [&str; 12] = [
    "0",
    "-1",
    "1",
    "255",
    "65536",
    "2147483647",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "1e308",
    "nan",
    "0.0000001",
];

/// Changes `bytes` in one or several places; `words` are of the format, `other` is another file of it.
pub(crate) fn damage(bytes: &mut Vec<u8>, words: &[&[u8]], other: &[u8], random: &mut Stream) {
    let limit = bytes.len() + MOST_GROWTH;
    // One change half of the time, two a quarter of it, …
    let changes = 1 + random.next_u32().trailing_ones().min(7);
    for _ in 0..changes {
        change(bytes, words, other, random);
        bytes.truncate(limit);
    }
}

fn change(bytes: &mut Vec<u8>, words: &[&[u8]], other: &[u8], random: &mut Stream) {
    let at = place(bytes.len(), random);
    match random.below(12) {
        0 => flip(bytes, at, random),
        1 => overwrite(bytes, at, &[random.next_u32() as u8]),
        2 => {
            let (number, width) = (number(random), 1 << random.below(4));
            overwrite(bytes, at, &number.to_le_bytes()[..width]);
        }
        3 => {
            let (number, width) = (number(random), 1 << random.below(4));
            overwrite(bytes, at, &number.to_be_bytes()[8 - width..]);
        }
        4 => {
            let piece = piece(bytes, at, random).to_vec();
            let end = at + piece.len();
            bytes.drain(at..end);
        }
        5 => {
            let piece = piece(bytes, at, random).to_vec();
            insert(bytes, at, &piece);
        }
        6 => {
            // deep nesting, long lists, long names
            let times = 1 << random.below(14);
            let unit = piece(bytes, at, random);
            let unit = &unit[..unit.len().min(1 + random.below(8) as usize)];
            insert(
                bytes,
                at,
                &unit.repeat(times.min(MOST_GROWTH / unit.len().max(1))),
            );
        }
        7 => {
            let from = place(other.len(), random);
            insert(bytes, at, piece(other, from, random));
        }
        8 => {
            let from = place(other.len(), random);
            overwrite(bytes, at, piece(other, from, random));
        }
        9 => bytes.truncate(at),
        10 => write_number(bytes, at, random),
        _ => {
            let Some(word) = words.get(random.below(words.len().max(1) as u32) as usize) else {
                return flip(bytes, at, random);
            };
            if random.below(2) == 0 {
                insert(bytes, at, word);
            } else {
                overwrite(bytes, at, word);
            }
        }
    }
}

/// A place in a file of that length, its end included.
fn place(len: usize, random: &mut Stream) -> usize {
    let reach = if random.below(4) < 3 { len.min(HEAD) } else { len };
    random.below(reach as u32 + 1) as usize
}

/// Some bytes from `at` on, mostly few.
fn piece<'a>(bytes: &'a [u8], at: usize, random: &mut Stream) -> &'a [u8] {
    let power = random.below(10);
    let len = random.below(1 << power) as usize + 1;
    &bytes[at..bytes.len().min(at + len)]
}

fn flip(bytes: &mut [u8], at: usize, random: &mut Stream) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    let room = bytes[at..].iter_mut();
    room.zip(with).for_each(|(byte, &new)| *byte = new);
}

fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    bytes.splice(at..at, piece.iter().copied());
}

/// Around a power of two, or any.
fn number(random: &mut Stream) -> u64 {
    let power = 1_u64 << random.below(64);
    match random.below(6) {
        0 => power,
        1 => power - 1,
        2 => power.wrapping_neg(),
        3 => u64::MAX,
        4 => u64::from(random.below(16)),
        _ => random.next_u64(),
    }
}

/// Puts another number in the place of the next one that is written in digits.
fn write_number(bytes: &mut Vec<u8>, at: usize, random: &mut Stream) {
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let Some(start) = bytes[at..].iter().position(is_digit).map(|skipped| at + skipped) else {
        return insert(bytes, at, b"9");
    };
    let len = bytes[start..].iter().take_while(|byte| is_digit(byte)).count();
    let number = match random.below(2) {
        0 => NUMBERS[random.below(NUMBERS.len() as u32) as usize].to_owned(),
        _ => number(random).to_string(),
    };
    bytes.splice(start..start + len, number.into_bytes());
}

#[cfg(test)]
mod tests {
    use fcmae_random::Purpose;

    use super::*;

    #[test]
    fn damage_is_drawn_anew_for_each_execution_and_bounded() {
        let (mut changed, mut longest) = (0, 0);
        for execution in 0..2000 {
            let one = |mut bytes: Vec<u8>| {
                let mut random = Stream::new(1, Purpose::Verify, 0, execution);
                damage(&mut bytes, &[b"word"], b"another", &mut random);
                bytes
            };
            let bytes = one(b"seed 123".to_vec());
            assert_eq!(bytes, one(b"seed 123".to_vec()));
            changed += usize::from(bytes != b"seed 123");
            longest = longest.max(bytes.len());
        }
        assert!(changed > 1500, "{changed}");
        assert!((10_000..=8 + MOST_GROWTH).contains(&longest), "{longest}");
    }

    #[test]
    fn nothing_can_be_damaged_too() {
        for execution in 0..500 {
            let mut random = Stream::new(2, Purpose::Verify, 0, execution);
            damage(&mut Vec::new(), &[], b"", &mut random);
        }
    }
}
