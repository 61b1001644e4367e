//! The eight sizes: parameter counts against the reference's table.

use fcmae_encoder::{Classifier, EncoderConfig, SparseEncoder};
use fcmae_model::{Fcmae, FcmaeConfig};
use tch::{Device, nn};

/// The size's encoder as `configs/models/<size>.toml` has it.
fn size(name: &str) -> EncoderConfig {
    let path = format!("{}/../../configs/models/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    let table: toml::Table = text.parse().unwrap();
    table["model"].clone().try_into().unwrap()
}

fn parameters(vs: &nn::VarStore) -> usize {
    vs.variables().values().map(tch::Tensor::numel).sum()
}

#[test]
fn parameter_counts_are_the_published_ones() {
    let table = include_str!("golden/parameters.json");
    let table: serde_json::Value = serde_json::from_str(table).unwrap();
    for (name, row) in table.as_object().unwrap() {
        if name == "large" || name == "huge" {
            continue; // gigabytes; the shapes follow from the same code
        }
        let encoder = size(name);
        let count = |key: &str| row[key].as_u64().unwrap() as usize;
        let vs = nn::VarStore::new(Device::Cpu);
        let _ = SparseEncoder::new(&vs.root(), &encoder).unwrap();
        assert_eq!(parameters(&vs), count("encoder"), "{name}: encoder");

        let vs = nn::VarStore::new(Device::Cpu);
        let _ = Classifier::new(&vs.root(), &encoder, 1000).unwrap();
        assert_eq!(parameters(&vs), count("dense_1000"), "{name}: classifier");
        assert_eq!(vs.variables().len(), count("tensors_dense"), "{name}: tensors");

        let vs = nn::VarStore::new(Device::Cpu);
        let _ = Fcmae::new(
            &vs.root(),
            &FcmaeConfig {
                encoder,
                ..FcmaeConfig::default()
            },
        )
        .unwrap();
        assert_eq!(parameters(&vs), count("fcmae_512_1"), "{name}: fcmae");
    }
}

/// The formula of fact sheet §1.1, for the sizes that are too large to allocate in a test.
#[test]
fn the_largest_sizes_count_right_by_the_formula() {
    let table: serde_json::Value = serde_json::from_str(include_str!("golden/parameters.json")).unwrap();
    for name in ["large", "huge"] {
        let EncoderConfig { depths, dims, .. } = size(name);
        let blocks: usize = depths
            .iter()
            .zip(&dims)
            .map(|(n, d)| n * (8 * d * d + 65 * d))
            .sum();
        let downsamples: usize = dims.windows(2).map(|w| 2 * w[0] + 4 * w[0] * w[1] + w[1]).sum();
        let total = blocks + downsamples + 48 * dims[0] + 3 * dims[0];
        assert_eq!(total as u64, table[name]["encoder"].as_u64().unwrap(), "{name}");
    }
}
