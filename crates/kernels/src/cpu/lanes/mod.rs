//! Vectors of `f32`: one trait, many instruction sets, so that every kernel is written once.
//!
//! bf16 numbers are widened when they are read and rounded (to nearest, ties to even) when they are written. In matrix
//! products they stay as they are: a 32-bit word holds two that follow each other along the summed axis, and
//! [`fma_pairs`](Lanes::fma_pairs) adds both products at once.
mod portable;
#[cfg(target_arch = "x86_64")]
mod tiles;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(crate) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(crate) use tiles::are_tiles_available;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

/// Rows, and words of the summed axis, that a unit for whole tiles takes at once.
pub(crate) const TILE: usize = 16;

/// A vector of `N` numbers and what kernels do with it.
///
/// # Safety
/// Every method may be called only on a CPU that has the implementor's instruction set; a kernel that is generic
/// over `Lanes` is entered through a function with the matching `#[target_feature]` (see `isa`), into which
/// everything here is inlined. Pointers must be valid for the number of elements the method says.
pub(crate) trait Lanes: Copy {
    /// The vector.
    type V: Copy;
    /// Numbers per vector.
    const N: usize;
    /// Rows of a GEMM tile: with three vectors per row, as many as the registers hold.
    const ROWS: usize;
    /// Whether there is a unit that multiplies whole tiles of bf16 numbers.
    const HAS_TILES: bool = false;

    /// Prepares this thread's unit for tiles, which keeps its state until [`close_tiles`](Lanes::close_tiles).
    unsafe fn open_tiles() {}
    /// Gives that state up: it slows down every change of threads.
    unsafe fn close_tiles() {}
    /// `to = A·B` for `TILE` rows of `A` and `W ≤ 3` vectors of columns of `B`, over `steps·TILE` words of two bf16
    /// numbers; `a_row` and `b_row` words from one row to the next. `to` is `[TILE, W·TILE]`.
    unsafe fn multiply_tiles<const W: usize>(
        _steps: usize,
        _a: *const f32,
        _a_row: usize,
        _b: *const f32,
        _b_row: usize,
        _to: *mut f32,
    ) {
        unreachable!("only where HAS_TILES")
    }
    /// Columns of `TILE` vectors of `TILE` numbers, as vectors.
    unsafe fn transpose(_tile: [Self::V; TILE]) -> [Self::V; TILE] {
        unreachable!("only where HAS_TILES")
    }

    unsafe fn splat(value: f32) -> Self::V;
    /// Reads `N` numbers.
    unsafe fn load(from: *const f32) -> Self::V;
    /// Reads `n ≤ N` numbers; the rest is zero.
    unsafe fn load_part(from: *const f32, n: usize) -> Self::V;
    /// Writes `N` numbers.
    unsafe fn store(to: *mut f32, v: Self::V);
    /// Writes the first `n ≤ N` numbers.
    unsafe fn store_part(to: *mut f32, v: Self::V, n: usize);
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V;
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V;
    /// `1 / a` for `a ≥ 1`, to a few units in the last place.
    unsafe fn reciprocal(a: Self::V) -> Self::V;
    /// `1 / a` for `a ≥ 1`, relative error below 1e-4.
    #[inline(always)]
    unsafe fn rough_reciprocal(a: Self::V) -> Self::V {
        // SAFETY: the caller's.
        unsafe { Self::reciprocal(a) }
    }
    /// `a·b + c`.
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V;
    /// `|a|`.
    unsafe fn abs(a: Self::V) -> Self::V;
    /// Magnitude of `a` with the sign of `sign`; undefined sign where `a` is negative.
    unsafe fn copysign(a: Self::V, sign: Self::V) -> Self::V;
    /// `a − ⌊a⌋` for `a ≤ 0`; something in `[0, 1]` below −126.
    unsafe fn fraction(a: Self::V) -> Self::V;
    /// `a·2^⌊n⌋` for `a` in `[1, 2]` and `n ≤ 0`; (nearly) zero below −126.
    unsafe fn scale(a: Self::V, n: Self::V) -> Self::V;
    /// Reads `N` bf16 numbers.
    unsafe fn load_bf16(from: *const u16) -> Self::V;
    /// Reads `n ≤ N` bf16 numbers; the rest is zero.
    unsafe fn load_bf16_part(from: *const u16, n: usize) -> Self::V;
    /// Writes `N` bf16 numbers.
    unsafe fn store_bf16(to: *mut u16, v: Self::V);
    /// Writes the first `n ≤ N` bf16 numbers.
    unsafe fn store_bf16_part(to: *mut u16, v: Self::V, n: usize);
    /// Rounds to bf16 and widens again.
    unsafe fn round_to_bf16(v: Self::V) -> Self::V;
    /// Writes `N` words with `even` in the low halves and `odd` in the high ones.
    unsafe fn store_pairs(to: *mut u32, even: Self::V, odd: Self::V);
    /// The low halves of words of two bf16 numbers, widened.
    unsafe fn low(words: Self::V) -> Self::V;
    /// The high halves.
    unsafe fn high(words: Self::V) -> Self::V;
    /// `low(a)·low(b) + high(a)·high(b) + c` for words of two bf16 numbers.
    #[inline(always)]
    unsafe fn fma_pairs(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // SAFETY: the caller's.
        unsafe {
            let c = Self::fma(Self::low(a), Self::low(b), c);
            Self::fma(Self::high(a), Self::high(b), c)
        }
    }
    /// Sum of all numbers, pairwise.
    unsafe fn sum(a: Self::V) -> f32;
}

/// Rounds to bf16: to nearest, ties to even; NaN stays NaN.
#[inline(always)]
pub(super) fn to_bf16(v: f32) -> u16 {
    let bits = v.to_bits();
    if v.is_nan() {
        return (bits >> 16) as u16 | 0x40;
    }
    ((bits + 0x7fff + ((bits >> 16) & 1)) >> 16) as u16
}

/// Widens a bf16 number.
#[inline(always)]
pub(super) fn from_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}
