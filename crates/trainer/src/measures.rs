//! What a classifier gets right, in a few numbers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Measures of a classifier on a set of labelled images; what does not apply to its kind of labels is absent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Measures {
    /// Mean loss, without label smoothing and class weights.
    pub loss: f64,
    /// Share of the images whose most likely class is theirs, in `[0, 1]`. With several labels an image: share of
    /// the labels that are right.
    pub top1: f64,
    /// Share of the images whose class is among the five most likely; for more than five classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top5: Option<f64>,
    /// Mean over the classes of F1.
    pub macro_f1: f64,
    /// Area under the ROC curve, for two classes; absent where one of them has no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auroc: Option<f64>,
}

impl Measures {
    /// Those that there are, by name.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let all = [
            ("loss", Some(self.loss)),
            ("top1", Some(self.top1)),
            ("top5", self.top5),
            ("macro_f1", Some(self.macro_f1)),
            ("auroc", self.auroc),
        ];
        all.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }
}

impl fmt::Display for Measures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "top-1 {:.2} %", 100.0 * self.top1)?;
        if let Some(auroc) = self.auroc {
            write!(f, ", AUROC {auroc:.4}")?;
        }
        Ok(())
    }
}
