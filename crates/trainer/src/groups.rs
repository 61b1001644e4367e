//! Which parameters are decayed (fact sheet §3.2, §3.5).

/// A parameter is not decayed iff it has one dimension or its name ends with `.bias`.
///
/// So GRN's `gamma` and `beta` (`[1, 1, 1, 4d]`) and the mask token **are** decayed, as in the reference's
/// pre-training. `decay_grn = false` takes gamma and beta out, as the reference does in fine-tuning; LayerScale's gamma
/// has one dimension.
///
/// ```
/// use fcmae_trainer::is_decayed;
/// assert!(is_decayed("encoder.stages.0.0.grn.gamma", &[1, 1, 1, 160], true));
/// assert!(!is_decayed("encoder.stages.0.0.grn.gamma", &[1, 1, 1, 160], false));
/// assert!(!is_decayed("encoder.stages.0.0.norm.weight", &[40], true));
/// ```
#[must_use]
pub fn is_decayed(name: &str, shape: &[i64], decay_grn: bool) -> bool {
    let is_grn = name.ends_with(".gamma") || name.ends_with(".beta");
    shape.len() > 1 && !name.ends_with(".bias") && (decay_grn || !is_grn)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    /// Shapes with the right number of dimensions: what the rule looks at.
    fn shape(name: &str) -> Vec<i64> {
        let one_dimensional = name.ends_with(".bias")
            || name.contains(".norm.")
            || name.contains("downsample_layers.0.1.")
            || (1..4).any(|i| name.contains(&format!("downsample_layers.{i}.0.")));
        if one_dimensional {
            vec![8]
        } else {
            vec![1, 1, 1, 8]
        }
    }

    fn check(list: &str, decay_grn: bool, expected: impl Fn(&str) -> bool) {
        let golden: Value = serde_json::from_str(include_str!("../tests/golden/schedules.json")).unwrap();
        let names = golden["weight_decay"]["pretrain"][list].as_array().unwrap();
        assert!(names.len() > 30);
        for name in names.iter().map(|name| name.as_str().unwrap()) {
            assert_eq!(
                is_decayed(name, &shape(name), decay_grn),
                expected(name),
                "{name}"
            );
        }
    }

    #[test]
    fn equals_the_golden_groups() {
        check("decay", true, |_| true);
        check("no_decay", true, |_| false);
    }

    #[test]
    fn fine_tuning_equals_its_golden_groups() {
        let golden: Value = serde_json::from_str(include_str!("../tests/golden/layer_decay.json")).unwrap();
        for (list, expected) in [("decay", true), ("no_decay", false)] {
            let names = golden["weight_decay"][list].as_array().unwrap();
            assert!(names.len() >= 20);
            for name in names.iter().map(|name| name.as_str().unwrap()) {
                let shape = if name == "norm.weight" {
                    vec![8]
                } else {
                    shape(name)
                };
                assert_eq!(is_decayed(name, &shape, false), expected, "{name}");
            }
        }
    }

    #[test]
    fn the_option_takes_out_gamma_and_beta_and_nothing_else() {
        check("decay", false, |name| !name.contains(".grn."));
        check("no_decay", false, |_| false);
    }
}
