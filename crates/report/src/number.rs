//! Numbers for people.

/// How the values of a series are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unit {
    /// As they are.
    #[default]
    Plain,
    /// Shares in `[0, 1]`, as per cent.
    Percent,
}

/// Four digits that count: `0.3241`, `94.17`, `2.40e-5`, `83.42 %`; `–` for what is no number.
#[must_use]
pub(crate) fn shown(value: f64, unit: Unit) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    match unit {
        Unit::Percent => format!("{:.2} %", 100.0 * value),
        Unit::Plain => plain(value),
    }
}

fn plain(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        return "0".to_owned();
    }
    if !(1e-3..1e6).contains(&size) {
        return format!("{value:.2e}");
    }
    let before = size.log10().floor() as i32 + 1;
    format!("{value:.*}", (4 - before).clamp(0, 6) as usize)
}

/// `12 s`, `3 min 20 s`, `2 h 05 min`, `3 d 4 h`; empty for what is no time.
#[must_use]
pub(crate) fn time(seconds: f64) -> String {
    if !seconds.is_finite() || seconds < 0.0 {
        return String::new();
    }
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        3600..86_400 => format!("{} h {:02} min", whole / 3600, whole / 60 % 60),
        _ => format!("{} d {} h", whole / 86_400, whole / 3600 % 24),
    }
}

/// The number in the middle; NaN of none.
#[must_use]
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_digits_count() {
        let check = |value: f64, expected: &str| assert_eq!(shown(value, Unit::Plain), expected);
        check(0.0, "0");
        check(0.324_06, "0.3241");
        check(1.0, "1.000");
        check(12.345_67, "12.35");
        check(112.456, "112.5");
        check(48_000.0, "48000");
        check(54_321.5, "54322");
        check(2.4e-5, "2.40e-5");
        check(-3.2e7, "-3.20e7");
        check(0.001_234_5, "0.001234");
        check(f64::NAN, "–");
        check(f64::NEG_INFINITY, "–");
        assert_eq!(shown(0.834_2, Unit::Percent), "83.42 %");
    }

    #[test]
    fn times_read_like_a_clock() {
        let check = |seconds: f64, expected: &str| assert_eq!(time(seconds), expected);
        check(3.12, "3.1 s");
        check(59.4, "59 s");
        check(200.0, "3 min 20 s");
        check(7500.0, "2 h 05 min");
        check(3.0 * 86_400.0 + 4.0 * 3600.0, "3 d 4 h");
        check(f64::NAN, "");
    }

    #[test]
    fn the_median_leaves_out_what_is_no_number() {
        assert_eq!(median([3.0, f64::NAN, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0]), 2.5);
        assert!(median([]).is_nan());
    }
}
