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
pub fn shown(value: f64, unit: Unit) -> String {
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
}
