//! What network a set of names and shapes belongs to.

use std::collections::BTreeMap;
use std::fmt;

/// Which generation of blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockVersion {
    /// LayerScale (`gamma`).
    V1,
    /// GRN.
    V2,
    /// Something else in GRN's place, which only fcmae has: its tensors are not listed here.
    Other,
}

/// The decoder of a pre-training checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecoderShape {
    /// Number of blocks.
    pub depth: usize,
    /// Width of the blocks.
    pub dim: usize,
}

/// A ConvNeXt as its shapes tell it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Architecture {
    /// Blocks per stage.
    pub depths: Vec<usize>,
    /// Channels per stage.
    pub dims: Vec<usize>,
    /// Channels of the images.
    pub in_chans: usize,
    /// Side of the stem's patches, px.
    pub stem_stride: usize,
    /// Generation of the blocks.
    pub block: BlockVersion,
    /// Classes of the head, if there is one.
    pub classes: Option<usize>,
    /// The decoder, if there is one of the paper's kind.
    pub decoder: Option<DecoderShape>,
}

/// What a file of fcmae says of its network that names and shapes alone do not tell.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Alternatives {
    /// There is not just GRN in GRN's place, or LayerScale alone.
    pub(crate) response: bool,
    /// The decoder is not the paper's.
    pub(crate) decoder: bool,
}

impl Alternatives {
    /// Patterns of the names that [`Architecture::shapes`] does not list for it.
    pub(crate) fn unlisted(self) -> Vec<&'static str> {
        let responses = [
            "stages.*.grn.*",
            "stages.*.ln.*",
            "stages.*.bn.*",
            "stages.*.se.*",
            "stages.*.cbam.*",
            "stages.*.gamma",
        ];
        let decoders = ["mask_token", "proj.*", "decoder.*", "pred.*"];
        let mut all = Vec::new();
        if self.response {
            all.extend(responses);
        }
        if self.decoder {
            all.extend(decoders);
        }
        all
    }
}

/// Names, depths and dims of the family (fact sheet §1.1); `small` is timm's.
const FAMILY: [(&str, [usize; 4], [usize; 4]); 9] = [
    ("atto", [2, 2, 6, 2], [40, 80, 160, 320]),
    ("femto", [2, 2, 6, 2], [48, 96, 192, 384]),
    ("pico", [2, 2, 6, 2], [64, 128, 256, 512]),
    ("nano", [2, 2, 8, 2], [80, 160, 320, 640]),
    ("tiny", [3, 3, 9, 3], [96, 192, 384, 768]),
    ("small", [3, 3, 27, 3], [96, 192, 384, 768]),
    ("base", [3, 3, 27, 3], [128, 256, 512, 1024]),
    ("large", [3, 3, 27, 3], [192, 384, 768, 1536]),
    ("huge", [3, 3, 27, 3], [352, 704, 1408, 2816]),
];

/// More stages make no sense: each halves the resolution.
const MAX_STAGES: usize = 8;
/// More channels, or pixels of a stem's patch, make no sense.
const MAX_SIZE: usize = 1 << 16;

/// Names (ours, without `encoder.`) and shapes.
type Shapes = BTreeMap<String, Vec<usize>>;

impl Architecture {
    /// Reads it off the shapes of a few tensors; the others may still be missing or misshapen, see
    /// [`shapes`](Architecture::shapes).
    ///
    /// # Errors
    /// The name of the first tensor that is needed for this and missing, or of a shape that makes no sense.
    pub(crate) fn infer(found: &Shapes, alternatives: Alternatives) -> Result<Architecture, String> {
        let four = |name: &str| match found.get(name).map(Vec::as_slice) {
            Some(&[a, b, c, d]) if ![a, b, c].contains(&0) && c == d => Ok([a, b, c]),
            Some(shape) => Err(format!("`{name}` is {shape:?} and should be a square kernel")),
            None => Err(format!("`{name}` is missing")),
        };
        let [first, in_chans, stem_stride] = four("downsample_layers.0.0.weight")?;
        let mut dims = vec![first];
        while found.contains_key(&format!("downsample_layers.{}.1.weight", dims.len())) {
            dims.push(four(&format!("downsample_layers.{}.1.weight", dims.len()))?[0]);
        }
        let numbers = |start: &str| {
            let count = |n: &usize| {
                let start = format!("{start}{n}.");
                found
                    .range(start.clone()..)
                    .next()
                    .is_some_and(|(name, _)| name.starts_with(&start))
            };
            (0..).take_while(count).count()
        };
        let stages = numbers("stages.");
        if stages != dims.len() {
            return Err(format!(
                "it has {stages} stages of blocks and {} of downsampling",
                dims.len()
            ));
        }
        if stages > MAX_STAGES {
            return Err(format!(
                "it has {stages} stages; {MAX_STAGES} are the most there can be"
            ));
        }
        let depths = (0..stages).map(|s| numbers(&format!("stages.{s}."))).collect();
        let block = if alternatives.response {
            BlockVersion::Other
        } else if found
            .keys()
            .any(|name| name.starts_with("stages.") && name.contains(".grn."))
        {
            BlockVersion::V2
        } else if found
            .keys()
            .any(|name| name.starts_with("stages.") && name.ends_with(".gamma"))
        {
            BlockVersion::V1
        } else {
            return Err("its blocks have neither GRN (V2) nor LayerScale (V1)".to_owned());
        };
        let rows = |name: &str| found.get(name).and_then(|shape| shape.first().copied());
        let decoder = rows("proj.weight").filter(|_| !alternatives.decoder);
        let decoder = decoder.map(|dim| DecoderShape {
            depth: numbers("decoder."),
            dim,
        });
        let sizes = dims
            .iter()
            .copied()
            .chain([in_chans, stem_stride])
            .chain(decoder.map(|d| d.dim));
        if let Some(size) = sizes.max().filter(|&size| size > MAX_SIZE) {
            return Err(format!(
                "it has a width of {size}; {MAX_SIZE} is the most there can be"
            ));
        }
        Ok(Architecture {
            depths,
            dims,
            in_chans,
            stem_stride,
            block,
            classes: rows("head.weight"),
            decoder,
        })
    }

    /// Name of the size in the family, e.g. `tiny`; `None` for one of one's own.
    #[must_use]
    pub fn size(&self) -> Option<&'static str> {
        let is_this = |(_, depths, dims): &&(&str, [usize; 4], [usize; 4])| {
            self.depths == *depths && self.dims == *dims
        };
        FAMILY.iter().find(is_this).map(|row| row.0)
    }

    /// Side of a mask patch, px: the total stride.
    #[must_use]
    pub fn total_stride(&self) -> usize {
        self.stem_stride << (self.dims.len() - 1)
    }

    /// Names and shapes of the encoder, of `norm` and `head` where there are classes, and of the decoder where
    /// there is one, under our names without `encoder.`.
    #[must_use]
    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let mut all = Vec::new();
        let mut affine = |name: String, weight: Vec<usize>| {
            all.push((format!("{name}.bias"), vec![weight[0]]));
            all.push((format!("{name}.weight"), weight));
        };
        let dims = &self.dims;
        let stem = self.stem_stride;
        affine(
            "downsample_layers.0.0".into(),
            vec![dims[0], self.in_chans, stem, stem],
        );
        affine("downsample_layers.0.1".into(), vec![dims[0]]);
        for s in 1..dims.len() {
            affine(format!("downsample_layers.{s}.0"), vec![dims[s - 1]]);
            affine(
                format!("downsample_layers.{s}.1"),
                vec![dims[s], dims[s - 1], 2, 2],
            );
        }
        let mut blocks: Vec<(String, usize, BlockVersion)> = Vec::new();
        for (s, (&depth, &d)) in self.depths.iter().zip(dims).enumerate() {
            blocks.extend((0..depth).map(|b| (format!("stages.{s}.{b}"), d, self.block)));
        }
        let last = dims.last().copied().unwrap_or_default();
        if let Some(classes) = self.classes {
            affine("norm".into(), vec![last]);
            affine("head".into(), vec![classes, last]);
        }
        if let Some(DecoderShape { depth, dim }) = self.decoder {
            let side = self.total_stride();
            affine("proj".into(), vec![dim, last, 1, 1]);
            affine("pred".into(), vec![side * side * self.in_chans, dim, 1, 1]);
            blocks.extend((0..depth).map(|k| (format!("decoder.{k}"), dim, BlockVersion::V2)));
        }
        for (name, d, _) in &blocks {
            affine(format!("{name}.dwconv"), vec![*d, 1, 7, 7]);
            affine(format!("{name}.norm"), vec![*d]);
            affine(format!("{name}.pwconv1"), vec![4 * d, *d]);
            affine(format!("{name}.pwconv2"), vec![*d, 4 * d]);
        }
        for (name, d, version) in blocks {
            match version {
                BlockVersion::Other => {}
                BlockVersion::V1 => all.push((format!("{name}.gamma"), vec![d])),
                BlockVersion::V2 => {
                    for part in ["gamma", "beta"] {
                        all.push((format!("{name}.grn.{part}"), vec![1, 1, 1, 4 * d]));
                    }
                }
            }
        }
        if let Some(DecoderShape { dim, .. }) = self.decoder {
            all.push(("mask_token".into(), vec![1, dim, 1, 1]));
        }
        all
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = match self.block {
            BlockVersion::V1 => "ConvNeXt",
            BlockVersion::V2 => "ConvNeXt V2",
            BlockVersion::Other => "ConvNeXt with an alternative to GRN",
        };
        write!(
            f,
            "{version} {}: depths {:?}, dims {:?}, {} channels, stem {}",
            self.size().unwrap_or("of its own size"),
            self.depths,
            self.dims,
            self.in_chans,
            self.stem_stride
        )?;
        if let Some(classes) = self.classes {
            write!(f, ", {classes} classes")?;
        }
        if let Some(DecoderShape { depth, dim }) = self.decoder {
            write!(f, ", decoder of {depth} block(s) of width {dim}")?;
        }
        Ok(())
    }
}
