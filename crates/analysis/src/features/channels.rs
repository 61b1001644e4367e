//! Channels that say nothing: dead ones and saturated ones.

use tch::{Kind, Tensor};

use super::{numbers, sites};

/// Sums over images and sites, one number per channel, from which the shares follow; memory does not grow with images.
#[derive(Debug)]
pub struct ChannelSums {
    sites: f64,
    sum: Tensor,
    squares: Tensor,
    largest: Tensor,
}

impl ChannelSums {
    /// A channel is dead if its largest magnitude, over all images and sites, is below this share of its layer's root
    /// mean square.
    pub const DEAD: f64 = 0.01;
    /// A channel that is not dead is saturated if its standard deviation, over all images and sites, is below this
    /// share of its mean's magnitude: it says the same whatever it sees.
    pub const SATURATED: f64 = 0.1;

    /// Sums of `channels` channels over nothing yet.
    #[must_use]
    pub fn new(channels: i64) -> ChannelSums {
        let zeros = || Tensor::zeros([channels], (Kind::Double, tch::Device::Cpu));
        ChannelSums {
            sites: 0.0,
            sum: zeros(),
            squares: zeros(),
            largest: zeros(),
        }
    }

    /// Adds maps `[N, H, W, C]`.
    pub fn add(&mut self, maps: &Tensor) {
        let x = sites(maps).flatten(0, 1); // [N·S, C]
        let f64_on_cpu = |t: Tensor| t.to_kind(Kind::Double).to_device(tch::Device::Cpu);
        let over_sites = |t: &Tensor| f64_on_cpu(t.sum_dim_intlist([0i64].as_slice(), false, None::<Kind>));
        self.sites += x.size()[0] as f64;
        self.sum += over_sites(&x);
        self.squares += over_sites(&x.square());
        self.largest = self
            .largest
            .maximum(&f64_on_cpu(x.abs().amax([0i64].as_slice(), false)));
    }

    /// Shares of the channels that are dead and that are saturated, each in `[0, 1]`.
    #[must_use]
    pub fn shares(&self) -> [f64; 2] {
        let layer = (self.squares.mean(Kind::Double).double_value(&[]) / self.sites).sqrt();
        let all = numbers(&self.sum)
            .into_iter()
            .zip(numbers(&self.squares))
            .zip(numbers(&self.largest));
        let (mut dead, mut saturated, mut channels) = (0, 0, 0);
        for ((sum, squares), largest) in all {
            let mean = sum / self.sites;
            let deviation = (squares / self.sites - mean * mean).max(0.0).sqrt();
            channels += 1;
            if largest <= Self::DEAD * layer {
                dead += 1;
            } else if deviation < Self::SATURATED * mean.abs() {
                saturated += 1;
            }
        }
        [dead, saturated].map(|count| f64::from(count) / f64::from(channels.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two images of two sites with four channels.
    fn maps(values: &[[f32; 4]; 4]) -> Tensor {
        Tensor::from_slice(&values.concat()).view([2, 1, 2, 4])
    }

    #[test]
    fn dead_and_saturated_channels_are_counted_over_all_images() {
        let lively = [1.0, -2.0, 0.5, 3.0];
        let row = |i: usize| [lively[i], 0.001, 5.0 + 0.1 * lively[i], -5.0];
        let all = maps(&[row(0), row(1), row(2), row(3)]);
        let mut sums = ChannelSums::new(4);
        (0..2).for_each(|image| sums.add(&all.narrow(0, image, 1)));
        assert_eq!(sums.shares(), [0.25, 0.5]); // the second; the third and the last
        let mut together = ChannelSums::new(4);
        together.add(&all);
        assert_eq!(sums.shares(), together.shares());
    }

    #[test]
    fn one_answer_anywhere_is_life_and_one_silence_is_change() {
        let mut sums = ChannelSums::new(4);
        sums.add(&maps(&[
            [1.0, 0.0, 5.0, 0.0],
            [-1.0, 0.0, 5.0, 0.0],
            [1.0, 0.0, 5.0, 0.0],
            [-1.0, 3.0, 0.0, 0.0],
        ]));
        assert_eq!(sums.shares(), [0.25, 0.0]); // the last alone
    }

    #[test]
    fn a_layer_of_zeros_is_dead() {
        let mut sums = ChannelSums::new(4);
        sums.add(&maps(&[[0.0; 4]; 4]));
        assert_eq!(sums.shares(), [1.0, 0.0]);
    }
}
