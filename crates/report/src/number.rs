//! Numbers for people.

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
