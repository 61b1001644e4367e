//! Which inputs an output position reads, and with which weights.

/// Bits behind the point of a weight: 32 for the sum, less 8 for the pixel and 2 for overshoot.
pub(super) const PRECISION: u32 = 32 - 8 - 2;

/// What one output position reads: `weights[offset..offset + len]` on inputs `first..first + len`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) first: usize,
    pub(super) offset: usize,
    pub(super) len: usize,
}

/// The weights of one axis.
pub(super) struct Taps {
    pub(super) spans: Vec<Span>,
    pub(super) weights: Vec<i32>,
}

impl Taps {
    /// Weights for bringing `size` samples to `out` (Pillow's `precompute_coeffs`, operation by operation).
    pub(super) fn new(size: usize, out: usize) -> Taps {
        let scale = size as f64 / out as f64;
        let stretch = scale.max(1.0);
        let (support, inverse) = (2.0 * stretch, 1.0 / stretch);
        let mut taps = Taps {
            spans: Vec::with_capacity(out),
            weights: Vec::new(),
        };
        let mut row = Vec::new();
        for i in 0..out {
            let centre = (i as f64 + 0.5) * scale;
            let first = (centre - support + 0.5).max(0.0) as usize;
            let end = ((centre + support + 0.5) as usize).min(size);
            row.clear();
            row.extend((0..end - first).map(|k| cubic(((k + first) as f64 - centre + 0.5) * inverse)));
            taps.push(first, &row);
        }
        taps
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
        for (size, out) in [(300, 128), (17, 40), (1, 4), (7, 7), (500, 1)] {
            let taps = Taps::new(size, out);
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
