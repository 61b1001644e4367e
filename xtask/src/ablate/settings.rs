//! What a cell sets over the configs under it.

use serde::Deserialize;
use toml::{Table, Value};

use crate::process::BadInput;

/// Keys of the configs of pre-training, fine-tuning, and of what uses weights (`probe`, `evaluate`, `analyze`).
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Settings {
    /// Of pre-training and fine-tuning: the network.
    pub(super) both: Table,
    pub(super) pretrain: Table,
    pub(super) finetune: Table,
    pub(super) inference: Table,
}

impl Settings {
    /// One value at a key like `pretrain.mask.mask_ratio`.
    pub(super) fn of_key(key: &str, value: &Value) -> Result<Settings, BadInput> {
        let mut settings = Settings::default();
        let mut parts = key.split('.');
        let table = match parts.next() {
            Some("both") => &mut settings.both,
            Some("pretrain") => &mut settings.pretrain,
            Some("finetune") => &mut settings.finetune,
            Some("inference") => &mut settings.inference,
            _ => {
                let problem = "begins with none of `both.`, `pretrain.`, `finetune.`, `inference.`";
                return Err(BadInput(format!("the key `{key}` of an axis {problem}")));
            }
        };
        let nested = parts.rev().fold(value.clone(), |inner, part| {
            Value::Table(Table::from_iter([(part.to_owned(), inner)]))
        });
        match nested {
            Value::Table(nested) if key.contains('.') => merge(table, nested),
            _ => {
                return Err(BadInput(format!(
                    "the key `{key}` of an axis names a whole config"
                )));
            }
        }
        Ok(settings)
    }

    /// Puts `top` over these settings.
    pub(super) fn merge(&mut self, top: &Settings) {
        merge(&mut self.both, top.both.clone());
        merge(&mut self.pretrain, top.pretrain.clone());
        merge(&mut self.finetune, top.finetune.clone());
        merge(&mut self.inference, top.inference.clone());
    }

    /// `key=value` for every key of pre-training.
    pub(super) fn pretrain(&self) -> Vec<String> {
        over(&self.both, &self.pretrain)
    }

    /// `key=value` for every key of fine-tuning.
    pub(super) fn finetune(&self) -> Vec<String> {
        over(&self.both, &self.finetune)
    }

    /// `key=value` for every key of what uses weights.
    pub(super) fn inference(&self) -> Vec<String> {
        flat(&self.inference)
    }
}

fn over(below: &Table, above: &Table) -> Vec<String> {
    let mut merged = below.clone();
    merge(&mut merged, above.clone());
    flat(&merged)
}

fn merge(base: &mut Table, top: Table) {
    for (key, value) in top {
        match (base.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above),
            (_, value) => drop(base.insert(key, value)),
        }
    }
}

/// `key.path=value` for every value of a table, as `--set` takes it.
pub(super) fn flat(table: &Table) -> Vec<String> {
    let lines = table.iter().flat_map(|(key, value)| match value {
        Value::Table(inner) => flat(inner)
            .into_iter()
            .map(|line| format!("{key}.{line}"))
            .collect(),
        value => vec![format!("{key}={value}")],
    });
    lines.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_settings_win_and_become_arguments() {
        let parse = |text: &str| toml::from_str::<Settings>(text).unwrap();
        let mut settings = parse("both = { model.block = \"v1\", seed = 3 }\npretrain.mask.mask_ratio = 0.6");
        settings.merge(&parse(
            "pretrain = { mask.kind = \"block\", seed = 4 }\nfinetune.mix.smoothing = 0.0",
        ));
        settings.merge(&Settings::of_key("pretrain.mask.mask_ratio", &Value::Float(0.9)).unwrap());
        assert_eq!(
            settings.pretrain(),
            [
                "mask.kind=\"block\"",
                "mask.mask_ratio=0.9",
                "model.block=\"v1\"",
                "seed=4"
            ]
        );
        assert_eq!(
            settings.finetune(),
            ["mix.smoothing=0.0", "model.block=\"v1\"", "seed=3"]
        );
        assert!(settings.inference().is_empty());
    }

    #[test]
    fn a_key_says_whose_it_is() {
        let refused = |key: &str| Settings::of_key(key, &Value::Integer(1)).unwrap_err().to_string();
        assert!(refused("mask.mask_ratio").contains("begins with none of `both.`"));
        assert!(refused("pretrain").contains("names a whole config"));
    }
}
