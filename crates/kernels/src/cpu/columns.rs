//! The operands of products that sum over rows (weight gradients): words that hold a column of `PER_WORD` rows.
//!
//! The right one is rows of words, as [`pair_rows`](super::rows::pair_rows) writes them. The left one's columns are the
//! rows of the product: they lie in bundles of eight, `[⌈C / 8⌉, k, 8]`, which are read one after the other, or, where
//! the CPU multiplies whole tiles, in rows, `[C, k]`. There `k` is whole tiles, and what is missing is zero on both
//! sides.

use super::buffer::Buffer;
use super::gemm::{BUNDLE, Left, spread};
use super::lanes::{Lanes, TILE};
use super::number::Number;
use super::rows::{vectors, word_rows};

/// Words that a product over `words` of them sums over.
pub(super) fn summed<T: Number, L: Lanes>(words: usize) -> usize {
    if has_tiles::<T, L>() {
        words.next_multiple_of(TILE)
    } else {
        words
    }
}

const fn has_tiles<T: Number, L: Lanes>() -> bool {
    L::HAS_TILES && T::PER_WORD == 2
}

/// Zeros in the rows of words that [`summed`] adds on the right; `stride` words per row.
///
/// # Safety
/// `to` must hold `summed(words)` rows. So for all functions here, which the CPU must have `L` for.
pub(super) unsafe fn pad_words<T: Number, L: Lanes>(to: *mut f32, stride: usize, words: usize) {
    // SAFETY: the caller's.
    unsafe {
        to.add(words * stride)
            .write_bytes(0, (summed::<T, L>(words) - words) * stride)
    }
}

/// The left operand.
pub(super) struct Columns {
    words: Buffer<f32>,
    c: usize,
}

impl Columns {
    /// Room for `c` columns of up to `words` words.
    pub(super) fn new<T: Number, L: Lanes>(c: usize, words: usize) -> Columns {
        let room = if has_tiles::<T, L>() {
            c * spread(summed::<T, L>(words))
        } else {
            c.next_multiple_of(BUNDLE) * words
        };
        Columns {
            words: Buffer::new(room),
            c,
        }
    }

    /// Takes blocks of `rows` rows each, one after the other, `stride` numbers from row to row; a block begins a word.
    #[inline(always)]
    pub(super) unsafe fn set<T: Number, L: Lanes>(
        &mut self,
        from: *const T,
        stride: usize,
        rows: usize,
        blocks: usize,
    ) {
        let words = rows.div_ceil(T::PER_WORD);
        debug_assert!(self.words.len() >= self.c * words * blocks);
        // SAFETY: the caller's; there is room for the columns of all blocks.
        unsafe {
            for block in 0..blocks {
                let from = from.add(block * rows * stride);
                if has_tiles::<T, L>() {
                    self.set_rows::<T, L>(
                        from,
                        stride,
                        rows,
                        block * words,
                        spread(summed::<T, L>(words * blocks)),
                    );
                } else {
                    self.set_bundles::<T, L>(from, stride, rows, block * words, words * blocks);
                }
            }
            if has_tiles::<T, L>() {
                let (words, k) = (words * blocks, summed::<T, L>(words * blocks));
                for column in 0..self.c {
                    let end = self.words.as_mut_ptr().add(column * spread(k) + words);
                    end.write_bytes(0, k - words);
                }
            }
        }
    }

    /// What [`set`](Columns::set) took, `words` of them in all.
    pub(super) fn left<T: Number, L: Lanes>(&self, words: usize) -> Left {
        if has_tiles::<T, L>() {
            Left::rows::<f32>(self.words.as_ptr(), spread(summed::<T, L>(words)))
        } else {
            Left::bundles(self.words.as_ptr(), words)
        }
    }

    #[inline(always)]
    unsafe fn set_bundles<T: Number, L: Lanes>(
        &mut self,
        from: *const T,
        stride: usize,
        rows: usize,
        first: usize,
        words: usize,
    ) {
        let to = self.words.as_mut_ptr();
        // SAFETY: the caller's: room for `⌈c / 8⌉·words·8` words.
        unsafe {
            for (at, n) in vectors::<L>(self.c) {
                for word in 0..rows.div_ceil(T::PER_WORD) {
                    let both = word_rows::<T, L>(from.add(at), stride, rows, word, n);
                    let mut columns = std::mem::MaybeUninit::<[f32; 16]>::uninit();
                    T::store_words::<L>(columns.as_mut_ptr().cast(), both);
                    for bundle in 0..n.div_ceil(BUNDLE) {
                        let to = to.add((at / BUNDLE + bundle) * words * BUNDLE + (first + word) * BUNDLE);
                        let columns = columns.as_ptr().cast::<f32>().add(bundle * BUNDLE);
                        std::ptr::copy_nonoverlapping(columns, to, BUNDLE);
                    }
                }
            }
        }
    }

    /// The same as rows of `to_stride` words, a tile at a time.
    #[inline(always)]
    unsafe fn set_rows<T: Number, L: Lanes>(
        &mut self,
        from: *const T,
        stride: usize,
        rows: usize,
        first: usize,
        to_stride: usize,
    ) {
        let to = self.words.as_mut_ptr();
        let words = rows.div_ceil(T::PER_WORD);
        // SAFETY: the caller's: room for `c` rows; only the tile's first `n` rows and `count` words are written.
        unsafe {
            for word in (0..words).step_by(TILE) {
                let count = TILE.min(words - word);
                for (at, n) in vectors::<L>(self.c) {
                    let mut tile = [L::splat(0.0); TILE];
                    for (i, row) in tile.iter_mut().enumerate().take(count) {
                        *row = as_words::<T, L>(word_rows::<T, L>(from.add(at), stride, rows, word + i, n));
                    }
                    let tile = L::transpose(tile);
                    for (i, column) in tile.iter().enumerate().take(n) {
                        L::store_part(to.add((at + i) * to_stride + first + word), *column, count);
                    }
                }
            }
        }
    }
}

/// A vector of words.
#[inline(always)]
unsafe fn as_words<T: Number, L: Lanes>(rows: [L::V; 2]) -> L::V {
    let mut words = std::mem::MaybeUninit::<[f32; TILE]>::uninit();
    // SAFETY: the caller's; there is room for a vector of every `L`.
    unsafe {
        T::store_words::<L>(words.as_mut_ptr().cast(), rows);
        L::load(words.as_ptr().cast())
    }
}
