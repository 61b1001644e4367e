//! The fifteen operations, and what a magnitude means to each.

use crate::ops::ImageOp;

/// An operation whose argument is not yet drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// See [`ImageOp::AutoContrast`].
    AutoContrast,
    /// See [`ImageOp::Equalize`].
    Equalize,
    /// See [`ImageOp::Invert`].
    Invert,
    /// See [`ImageOp::Rotate`].
    Rotate,
    /// See [`ImageOp::Posterize`].
    Posterize,
    /// See [`ImageOp::Solarize`].
    Solarize,
    /// See [`ImageOp::SolarizeAdd`].
    SolarizeAdd,
    /// See [`ImageOp::Color`].
    Color,
    /// See [`ImageOp::Contrast`].
    Contrast,
    /// See [`ImageOp::Brightness`].
    Brightness,
    /// See [`ImageOp::Sharpness`].
    Sharpness,
    /// See [`ImageOp::ShearX`].
    ShearX,
    /// See [`ImageOp::ShearY`].
    ShearY,
    /// See [`ImageOp::TranslateX`].
    TranslateX,
    /// See [`ImageOp::TranslateY`].
    TranslateY,
}

impl Kind {
    /// All fifteen, in the reference's order.
    pub const ALL: [Kind; 15] = [
        Kind::AutoContrast,
        Kind::Equalize,
        Kind::Invert,
        Kind::Rotate,
        Kind::Posterize,
        Kind::Solarize,
        Kind::SolarizeAdd,
        Kind::Color,
        Kind::Contrast,
        Kind::Brightness,
        Kind::Sharpness,
        Kind::ShearX,
        Kind::ShearY,
        Kind::TranslateX,
        Kind::TranslateY,
    ];

    /// The operation at `magnitude`, from 0 to 10. `negative` turns the sign of what has one; without
    /// `increasing` posterize, solarize and the four factors have timm's first scales, whose strength does
    /// not grow with the magnitude.
    #[must_use]
    pub fn op(self, magnitude: f64, negative: bool, increasing: bool) -> ImageOp {
        let level = magnitude / 10.0;
        let signed = |x: f64| if negative { -x } else { x };
        let factor = if increasing {
            1.0 + signed(level * 0.9)
        } else {
            level * 1.8 + 0.1
        };
        let counted = |most: f64, full: u16| {
            let steps = (level * most) as u16;
            if increasing { full - steps } else { steps }
        };
        match self {
            Kind::AutoContrast => ImageOp::AutoContrast,
            Kind::Equalize => ImageOp::Equalize,
            Kind::Invert => ImageOp::Invert,
            Kind::Rotate => ImageOp::Rotate {
                degrees: signed(level * 30.0),
            },
            Kind::Posterize => ImageOp::Posterize {
                bits: counted(4.0, 4) as u8,
            },
            Kind::Solarize => ImageOp::Solarize {
                threshold: counted(256.0, 256),
            },
            Kind::SolarizeAdd => ImageOp::SolarizeAdd {
                add: (level * 110.0) as u8,
            },
            Kind::Color => ImageOp::Color { factor },
            Kind::Contrast => ImageOp::Contrast { factor },
            Kind::Brightness => ImageOp::Brightness { factor },
            Kind::Sharpness => ImageOp::Sharpness { factor },
            Kind::ShearX => ImageOp::ShearX {
                factor: signed(level * 0.3),
            },
            Kind::ShearY => ImageOp::ShearY {
                factor: signed(level * 0.3),
            },
            Kind::TranslateX => ImageOp::TranslateX {
                share: signed(level * 0.45),
            },
            Kind::TranslateY => ImageOp::TranslateY {
                share: signed(level * 0.45),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_scales_do_not_increase() {
        let op = |kind: Kind, magnitude| kind.op(magnitude, true, false);
        assert_eq!(op(Kind::Posterize, 9.0), ImageOp::Posterize { bits: 3 });
        assert_eq!(op(Kind::Solarize, 10.0), ImageOp::Solarize { threshold: 256 });
        assert_eq!(op(Kind::Color, 0.0), ImageOp::Color { factor: 0.1 });
        assert_eq!(op(Kind::Rotate, 10.0), ImageOp::Rotate { degrees: -30.0 });
    }

    #[test]
    fn no_magnitude_is_out_of_an_operations_range() {
        for step in 0..=1000 {
            for kind in Kind::ALL {
                for increasing in [false, true] {
                    match kind.op(f64::from(step) / 100.0, true, increasing) {
                        ImageOp::Posterize { bits } => assert!(bits <= 4),
                        ImageOp::Solarize { threshold } => assert!(threshold <= 256),
                        ImageOp::Color { factor } => assert!((0.0..2.0).contains(&factor)),
                        _ => {}
                    }
                }
            }
        }
    }
}
