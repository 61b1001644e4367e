//! AMX: products of whole tiles of bf16 numbers, 16 rows by 16 columns over 16 words.
//!
//! The standard library has no stable intrinsics for it, so this is assembly. A thread's tile registers hold nothing
//! between [`open`] and [`close`] but what one [`multiply`] puts there, and the compiler never uses them.

use std::arch::asm;
use std::sync::OnceLock;

use super::TILE;

/// Bytes of a row of a tile: 16 words.
const ROW: usize = 64;

/// What `ldtilecfg` reads: all registers are 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes_per_row: [u16; 16],
    rows: [u8; 16],
}

static CONFIG: Config = {
    let (mut bytes_per_row, mut rows) = ([0; 16], [0; 16]);
    let mut register = 0;
    while register < 8 {
        bytes_per_row[register] = ROW as u16;
        rows[register] = TILE as u8;
        register += 1;
    }
    Config {
        palette: 1,
        start_row: 0,
        reserved: [0; 14],
        bytes_per_row,
        rows,
    }
};

/// Whether this CPU has AMX for bf16 and the system lets this process use it; asks the system once.
pub(crate) fn are_tiles_available() -> bool {
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| has_instructions() && is_permitted())
}

fn has_instructions() -> bool {
    const AMX_BF16: u32 = 1 << 22;
    const AMX_TILE: u32 = 1 << 24;
    if std::arch::x86_64::__cpuid(0).eax < 7 {
        return false;
    }
    let features = std::arch::x86_64::__cpuid_count(7, 0).edx;
    features & AMX_BF16 != 0 && features & AMX_TILE != 0
}

/// The state of the tile registers is 8 KiB, which Linux saves for processes that ask for it alone (5.16).
#[cfg(target_os = "linux")]
fn is_permitted() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_ulong = 18;
    // SAFETY: a system call with two numbers; an older kernel refuses it.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn is_permitted() -> bool {
    false
}

/// Sets the shape of the tiles.
///
/// # Safety
/// The CPU must have AMX. So for all functions here.
#[inline(always)]
pub(super) unsafe fn open() {
    // SAFETY: `CONFIG` is what the instruction reads.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const CONFIG, options(nostack, readonly, preserves_flags)) }
}

/// Gives the state of the tiles up.
#[inline(always)]
pub(super) unsafe fn close() {
    // SAFETY: nothing is kept in a tile.
    unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) }
}

/// `to[16, W·16] = A·B` over `steps·16 > 0` words: `A` has 16 rows `a_row` words apart, `B` 16 rows a step `b_row` words
/// apart, of `W` vectors each.
#[inline(always)]
pub(super) unsafe fn multiply<const W: usize>(
    steps: usize,
    a: *const f32,
    a_row: usize,
    b: *const f32,
    b_row: usize,
    to: *mut f32,
) {
    /// One step: the tile of `A` in tmm3, each tile of `B` in a register of its own.
    macro_rules! product {
        ([$($zero:literal),*], [$($step:literal),*], [$($store:literal),*]) => {
            // SAFETY: the caller's: all rows named are readable, `to` has room for all tiles.
            unsafe {
                asm!(
                    $($zero,)*
                    "2:",
                    "tileloadd tmm3, [{a} + 1*{a_row}]",
                    $($step,)*
                    "add {a}, 64",
                    "add {b}, {b_step}",
                    "dec {steps}",
                    "jnz 2b",
                    $($store,)*
                    a = inout(reg) a => _,
                    b = inout(reg) b => _,
                    steps = inout(reg) steps => _,
                    a_row = in(reg) 4 * a_row,
                    b_row = in(reg) 4 * b_row,
                    b_step = in(reg) 4 * b_row * TILE,
                    to = in(reg) to,
                    to_row = in(reg) W * ROW,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _,
                    options(nostack),
                );
            }
        };
    }
    match W {
        1 => product!(
            ["tilezero tmm0"],
            ["tileloadd tmm4, [{b} + 1*{b_row}]", "tdpbf16ps tmm0, tmm3, tmm4"],
            ["tilestored [{to} + 1*{to_row}], tmm0"]
        ),
        2 => product!(
            ["tilezero tmm0", "tilezero tmm1"],
            [
                "tileloadd tmm4, [{b} + 1*{b_row}]",
                "tdpbf16ps tmm0, tmm3, tmm4",
                "tileloadd tmm5, [{b} + 1*{b_row} + 64]",
                "tdpbf16ps tmm1, tmm3, tmm5"
            ],
            [
                "tilestored [{to} + 1*{to_row}], tmm0",
                "tilestored [{to} + 1*{to_row} + 64], tmm1"
            ]
        ),
        _ => product!(
            ["tilezero tmm0", "tilezero tmm1", "tilezero tmm2"],
            [
                "tileloadd tmm4, [{b} + 1*{b_row}]",
                "tdpbf16ps tmm0, tmm3, tmm4",
                "tileloadd tmm5, [{b} + 1*{b_row} + 64]",
                "tdpbf16ps tmm1, tmm3, tmm5",
                "tileloadd tmm6, [{b} + 1*{b_row} + 128]",
                "tdpbf16ps tmm2, tmm3, tmm6"
            ],
            [
                "tilestored [{to} + 1*{to_row}], tmm0",
                "tilestored [{to} + 1*{to_row} + 64], tmm1",
                "tilestored [{to} + 1*{to_row} + 128], tmm2"
            ]
        ),
    }
}
