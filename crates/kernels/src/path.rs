//! Which implementation computes: the fast one of an instruction set, or the reference.

use std::sync::OnceLock;

use crate::cpu::Isa;

/// How an operation is computed where there is a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    Reference,
    Cpu(Isa),
}

/// The path of this process: the best instruction set, or what `FCMAE_KERNELS` names.
pub(crate) fn path() -> Path {
    static PATH: OnceLock<Path> = OnceLock::new();
    *PATH.get_or_init(|| {
        let forced = std::env::var(FORCED).unwrap_or_default();
        named(&forced).unwrap_or_else(|| Path::Cpu(Isa::best()))
    })
}

/// Computes on the fast path; where it is not wanted or does not apply (`None`), on the reference.
pub(crate) fn on_path<R>(fast: impl FnOnce(Isa) -> Option<R>, reference: impl FnOnce() -> R) -> R {
    let result = match path() {
        Path::Cpu(isa) => fast(isa),
        Path::Reference => None,
    };
    result.unwrap_or_else(reference)
}

/// The environment variable that forces a path.
const FORCED: &str = "FCMAE_KERNELS";

/// The path of a name, if there is one on this CPU; the empty name is the best path.
pub(crate) fn named(name: &str) -> Option<Path> {
    match name {
        "" => Some(Path::Cpu(Isa::best())),
        "reference" => Some(Path::Reference),
        _ => Isa::ALL
            .into_iter()
            .find(|isa| isa.name() == name && isa.is_available())
            .map(Path::Cpu),
    }
}

/// Checks the environment variable `FCMAE_KERNELS`; a program calls it before it computes.
///
/// # Errors
/// The value, when it names no path or one that this CPU does not have, with the names that can be used. Kernels
/// themselves take the best path then.
pub fn check_forced() -> Result<(), String> {
    let forced = std::env::var(FORCED).unwrap_or_default();
    if named(&forced).is_some() {
        return Ok(());
    }
    let here = Isa::ALL
        .into_iter()
        .filter(|isa| isa.is_available())
        .map(Isa::name);
    let names: Vec<&str> = std::iter::once("reference").chain(here).collect();
    Err(format!(
        "{forced:?} names no kernels of this CPU; use one of {}, or unset it",
        names.join(", ")
    ))
}

/// The back end that the kernels use on this machine for activations of `kind` on `device`, in words, for a run's
/// first line.
pub fn backend(device: tch::Device, kind: tch::Kind) -> &'static str {
    match path() {
        Path::Cpu(isa) if device == tch::Device::Cpu && kind == tch::Kind::Float => match isa {
            Isa::Portable => "packed, portable",
            Isa::Avx2 => "packed, AVX2",
            Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => "packed, AVX-512",
        },
        Path::Cpu(isa) if device == tch::Device::Cpu && kind == tch::Kind::BFloat16 => match isa {
            Isa::Portable => "packed, portable, bf16 by conversion",
            Isa::Avx2 => "packed, AVX2, bf16 by conversion",
            Isa::Avx512 => "packed, AVX-512, bf16 by conversion",
            Isa::Avx512Bf16 => "packed, AVX-512 bf16",
            Isa::Amx => "packed, AMX bf16",
        },
        _ => "reference (libtorch operations on packed tiles)",
    }
}
