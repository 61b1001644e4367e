//! What a stream of random numbers is for.

/// What is being decided. Streams of different purposes are independent of one another.
///
/// The numbers are part of the promise that an old run can be repeated: a number is never changed and
/// never used again for something else; new purposes go to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
#[non_exhaustive]
pub enum Purpose {
    /// Order of the samples in an epoch.
    Order = 1,
    /// Augmentation of one image: crop, flip, colour operations.
    Augment = 2,
    /// Which patches of one image are hidden while training.
    Mask = 3,
    /// Which residual branches are dropped.
    DropPath = 4,
    /// Initial values of the parameters.
    Init = 5,
    /// Mixup and CutMix: partners, coefficients, boxes.
    Mixup = 6,
    /// The fixed masks of validation, so that runs can be compared.
    ValidationMask = 7,
    /// Which samples are held out.
    Split = 8,
    /// Random erasing: boxes and their noise.
    Erase = 9,
    /// Dropout inside a head.
    Dropout = 10,
    /// Random inputs and parameters of `verify`, tests, benches and examples.
    Verify = 11,
    /// Resampling for confidence intervals and other measures of a finished run.
    Resample = 12,
    /// Which labelled samples a part of the labels is.
    Subset = 13,
}

impl Purpose {
    /// The stable number of this purpose, as it enters the key derivation.
    #[must_use]
    pub fn number(self) -> u32 {
        self as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_pinned() {
        let all = [
            Purpose::Order,
            Purpose::Augment,
            Purpose::Mask,
            Purpose::DropPath,
            Purpose::Init,
            Purpose::Mixup,
            Purpose::ValidationMask,
            Purpose::Split,
            Purpose::Erase,
            Purpose::Dropout,
            Purpose::Verify,
            Purpose::Resample,
            Purpose::Subset,
        ];
        for (index, purpose) in all.into_iter().enumerate() {
            assert_eq!(purpose.number() as usize, index + 1, "{purpose:?}");
        }
    }
}
