//! timm's way of writing a policy: `rand-m9-mstd0.5-inc1`.

use super::RandAugment;
use crate::error::DataError;

const KEY: &str = "augment.rand_augment";

impl RandAugment {
    /// Reads `rand`, then parts joined by `-`: `m9` (magnitude, 0 to 10; default 10), `n2` (operations per
    /// image; 2), `mstd0.5` (deviation of the magnitude; 0), `inc1` or `inc0` (increasing scales; 0), `p0.5`
    /// (probability of each operation; 0.5).
    ///
    /// # Errors
    /// [`DataError::InvalidValue`] that names the part.
    pub fn parse(policy: &str) -> Result<RandAugment, DataError> {
        let wrong = |expected: String| DataError::InvalidValue {
            key: KEY,
            got: format!("\"{policy}\""),
            expected,
        };
        let mut parts = policy.split('-');
        if parts.next() != Some("rand") {
            return Err(wrong(
                "must begin with `rand`, as in \"rand-m9-mstd0.5-inc1\"; \"\" is none".to_owned(),
            ));
        }
        let mut augment = RandAugment {
            magnitude: 10.0,
            std: 0.0,
            increasing: false,
            layers: 2,
            prob: 0.5,
        };
        for part in parts {
            let (key, text) =
                part.split_at(part.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(part.len()));
            let number = |low: f64, high: f64| {
                let number = text.parse::<f64>().ok().filter(|x| (low..=high).contains(x));
                number.ok_or_else(|| wrong(format!("`{part}`: `{key}` takes a number from {low} to {high}")))
            };
            let count = |low: u32, high: u32| {
                let count = text.parse::<u32>().ok().filter(|x| (low..=high).contains(x));
                count.ok_or_else(|| {
                    wrong(format!(
                        "`{part}`: `{key}` takes a whole number from {low} to {high}"
                    ))
                })
            };
            match key {
                "m" => augment.magnitude = number(0.0, 10.0)?,
                "mstd" => augment.std = number(0.0, 100.0)?,
                "n" => augment.layers = count(1, 15)?,
                "inc" => augment.increasing = count(0, 1)? == 1,
                "p" => augment.prob = number(0.0, 1.0)?,
                _ => {
                    let known = "known are `m`, `n`, `mstd`, `inc` and `p`, as in \"rand-m9-mstd0.5-inc1\"";
                    return Err(wrong(format!("`{part}` is not understood; {known}")));
                }
            }
        }
        Ok(augment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_policy() {
        let expected = RandAugment {
            magnitude: 9.0,
            std: 0.5,
            increasing: true,
            layers: 2,
            prob: 0.5,
        };
        assert_eq!(RandAugment::parse("rand-m9-mstd0.5-inc1").unwrap(), expected);
        let other = RandAugment::parse("rand-p1-n3-m0.5-inc0").unwrap();
        let parts = (
            other.magnitude,
            other.std,
            other.increasing,
            other.layers,
            other.prob,
        );
        assert_eq!(parts, (0.5, 0.0, false, 3, 1.0));
        assert_eq!(RandAugment::parse("rand").unwrap().magnitude, 10.0);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        for (policy, expected) in [
            ("", "must begin with `rand`"),
            ("augmix-m3", "must begin with `rand`"),
            ("rand-m11", "`m11`: `m` takes a number from 0 to 10"),
            ("rand-m", "`m`: `m` takes a number"),
            ("rand-n0", "`n0`: `n` takes a whole number from 1 to 15"),
            ("rand-inc2", "from 0 to 1"),
            ("rand-mstdx", "`mstdx` is not understood"),
            ("rand-m9-w0", "`w0` is not understood"),
            ("rand--m9", "`` is not understood"),
            ("rand-m-9", "`m`: `m` takes a number"),
            ("rand-mstdnan", "`mstdnan` is not understood"),
            ("rand-é", "`é` is not understood"),
        ] {
            let message = RandAugment::parse(policy).unwrap_err().to_string();
            assert!(message.contains(expected), "{policy}: {message}");
            assert!(message.contains("augment.rand_augment"), "{message}");
        }
    }
}
