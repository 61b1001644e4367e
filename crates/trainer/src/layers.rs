//! Layer-wise learning rates of fine-tuning: which layer a parameter belongs to, and what that scales (fact sheet
//! §3.5).

use serde::{Deserialize, Serialize};

/// How a network is cut into layers (`optimizer.layer_decay_type`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LayerDecayType {
    /// Every block is a layer of its own; stem and downsampling share the number of the block that follows.
    #[default]
    Single,
    /// Three blocks in a row are a layer, and a stage begins a new one; downsampling shares the number of the layer
    /// that follows, and the stem is a layer of its own.
    ///
    /// The reference has this for depths 3, 3, 27, 3 only, as a table; for these the rule gives that table. For
    /// other depths the reference's table would leave gaps; the rule does not.
    Group,
}

/// Numbers of layers, and how the learning rate falls from the head down to the stem.
///
/// With `N + 1` the head's number, layer `id` learns at `decay^(N + 1 − id)` of the learning rate.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerDecay {
    decay: f64,
    /// The stem's number.
    stem: usize,
    /// Per stage, the number of each block; a stage's downsampling has that of its first block.
    blocks: Vec<Vec<usize>>,
    /// The head's number, and that of the norm before it.
    head: usize,
}

impl LayerDecay {
    /// Layers of a network with this many blocks per stage. `decay` 1 means one learning rate for all.
    #[must_use]
    pub fn new(kind: LayerDecayType, depths: &[usize], decay: f64) -> LayerDecay {
        let blocks_of_a_layer = match kind {
            LayerDecayType::Single => 1,
            LayerDecayType::Group => 3,
        };
        let mut layers = 0;
        let mut blocks = Vec::with_capacity(depths.len());
        for &depth in depths {
            blocks.push((0..depth).map(|b| layers + 1 + b / blocks_of_a_layer).collect());
            layers += depth.div_ceil(blocks_of_a_layer);
        }
        LayerDecay {
            decay,
            stem: match kind {
                LayerDecayType::Single => 1,
                LayerDecayType::Group => 0,
            },
            blocks,
            head: layers + 1,
        }
    }

    /// The layer of a parameter of the dense network (names of fact sheet §1.6).
    #[must_use]
    pub fn layer(&self, name: &str) -> usize {
        let number = |text: &str| text.parse::<usize>().ok();
        let block = |stage: &str, block: &str| self.blocks.get(number(stage)?)?.get(number(block)?).copied();
        let parts: Vec<&str> = name.split('.').collect();
        let found = match parts[..] {
            ["downsample_layers", "0", ..] => Some(self.stem),
            ["downsample_layers", stage, ..] => block(stage, "0"),
            ["stages", stage, number, ..] => block(stage, number),
            _ => None,
        };
        found.unwrap_or(self.head)
    }

    /// The share of the learning rate at which a layer learns.
    #[must_use]
    pub fn scale(&self, layer: usize) -> f64 {
        self.decay.powi((self.head - layer) as i32)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn golden() -> Value {
        serde_json::from_str(include_str!("../tests/golden/layer_decay.json")).unwrap()
    }

    fn depths(size: &str) -> Vec<usize> {
        match size {
            "atto" | "femto" | "pico" => vec![2, 2, 6, 2],
            "nano" => vec![2, 2, 8, 2],
            "tiny" => vec![3, 3, 9, 3],
            _ => vec![3, 3, 27, 3],
        }
    }

    #[test]
    fn numbers_and_scales_equal_the_golden_tables() {
        let mut tables = 0;
        for (size, kinds) in golden()["layer_decay"].as_object().unwrap() {
            for (kind, table) in kinds.as_object().unwrap() {
                let kind: LayerDecayType = serde_json::from_value(Value::from(kind.as_str())).unwrap();
                let layers = LayerDecay::new(kind, &depths(size), table["decay"].as_f64().unwrap());
                for (module, id) in table["ids"].as_object().unwrap() {
                    let name = format!("{module}.0.weight");
                    assert_eq!(Some(layers.layer(&name) as u64), id.as_u64(), "{size}: {module}");
                }
                let scales = table["scales"].as_array().unwrap();
                assert_eq!(scales.len(), layers.head + 1);
                for (id, scale) in scales.iter().enumerate() {
                    let (got, expected) = (layers.scale(id), scale.as_f64().unwrap());
                    assert!(
                        (got / expected - 1.0).abs() < 1e-14,
                        "{size}: {id}: {got} {expected}"
                    );
                }
                tables += 1;
            }
        }
        assert_eq!(tables, 8 + 3);
    }

    #[test]
    fn groups_of_other_depths_have_no_gaps() {
        let layers = LayerDecay::new(LayerDecayType::Group, &[2, 2, 8, 2], 0.5);
        let layer = |name: &str| layers.layer(name);
        assert_eq!(layer("downsample_layers.0.1.bias"), 0);
        assert_eq!(
            (layer("stages.0.1.norm.bias"), layer("downsample_layers.1.0.bias")),
            (1, 2)
        );
        let third: Vec<_> = (0..8)
            .map(|b| layer(&format!("stages.2.{b}.dwconv.weight")))
            .collect();
        assert_eq!(third, [3, 3, 3, 4, 4, 4, 5, 5]);
        assert_eq!(
            (
                layer("stages.3.0.grn.gamma"),
                layer("head.weight"),
                layer("norm.bias")
            ),
            (6, 7, 7)
        );
        assert_eq!(layers.scale(7), 1.0);
    }

    proptest! {
        /// From stem to head numbers never fall and never leave one out.
        #[test]
        fn numbers_rise_by_at_most_one(depths in prop::collection::vec(1usize..12, 1..6), group in any::<bool>()) {
            let kind = if group { LayerDecayType::Group } else { LayerDecayType::Single };
            let layers = LayerDecay::new(kind, &depths, 0.7);
            let mut before = layers.layer("downsample_layers.0.0.weight");
            prop_assert_eq!(before, usize::from(!group));
            for (stage, &depth) in depths.iter().enumerate() {
                let first = layers.layer(&format!("stages.{stage}.0.norm.bias"));
                if stage > 0 {
                    prop_assert_eq!(layers.layer(&format!("downsample_layers.{stage}.0.bias")), first);
                }
                for block in 0..depth {
                    let layer = layers.layer(&format!("stages.{stage}.{block}.norm.bias"));
                    prop_assert!(layer == before || layer == before + 1);
                    before = layer;
                }
            }
            prop_assert_eq!(layers.layer("head.bias"), before + 1);
        }
    }
}
