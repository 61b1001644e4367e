//! Finds the ConvNeXt among a file's names: whose names they are, and under which prefix.

use std::collections::BTreeSet;

use crate::weights::naming::Naming;

/// Dictionaries that hold averaged weights, in timm, the reference and elsewhere.
const EMA: [&str; 5] = [
    "model_ema",
    "state_dict_ema",
    "ema",
    "ema_state_dict",
    "ema_model",
];
/// What a user is told of averaged weights.
pub(crate) const AVERAGED_NOTE: &str = "these are the averaged weights (EMA)";
/// How many foreign names a message shows.
const SHOWN: usize = 3;

/// Where the network is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) naming: Naming,
    /// What stands before every name of the network, as `model.` or `state_dict.module.`.
    pub(crate) prefix: String,
    pub(crate) notes: Vec<String>,
}

/// Looks for the network, or for its average.
///
/// # Errors
/// What was found instead.
pub(crate) fn find<'a>(names: impl Iterator<Item = &'a str>, ema: bool) -> Result<Found, String> {
    let names: Vec<&str> = names.collect();
    let candidates: BTreeSet<(String, usize)> = names.iter().flat_map(|name| candidates(name)).collect();
    let (averaged, plain): (Vec<_>, Vec<_>) = candidates.into_iter().partition(|(prefix, _)| is_ema(prefix));
    let (wanted, other) = if ema { (averaged, plain) } else { (plain, averaged) };
    let (prefix, naming) =
        match (&wanted[..], &other[..]) {
            ([one], _) => one.clone(),
            ([], []) => return Err(nothing(&names)),
            ([], _) if ema => return Err("it holds no averaged weights (EMA)".to_owned()),
            ([], _) => return Err(
                "it holds averaged weights (EMA) alone; ask for them (`--ema`; as `init`, `init_ema = true`)"
                    .to_owned(),
            ),
            (several, _) => {
                let list: Vec<_> = several.iter().map(|(prefix, _)| format!("`{prefix}`")).collect();
                return Err(format!(
                    "it holds more than one network, under {}; save one of them alone",
                    list.join(" and ")
                ));
            }
        };
    let mut notes = Vec::new();
    if ema {
        notes.push(AVERAGED_NOTE.to_owned());
    } else if !other.is_empty() {
        notes.push("the file holds averaged weights (EMA) too; they were not asked for".to_owned());
    }
    Ok(Found {
        naming: Naming::SIGNATURES[naming].0,
        prefix,
        notes,
    })
}

/// The prefix and the place in [`Naming::SIGNATURES`], if a name is the signature of a naming.
fn candidates(name: &str) -> Option<(String, usize)> {
    Naming::SIGNATURES
        .iter()
        .enumerate()
        .find_map(|(index, (naming, signature))| {
            let prefix = name.strip_suffix(signature)?;
            if !(prefix.is_empty() || prefix.ends_with('.')) {
                return None;
            }
            // the encoder's own prefix belongs to the naming: decoder or classifier stand beside it
            let outer = naming.encoder_prefixes().iter().find_map(|inner| {
                let outer = prefix.strip_suffix(inner)?;
                (outer.is_empty() || outer.ends_with('.')).then_some(outer)
            });
            Some((outer.unwrap_or(prefix).to_owned(), index))
        })
}

fn is_ema(prefix: &str) -> bool {
    prefix.split('.').any(|part| EMA.contains(&part))
}

fn nothing(names: &[&str]) -> String {
    if names.is_empty() {
        return "it holds no tensors".to_owned();
    }
    let shown: Vec<_> = names.iter().take(SHOWN).map(|name| format!("`{name}`")).collect();
    let more = if names.len() > SHOWN { ", …" } else { "" };
    let near = names
        .iter()
        .filter_map(|name| Some((name, nearest(name)?)))
        .next();
    let near = near.map(|(name, signature)| format!("; `{name}` is near to `{signature}`"));
    format!(
        "none of its {} tensors ({}{more}) is of a ConvNeXt by the names of the reference, timm or transformers{}",
        names.len(),
        shown.join(", "),
        near.unwrap_or_default()
    )
}

/// A signature that a name is almost.
fn nearest(name: &str) -> Option<&'static str> {
    let signatures = Naming::SIGNATURES.iter().map(|row| row.1);
    signatures
        .into_iter()
        .find(|signature| strsim::normalized_levenshtein(name, signature) > 0.85)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix_of(names: &[&str], ema: bool) -> Result<(Naming, String), String> {
        find(names.iter().copied(), ema).map(|found| (found.naming, found.prefix))
    }

    #[test]
    fn wrappers_are_looked_through() {
        for (name, naming, prefix) in [
            ("stages.0.0.dwconv.weight", Naming::Reference, ""),
            ("encoder.stages.0.0.dwconv.weight", Naming::Reference, ""),
            ("model.stages.0.0.dwconv.weight", Naming::Reference, "model."),
            (
                "model.module.encoder.stages.0.0.dwconv.kernel",
                Naming::Minkowski,
                "model.module.",
            ),
            (
                "state_dict.module.stages.0.blocks.0.conv_dw.weight",
                Naming::Timm,
                "state_dict.module.",
            ),
            (
                "convnextv2.encoder.stages.0.layers.0.dwconv.weight",
                Naming::HuggingFace,
                "",
            ),
            ("encoder.stages.0.layers.0.dwconv.weight", Naming::HuggingFace, ""),
            (
                "model.convnext.encoder.stages.0.layers.0.dwconv.weight",
                Naming::HuggingFace,
                "model.",
            ),
        ] {
            assert_eq!(
                prefix_of(&["other.weight", name], false),
                Ok((naming, prefix.to_owned())),
                "{name}"
            );
        }
    }

    #[test]
    fn averaged_weights_are_taken_on_request_alone() {
        let both = [
            "model.stages.0.0.dwconv.weight",
            "model_ema.stages.0.0.dwconv.weight",
        ];
        assert_eq!(prefix_of(&both, false).unwrap().1, "model.");
        assert_eq!(prefix_of(&both, true).unwrap().1, "model_ema.");
        assert!(
            prefix_of(&both[..1], true)
                .unwrap_err()
                .contains("no averaged weights")
        );
        assert!(prefix_of(&both[1..], false).unwrap_err().contains("--ema"));
    }

    #[test]
    fn what_is_no_convnext_is_described() {
        let message = prefix_of(&["layer1.0.conv1.weight", "fc.bias"], false).unwrap_err();
        assert!(
            message.starts_with("none of its 2 tensors (`layer1.0.conv1.weight`, `fc.bias`)"),
            "{message}"
        );
        let message = prefix_of(&["stages.0.0.dwcon.weight"], false).unwrap_err();
        assert!(
            message.ends_with("is near to `stages.0.0.dwconv.weight`"),
            "{message}"
        );
        assert_eq!(prefix_of(&[], false).unwrap_err(), "it holds no tensors");
        let two = ["a.stages.0.0.dwconv.weight", "b.stages.0.0.dwconv.weight"];
        assert!(
            prefix_of(&two, false)
                .unwrap_err()
                .contains("under `a.` and `b.`")
        );
    }
}
