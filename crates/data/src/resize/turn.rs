//! Turning strips of rows into columns and back, by eights in registers.

use super::{LANES, Rows};
use crate::image::{Image, Rect};

/// Bytes of a row that are turned at a time: what fits a `u64`.
pub(super) const TURN: usize = 8;

/// [`LANES`] × [`TURN`] bytes, before or after turning. Before: `[k][q]` holds eight bytes of row `8 q + k`.
/// After: `[k]` holds byte `k` of all rows.
type Square = [[u64; LANES / TURN]; TURN];

/// Columns of the strip of rows that begins at `top`: `strip[x][lane]` is byte `x` of row `top + lane`.
#[inline(always)]
pub(super) fn turn_in(image: &Image, crop: Rect, top: usize, strip: &mut [[u8; LANES]]) {
    let mut rows: [&[u8]; LANES] = [&[]; LANES]; // what is below the crop stays empty and reads as zeros
    for (lane, y) in (top..crop.height).take(LANES).enumerate() {
        rows[lane] = image.row(crop.top + y, crop);
    }
    for (block, cells) in strip.chunks_exact_mut(TURN).enumerate() {
        let mut square = Square::default();
        for (k, words) in square.iter_mut().enumerate() {
            for (q, word) in words.iter_mut().enumerate() {
                *word = eight_bytes(rows[TURN * q + k].get(block * TURN..).unwrap_or(&[]));
            }
        }
        turn(&mut square);
        for (cell, column) in cells.iter_mut().zip(&square) {
            for (bytes, word) in cell.chunks_exact_mut(TURN).zip(column) {
                bytes.copy_from_slice(&word.to_le_bytes());
            }
        }
    }
}

/// The reverse: writes a strip's columns to the rows of `out` from `top` on.
#[inline(always)]
pub(super) fn turn_out(turned: &[[u8; LANES]], top: usize, out: &mut Rows) {
    let blocks = out.blocks;
    let rows = &mut out.data[top * blocks..];
    for (at, cells) in turned.chunks_exact(TURN).enumerate() {
        let mut square = Square::default();
        for (words, cell) in square.iter_mut().zip(cells) {
            for (word, bytes) in words.iter_mut().zip(cell.chunks_exact(TURN)) {
                *word = eight_bytes(bytes);
            }
        }
        turn(&mut square);
        let (block, within) = (at * TURN / LANES, at * TURN % LANES);
        for (lane, row) in rows.chunks_exact_mut(blocks).take(LANES).enumerate() {
            let word = square[lane % TURN][lane / TURN];
            row[block][within..within + TURN].copy_from_slice(&word.to_le_bytes());
        }
    }
}

/// The first eight bytes, with zeros for those that are not there.
#[inline(always)]
fn eight_bytes(bytes: &[u8]) -> u64 {
    let bytes = bytes.first_chunk().copied().unwrap_or_else(|| {
        let mut padded = [0; TURN];
        padded[..bytes.len()].copy_from_slice(bytes);
        padded
    });
    u64::from_le_bytes(bytes)
}

/// Transposes every 8 × 8 square of bytes by swapping its halves, then theirs, then theirs.
#[inline(always)]
fn turn(square: &mut Square) {
    for (step, mask) in [
        (4, 0x0000_0000_ffff_ffff),
        (2, 0x0000_ffff_0000_ffff),
        (1, 0x00ff_00ff_00ff_00ff),
    ] {
        for k in (0..TURN).filter(|k| k & step == 0) {
            let (upper, lower) = square.split_at_mut(k + step);
            for (a, b) in upper[k].iter_mut().zip(&mut lower[0]) {
                let swapped = ((*a >> (8 * step)) ^ *b) & mask;
                *a ^= swapped << (8 * step);
                *b ^= swapped;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_columns_and_rows_again() {
        let pixels = |y: usize, x: usize| (y * 31 + x * 7) as u8;
        // 37 rows and 23 columns: the second strip has five rows, the last block seven columns.
        let (width, height) = (23, 37);
        let all = (0..height)
            .flat_map(|y| (0..width).map(move |x| pixels(y, x)))
            .collect();
        let image = Image::new(width, height, 1, all);
        let crop = Rect {
            left: 2,
            top: 1,
            width: 20,
            height: 36,
        };
        let mut out = Rows::new(crop.width, crop.height);
        for top in (0..crop.height).step_by(LANES) {
            let mut strip = vec![[0; LANES]; out.blocks * LANES];
            turn_in(&image, crop, top, &mut strip);
            for (x, column) in strip.iter().enumerate().take(crop.width) {
                for (lane, &byte) in column.iter().enumerate().take(crop.height - top) {
                    assert_eq!(byte, pixels(1 + top + lane, 2 + x));
                }
            }
            turn_out(&strip, top, &mut out);
        }
        assert_eq!(out.trimmed(), image.crop(crop).into_pixels());
    }
}
