//! The same weights in two programs: how far their logits are apart.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

/// Logits that differ by no more than this are the same in f32.
pub(super) const TOLERANCE: f64 = 1e-4;

/// Logits, one row per picture.
pub(super) type Logits = Vec<Vec<f32>>;

/// The same weights in two programs.
#[derive(Debug)]
pub(super) struct Pair {
    /// Size or file.
    weights: String,
    /// Who wrote them.
    from: &'static str,
    /// Who read them.
    to: &'static str,
    /// How far they are apart, or why that cannot be said.
    found: Result<Distance>,
}

/// How far logits are apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Distance {
    /// The largest difference of two logits.
    pub(crate) difference: f64,
    /// The largest magnitude of a logit.
    pub(crate) magnitude: f64,
}

impl Pair {
    /// Weights that went `between` two programs.
    pub(super) fn new(
        weights: &str,
        between: (&'static str, &'static str),
        ours: Result<Logits>,
        theirs: Result<Logits>,
    ) -> Pair {
        Pair {
            weights: weights.to_owned(),
            from: between.0,
            to: between.1,
            found: ours.and_then(|ours| distance(&ours, &theirs?)),
        }
    }

    fn is_same(&self) -> bool {
        self.found
            .as_ref()
            .is_ok_and(|found| found.difference <= TOLERANCE)
    }

    /// What is wrong; `None` if nothing is.
    pub(super) fn fault(&self) -> Option<String> {
        let what = match &self.found {
            Ok(_) if self.is_same() => return None,
            Ok(found) => format!(
                "logits differ by {:.1e}, more than {TOLERANCE:e}",
                found.difference
            ),
            Err(error) => format!("{error:#}"),
        };
        Some(format!(
            "{}, from {} to {}: {what}",
            self.weights, self.from, self.to
        ))
    }

    pub(super) fn to_json(&self) -> Value {
        let found = self.found.as_ref().ok();
        json!({
            "weights": self.weights,
            "from": self.from,
            "to": self.to,
            "difference": found.map(|found| found.difference),
            "magnitude": found.map(|found| found.magnitude),
            "fault": self.fault(),
        })
    }
}

/// The largest difference, and the largest magnitude of `theirs`. All are finite: they come from JSON.
pub(crate) fn distance(ours: &[Vec<f32>], theirs: &[Vec<f32>]) -> Result<Distance> {
    let shape = |logits: &[Vec<f32>]| -> Vec<usize> { logits.iter().map(Vec::len).collect() };
    let (here, there) = (shape(ours), shape(theirs));
    ensure!(
        here == there && here.iter().sum::<usize>() > 0,
        "{here:?} logits here, {there:?} there"
    );
    let pairs = || ours.iter().flatten().zip(theirs.iter().flatten());
    let largest = |of: fn((&f32, &f32)) -> f64| pairs().map(of).fold(0.0, f64::max);
    Ok(Distance {
        difference: largest(|(&a, &b)| (f64::from(a) - f64::from(b)).abs()),
        magnitude: largest(|(_, &b)| f64::from(b).abs()),
    })
}

/// One line for each.
pub(super) fn table(pairs: &[Pair]) -> String {
    let cells = |pair: &Pair| {
        let [difference, magnitude] = match &pair.found {
            Ok(found) => [
                format!("{:.1e}", found.difference),
                format!("{:.1}", found.magnitude),
            ],
            Err(_) => ["–", "–"].map(str::to_owned),
        };
        let verdict = if pair.is_same() { "same" } else { "FAILED" };
        let (from, to) = (pair.from.to_owned(), pair.to.to_owned());
        vec![
            pair.weights.clone(),
            from,
            to,
            difference,
            magnitude,
            verdict.to_owned(),
        ]
    };
    let rows: Vec<_> = pairs.iter().map(cells).collect();
    crate::table::columns(&["weights", "from", "to", "max |Δ|", "max |logit|", ""], &rows)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn every_logit_is_compared() {
        let ours = [vec![1.0, -2.0], vec![3.0, 4.0]];
        let theirs = [vec![1.0, -2.5], vec![3.0, 3.75]];
        let expected = Distance {
            difference: 0.5,
            magnitude: 3.75,
        };
        assert_eq!(distance(&ours, &theirs).unwrap(), expected);
        for other in [
            vec![vec![1.0, -2.0]],
            vec![vec![1.0], vec![3.0, 4.0, 5.0]],
            vec![],
        ] {
            assert!(distance(&ours, &other).is_err(), "{other:?}");
        }
        assert!(distance(&[], &[]).is_err(), "nothing is not the same as nothing");
    }

    #[test]
    fn what_differs_or_does_not_load_is_a_fault() {
        let pair = |found| Pair {
            weights: "atto".to_owned(),
            from: "fcmae",
            to: "timm",
            found,
        };
        let apart = |difference| {
            pair(Ok(Distance {
                difference,
                magnitude: 2.0,
            }))
        };
        let pairs = [
            apart(1e-4),
            apart(2e-4),
            apart(f64::INFINITY),
            pair(Err(anyhow!("missing keys"))),
        ];
        let faults: Vec<_> = pairs.iter().map(Pair::fault).collect();
        assert_eq!(faults[0], None);
        assert_eq!(
            faults[1].as_deref(),
            Some("atto, from fcmae to timm: logits differ by 2.0e-4, more than 1e-4")
        );
        assert!(faults[2].is_some());
        assert_eq!(
            faults[3].as_deref(),
            Some("atto, from fcmae to timm: missing keys")
        );
        let expected = "weights   from    to  max |Δ|  max |logit|\n\
                        atto     fcmae  timm   1.0e-4          2.0    same\n\
                        atto     fcmae  timm   2.0e-4          2.0  FAILED\n\
                        atto     fcmae  timm      inf          2.0  FAILED\n\
                        atto     fcmae  timm        –            –  FAILED\n";
        assert_eq!(table(&pairs), expected);
    }
}
