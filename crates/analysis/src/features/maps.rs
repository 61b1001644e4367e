//! What channels answer to one image, as a picture (paper, Fig. 3).

use fcmae_encoder::{Site, SparseEncoder};
use image::{Rgb, RgbImage, imageops};
use tch::{Kind, Tensor};

use super::numbers;
use super::report::FeatureError;
use crate::reconstruct::{PixelStatistics, to_pictures};
use crate::text::{self, Text};

/// At most this many channels of a layer are drawn, spread evenly over it.
const MOST_CHANNELS: i64 = 64;
const COLUMNS: u32 = 8;
/// Side of a channel's picture, and the gap beside it.
const CELL: u32 = 44;
const GAP: u32 = 3;
const MARGIN: u32 = 14;
/// Of the magnitudes in a layer's picture this share is told apart; the largest few would leave all else pale.
const SHOWN: f64 = 0.995;
const PAPER: Rgb<u8> = Rgb([255, 255, 255]);
const INK: Rgb<u8> = Rgb([30, 30, 30]);
/// Between pictures: nothing else is of this grey.
const FRAME: Rgb<u8> = Rgb([200, 200, 200]);
const POSITIVE: Rgb<u8> = Rgb([178, 24, 43]);
const NEGATIVE: Rgb<u8> = Rgb([33, 102, 172]);

/// The answers of some channels of one layer to one image.
#[derive(Debug)]
pub struct ChannelMaps {
    /// Which layer.
    pub name: String,
    /// Channels of the layer, drawn or not.
    pub channels: usize,
    /// `[H, W, K]`, f32: K channels, spread evenly.
    pub maps: Tensor,
}

/// The hidden layer of the last block of each stage, as its second linear map takes it, for `image [1, C, H, W]`,
/// normalised.
///
/// # Errors
/// An image without pixels.
pub fn channel_maps(encoder: &SparseEncoder, image: &Tensor) -> Result<Vec<ChannelMaps>, FeatureError> {
    let _no_graph = tch::no_grad_guard();
    let depths = &encoder.config().depths;
    let mut all: Vec<ChannelMaps> = Vec::with_capacity(depths.len());
    encoder.forward_observed(image, &mut |place, maps| {
        let is_hidden = matches!(place.site, Site::AfterGelu | Site::AfterGrn);
        if !is_hidden || place.block + 1 != depths[place.stage] {
            return;
        }
        all.truncate(place.stage); // after GRN in place of after GELU, where there is both
        let channels = maps.size()[3];
        let count = channels.min(MOST_CHANNELS);
        let chosen: Vec<i64> = (0..count).map(|at| at * channels / count).collect();
        let chosen = Tensor::from_slice(&chosen).to_device(maps.device());
        let maps = maps.get(0).index_select(2, &chosen);
        all.push(ChannelMaps {
            name: place.to_string(),
            channels: channels as usize,
            maps: maps.to_kind(Kind::Float).to_device(tch::Device::Cpu),
        });
    })?;
    Ok(all)
}

/// The image, and beside it a grid of channels for each layer. Within a layer all channels have one scale, from blue
/// (negative) over white (zero) to red, so that a dead channel is white and a saturated one is of one colour.
///
/// `image`: `[1, C, H, W]`, normalised by `statistics`.
#[must_use]
pub fn maps_picture(image: &Tensor, statistics: &PixelStatistics, layers: &[ChannelMaps]) -> RgbImage {
    let grid = COLUMNS * (CELL + GAP) + GAP;
    let head = 2 * text::HEIGHT + 6;
    let width = MARGIN + (grid + MARGIN) * (layers.len() as u32 + 1);
    let mut picture = RgbImage::from_pixel(width, MARGIN + head + grid + MARGIN, PAPER);
    let top = MARGIN + head;
    let mut input = to_pictures(image, statistics);
    let input = fitted(&input.swap_remove(0), grid);
    Text::new("the image", INK).right_aligned(
        &mut picture,
        MARGIN + text::width("the image"),
        MARGIN + text::HEIGHT / 2,
    );
    imageops::replace(&mut picture, &input, i64::from(MARGIN), i64::from(top));
    for (at, layer) in layers.iter().enumerate() {
        let left = MARGIN + (grid + MARGIN) * (at as u32 + 1);
        draw_layer(&mut picture, left, top, grid, layer);
    }
    picture
}

fn draw_layer(picture: &mut RgbImage, left: u32, top: u32, grid: u32, layer: &ChannelMaps) {
    let (height, width, count) = layer.maps.size3().expect("maps are [H, W, K]");
    let values = numbers(&layer.maps.permute([2, 0, 1]));
    let largest = shown_magnitude(&values);
    let scale = format!("{count} of {} channels, red: {largest:.3}", layer.channels);
    for (line, words) in [layer.name.as_str(), &scale].into_iter().enumerate() {
        let middle = MARGIN + text::HEIGHT / 2 + line as u32 * text::HEIGHT;
        Text::new(words, INK).right_aligned(picture, left + text::width(words), middle);
    }
    let rows = (count as u32).div_ceil(COLUMNS);
    let frame = RgbImage::from_pixel(grid, rows * (CELL + GAP) + GAP, FRAME);
    imageops::replace(picture, &frame, i64::from(left), i64::from(top));
    for (at, map) in values.chunks((height * width) as usize).enumerate() {
        let color = |x: u32, y: u32| shade(map[(i64::from(y) * width + i64::from(x)) as usize] / largest);
        let map = RgbImage::from_fn(width as u32, height as u32, color);
        let place = |at: u32, from: u32| i64::from(from + GAP + at * (CELL + GAP));
        let at = at as u32;
        let cell = imageops::resize(&map, CELL, CELL, imageops::FilterType::Nearest);
        imageops::replace(
            picture,
            &cell,
            place(at % COLUMNS, left),
            place(at / COLUMNS, top),
        );
    }
}

/// The magnitude that all but a few of the values stay below.
fn shown_magnitude(values: &[f64]) -> f64 {
    let mut magnitudes: Vec<f64> = values.iter().map(|value| value.abs()).collect();
    magnitudes.sort_by(f64::total_cmp);
    let at = (SHOWN * (magnitudes.len().saturating_sub(1)) as f64) as usize;
    magnitudes
        .get(at)
        .copied()
        .unwrap_or_default()
        .max(f64::MIN_POSITIVE)
}

/// From blue (−1) over white to red (1).
fn shade(value: f64) -> Rgb<u8> {
    let full = if value < 0.0 { NEGATIVE } else { POSITIVE };
    let share = value.abs().min(1.0);
    let mix = |channel: usize| {
        let (white, full) = (f64::from(PAPER.0[channel]), f64::from(full.0[channel]));
        (white + (full - white) * share).round() as u8
    };
    Rgb([mix(0), mix(1), mix(2)])
}

/// The picture as large as a square of `side` takes it.
fn fitted(picture: &RgbImage, side: u32) -> RgbImage {
    let (width, height) = picture.dimensions();
    let largest = u64::from(width.max(height).max(1));
    let scaled = |length: u32| ((u64::from(length) * u64::from(side) / largest) as u32).max(1);
    imageops::resize(
        picture,
        scaled(width),
        scaled(height),
        imageops::FilterType::Nearest,
    )
}

#[cfg(test)]
mod tests {
    use fcmae_blocks::{BlockKind, initialise};
    use fcmae_encoder::EncoderConfig;
    use tch::{Device, nn};

    use super::*;

    fn statistics() -> PixelStatistics {
        PixelStatistics {
            mean: vec![0.5],
            std: vec![0.2],
        }
    }

    #[test]
    fn the_last_hidden_layer_of_each_stage_is_shown() {
        for (block, site) in [(BlockKind::V1, "after GELU"), (BlockKind::V2, "after GRN")] {
            let vs = nn::VarStore::new(Device::Cpu);
            let config = EncoderConfig {
                depths: vec![2, 1],
                dims: vec![4, 20],
                in_chans: 1,
                block,
                ..EncoderConfig::default()
            };
            let encoder = SparseEncoder::new(&vs.root(), &config).unwrap();
            initialise(&vs, 1);
            let image = Tensor::randn([1, 1, 24, 32], (Kind::Float, Device::Cpu));
            let layers = channel_maps(&encoder, &image).unwrap();
            let names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
            assert_eq!(
                names,
                [format!("stages.0.1, {site}"), format!("stages.1.0, {site}")]
            );
            assert_eq!(layers[0].maps.size(), [6, 8, 16]);
            assert_eq!((layers[1].maps.size(), layers[1].channels), (vec![3, 4, 64], 80));
            let picture = maps_picture(&image, &statistics(), &layers);
            assert_eq!(picture.width(), MARGIN + 3 * (8 * 47 + 3 + MARGIN));
        }
    }

    #[test]
    fn dead_is_white_saturated_is_even_and_signs_have_colours() {
        let zero = Tensor::zeros([2, 2, 1], (Kind::Float, Device::Cpu));
        let signs = Tensor::from_slice(&[1.0f32, -1.0, 1.0, -1.0]).view([2, 2, 1]);
        let layer = ChannelMaps {
            name: "layer".to_owned(),
            channels: 3,
            maps: Tensor::cat(&[&zero, &(&zero + 1.0), &signs], 2),
        };
        let image = Tensor::zeros([1, 1, 8, 8], (Kind::Float, Device::Cpu));
        let picture = maps_picture(&image, &statistics(), &[layer]);
        let (left, top) = (MARGIN + 8 * 47 + 3 + MARGIN, MARGIN + 2 * text::HEIGHT + 6);
        let at =
            |channel: u32, x: u32| *picture.get_pixel(left + GAP + channel * (CELL + GAP) + x, top + GAP + 1);
        assert_eq!([at(0, 1), at(0, CELL - 1)], [PAPER; 2]);
        assert_eq!([at(1, 1), at(1, CELL - 1)], [POSITIVE; 2]);
        assert_eq!([at(2, 1), at(2, CELL - 1)], [POSITIVE, NEGATIVE]);
    }
}
