//! Where an axis has its marks, and what they say.

use crate::chart::Scale;
use crate::number::Unit;

/// A mark of an axis: its value and its text.
pub(crate) type Tick = (f64, String);

/// About six marks inside `[low, high]`, at round values; whole numbers only where `is_whole`.
pub(crate) fn ticks(low: f64, high: f64, scale: Scale, unit: Unit, is_whole: bool) -> Vec<Tick> {
    match scale {
        Scale::Linear => linear(low, high, unit, is_whole),
        Scale::Log => logarithmic(low, high),
    }
}

fn linear(low: f64, high: f64, unit: Unit, is_whole: bool) -> Vec<Tick> {
    let mut step = round_step((high - low) / 6.0);
    if is_whole {
        step = step.max(1.0);
    }
    // 0.6 is a mark of its own axis, though 0.6 / 0.1 is a little below 6
    let (first, last) = (
        (low / step - 1e-9).ceil() as i64,
        (high / step + 1e-9).floor() as i64,
    );
    let values: Vec<f64> = (first..=last).map(|n| n as f64 * step).collect();
    let largest = values.iter().copied().map(f64::abs).fold(0.0, f64::max);
    let texts = values.iter().map(|&value| text(value, step, largest, unit));
    values.iter().copied().zip(texts).collect()
}

/// The smallest of 1, 2, 2.5, 5 · 10ⁿ that is not below `rough`.
fn round_step(rough: f64) -> f64 {
    let power = 10f64.powf(rough.log10().floor());
    let factors = [1.0, 2.0, 2.5, 5.0, 10.0];
    let factor = factors
        .into_iter()
        .find(|factor| factor * power >= rough * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// With as many decimals as tell the marks apart; in powers of ten where the largest of them asks for that.
fn text(value: f64, step: f64, largest: f64, unit: Unit) -> String {
    let (value, step, largest) = match unit {
        Unit::Plain => (value, step, largest),
        Unit::Percent => (100.0 * value, 100.0 * step, 100.0 * largest),
    };
    let number = if value == 0.0 {
        "0".to_owned()
    } else if !(5e-3..1e6).contains(&largest) {
        let text = format!("{value:.1e}");
        text.replace(".0e", "e")
    } else {
        let decimals = (0..6).find(|&d| is_decimal(step, d)).unwrap_or(6);
        format!("{value:.decimals$}")
    };
    match unit {
        Unit::Plain => number,
        Unit::Percent => number + " %",
    }
}

fn is_decimal(step: f64, decimals: usize) -> bool {
    let scaled = step * 10f64.powi(decimals as i32);
    (scaled - scaled.round()).abs() < 1e-6 * scaled.abs()
}

fn logarithmic(low: f64, high: f64) -> Vec<Tick> {
    let (first, last) = (low.log10().floor() as i32, high.log10().ceil() as i32);
    let decades = last - first;
    let factors: &[f64] = if high / low < 300.0 {
        &[1.0, 2.0, 5.0]
    } else {
        &[1.0]
    };
    let every = (decades / 6 + 1) as usize;
    let inside = |value: &f64| (low..=high).contains(value);
    (first..=last)
        .step_by(every)
        .flat_map(|power| factors.iter().map(move |factor| factor * 10f64.powi(power)))
        .filter(inside)
        .map(|value| (value, text(value, value, value, Unit::Plain)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(range: [f64; 2], scale: Scale, unit: Unit, expected: &[&str]) {
        let found = ticks(range[0], range[1], scale, unit, false);
        let texts: Vec<&str> = found.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, expected);
    }

    fn check_linear(range: [f64; 2], expected: &[&str]) {
        check(range, Scale::Linear, Unit::Plain, expected);
    }

    #[test]
    fn marks_are_round_and_told_apart() {
        check_linear([0.3, 0.71], &["0.3", "0.4", "0.5", "0.6", "0.7"]);
        check_linear([0.0, 24.0], &["0", "5", "10", "15", "20"]);
        check_linear([0.0, 1e-3], &["0", "2e-4", "4e-4", "6e-4", "8e-4", "1e-3"]);
        check_linear([-1.0, 1.0], &["-1.0", "-0.5", "0", "0.5", "1.0"]);
        let percent = &["0 %", "1 %", "2 %", "3 %", "4 %"];
        check([0.0, 0.04], Scale::Linear, Unit::Percent, percent);
    }

    #[test]
    fn both_ends_may_be_marks() {
        check_linear(
            [0.3, 0.6],
            &["0.30", "0.35", "0.40", "0.45", "0.50", "0.55", "0.60"],
        );
    }

    #[test]
    fn whole_axes_have_whole_marks() {
        let found = ticks(0.0, 3.0, Scale::Linear, Unit::Plain, true);
        assert_eq!(found.len(), 4);
        assert_eq!(found[3], (3.0, "3".to_owned()));
    }

    #[test]
    fn logarithmic_marks_are_powers_of_ten() {
        check([0.9, 40.0], Scale::Log, Unit::Plain, &["1", "2", "5", "10", "20"]);
        check(
            [1e-5, 1e2],
            Scale::Log,
            Unit::Plain,
            &["1e-5", "1e-3", "0.1", "10"],
        );
    }
}
