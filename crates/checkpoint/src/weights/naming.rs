//! The names that other programs give to the tensors of a ConvNeXt, as tables (fact sheet §1.6, §1.7, §2.9).

use std::fmt;

/// Whose names a file uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Naming {
    /// The reference's dense names, which are ours too: fine-tuned and released files, and what fcmae writes.
    Reference,
    /// The reference's own pre-training: `encoder.…kernel`, as MinkowskiEngine lays kernels out.
    Minkowski,
    /// timm.
    Timm,
    /// Hugging Face transformers.
    HuggingFace,
}

impl fmt::Display for Naming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Naming::Reference => "reference (dense)",
            Naming::Minkowski => "reference (pre-training, MinkowskiEngine)",
            Naming::Timm => "timm",
            Naming::HuggingFace => "Hugging Face transformers",
        })
    }
}

/// A name of theirs and the same of ours. `#` stands for a number, `@` for `weight` or `bias`; of several rows
/// that fit, the first counts.
type Table = &'static [(&'static str, &'static str)];

const REFERENCE: Table = &[
    ("downsample_layers.#.#.@", "downsample_layers.#.#.@"),
    ("stages.#.#.dwconv.@", "stages.#.#.dwconv.@"),
    ("stages.#.#.norm.@", "stages.#.#.norm.@"),
    ("stages.#.#.pwconv1.@", "stages.#.#.pwconv1.@"),
    ("stages.#.#.grn.gamma", "stages.#.#.grn.gamma"),
    ("stages.#.#.grn.beta", "stages.#.#.grn.beta"),
    ("stages.#.#.pwconv2.@", "stages.#.#.pwconv2.@"),
    ("stages.#.#.gamma", "stages.#.#.gamma"),
    ("norm.@", "norm.@"),
    ("head.@", "head.@"),
    // what fcmae can put in GRN's place; no other program has it
    ("stages.#.#.ln.@", "stages.#.#.ln.@"),
    ("stages.#.#.bn.@", "stages.#.#.bn.@"),
    ("stages.#.#.bn.running_mean", "stages.#.#.bn.running_mean"),
    ("stages.#.#.bn.running_var", "stages.#.#.bn.running_var"),
    ("stages.#.#.se.fc1.@", "stages.#.#.se.fc1.@"),
    ("stages.#.#.se.fc2.@", "stages.#.#.se.fc2.@"),
    ("stages.#.#.cbam.fc1.@", "stages.#.#.cbam.fc1.@"),
    ("stages.#.#.cbam.fc2.@", "stages.#.#.cbam.fc2.@"),
    ("stages.#.#.cbam.spatial.@", "stages.#.#.cbam.spatial.@"),
];

const MINKOWSKI: Table = &[
    ("downsample_layers.0.#.@", "downsample_layers.0.#.@"),
    ("downsample_layers.#.0.ln.@", "downsample_layers.#.0.@"),
    ("downsample_layers.#.1.kernel", "downsample_layers.#.1.weight"),
    ("downsample_layers.#.1.bias", "downsample_layers.#.1.bias"),
    ("stages.#.#.dwconv.kernel", "stages.#.#.dwconv.weight"),
    ("stages.#.#.dwconv.bias", "stages.#.#.dwconv.bias"),
    ("stages.#.#.norm.ln.@", "stages.#.#.norm.@"),
    ("stages.#.#.pwconv1.linear.@", "stages.#.#.pwconv1.@"),
    ("stages.#.#.grn.gamma", "stages.#.#.grn.gamma"),
    ("stages.#.#.grn.beta", "stages.#.#.grn.beta"),
    ("stages.#.#.pwconv2.linear.@", "stages.#.#.pwconv2.@"),
];

/// The paper's decoder has these names in the reference and here.
const DECODER: Table = &[
    ("mask_token", "mask_token"),
    ("proj.@", "proj.@"),
    ("decoder.#.dwconv.@", "decoder.#.dwconv.@"),
    ("decoder.#.norm.@", "decoder.#.norm.@"),
    ("decoder.#.pwconv1.@", "decoder.#.pwconv1.@"),
    ("decoder.#.grn.gamma", "decoder.#.grn.gamma"),
    ("decoder.#.grn.beta", "decoder.#.grn.beta"),
    ("decoder.#.pwconv2.@", "decoder.#.pwconv2.@"),
    ("pred.@", "pred.@"),
    // fcmae's UNet and transformer; no other program has them
    ("decoder.#.#.dwconv.@", "decoder.#.#.dwconv.@"),
    ("decoder.#.#.norm.@", "decoder.#.#.norm.@"),
    ("decoder.#.#.pwconv1.@", "decoder.#.#.pwconv1.@"),
    ("decoder.#.#.grn.gamma", "decoder.#.#.grn.gamma"),
    ("decoder.#.#.grn.beta", "decoder.#.#.grn.beta"),
    ("decoder.#.#.pwconv2.@", "decoder.#.#.pwconv2.@"),
    ("decoder.#.expand.@", "decoder.#.expand.@"),
    ("decoder.#.skip.@", "decoder.#.skip.@"),
    ("decoder.#.mask_token", "decoder.#.mask_token"),
    ("decoder.#.norm1.@", "decoder.#.norm1.@"),
    ("decoder.#.attn.qkv.@", "decoder.#.attn.qkv.@"),
    ("decoder.#.attn.proj.@", "decoder.#.attn.proj.@"),
    ("decoder.#.norm2.@", "decoder.#.norm2.@"),
    ("decoder.#.mlp.fc1.@", "decoder.#.mlp.fc1.@"),
    ("decoder.#.mlp.fc2.@", "decoder.#.mlp.fc2.@"),
    ("decoder.norm.@", "decoder.norm.@"),
];

const TIMM: Table = &[
    ("stem.#.@", "downsample_layers.0.#.@"),
    ("stages.#.downsample.#.@", "downsample_layers.#.#.@"),
    ("stages.#.blocks.#.conv_dw.@", "stages.#.#.dwconv.@"),
    ("stages.#.blocks.#.norm.@", "stages.#.#.norm.@"),
    ("stages.#.blocks.#.mlp.fc1.@", "stages.#.#.pwconv1.@"),
    ("stages.#.blocks.#.mlp.grn.weight", "stages.#.#.grn.gamma"),
    ("stages.#.blocks.#.mlp.grn.bias", "stages.#.#.grn.beta"),
    ("stages.#.blocks.#.mlp.fc2.@", "stages.#.#.pwconv2.@"),
    ("stages.#.blocks.#.gamma", "stages.#.#.gamma"),
    ("head.norm.@", "norm.@"),
    ("head.fc.@", "head.@"),
];

/// Without the prefix `convnextv2.` (V1: `convnext.`), which all but the classifier have.
const HUGGING_FACE: Table = &[
    ("embeddings.patch_embeddings.@", "downsample_layers.0.0.@"),
    ("embeddings.layernorm.@", "downsample_layers.0.1.@"),
    (
        "encoder.stages.#.downsampling_layer.#.@",
        "downsample_layers.#.#.@",
    ),
    ("encoder.stages.#.layers.#.dwconv.@", "stages.#.#.dwconv.@"),
    ("encoder.stages.#.layers.#.layernorm.@", "stages.#.#.norm.@"),
    ("encoder.stages.#.layers.#.pwconv1.@", "stages.#.#.pwconv1.@"),
    ("encoder.stages.#.layers.#.grn.weight", "stages.#.#.grn.gamma"),
    ("encoder.stages.#.layers.#.grn.bias", "stages.#.#.grn.beta"),
    ("encoder.stages.#.layers.#.pwconv2.@", "stages.#.#.pwconv2.@"),
    (
        "encoder.stages.#.layers.#.layer_scale_parameter",
        "stages.#.#.gamma",
    ),
    ("layernorm.@", "norm.@"),
    ("classifier.@", "head.@"),
];

/// Prefixes of transformers' models.
pub(crate) const HUGGING_FACE_PREFIXES: [&str; 2] = ["convnextv2.", "convnext."];

impl Naming {
    /// A tensor that every file of this naming has, which no other naming has.
    pub(crate) const SIGNATURES: [(Naming, &'static str); 4] = [
        (Naming::Reference, "stages.0.0.dwconv.weight"),
        (Naming::Minkowski, "stages.0.0.dwconv.kernel"),
        (Naming::Timm, "stages.0.blocks.0.conv_dw.weight"),
        (Naming::HuggingFace, "encoder.stages.0.layers.0.dwconv.weight"),
    ];

    /// The prefix that this naming may put before the encoder alone.
    pub(crate) fn encoder_prefixes(self) -> &'static [&'static str] {
        match self {
            Naming::Reference | Naming::Minkowski => &["encoder."],
            Naming::Timm => &[],
            Naming::HuggingFace => &HUGGING_FACE_PREFIXES,
        }
    }

    fn table(self) -> Table {
        match self {
            Naming::Reference => REFERENCE,
            Naming::Minkowski => MINKOWSKI,
            Naming::Timm => TIMM,
            Naming::HuggingFace => HUGGING_FACE,
        }
    }

    /// Our name of their tensor; `None` for one that is no part of a ConvNeXt. The encoder's names are those of
    /// the reference's dense network, without `encoder.`.
    pub(crate) fn ours(self, theirs: &str) -> Option<String> {
        let inner = self
            .encoder_prefixes()
            .iter()
            .find_map(|prefix| theirs.strip_prefix(prefix));
        let encoder = translate(self.table().iter().copied(), inner.unwrap_or(theirs));
        match self {
            // transformers calls part of the encoder `encoder.` too, so the decoder's names are only the reference's
            Naming::Reference | Naming::Minkowski => {
                encoder.or_else(|| translate(DECODER.iter().copied(), theirs))
            }
            _ => encoder,
        }
    }

    /// Their name of our tensor, without prefixes; `None` where this naming has no such tensor.
    pub(crate) fn theirs(self, ours: &str) -> Option<String> {
        let turned = |table: Table| table.iter().map(|&(theirs, ours)| (ours, theirs));
        translate(turned(self.table()), ours).or_else(|| match self {
            Naming::Reference | Naming::Minkowski => translate(turned(DECODER), ours),
            _ => None,
        })
    }
}

/// Rewrites `name` by the first row whose left side fits.
fn translate(rows: impl Iterator<Item = (&'static str, &'static str)>, name: &str) -> Option<String> {
    let parts: Vec<&str> = name.split('.').collect();
    for (from, to) in rows {
        let Some(captured) = fit(from, &parts) else {
            continue;
        };
        let mut captured = captured.into_iter();
        let part = |part: &'static str| match part {
            "#" | "@" => captured.next().unwrap_or_default().to_owned(),
            text => text.to_owned(),
        };
        return Some(to.split('.').map(part).collect::<Vec<_>>().join("."));
    }
    None
}

/// What the wildcards of `pattern` stand for, if it fits.
fn fit<'a>(pattern: &str, parts: &[&'a str]) -> Option<Vec<&'a str>> {
    let wanted: Vec<&str> = pattern.split('.').collect();
    if wanted.len() != parts.len() {
        return None;
    }
    let mut captured = Vec::new();
    for (wanted, &part) in wanted.iter().zip(parts) {
        match *wanted {
            // `00` would be the same number under another name
            "#" if part.len() < 4 && part.parse::<u16>().is_ok_and(|n| n.to_string() == part) => {
                captured.push(part);
            }
            "@" if part == "weight" || part == "bias" => captured.push(part),
            text if text == part && text != "#" && text != "@" => {}
            _ => return None,
        }
    }
    Some(captured)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Naming; 4] = [
        Naming::Reference,
        Naming::Minkowski,
        Naming::Timm,
        Naming::HuggingFace,
    ];

    /// Every name of ours, with two numbers.
    fn ours() -> Vec<String> {
        let names = REFERENCE.iter().chain(DECODER).map(|row| row.1);
        names
            .flat_map(|name| {
                let name = name.replacen('#', "2", 1).replacen('#', "1", 1);
                ["weight", "bias"].map(|end| name.replace('@', end))
            })
            .collect()
    }

    #[test]
    fn names_translate_there_and_back_and_none_is_taken_twice() {
        for naming in ALL {
            let mut seen = std::collections::BTreeMap::new();
            for ours in ours() {
                let Some(theirs) = naming.theirs(&ours) else {
                    continue;
                };
                assert_eq!(naming.ours(&theirs), Some(ours.clone()), "{naming}: {theirs}");
                if let Some(other) = seen.insert(theirs, ours.clone()) {
                    assert_eq!(other, ours, "{naming}");
                }
            }
            assert!(seen.len() > 12, "{naming}");
        }
    }

    #[test]
    fn the_schemes_of_the_fact_sheet() {
        for (naming, theirs, ours) in [
            (
                Naming::Reference,
                "encoder.stages.2.5.grn.gamma",
                "stages.2.5.grn.gamma",
            ),
            (
                Naming::Minkowski,
                "encoder.downsample_layers.3.1.kernel",
                "downsample_layers.3.1.weight",
            ),
            (
                Naming::Minkowski,
                "encoder.downsample_layers.0.1.weight",
                "downsample_layers.0.1.weight",
            ),
            (
                Naming::Minkowski,
                "encoder.stages.0.0.pwconv1.linear.bias",
                "stages.0.0.pwconv1.bias",
            ),
            (
                Naming::Minkowski,
                "decoder.0.dwconv.weight",
                "decoder.0.dwconv.weight",
            ),
            (Naming::Minkowski, "mask_token", "mask_token"),
            (Naming::Timm, "stem.0.weight", "downsample_layers.0.0.weight"),
            (
                Naming::Timm,
                "stages.3.blocks.1.mlp.grn.bias",
                "stages.3.1.grn.beta",
            ),
            (Naming::Timm, "head.norm.weight", "norm.weight"),
            (Naming::HuggingFace, "convnextv2.layernorm.bias", "norm.bias"),
            (
                Naming::HuggingFace,
                "convnext.encoder.stages.0.layers.2.layer_scale_parameter",
                "stages.0.2.gamma",
            ),
            (Naming::HuggingFace, "classifier.weight", "head.weight"),
        ] {
            assert_eq!(naming.ours(theirs).as_deref(), Some(ours), "{theirs}");
        }
        for stranger in [
            "stages.0.00.norm.weight",
            "stages.x.0.norm.weight",
            "norm.running_mean",
            "fc.weight",
            "",
            "#",
        ] {
            for naming in ALL {
                assert_eq!(naming.ours(stranger), None, "{stranger}");
            }
        }
    }
}
