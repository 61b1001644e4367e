//! Which inputs an output position reads, and with which weights.

use std::ops::Range;

/// Bits behind the point of a weight: 32 for the sum, less 8 for the pixel and 2 for overshoot.
pub(super) const PRECISION: u32 = 32 - 8 - 2;

/// What one output position reads: `weights[offset..offset + len]` on inputs `first..first + len`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) first: usize,
    pub(super) offset: usize,
    pub(super) len: usize,
}

/// One axis: `size` samples become `out`, of which `window` are wanted.
pub(super) struct Axis {
    pub(super) size: usize,
    pub(super) out: usize,
    pub(super) window: Range<usize>,
}

impl Axis {
    /// The samples that the window reads.
    pub(super) fn reads(&self) -> Range<usize> {
        if self.size == self.out {
            return self.window.clone();
        }
        // Neither end of what a position reads ever goes back.
        self.read_by(self.window.start).start..self.read_by(self.window.end - 1).end
    }

    fn scale(&self) -> f64 {
        self.size as f64 / self.out as f64
    }

    fn centre(&self, position: usize) -> f64 {
        (position as f64 + 0.5) * self.scale()
    }

    fn read_by(&self, position: usize) -> Range<usize> {
        let (centre, support) = (self.centre(position), 2.0 * self.scale().max(1.0));
        let first = (centre - support + 0.5).max(0.0) as usize;
        first..((centre + support + 0.5) as usize).min(self.size)
    }
}

/// The weights of one axis.
pub(super) struct Taps {
    pub(super) spans: Vec<Span>,
    pub(super) weights: Vec<i32>,
}

impl Taps {
    /// The weights of the window (Pillow's `precompute_coeffs`, operation by operation), on the samples that it
    /// reads; `None` where the samples stay as they are.
    pub(super) fn new(axis: &Axis) -> Option<Taps> {
        if axis.size == axis.out {
            return None;
        }
        let inverse = 1.0 / axis.scale().max(1.0);
        let mut taps = Taps {
            spans: Vec::with_capacity(axis.window.len()),
            weights: Vec::new(),
        };
        let start = axis.reads().start;
        let mut row = Vec::new();
        for position in axis.window.clone() {
            let (centre, reads) = (axis.centre(position), axis.read_by(position));
            row.clear();
            let weight = |at| cubic((at as f64 - centre + 0.5) * inverse);
            row.extend(reads.clone().map(weight));
            taps.push(reads.start - start, &row);
        }
        Some(taps)
    }

    /// Normalises one row of weights to a sum of 1 and rounds it to fixed point.
    fn push(&mut self, first: usize, row: &[f64]) {
        let total: f64 = row.iter().sum();
        self.spans.push(Span {
            first,
            offset: self.weights.len(),
            len: row.len(),
        });
        let fixed = |w: &f64| {
            let w = w / total * f64::from(1u32 << PRECISION);
            (w + 0.5f64.copysign(w)) as i32 // the cast truncates
        };
        self.weights.extend(row.iter().map(fixed));
    }

    #[inline(always)]
    pub(super) fn weights(&self, span: &Span) -> &[i32] {
        &self.weights[span.offset..span.offset + span.len]
    }
}

/// Keys' cubic convolution kernel with a = −0.5.
fn cubic(x: f64) -> f64 {
    const A: f64 = -0.5;
    let x = x.abs();
    if x < 1.0 {
        ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
    } else if x < 2.0 {
        (((x - 5.0) * x + 8.0) * x - 4.0) * A
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one() {
        for (size, out) in [(300, 128), (17, 40), (1, 4), (7, 8), (500, 1)] {
            let axis = Axis {
                size,
                out,
                window: 0..out,
            };
            let taps = Taps::new(&axis).unwrap();
            for span in &taps.spans {
                let sum: i32 = taps.weights(span).iter().sum();
                assert!(
                    (sum - (1 << PRECISION)).abs() <= span.len as i32,
                    "{size} to {out}: {sum}"
                );
            }
        }
    }
}
