//! Resolves a small configuration and makes some mistakes: `cargo run -p fcmae-config --example resolve`.
#![expect(clippy::print_stdout, reason = "an example shows what it resolved")]

use fcmae_config::{ConfigError, Resolved, differences, from_str, to_toml};
use serde::{Deserialize, Serialize};

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Run {
    name: String,
    optimizer: Optimizer,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Optimizer {
    lr: f64,
    weight_decay: f64,
}

impl Default for Optimizer {
    fn default() -> Self {
        Optimizer {
            lr: 1.5e-4,
            weight_decay: 0.05,
        }
    }
}

fn resolve(overrides: &[&str]) -> Result<Resolved, ConfigError> {
    let overrides: Vec<String> = overrides.iter().map(|&argument| argument.to_owned()).collect();
    from_str("name = \"first\"\n[optimizer]\nlr = 1e-3\n", &overrides)
}

fn main() -> Result<(), ConfigError> {
    let config = resolve(&["name=second run"])?;
    let run: Run = config.parse()?;
    let written = to_toml(&run)?;
    println!("{written}");
    assert_eq!(from_str(&written, &[])?.parse::<Run>()?, run);

    for key in ["name", "optimizer.lr", "optimizer.weight_decay"] {
        let origin = config
            .origin(key)
            .map_or("the default".to_owned(), ToString::to_string);
        println!("{key}: {origin}");
    }
    for difference in differences(resolve(&[])?.table(), config.table()) {
        println!("{difference}");
    }

    for mistake in [
        "optimiser.lr=1",
        "optimizer.weightdecay=0",
        "optimizer.lr=fast",
        "name.first=x",
    ] {
        let error = resolve(&[mistake])
            .and_then(|config| config.parse::<Run>())
            .unwrap_err();
        println!("error: {error}");
    }
    Ok(())
}
