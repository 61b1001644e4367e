//! The vote of the nearest labelled images.

use anyhow::Result;
use tch::{Kind, Tensor};

/// Rows that are compared with all training images at once.
const ROWS: i64 = 256;

/// Training images, ready to vote: each of the `k` nearest by cosine similarity `s` gives `exp(s / T)` to its class
/// (Wu et al. 2018, as DINO has it).
#[derive(Debug)]
pub(crate) struct Votes {
    /// `[D, N]`, columns of length 1.
    bank: Tensor,
    labels: Tensor,
    classes: i64,
    temperature: f64,
}

impl Votes {
    pub(crate) fn new(features: &Tensor, labels: &[u32], classes: usize, temperature: f64) -> Votes {
        let labels: Vec<i64> = labels.iter().map(|&label| i64::from(label)).collect();
        Votes {
            bank: unit(features).tr().contiguous(),
            labels: Tensor::from_slice(&labels).to_device(features.device()),
            classes: classes as i64,
            temperature,
        }
    }

    /// For each `k` the shares of the votes `[M, K]`, row-major. A `k` above N is N.
    pub(crate) fn of(&self, features: &Tensor, ks: &[usize]) -> Result<Vec<Vec<f32>>> {
        self.shares(&unit(features), ks, false)
    }

    /// The same for the labelled images themselves, none of which has a vote on itself.
    pub(crate) fn leaving_one_out(&self, ks: &[usize]) -> Result<Vec<Vec<f32>>> {
        self.shares(&self.bank.tr(), ks, true)
    }

    /// Of `rows [M, D]` of length 1; `are_own`: row i is image i of the bank.
    fn shares(&self, rows: &Tensor, ks: &[usize], are_own: bool) -> Result<Vec<Vec<f32>>> {
        let images = self.labels.size()[0];
        let largest = ks.iter().copied().max().unwrap_or(1).min(images as usize) as i64;
        let mut shares = vec![Vec::new(); ks.len()];
        for (part, rows) in (0..).zip(rows.split(ROWS, 0)) {
            let similarity = rows.matmul(&self.bank);
            if are_own {
                let mut own = similarity.narrow(1, part * ROWS, rows.size()[0]);
                let _ = own.fill_diagonal_(f64::NEG_INFINITY, false); // its weight is exp(−∞) = 0
            }
            let (similarity, nearest) = similarity.topk(largest, 1, true, true); // [m, k]
            // the largest similarity is 1, so that exp does not overflow for any temperature
            let weight = ((similarity - 1.0) / self.temperature).exp();
            let label = self
                .labels
                .index_select(0, &nearest.flatten(0, -1))
                .view_as(&nearest);
            for (shares, &k) in shares.iter_mut().zip(ks) {
                let k = (k as i64).min(largest);
                let empty = Tensor::zeros([rows.size()[0], self.classes], (Kind::Double, rows.device()));
                let votes = empty.scatter_add(1, &label.narrow(1, 0, k), &weight.narrow(1, 0, k));
                let all = votes
                    .sum_dim_intlist([1i64].as_slice(), true, Kind::Double)
                    .clamp_min(f64::MIN_POSITIVE);
                let rows = (votes / all)
                    .to_kind(Kind::Float)
                    .to_device(tch::Device::Cpu)
                    .contiguous();
                shares.extend(Vec::<f32>::try_from(rows.view([-1]))?);
            }
        }
        Ok(shares)
    }
}

/// Rows of length 1; a row of zeros stays. In f64, so that similarities of near images differ.
fn unit(features: &Tensor) -> Tensor {
    let x = features.to_kind(Kind::Double);
    let length = x
        .norm_scalaropt_dim(2.0, [1i64].as_slice(), true)
        .clamp_min(1e-12);
    x / length
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Directions at these angles; a length says nothing.
    fn at(angles: &[f64]) -> Tensor {
        let of = |&angle: &f64| [angle.cos() * (1.0 + angle), angle.sin() * (1.0 + angle)];
        let values: Vec<f64> = angles.iter().flat_map(of).collect();
        Tensor::from_slice(&values).view([-1, 2]).to_kind(Kind::Float)
    }

    #[test]
    fn the_nearest_decide_and_the_nearer_more() {
        let votes = Votes::new(&at(&[0.0, 0.1, 0.9, 1.0, 1.1]), &[0, 0, 1, 1, 1], 2, 0.07);
        let all = votes.of(&at(&[0.05, 1.0]), &[1, 3, 5, 99]).unwrap();
        assert_eq!(all[0], [1.0, 0.0, 0.0, 1.0]);
        assert!(all[1][0] > 0.98 && all[1][3] == 1.0, "{:?}", all[1]); // two near ones against one far
        assert_eq!(all[2], all[3]); // there are five
    }

    #[test]
    fn votes_are_the_definition() {
        let (bank, labels, temperature) = (at(&[0.0, 0.4, 1.3]), [2, 0, 0], 0.5);
        let votes = Votes::new(&bank, &labels, 3, temperature)
            .of(&at(&[0.3]), &[2])
            .unwrap();
        let weight = |angle: f64| (angle.cos() / temperature).exp();
        let (near, far) = (weight(0.1), weight(0.3));
        let expected = [near / (near + far), 0.0, far / (near + far)];
        assert!(
            votes[0]
                .iter()
                .zip(expected)
                .all(|(a, b)| (f64::from(*a) - b).abs() < 1e-6),
            "{votes:?}"
        );
    }

    /// More rows than are compared at once; each image's own label is wrong for it.
    #[test]
    fn left_out_an_image_is_judged_by_the_others() {
        let angles: Vec<f64> = (0..600).map(|i| f64::from(i) * 0.002).collect();
        let labels: Vec<u32> = (0..600).map(|i| u32::from(i % 2 == 1)).collect();
        let votes = Votes::new(&at(&angles), &labels, 2, 0.07);
        let shares = votes.leaving_one_out(&[2]).unwrap().remove(0); // both neighbours are of the other class
        for (image, &label) in labels.iter().enumerate().take(599).skip(1) {
            assert!(
                shares[2 * image + label as usize] < 0.01,
                "{image}: {:?}",
                &shares[2 * image..2 * image + 2]
            );
        }
        let alone = Votes::new(&at(&[0.3]), &[1], 2, 0.07)
            .leaving_one_out(&[3])
            .unwrap();
        assert_eq!(alone, [[0.0, 0.0]]); // nobody else votes
    }

    #[test]
    fn many_rows_are_the_same_as_one_by_one() {
        let angles: Vec<f64> = (0..600).map(|i| f64::from(i) * 0.002).collect();
        let votes = Votes::new(&at(&[0.1, 0.3, 0.9, 1.1]), &[0, 1, 0, 1], 2, 0.07);
        let together = votes.of(&at(&angles), &[3]).unwrap();
        let alone = votes.of(&at(&angles[400..401]), &[3]).unwrap();
        assert!((together[0][800] - alone[0][0]).abs() < 1e-6);
        assert_eq!(together[0].len(), 1200);
    }
}
