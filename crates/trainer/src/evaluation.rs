//! Single images as evaluation sees them: resized, normalised, under a chosen mask; and their reconstructions.

use std::sync::Arc;

use anyhow::Result;
use fcmae_analysis::{PixelStatistics, Reconstruction, reconstruct};
use fcmae_data::{DataConfig, DataError, Image, Normalize};
use fcmae_masking::{PatchGrid, PatchMask};
use fcmae_model::{Fcmae, Step};
use fcmae_random::{Purpose, Stream};
use tch::{Device, Kind, Tensor};

/// A few images, on the device.
#[derive(Debug)]
pub(crate) struct Images {
    /// Normalised, `[N, C, H, W]`, f32.
    pub(crate) tensor: Tensor,
    /// The key of each one's mask.
    pub(crate) ids: Vec<u64>,
    statistics: PixelStatistics,
}

impl Images {
    /// Brings `images`, each with its id, to what the model takes, without augmentation.
    ///
    /// # Errors
    /// The first error among `images`.
    pub(crate) fn new(
        images: impl IntoIterator<Item = Result<(u64, Arc<Image>), DataError>>,
        config: &DataConfig,
        device: Device,
    ) -> Result<Images> {
        let transform = config.eval_transform();
        let normalize = Normalize::new(&config.mean, &config.std);
        let [height, width] = config.image_size;
        let (mut pixels, mut ids) = (Vec::new(), Vec::new());
        for image in images {
            let (id, image) = image?;
            let mut unused = Stream::new(0, Purpose::Augment, 0, id); // evaluation draws nothing
            let image = transform.apply(&image, &mut unused);
            let start = pixels.len();
            pixels.resize(start + height * width * normalize.channels(), 0.0);
            normalize.write(&image, &mut pixels[start..]);
            ids.push(id);
        }
        let shape = [ids.len(), normalize.channels(), height, width].map(|size| size as i64);
        let tensor = Tensor::f_from_slice(&pixels)?
            .f_view(shape)?
            .f_to_device(device)?;
        Ok(Images {
            tensor,
            ids,
            statistics: PixelStatistics::of(&config.mean, &config.std),
        })
    }

    /// What the model makes of them under `mask` (`true` = hidden).
    pub(crate) fn reconstruct(
        &self,
        model: &Fcmae,
        mask: &PatchMask,
        precision: Kind,
    ) -> Result<Vec<Reconstruction>> {
        let step = Step {
            precision,
            ..Step::default()
        };
        Ok(reconstruct(model, &self.tensor, mask, &self.statistics, &step)?)
    }
}

/// Which patches are hidden for a reconstruction.
#[derive(Debug, Clone, PartialEq)]
pub enum Hide {
    /// These, counted row by row from 0; the same in every image.
    Patches(Vec<u32>),
    /// A random share, as in training; the seed and the image's place in its folder decide which.
    Share {
        /// Share of the patches, above 0 and below 1.
        mask_ratio: f64,
        /// Another seed hides other patches.
        seed: u64,
    },
}

impl Hide {
    /// The mask for images of these ids.
    pub(crate) fn mask(&self, grid: PatchGrid, ids: &[u64]) -> Result<PatchMask> {
        use fcmae_masking::{MaskConfig, RandomMask};
        Ok(match self {
            Hide::Patches(patches) => {
                PatchMask::from_hidden_indices(grid, &vec![patches.clone(); ids.len()])?
            }
            Hide::Share { mask_ratio, seed } => {
                RandomMask::new(MaskConfig::random(*mask_ratio)).sample_fixed(grid, *seed, ids)?
            }
        })
    }
}
