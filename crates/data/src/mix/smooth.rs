//! Label smoothing on rows of targets.

use super::MixConfig;
use crate::labels::LabelKind;

impl MixConfig {
    /// Smooths rows of targets, `[N, K]`, in place: `(1 − ε) y + ε / K` for probabilities (Szegedy et al.
    /// 2016), `(1 − ε) y + ε / 2` for labels that stand by themselves.
    pub fn smooth(&self, rows: &mut [f32], classes: usize, kind: LabelKind) {
        if self.smoothing == 0.0 {
            return;
        }
        let ways = match kind {
            LabelKind::Class | LabelKind::Soft => classes as f64,
            LabelKind::MultiLabel => 2.0,
        };
        let (keep, off) = (1.0 - self.smoothing, self.smoothing / ways);
        for y in rows {
            *y = (keep * f64::from(*y) + off) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_still_sum_to_one_and_labels_go_halfway() {
        let config = MixConfig {
            smoothing: 0.2,
            ..MixConfig::default()
        };
        let mut rows = vec![1.0, 0.0, 0.0, 0.0];
        config.smooth(&mut rows, 4, LabelKind::Class);
        assert_eq!(rows, [0.85, 0.05, 0.05, 0.05]);
        let mut rows = vec![1.0, 0.0, 0.5];
        config.smooth(&mut rows, 3, LabelKind::MultiLabel);
        assert_eq!(rows, [0.9, 0.1, 0.5]);
    }
}
