//! How numbers are stored: f32, or bf16, which kernels widen when they read and round when they write.

use tch::Kind;

use super::lanes::{Lanes, from_bf16};

/// A kind of stored numbers. All arithmetic is f32.
///
/// Matrix products sum over 32-bit *words*: one f32, or two bf16 numbers that follow each other along the summed axis.
///
/// # Safety
/// Every method as in [`Lanes`]: the CPU must have `L`, pointers must be valid for the numbers named. Implementors
/// are plain numbers without invalid bit patterns, at most four bytes long (`Buffer` relies on it).
pub(super) unsafe trait Number: Copy + Send + Sync + 'static {
    /// libtorch's name.
    const KIND: Kind;
    /// Numbers per word.
    const PER_WORD: usize;
    /// Zero.
    const ZERO: Self;

    fn to_f32(self) -> f32;
    /// Reads `L::N` numbers.
    unsafe fn load<L: Lanes>(from: *const Self) -> L::V;
    /// Reads `n ≤ L::N` numbers; the rest is zero.
    unsafe fn load_part<L: Lanes>(from: *const Self, n: usize) -> L::V;
    /// Writes `L::N` numbers.
    unsafe fn store<L: Lanes>(to: *mut Self, v: L::V);
    /// Writes the first `n ≤ L::N` numbers.
    unsafe fn store_part<L: Lanes>(to: *mut Self, v: L::V, n: usize);
    /// The number that is read after `v` was written.
    unsafe fn rounded<L: Lanes>(v: L::V) -> L::V;
    /// Writes `L::N` words, whose first number is of `rows[0]` and whose second, if there is one, of `rows[1]`.
    unsafe fn store_words<L: Lanes>(to: *mut f32, rows: [L::V; 2]);
    /// `a·b + c`, summed over the numbers of a word.
    unsafe fn fma<L: Lanes>(a: L::V, b: L::V, c: L::V) -> L::V;

    /// [`load`](Number::load) where `n = N`, else [`load_part`](Number::load_part).
    #[inline(always)]
    unsafe fn load_n<L: Lanes>(from: *const Self, n: usize) -> L::V {
        // SAFETY: the caller's.
        unsafe {
            if n == L::N {
                Self::load::<L>(from)
            } else {
                Self::load_part::<L>(from, n)
            }
        }
    }

    /// [`store`](Number::store) where `n = N`, else [`store_part`](Number::store_part).
    #[inline(always)]
    unsafe fn store_n<L: Lanes>(to: *mut Self, v: L::V, n: usize) {
        // SAFETY: the caller's.
        unsafe {
            if n == L::N {
                Self::store::<L>(to, v);
            } else {
                Self::store_part::<L>(to, v, n);
            }
        }
    }
}

// SAFETY of the blocks below: the trait's contract, passed on to `Lanes`.
#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "one argument for all of them, above"
)]
unsafe impl Number for f32 {
    const KIND: Kind = Kind::Float;
    const PER_WORD: usize = 1;
    const ZERO: f32 = 0.0;

    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const f32) -> L::V {
        unsafe { L::load(from) }
    }
    #[inline(always)]
    unsafe fn load_part<L: Lanes>(from: *const f32, n: usize) -> L::V {
        unsafe { L::load_part(from, n) }
    }
    #[inline(always)]
    unsafe fn store<L: Lanes>(to: *mut f32, v: L::V) {
        unsafe { L::store(to, v) }
    }
    #[inline(always)]
    unsafe fn store_part<L: Lanes>(to: *mut f32, v: L::V, n: usize) {
        unsafe { L::store_part(to, v, n) }
    }
    #[inline(always)]
    unsafe fn rounded<L: Lanes>(v: L::V) -> L::V {
        v
    }
    #[inline(always)]
    unsafe fn store_words<L: Lanes>(to: *mut f32, rows: [L::V; 2]) {
        unsafe { L::store(to, rows[0]) }
    }
    #[inline(always)]
    unsafe fn fma<L: Lanes>(a: L::V, b: L::V, c: L::V) -> L::V {
        unsafe { L::fma(a, b, c) }
    }
}

/// bfloat16: the upper half of an f32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(super) struct Bf16(u16);

#[allow(clippy::undocumented_unsafe_blocks, reason = "as for f32")]
unsafe impl Number for Bf16 {
    const KIND: Kind = Kind::BFloat16;
    const PER_WORD: usize = 2;
    const ZERO: Bf16 = Bf16(0);

    #[inline(always)]
    fn to_f32(self) -> f32 {
        from_bf16(self.0)
    }
    #[inline(always)]
    unsafe fn load<L: Lanes>(from: *const Bf16) -> L::V {
        unsafe { L::load_bf16(from.cast()) }
    }
    #[inline(always)]
    unsafe fn load_part<L: Lanes>(from: *const Bf16, n: usize) -> L::V {
        unsafe { L::load_bf16_part(from.cast(), n) }
    }
    #[inline(always)]
    unsafe fn store<L: Lanes>(to: *mut Bf16, v: L::V) {
        unsafe { L::store_bf16(to.cast(), v) }
    }
    #[inline(always)]
    unsafe fn store_part<L: Lanes>(to: *mut Bf16, v: L::V, n: usize) {
        unsafe { L::store_bf16_part(to.cast(), v, n) }
    }
    #[inline(always)]
    unsafe fn rounded<L: Lanes>(v: L::V) -> L::V {
        unsafe { L::round_to_bf16(v) }
    }
    #[inline(always)]
    unsafe fn store_words<L: Lanes>(to: *mut f32, rows: [L::V; 2]) {
        unsafe { L::store_pairs(to.cast(), rows[0], rows[1]) }
    }
    #[inline(always)]
    unsafe fn fma<L: Lanes>(a: L::V, b: L::V, c: L::V) -> L::V {
        unsafe { L::fma_pairs(a, b, c) }
    }
}
