//! Where an axis begins and ends, and the round numbers on it.

use super::Axis;

/// A quantity along an axis, as places between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Scale {
    from: f64,
    to: f64,
}

impl Scale {
    /// As the axis says, else as far as the finite `values` reach and a little further.
    pub(super) fn new(axis: &Axis, values: impl Iterator<Item = f64>) -> Scale {
        if let Some([from, to]) = axis.range {
            return Scale { from, to };
        }
        let ends = values
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        match ends {
            (low, high) if low < high => Scale { from: low, to: high },
            (low, high) if low == high => Scale {
                from: low - 0.5,
                to: high + 0.5,
            },
            _ => Scale { from: 0.0, to: 1.0 },
        }
    }

    /// The scale with a twentieth of its length added on both sides.
    pub(super) fn padded(self) -> Scale {
        let margin = 0.05 * (self.to - self.from);
        Scale {
            from: self.from - margin,
            to: self.to + margin,
        }
    }

    /// Where a value lies: 0 at the beginning, 1 at the end.
    pub(super) fn place(&self, value: f64) -> f64 {
        (value - self.from) / (self.to - self.from)
    }

    /// About `count` round numbers inside, each with its text.
    pub(super) fn ticks(&self, count: usize) -> Vec<(f64, String)> {
        let step = round_step((self.to - self.from) / count as f64);
        let decimals = (-step.log10().floor()).max(0.0) as usize;
        let first = (self.from / step - 1e-9).ceil() as i64;
        let last = (self.to / step + 1e-9).floor() as i64;
        (first..=last)
            .map(|at| at as f64 * step)
            .map(|value| (value, text(value, step, decimals)))
            .collect()
    }
}

/// The smallest of 1, 2 and 5 times a power of ten that is not below `least`.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|&step| step >= least * (1.0 - 1e-9))
        .unwrap_or(10.0 * power)
}

/// Plain numbers where they are short, powers of ten elsewhere.
fn text(value: f64, step: f64, decimals: usize) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    if !(1e-4..1e6).contains(&step) {
        return format!("{value:.1e}");
    }
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(range: [f64; 2], count: usize) -> Vec<String> {
        let scale = Scale::new(&Axis::fixed("", range), std::iter::empty());
        scale.ticks(count).into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(texts([0.0, 1.0], 5), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(texts([0.0, 0.5], 5), ["0", "0.1", "0.2", "0.3", "0.4", "0.5"]);
        assert_eq!(texts([-3.0, 12.0], 4), ["0", "5", "10"]);
        assert_eq!(texts([0.0, 2.4e-7], 3), ["0", "1.0e-7", "2.0e-7"]);
    }

    #[test]
    fn a_free_axis_holds_its_points() {
        let scale = Scale::new(&Axis::free(""), [3.0, f64::NAN, -1.0].into_iter());
        assert_eq!((scale.place(-1.0), scale.place(3.0)), (0.0, 1.0));
        let padded = scale.padded();
        assert!(padded.place(-1.0) > 0.0 && padded.place(3.0) < 1.0);
        let one = Scale::new(&Axis::free(""), [7.0].into_iter());
        assert_eq!(one.place(7.0), 0.5);
        assert_eq!(Scale::new(&Axis::free(""), [].into_iter()).place(0.5), 0.5);
    }
}
