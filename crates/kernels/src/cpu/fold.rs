//! Products of a weight matrix and a vector, for folding an affine map into the linear map after it.

use std::ops::Range;

use fcmae_torch_ext::parallel_for;

use super::isa::{Isa, Kernel, enter};
use super::lanes::Lanes;
use super::number::Number;
use super::plan::Shared;
use super::rows::vectors;

/// `W·v` for a row-major `W [O, K]`, in parallel.
pub(super) fn product(isa: Isa, w: &[f32], v: &[f32]) -> Vec<f32> {
    /// Multiplications of a task.
    const TASK: usize = 1 << 14;
    let k = v.len();
    let rows = w.len() / k.max(1);
    let mut out = vec![0.0; rows];
    let per_task = (TASK / k.max(1)).max(1);
    let to = Shared::new(&mut out);
    parallel_for(rows.div_ceil(per_task), |task| {
        let rows = task * per_task..((task + 1) * per_task).min(rows);
        enter(isa, Dots { w, v, rows, to });
    });
    out
}

struct Dots<'a> {
    w: &'a [f32],
    v: &'a [f32],
    rows: Range<usize>,
    to: Shared,
}

impl Kernel for Dots<'_> {
    const HAS_PAIRS: bool = false;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let k = self.v.len();
        for row in self.rows {
            // SAFETY: rows of the matrix, and of this task alone.
            unsafe {
                let w = self.w.as_ptr().add(row * k);
                let mut sum = L::splat(0.0);
                for (at, n) in vectors::<L>(k) {
                    let v = f32::load_n::<L>(self.v.as_ptr().add(at), n);
                    sum = L::fma(f32::load_n::<L>(w.add(at), n), v, sum);
                }
                *self.to.at(row) = L::sum(sum);
            }
        }
    }
}
