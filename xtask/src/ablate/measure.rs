//! What can be measured: which verb of the program tells it, and where in its JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A verb of the program that a cell needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    Pretrain,
    Probe,
    Analyze,
    Finetune,
    Evaluate,
}

impl Kind {
    /// The verb, which is also the name of its folder.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Kind::Pretrain => "pretrain",
            Kind::Probe => "probe",
            Kind::Analyze => "analyze",
            Kind::Finetune => "finetune",
            Kind::Evaluate => "evaluate",
        }
    }
}

/// A number that a cell is measured by.
#[derive(Debug, PartialEq)]
pub(super) struct Measure {
    /// Its name in matrix files and results.
    pub(super) key: &'static str,
    /// Head of its column.
    pub(super) label: &'static str,
    /// Unit, where it has one.
    pub(super) unit: &'static str,
    /// `"lower"` or `"higher"`.
    pub(super) better: &'static str,
    /// Digits after the point.
    pub(super) digits: usize,
    /// The verb that tells it.
    pub(super) of: Kind,
    /// Where in the verb's JSON.
    pointer: &'static str,
}

const fn measure(
    key: &'static str,
    [label, unit, better]: [&'static str; 3],
    digits: usize,
    of: Kind,
    pointer: &'static str,
) -> Measure {
    Measure {
        key,
        label,
        unit,
        better,
        digits,
        of,
        pointer,
    }
}

/// All of them. Shares are told in percent.
pub(super) const ALL: [Measure; 14] = {
    use Kind::{Analyze, Evaluate, Pretrain, Probe};
    const LINEAR: [&str; 3] = [
        "/report/linear/test/top1/value",
        "/report/linear/test/macro_f1/value",
        "/report/linear/test/auroc/value",
    ];
    [
        measure(
            "loss",
            ["held-out loss", "", "lower"],
            4,
            Pretrain,
            "/held_out_loss",
        ),
        measure(
            "top1",
            ["fine-tuned top-1", "%", "higher"],
            2,
            Evaluate,
            "/report/single_label/top1/value",
        ),
        measure(
            "macro_f1",
            ["fine-tuned macro F1", "%", "higher"],
            2,
            Evaluate,
            "/report/single_label/macro_f1/value",
        ),
        measure(
            "auroc",
            ["fine-tuned AUROC", "%", "higher"],
            2,
            Evaluate,
            "/report/single_label/auroc/value",
        ),
        measure(
            "linear_top1",
            ["linear probe top-1", "%", "higher"],
            2,
            Probe,
            LINEAR[0],
        ),
        measure(
            "linear_macro_f1",
            ["linear probe macro F1", "%", "higher"],
            2,
            Probe,
            LINEAR[1],
        ),
        measure(
            "linear_auroc",
            ["linear probe AUROC", "%", "higher"],
            2,
            Probe,
            LINEAR[2],
        ),
        measure(
            "knn_top1",
            ["kNN top-1", "%", "higher"],
            2,
            Probe,
            "/report/knn/test/top1/value",
        ),
        measure(
            "knn_macro_f1",
            ["kNN macro F1", "%", "higher"],
            2,
            Probe,
            "/report/knn/test/macro_f1/value",
        ),
        measure("collapse", ["cosine distance", "", "higher"], 3, Analyze, "/mean"),
        measure(
            "collapse_last",
            ["cosine distance, last block", "", "higher"],
            3,
            Analyze,
            "/last",
        ),
        measure(
            "redundancy",
            ["rms cosine", "", "lower"],
            3,
            Analyze,
            "/redundancy",
        ),
        measure(
            "images_per_second",
            ["pre-training", "img/s", "higher"],
            1,
            Pretrain,
            "/images_per_second",
        ),
        measure(
            "memory",
            ["pre-training memory", "MiB", "lower"],
            0,
            Pretrain,
            "/peak_mib",
        ),
    ]
};

/// The measure of that name.
pub(super) fn find(key: &str) -> Result<&'static Measure, String> {
    const KNOWN: &[Measure] = &ALL;
    KNOWN.iter().find(|measure| measure.key == key).ok_or_else(|| {
        let keys: Vec<&str> = ALL.iter().map(|measure| measure.key).collect();
        match fcmae_config::nearest(key, keys.iter().copied()) {
            Some(near) => format!("{key:?} is no measure; did you mean {near:?}?"),
            None => format!("{key:?} is no measure; there are {}", keys.join(", ")),
        }
    })
}

impl Measure {
    /// Label and unit, for the head of a column.
    pub(super) fn head(&self) -> String {
        match self.unit {
            "" => self.label.to_owned(),
            unit => format!("{}, {unit}", self.label),
        }
    }

    fn read(&self, output: &Value) -> Option<f64> {
        let factor = if self.unit == "%" { 100.0 } else { 1.0 };
        Some(output.pointer(self.pointer)?.as_f64()? * factor)
    }
}

/// Everything that a verb's JSON tells.
pub(super) fn read(kind: Kind, output: &Value) -> BTreeMap<String, f64> {
    let hidden = (kind == Kind::Analyze).then(|| hidden_layers(output));
    let output = hidden.as_ref().unwrap_or(output);
    let own = ALL.iter().filter(|measure| measure.of == kind);
    own.filter_map(|measure| Some((measure.key.to_owned(), measure.read(output)?)))
        .collect()
}

/// Measures of the blocks' hidden layers as their second linear map takes them, where the paper saw features collapse:
/// after GRN, and in V1 after GELU.
fn hidden_layers(output: &Value) -> Value {
    let at = |site: &str| -> Vec<&Value> {
        let layers = output["networks"][0]["layers"].as_array().into_iter().flatten();
        layers.filter(|layer| layer["site"] == site).collect()
    };
    let after_grn = at("after_grn");
    let blocks = if after_grn.is_empty() {
        at("after_gelu")
    } else {
        after_grn
    };
    let values = |key: &str| -> Vec<f64> { blocks.iter().filter_map(|block| block[key].as_f64()).collect() };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64; // not a number, thus null, of none
    let distances = values("cosine_distance");
    json!({"mean": mean(&distances), "last": distances.last(), "redundancy": mean(&values("rms_cosine"))})
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_found_and_shares_become_percent() {
        let output = json!({"held_out_loss": 0.5, "images_per_second": 90, "peak_mib": null});
        let found = read(Kind::Pretrain, &output);
        assert_eq!(
            found,
            BTreeMap::from([("images_per_second".into(), 90.0), ("loss".into(), 0.5)])
        );
        let output = json!({"report": {"single_label": {"top1": {"value": 0.25}, "auroc": null}}});
        assert_eq!(
            read(Kind::Evaluate, &output),
            BTreeMap::from([("top1".into(), 25.0)])
        );
    }

    #[test]
    fn collapse_is_that_of_the_hidden_layers() {
        let layer = |site: &str, distance: f64| json!({"site": site, "cosine_distance": distance, "rms_cosine": 1.0 - distance});
        let v1 = [
            layer("after_gelu", 0.5),
            layer("output", 0.1),
            layer("after_gelu", 0.25),
        ];
        let v2 = [layer("after_gelu", 0.5), layer("after_grn", 0.75)];
        let read = |layers: &[Value]| {
            let found = read(Kind::Analyze, &json!({"networks": [{"layers": layers}]}));
            (
                found.get("collapse").copied(),
                found.get("collapse_last").copied(),
                found.get("redundancy").copied(),
            )
        };
        assert_eq!(read(&v1), (Some(0.375), Some(0.25), Some(0.625)));
        assert_eq!(read(&v2), (Some(0.75), Some(0.75), Some(0.25)));
        assert_eq!(read(&[]), (None, None, None));
    }

    #[test]
    fn a_slip_is_told_the_nearest_name() {
        assert_eq!(find("loss").unwrap().head(), "held-out loss");
        assert_eq!(find("knn_top1").unwrap().head(), "kNN top-1, %");
        assert!(
            find("linear_top")
                .unwrap_err()
                .ends_with("did you mean \"linear_top1\"?")
        );
        assert!(find("x").unwrap_err().contains("there are loss, top1, "));
    }
}
