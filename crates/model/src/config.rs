//! What an FCMAE model is made of.

use fcmae_decoder::{DecoderConfig, DecoderError, DecoderKind};
use fcmae_encoder::{EncoderConfig, EncoderError, EncoderKind};
use fcmae_masking::MaskError;
use serde::{Deserialize, Serialize};

/// How weights start (fact sheet §2.8).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// Normal with std 0.02 everywhere, cut at ±2: what the paper's lineage intends.
    #[default]
    Truncated,
    /// What the reference's code does in effect: std 1.0 in most places (the start loss is about 17).
    Reference,
}

/// Encoder, decoder and loss.
#[derive(Debug, Clone, PartialEq)]
pub struct FcmaeConfig {
    /// The sparse encoder.
    pub encoder: EncoderConfig,
    /// The decoder.
    pub decoder: DecoderConfig,
    /// Whether each target patch is normalised by its own mean and standard deviation. Paper: yes.
    pub norm_pix_loss: bool,
    /// How weights start.
    pub init: Init,
}

impl Default for FcmaeConfig {
    /// Atto with the paper's decoder.
    fn default() -> FcmaeConfig {
        FcmaeConfig {
            encoder: EncoderConfig::default(),
            decoder: DecoderConfig::default(),
            norm_pix_loss: true,
            init: Init::Truncated,
        }
    }
}

impl FcmaeConfig {
    /// Side of a mask patch in pixels: the encoder's total stride.
    #[must_use]
    pub fn patch_size(&self) -> usize {
        self.encoder.total_stride()
    }

    /// Values per predicted patch, `P·P·C`.
    #[must_use]
    pub fn pixels_per_patch(&self) -> usize {
        self.patch_size() * self.patch_size() * self.encoder.in_chans
    }

    /// Whether the encoder computes over hidden patches too, with something in their place.
    #[must_use]
    pub fn is_dense(&self) -> bool {
        self.encoder.encoder == EncoderKind::Dense
    }

    /// What the decoder is, in words, where it is not the paper's.
    #[must_use]
    pub fn alternative_decoder(&self) -> Option<String> {
        let name = self.decoder.kind.name();
        match self.decoder.kind {
            _ if self.is_dense() => Some(format!("{name} behind a dense encoder")),
            DecoderKind::ConvNext => None,
            _ => Some(name.to_owned()),
        }
    }

    /// Checks encoder and decoder, and the parts against each other.
    ///
    /// # Errors
    /// Names the key, the value and what is accepted.
    pub fn validate(&self) -> Result<(), ModelError> {
        self.encoder.validate()?;
        self.decoder.validate(self.encoder.dims.len())?;
        let alternative = self.encoder.alternative().or(self.alternative_decoder());
        match alternative.filter(|_| self.init == Init::Reference) {
            Some(alternative) => Err(ModelError::Init { alternative }),
            None => Ok(()),
        }
    }
}

/// A model that cannot be built, run or filled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The encoder's configuration.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The decoder's configuration.
    #[error(transparent)]
    Decoder(#[from] DecoderError),
    /// A start of the weights that the network does not have.
    #[error(
        "`init` = \"reference\": the reference has no network of this kind ({alternative}), so no start for it; use \
         \"truncated\""
    )]
    Init {
        /// What the reference does not have.
        alternative: String,
    },
    /// A mask that does not fit.
    #[error(transparent)]
    Mask(#[from] MaskError),
    /// Images that do not fit model or mask.
    #[error(
        "images are {got:?}, the model takes [N, {channels}, H, W] with {images} images of {height} × {width} pixels, as the mask says"
    )]
    Images {
        /// Shape of the images.
        got: Vec<i64>,
        /// Channels of the model.
        channels: usize,
        /// Images in the mask.
        images: usize,
        /// Height by the mask's grid.
        height: usize,
        /// Width by the mask's grid.
        width: usize,
    },
    /// A checkpoint that does not fit.
    #[error(transparent)]
    Names(#[from] fcmae_checkpoint::NameReport),
    /// A checkpoint tensor of a type that is no number of ours.
    #[error("tensor `{name}` has type {dtype}; weights must be floating point (F32, F64, F16 or BF16)")]
    Dtype {
        /// Name of the tensor.
        name: String,
        /// Its type.
        dtype: fcmae_checkpoint::Dtype,
    },
}
