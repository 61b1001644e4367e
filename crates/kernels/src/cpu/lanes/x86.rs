//! AVX2 with FMA, and AVX-512 with and without its instructions for bf16, and with AMX.

use std::arch::x86_64::*;

use super::{Lanes, TILE, tiles};

/// AVX2 and FMA: 8 numbers, 16 registers.
#[derive(Clone, Copy)]
pub(crate) struct Avx2;

// SAFETY of every block below: the trait's contract — the CPU has the instructions, and pointers are valid for
// the elements that the method names; unaligned loads and stores are used throughout.
#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "one argument for all of them, above"
)]
impl Lanes for Avx2 {
    type V = __m256;
    const N: usize = 8;
    const ROWS: usize = 4;

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m256 {
        unsafe { _mm256_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m256 {
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn load_part(from: *const f32, n: usize) -> __m256 {
        unsafe { _mm256_maskload_ps(from, first(n)) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: __m256) {
        unsafe { _mm256_storeu_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn store_part(to: *mut f32, v: __m256, n: usize) {
        unsafe { _mm256_maskstore_ps(to, first(n), v) }
    }
    #[inline(always)]
    unsafe fn add(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn reciprocal(a: __m256) -> __m256 {
        unsafe { _mm256_div_ps(_mm256_set1_ps(1.0), a) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m256, b: __m256, c: __m256) -> __m256 {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn max(a: __m256, b: __m256) -> __m256 {
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn abs(a: __m256) -> __m256 {
        unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), a) }
    }
    #[inline(always)]
    unsafe fn copysign(a: __m256, sign: __m256) -> __m256 {
        unsafe { _mm256_or_ps(a, _mm256_and_ps(_mm256_set1_ps(-0.0), sign)) }
    }
    #[inline(always)]
    unsafe fn fraction(a: __m256) -> __m256 {
        unsafe {
            let a = _mm256_max_ps(a, _mm256_set1_ps(-126.0));
            _mm256_sub_ps(a, _mm256_floor_ps(a))
        }
    }
    #[inline(always)]
    unsafe fn scale(a: __m256, n: __m256) -> __m256 {
        unsafe {
            let n = _mm256_floor_ps(_mm256_max_ps(n, _mm256_set1_ps(-126.0)));
            let biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32::<23>(biased)))
        }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> __m256 {
        unsafe { widen(_mm_loadu_si128(from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bf16_part(from: *const u16, n: usize) -> __m256 {
        unsafe {
            let mut all = [0u16; 8];
            std::ptr::copy_nonoverlapping(from, all.as_mut_ptr(), n);
            Self::load_bf16(all.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, v: __m256) {
        unsafe {
            let rounded = round(v);
            let packed = _mm256_packus_epi32(rounded, rounded); // each half of the vector by itself
            let joined = _mm256_permute4x64_epi64::<0b1000>(packed);
            _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(joined));
        }
    }
    #[inline(always)]
    unsafe fn store_bf16_part(to: *mut u16, v: __m256, n: usize) {
        unsafe {
            let mut all = [0u16; 8];
            Self::store_bf16(all.as_mut_ptr(), v);
            std::ptr::copy_nonoverlapping(all.as_ptr(), to, n);
        }
    }
    #[inline(always)]
    unsafe fn round_to_bf16(v: __m256) -> __m256 {
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(round(v))) }
    }
    #[inline(always)]
    unsafe fn store_pairs(to: *mut u32, even: __m256, odd: __m256) {
        unsafe {
            let words = _mm256_or_si256(round(even), _mm256_slli_epi32::<16>(round(odd)));
            _mm256_storeu_si256(to.cast(), words);
        }
    }
    #[inline(always)]
    unsafe fn low(words: __m256) -> __m256 {
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_castps_si256(words))) }
    }
    #[inline(always)]
    unsafe fn high(words: __m256) -> __m256 {
        unsafe {
            let mask = _mm256_castsi256_ps(_mm256_set1_epi32(0xffff_0000_u32 as i32));
            _mm256_and_ps(words, mask)
        }
    }
    #[inline(always)]
    unsafe fn sum(a: __m256) -> f32 {
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps::<1>(a));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }
}

/// bf16 → f32.
#[inline(always)]
unsafe fn widen(halves: __m128i) -> __m256 {
    // SAFETY: as above.
    unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(halves))) }
}

/// f32 → bf16 in the low half of each word.
#[inline(always)]
unsafe fn round(v: __m256) -> __m256i {
    // SAFETY: as above.
    unsafe {
        let bits = _mm256_castps_si256(v);
        let high = _mm256_srli_epi32::<16>(bits);
        let odd = _mm256_and_si256(high, _mm256_set1_epi32(1));
        let up = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
        let quiet = _mm256_or_si256(high, _mm256_set1_epi32(0x40));
        let is_nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(v, v));
        _mm256_blendv_epi8(_mm256_srli_epi32::<16>(up), quiet, is_nan)
    }
}

/// A mask of the first `n` lanes.
#[inline(always)]
unsafe fn first(n: usize) -> __m256i {
    // SAFETY: as above.
    unsafe {
        let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), lane)
    }
}

/// AVX-512 (F, DQ, BW, VL): 16 numbers, 32 registers; with or without instructions for bf16, and AMX beside those.
#[derive(Clone, Copy)]
pub(crate) struct Avx512<const BF16: bool, const AMX: bool>;

#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "one argument for all of them, above"
)]
impl<const BF16: bool, const AMX: bool> Lanes for Avx512<BF16, AMX> {
    type V = __m512;
    const N: usize = 16;
    const ROWS: usize = 8;
    const HAS_TILES: bool = AMX;

    #[inline(always)]
    unsafe fn open_tiles() {
        unsafe { tiles::open() }
    }
    #[inline(always)]
    unsafe fn close_tiles() {
        unsafe { tiles::close() }
    }
    #[inline(always)]
    unsafe fn multiply_tiles<const W: usize>(
        steps: usize,
        a: *const f32,
        a_row: usize,
        b: *const f32,
        b_row: usize,
        to: *mut f32,
    ) {
        unsafe { tiles::multiply::<W>(steps, a, a_row, b, b_row, to) }
    }
    #[inline(always)]
    unsafe fn transpose(rows: [__m512; TILE]) -> [__m512; TILE] {
        const EVEN: i32 = 0x88;
        const ODD: i32 = 0xdd;
        unsafe {
            // Quarter `q` of `quads[4g + k]` is column `4q + k` of the rows `4g .. 4g + 4`.
            let mut quads = rows;
            for (quad, rows) in quads.chunks_exact_mut(4).zip(rows.chunks_exact(4)) {
                let low = _mm512_castps_pd(_mm512_unpacklo_ps(rows[0], rows[1]));
                let low_2 = _mm512_castps_pd(_mm512_unpacklo_ps(rows[2], rows[3]));
                let high = _mm512_castps_pd(_mm512_unpackhi_ps(rows[0], rows[1]));
                let high_2 = _mm512_castps_pd(_mm512_unpackhi_ps(rows[2], rows[3]));
                quad[0] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, low_2));
                quad[1] = _mm512_castpd_ps(_mm512_unpackhi_pd(low, low_2));
                quad[2] = _mm512_castpd_ps(_mm512_unpacklo_pd(high, high_2));
                quad[3] = _mm512_castpd_ps(_mm512_unpackhi_pd(high, high_2));
            }
            let mut columns = rows;
            for k in 0..4 {
                let [a, b, c, d] = [quads[k], quads[4 + k], quads[8 + k], quads[12 + k]];
                let (upper, lower) = (
                    _mm512_shuffle_f32x4::<EVEN>(a, b),
                    _mm512_shuffle_f32x4::<EVEN>(c, d),
                );
                columns[k] = _mm512_shuffle_f32x4::<EVEN>(upper, lower);
                columns[8 + k] = _mm512_shuffle_f32x4::<ODD>(upper, lower);
                let (upper, lower) = (
                    _mm512_shuffle_f32x4::<ODD>(a, b),
                    _mm512_shuffle_f32x4::<ODD>(c, d),
                );
                columns[4 + k] = _mm512_shuffle_f32x4::<EVEN>(upper, lower);
                columns[12 + k] = _mm512_shuffle_f32x4::<ODD>(upper, lower);
            }
            columns
        }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> __m512 {
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn load_part(from: *const f32, n: usize) -> __m512 {
        unsafe { _mm512_maskz_loadu_ps(((1u32 << n) - 1) as u16, from) }
    }
    #[inline(always)]
    unsafe fn store(to: *mut f32, v: __m512) {
        unsafe { _mm512_storeu_ps(to, v) }
    }
    #[inline(always)]
    unsafe fn store_part(to: *mut f32, v: __m512, n: usize) {
        unsafe { _mm512_mask_storeu_ps(to, ((1u32 << n) - 1) as u16, v) }
    }
    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn reciprocal(a: __m512) -> __m512 {
        unsafe {
            // 14 bits, and one step of Newton's for the rest, instead of a division.
            let guess = _mm512_rcp14_ps(a);
            let error = _mm512_fnmadd_ps(a, guess, _mm512_set1_ps(1.0));
            _mm512_fmadd_ps(guess, error, guess)
        }
    }
    #[inline(always)]
    unsafe fn rough_reciprocal(a: __m512) -> __m512 {
        unsafe { _mm512_rcp14_ps(a) }
    }
    #[inline(always)]
    unsafe fn fma(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    unsafe fn abs(a: __m512) -> __m512 {
        unsafe { _mm512_abs_ps(a) }
    }
    #[inline(always)]
    unsafe fn copysign(a: __m512, sign: __m512) -> __m512 {
        unsafe {
            let bit = _mm512_and_epi32(_mm512_castps_si512(sign), _mm512_set1_epi32(i32::MIN));
            _mm512_castsi512_ps(_mm512_or_epi32(_mm512_castps_si512(a), bit))
        }
    }
    #[inline(always)]
    unsafe fn fraction(a: __m512) -> __m512 {
        unsafe { _mm512_reduce_ps::<1>(a) } // 1: downwards
    }
    #[inline(always)]
    unsafe fn scale(a: __m512, n: __m512) -> __m512 {
        unsafe { _mm512_scalef_ps(a, n) }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const u16) -> __m512 {
        unsafe { widen_512(_mm256_loadu_si256(from.cast())) }
    }
    #[inline(always)]
    unsafe fn load_bf16_part(from: *const u16, n: usize) -> __m512 {
        unsafe { widen_512(_mm256_maskz_loadu_epi16(((1u32 << n) - 1) as u16, from.cast())) }
    }
    #[inline(always)]
    unsafe fn store_bf16(to: *mut u16, v: __m512) {
        unsafe { _mm256_storeu_si256(to.cast(), round_512::<BF16>(v)) }
    }
    #[inline(always)]
    unsafe fn store_bf16_part(to: *mut u16, v: __m512, n: usize) {
        unsafe {
            _mm256_mask_storeu_epi16(to.cast(), ((1u32 << n) - 1) as u16, round_512::<BF16>(v));
        }
    }
    #[inline(always)]
    unsafe fn round_to_bf16(v: __m512) -> __m512 {
        unsafe { widen_512(round_512::<BF16>(v)) }
    }
    #[inline(always)]
    unsafe fn store_pairs(to: *mut u32, even: __m512, odd: __m512) {
        unsafe {
            let even = _mm512_cvtepu16_epi32(round_512::<BF16>(even));
            let odd = _mm512_cvtepu16_epi32(round_512::<BF16>(odd));
            _mm512_storeu_si512(to.cast(), _mm512_or_si512(even, _mm512_slli_epi32::<16>(odd)));
        }
    }
    #[inline(always)]
    unsafe fn low(words: __m512) -> __m512 {
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_castps_si512(words))) }
    }
    #[inline(always)]
    unsafe fn high(words: __m512) -> __m512 {
        unsafe {
            let mask = _mm512_set1_epi32(0xffff_0000_u32 as i32);
            _mm512_castsi512_ps(_mm512_and_si512(_mm512_castps_si512(words), mask))
        }
    }
    #[inline(always)]
    unsafe fn fma_pairs(a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe {
            if BF16 {
                // The same bits, seen as 32 bf16 numbers.
                let a = std::mem::transmute::<__m512, __m512bh>(a);
                _mm512_dpbf16_ps(c, a, std::mem::transmute::<__m512, __m512bh>(b))
            } else {
                let c = Self::fma(Self::low(a), Self::low(b), c);
                Self::fma(Self::high(a), Self::high(b), c)
            }
        }
    }
    #[inline(always)]
    unsafe fn sum(a: __m512) -> f32 {
        unsafe { _mm512_reduce_add_ps(a) }
    }
}

/// bf16 → f32.
#[inline(always)]
unsafe fn widen_512(halves: __m256i) -> __m512 {
    // SAFETY: as above.
    unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(halves))) }
}

/// f32 → bf16.
#[inline(always)]
unsafe fn round_512<const BF16: bool>(v: __m512) -> __m256i {
    // SAFETY: as above.
    unsafe {
        if BF16 {
            return std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v));
        }
        let bits = _mm512_castps_si512(v);
        let high = _mm512_srli_epi32::<16>(bits);
        let odd = _mm512_and_si512(high, _mm512_set1_epi32(1));
        let up = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
        let quiet = _mm512_or_si512(high, _mm512_set1_epi32(0x40));
        let is_nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
        let rounded = _mm512_mask_blend_epi32(is_nan, _mm512_srli_epi32::<16>(up), quiet);
        _mm512_cvtepi32_epi16(rounded)
    }
}
