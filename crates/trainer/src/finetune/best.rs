//! The best weights so far, where they lie, and when to give up waiting for better ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use fcmae_checkpoint::{Metadata, Tensors, read_json};
use fcmae_data::LabelKind;
use serde::{Deserialize, Serialize};

use crate::config::{FinetuneConfig, Metric, SelectionConfig};
use crate::inference::preprocessing;
use crate::measures::Measures;
use crate::run::{Closing, Kept, MODEL, Snapshot};

/// What was found so far, in a checkpoint.
pub(super) const FILE: &str = "best.json";

/// What fine-tuning found on the held-out images.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Finetuned {
    /// The newest measures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val: Option<Measures>,
    /// The newest measures of the averaged weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_ema: Option<Measures>,
    /// The best of the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<Best>,
    /// The best of the averaged weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_ema: Option<Best>,
}

/// The best weights of a run, by `selection.metric`; the first of equally good ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Epochs done.
    pub epoch: u64,
    /// Optimizer steps done.
    pub step: u64,
    /// What they get right.
    pub measures: Measures,
    /// Where they lie; filled in for a run's summary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
}

impl Finetuned {
    /// With the files of the best weights in the folder of the run.
    pub(super) fn with_files(mut self, run: &Path) -> Finetuned {
        for (best, is_ema) in [(&mut self.best, false), (&mut self.best_ema, true)] {
            if let Some(best) = best {
                best.weights = Some(run.join("checkpoints").join(folder(is_ema)).join(MODEL));
            }
        }
        self
    }
}

/// Name of the folder of the best weights.
fn folder(is_ema: bool) -> &'static str {
    if is_ema { "best-ema" } else { Kept::BEST }
}

/// What a checkpoint says was found.
pub(super) fn read(checkpoint: &Path, kind: LabelKind) -> Result<Finetuned> {
    let mut found: Finetuned = read_json(checkpoint.join(FILE))?;
    if kind == LabelKind::MultiLabel {
        let bests = [&mut found.best, &mut found.best_ema].into_iter().flatten();
        let newest = [&mut found.val, &mut found.val_ema].into_iter().flatten();
        for measures in bests.map(|best| &mut best.measures).chain(newest) {
            // what older versions called so
            measures.label_accuracy = measures.label_accuracy.or(measures.top1.take());
        }
    }
    Ok(found)
}

/// Compares weights, and keeps the best.
pub(super) struct Choice {
    selection: SelectionConfig,
    pub(super) found: Finetuned,
    /// The best weights and the best averaged ones.
    kept: [Kept; 2],
}

impl Choice {
    pub(super) fn new(selection: SelectionConfig) -> Choice {
        Choice {
            selection,
            found: Finetuned::default(),
            kept: [false, true].map(|is_ema| Kept::new(folder(is_ema))),
        }
    }

    /// Keeps the weights if they are better than all before.
    pub(super) fn offer(
        &mut self,
        closing: &Closing,
        measures: &Measures,
        is_ema: bool,
        weights: impl FnOnce() -> (Tensors, Metadata),
    ) -> Result<()> {
        let metric = self.selection.metric;
        let best = if is_ema {
            &mut self.found.best_ema
        } else {
            &mut self.found.best
        };
        let before = best.as_ref().and_then(|best| height(metric, &best.measures));
        let Some(now) = height(metric, measures) else {
            return Ok(());
        };
        if before.is_some_and(|before| now <= before) {
            return Ok(());
        }
        let (tensors, mut metadata) = weights();
        metadata.insert(key::MEASURES.to_owned(), serde_json::to_string(measures)?);
        self.kept[usize::from(is_ema)].keep(closing, tensors, metadata)?;
        *best = Some(Best {
            epoch: closing.epoch,
            step: closing.step,
            measures: *measures,
            weights: None,
        });
        Ok(())
    }

    /// Hands what was found, and weights not on the disk yet, to a checkpoint.
    pub(super) fn save(&mut self, snapshot: &mut Snapshot) {
        self.kept.iter_mut().for_each(|kept| kept.save(snapshot));
        snapshot.add_json(FILE, self.found.clone());
    }

    /// Whether nothing has got better for `selection.patience` epochs.
    pub(super) fn is_patience_over(&self, epoch: u64) -> bool {
        let newest = [&self.found.best, &self.found.best_ema]
            .into_iter()
            .flatten()
            .map(|best| best.epoch)
            .max();
        let patience = self.selection.patience;
        patience > 0 && epoch - newest.unwrap_or(0) >= patience
    }
}

/// The measure that is compared; the higher the better. `None` where it is not defined.
fn height(metric: Metric, measures: &Measures) -> Option<f64> {
    match metric {
        Metric::Top1 => measures.top1.or(measures.map), // several labels an image have no top-1
        Metric::Map => measures.map,
        Metric::Loss => Some(-measures.loss),
        Metric::MacroF1 => Some(measures.macro_f1),
        Metric::Auroc => measures.auroc,
    }
}

/// Metadata keys of a classifier's file of weights, beside those of every run; the values are JSON.
pub(super) mod key {
    pub(super) use crate::run::key::{LABELS, RESPONSE};
    /// `"rgb"` or `"grey"`.
    pub(super) const COLOR: &str = "fcmae.color";
    /// Decay of the average that the weights are; absent where they are none.
    pub(in crate::finetune) const EMA_DECAY: &str = "fcmae.ema_decay";
    /// [`Measures`](super::Measures) on the held-out images.
    pub(super) const MEASURES: &str = "fcmae.measures";
}

/// What is needed to use a classifier's weights: how it reads images, and what its outputs mean.
pub(super) fn metadata(config: &FinetuneConfig) -> Result<Metadata> {
    let data = &config.data;
    let alternative = config.model.alternative();
    let mut metadata = BTreeMap::from([
        (
            key::LABELS.to_owned(),
            serde_json::to_string(&config.labels.kind)?,
        ),
        (key::COLOR.to_owned(), serde_json::to_string(&data.color)?),
    ]);
    preprocessing(data).complete(&mut metadata);
    metadata.extend(alternative.map(|response| (key::RESPONSE.to_owned(), response)));
    Ok(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measures(top1: f64, loss: f64) -> Measures {
        Measures {
            loss,
            top1: Some(top1),
            top5: None,
            map: None,
            label_accuracy: None,
            macro_f1: top1,
            auroc: None,
        }
    }

    #[test]
    fn a_smaller_loss_is_better_and_what_is_undefined_is_not_compared() {
        let (a, b) = (measures(0.5, 0.9), measures(0.5, 0.8));
        assert!(height(Metric::Loss, &b) > height(Metric::Loss, &a));
        assert_eq!(height(Metric::Auroc, &a), None);
        assert_eq!(height(Metric::MacroF1, &a), Some(0.5));
    }

    /// Else nothing would ever seem better than the share of right decisions, of which most are easy.
    #[test]
    fn accuracy_of_an_older_version_is_not_taken_for_precision() {
        let folder = tempfile::tempdir().unwrap();
        let text =
            r#"{"best": {"epoch": 1, "step": 2, "measures": {"loss": 0.1, "top1": 0.95, "macro_f1": 0.3}}}"#;
        std::fs::write(folder.path().join(FILE), text).unwrap();
        let measures = |kind| read(folder.path(), kind).unwrap().best.unwrap().measures;
        let several = measures(LabelKind::MultiLabel);
        assert_eq!((several.top1, several.label_accuracy), (None, Some(0.95)));
        assert_eq!(height(Metric::Top1, &several), None);
        assert_eq!(measures(LabelKind::Class).top1, Some(0.95));
    }

    #[test]
    fn patience_counts_from_the_newest_of_both_bests() {
        let best = |epoch| {
            Some(Best {
                epoch,
                step: epoch,
                measures: measures(0.5, 1.0),
                weights: None,
            })
        };
        let selection = |patience| SelectionConfig {
            patience,
            ..SelectionConfig::default()
        };
        let mut choice = Choice::new(selection(3));
        assert!(!choice.is_patience_over(2) && choice.is_patience_over(3));
        (choice.found.best, choice.found.best_ema) = (best(2), best(4));
        assert!(!choice.is_patience_over(6) && choice.is_patience_over(7));
        choice.selection = selection(0);
        assert!(!choice.is_patience_over(1000));
    }
}
