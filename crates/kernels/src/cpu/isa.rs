//! Which instruction set the kernels run on: found once, forced by `FCMAE_KERNELS`.

use std::sync::OnceLock;

use super::lanes::Lanes;
use super::lanes::Portable;
#[cfg(target_arch = "x86_64")]
use super::lanes::{Avx2, Avx512, are_tiles_available};

/// An instruction set with an implementation of the kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    /// Plain Rust, everywhere.
    Portable,
    /// x86-64 with AVX2 and FMA.
    Avx2,
    /// x86-64 with AVX-512 (F, BW, VL).
    Avx512,
    /// The same with instructions for bf16.
    Avx512Bf16,
    /// The same with AMX, a unit for tiles of bf16 numbers.
    Amx,
}

impl Isa {
    /// All of them, slowest first.
    pub const ALL: [Isa; 5] = [Isa::Portable, Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16, Isa::Amx];

    /// The name that `FCMAE_KERNELS` takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Avx512Bf16 => "avx512bf16",
            Isa::Amx => "amx",
        }
    }

    /// Numbers per vector.
    #[must_use]
    pub(super) fn lanes(self) -> usize {
        match self {
            Isa::Portable | Isa::Avx2 => 8,
            Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => 16,
        }
    }

    /// Whether this CPU has it.
    #[must_use]
    pub fn is_available(self) -> bool {
        match self {
            Isa::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => {
                Isa::Avx2.is_available()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Bf16 => Isa::Avx512.is_available() && is_x86_feature_detected!("avx512bf16"),
            #[cfg(target_arch = "x86_64")]
            Isa::Amx => Isa::Avx512Bf16.is_available() && are_tiles_available(),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx2 | Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => false,
        }
    }

    /// The best that this CPU has.
    #[must_use]
    pub fn best() -> Isa {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| {
            Isa::ALL
                .into_iter()
                .rfind(|isa| isa.is_available())
                .unwrap_or(Isa::Portable)
        })
    }
}

/// A kernel, written once for every instruction set.
///
/// Implementors mark `run` and everything below it `#[inline(always)]`: only then is the code compiled with the
/// instructions of the function it is entered through.
pub(super) trait Kernel {
    /// Whether it computes on pairs of bf16 numbers; only then is it compiled with their instructions.
    const HAS_PAIRS: bool;

    /// Does the work.
    ///
    /// # Safety
    /// The CPU must have `L`'s instructions.
    unsafe fn run<L: Lanes>(self);
}

/// Runs a kernel on an instruction set.
///
/// # Panics
/// When this CPU does not have it.
pub(super) fn enter<K: Kernel>(isa: Isa, kernel: K) {
    assert!(isa.is_available(), "this CPU does not have {}", isa.name());
    match isa {
        // SAFETY: portable code has no requirement.
        Isa::Portable => unsafe { kernel.run::<Portable>() },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: availability was asserted.
        Isa::Avx2 => unsafe { avx2(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: availability was asserted.
        Isa::Amx if K::HAS_PAIRS => unsafe { amx(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: availability was asserted.
        Isa::Avx512Bf16 if K::HAS_PAIRS => unsafe { avx512_bf16(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: availability was asserted, and AVX-512 is part of all three.
        Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => unsafe { avx512(kernel) },
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx2 | Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => unreachable!("not available"),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<K: Kernel>(kernel: K) {
    // SAFETY: the caller's CPU has AVX2 and FMA.
    unsafe { kernel.run::<Avx2>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512dq,avx512bw,avx512vl")]
unsafe fn avx512<K: Kernel>(kernel: K) {
    // SAFETY: the caller's CPU has AVX-512.
    unsafe { kernel.run::<Avx512<false, false>>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512dq,avx512bw,avx512vl,avx512bf16")]
unsafe fn avx512_bf16<K: Kernel>(kernel: K) {
    // SAFETY: the caller's CPU has AVX-512 with bf16.
    unsafe { kernel.run::<Avx512<true, false>>() }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512dq,avx512bw,avx512vl,avx512bf16")]
unsafe fn amx<K: Kernel>(kernel: K) {
    // SAFETY: the caller's CPU has AVX-512 with bf16, and AMX.
    unsafe { kernel.run::<Avx512<true, true>>() }
}
