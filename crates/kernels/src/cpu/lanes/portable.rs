//! Plain Rust.

use super::{Lanes, from_bf16, to_bf16};

/// `⌊v⌋` of a number that an `i32` holds, without the function call that `floor` is on plain hardware.
#[inline(always)]
fn floor_to_i32(v: f32) -> i32 {
    let whole = v as i32;
    whole - i32::from(whole as f32 > v)
}

/// Portable code: arrays that the compiler vectorises as far as the target allows.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Lanes for Portable {
    type V = [f32; 8];
    const N: usize = 8;
    const ROWS: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> Self::V {
        [value; 8]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self::V {
        // SAFETY: the caller guarantees 8 numbers; arrays of f32 have the alignment of f32.
        unsafe { *from.cast::<[f32; 8]>() }
    }
    #[inline(always)]
    unsafe fn load_part(from: *const f32, n: usize) -> Self::V {
        // SAFETY: only indices below `n` are read.
        std::array::from_fn(|i| if i < n { unsafe { *from.add(i) } } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: Self::V) {
        // SAFETY: the caller guarantees room for 8 numbers.
        unsafe { *to.cast::<[f32; 8]>() = v }
    }
    #[inline(always)]
    unsafe fn store_part(to: *mut f32, v: Self::V, n: usize) {
        for (i, value) in v.iter().enumerate().take(n) {
            // SAFETY: only indices below `n` are written.
            unsafe { *to.add(i) = *value }
        }
    }
    #[inline(always)]
    unsafe fn add(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn sub(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] - b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn reciprocal(a: Self::V) -> Self::V {
        std::array::from_fn(|i| 1.0 / a[i])
    }
    #[inline(always)]
    unsafe fn fma(a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        // Not `mul_add`: without FMA hardware that is a function call.
        std::array::from_fn(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    unsafe fn max(a: Self::V, b: Self::V) -> Self::V {
        std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn abs(a: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i].abs())
    }
    #[inline(always)]
    unsafe fn copysign(a: Self::V, sign: Self::V) -> Self::V {
        std::array::from_fn(|i| a[i].copysign(sign[i]))
    }
    #[inline(always)]
    unsafe fn fraction(a: Self::V) -> Self::V {
        std::array::from_fn(|i| {
            let clamped = if a[i] > -126.0 { a[i] } else { -126.0 };
            clamped - floor_to_i32(clamped) as f32
        })
    }
    #[inline(always)]
    unsafe fn scale(a: Self::V, n: Self::V) -> Self::V {
        std::array::from_fn(|i| {
            let n = floor_to_i32(if n[i] > -126.0 { n[i] } else { -126.0 });
            a[i] * f32::from_bits(((n + 127) << 23) as u32)
        })
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> Self::V {
        // SAFETY: the caller guarantees 8 numbers.
        std::array::from_fn(|i| from_bf16(unsafe { *from.add(i) }))
    }
    #[inline(always)]
    unsafe fn load_bf16_part(from: *const u16, n: usize) -> Self::V {
        // SAFETY: only indices below `n` are read.
        std::array::from_fn(|i| {
            if i < n {
                // SAFETY: as above.
                from_bf16(unsafe { *from.add(i) })
            } else {
                0.0
            }
        })
    }
    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, v: Self::V) {
        // SAFETY: the caller guarantees room for 8 numbers.
        unsafe { Self::store_bf16_part(to, v, Self::N) }
    }
    #[inline(always)]
    unsafe fn store_bf16_part(to: *mut u16, v: Self::V, n: usize) {
        for (i, value) in v.iter().enumerate().take(n) {
            // SAFETY: only indices below `n` are written.
            unsafe { *to.add(i) = to_bf16(*value) }
        }
    }
    #[inline(always)]
    unsafe fn round_to_bf16(v: Self::V) -> Self::V {
        std::array::from_fn(|i| from_bf16(to_bf16(v[i])))
    }
    #[inline(always)]
    unsafe fn store_pairs(to: *mut u32, even: Self::V, odd: Self::V) {
        for i in 0..Self::N {
            // SAFETY: the caller guarantees room for 8 words.
            unsafe { *to.add(i) = u32::from(to_bf16(even[i])) | u32::from(to_bf16(odd[i])) << 16 }
        }
    }
    #[inline(always)]
    unsafe fn low(words: Self::V) -> Self::V {
        std::array::from_fn(|i| f32::from_bits(words[i].to_bits() << 16))
    }
    #[inline(always)]
    unsafe fn high(words: Self::V) -> Self::V {
        std::array::from_fn(|i| f32::from_bits(words[i].to_bits() & 0xffff_0000))
    }
    #[inline(always)]
    unsafe fn sum(a: Self::V) -> f32 {
        ((a[0] + a[4]) + (a[2] + a[6])) + ((a[1] + a[5]) + (a[3] + a[7]))
    }
}
