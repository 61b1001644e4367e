//! Another number of input channels, as timm adapts it.

use crate::error::CheckpointError;
use crate::tensor::TensorData;
use crate::weights::Weights;
use crate::weights::preprocessing::{MEAN, STD};

/// Metadata key of fcmae's own files: `"rgb"` or `"grey"`.
const COLOR: &str = "fcmae.color";
/// The stem's convolution.
const STEM: &str = "downsample_layers.0.0.weight";

impl Weights {
    /// Adapts the stem to images of `channels` channels: to one by summing, to others by repeating the old ones in
    /// turn, times old/new, so that a picture whose channels are equal gives the same features (as timm does for 3
    /// → n). The decoder, whose predictions are pixels of the old channels, is dropped. The result of a change is
    /// f32; without a change nothing happens.
    ///
    /// # Errors
    /// No channels at all, or a stem that is not floating point.
    pub fn adapt_input_channels(&mut self, channels: usize) -> Result<(), CheckpointError> {
        let old = self.architecture.in_chans;
        if channels == old {
            return Ok(());
        }
        if channels == 0 || channels > 4096 {
            let problem = format!("cannot take {channels} input channels: choose between 1 and 4096");
            return Err(CheckpointError::weights(&self.file, problem));
        }
        if let Some(stem) = self.encoder.get_mut(STEM) {
            *stem = adapted(stem, channels)?;
        }
        self.architecture.in_chans = channels;
        self.forget_run();
        self.adapt_description(channels);
        self.notes.push(if channels == 1 {
            format!("the stem's {old} input channels were summed to 1")
        } else {
            format!("the stem's {old} input channel(s) were repeated to {channels}, times {old}/{channels}")
        });
        if self.architecture.decoder.take().is_some() {
            self.decoder.clear();
            self.notes.push(format!(
                "the decoder was dropped: it predicts pixels of {old} channel(s)"
            ));
        }
        Ok(())
    }
}

impl Weights {
    /// What the file says of its images, for images of `channels` channels: their colour, and the statistics that
    /// they are normalised with.
    fn adapt_description(&mut self, channels: usize) {
        let color = match channels {
            1 => Some(r#""grey""#),
            3 => Some(r#""rgb""#),
            _ => None,
        };
        self.metadata.remove(COLOR);
        self.metadata
            .extend(color.map(|color| (COLOR.to_owned(), color.to_owned())));
        for key in [MEAN, STD] {
            let old = self.metadata.remove(key);
            let old: Option<Vec<f64>> = old.and_then(|text| serde_json::from_str(&text).ok());
            if let Some(old) = old.filter(|old| !old.is_empty()) {
                let new = serde_json::json!(statistics(&old, channels)).to_string();
                self.metadata.insert(key.to_owned(), new);
            }
        }
    }
}

/// A mean or deviation per channel: that of one is the mean of all, and of several the old ones in turn.
fn statistics(old: &[f64], channels: usize) -> Vec<f64> {
    if channels == 1 {
        return vec![old.iter().sum::<f64>() / old.len() as f64];
    }
    old.iter().copied().cycle().take(channels).collect()
}

/// The weight `[out, in, h, w]` with `channels` inputs, f32.
fn adapted(weight: &TensorData, channels: usize) -> Result<TensorData, CheckpointError> {
    let [out, old, h, w] = weight.shape[..] else {
        return Ok(weight.clone()); // an encoder's stem has four dimensions (checked when it was read)
    };
    let (values, area) = (weight.to_f32()?, h * w);
    let plane = |o: usize, i: usize| &values[(o * old + i) * area..][..area];
    let mut result = Vec::with_capacity(out * channels * area);
    for o in 0..out {
        if channels == 1 {
            result.extend((0..area).map(|p| (0..old).map(|i| plane(o, i)[p]).sum::<f32>()));
            continue;
        }
        let factor = old as f32 / channels as f32;
        for c in 0..channels {
            result.extend(plane(o, c % old).iter().map(|v| v * factor));
        }
    }
    TensorData::from_f32(vec![out, channels, h, w], &result)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(values: &[f32], old: usize, new: usize) -> Vec<f32> {
        let tensor = TensorData::from_f32(vec![values.len() / old, old, 1, 1], values).unwrap();
        adapted(&tensor, new).unwrap().to_f32().unwrap()
    }

    #[test]
    fn three_to_one_sums_and_one_to_three_repeats() {
        assert_eq!(change(&[1.0, 2.0, 4.0, 8.0, 16.0, 32.0], 3, 1), [7.0, 56.0]);
        assert_eq!(change(&[3.0, 6.0], 1, 3), [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]);
        // timm's adapt_input_conv for five channels
        let five = change(&[1.0, 2.0, 4.0], 3, 5);
        let expected = [1.0, 2.0, 4.0, 1.0, 2.0].map(|v: f32| v * 3.0 / 5.0);
        five.iter()
            .zip(expected)
            .for_each(|(a, b)| assert!((a - b).abs() < 1e-6));
    }

    #[test]
    fn statistics_follow_the_channels() {
        assert_eq!(statistics(&[0.25, 0.5, 0.75], 1), [0.5]);
        assert_eq!(statistics(&[0.5], 3), [0.5; 3]);
    }

    #[test]
    fn equal_channels_give_equal_sums_there_and_back() {
        let grey = [0.5, -0.25];
        assert_eq!(change(&change(&grey, 1, 3), 3, 1), [0.5, -0.25]);
    }
}
