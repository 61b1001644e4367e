//! Compares the tensors of a file with those a network expects.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::hints::hint;
use crate::tensor::TensorData;

/// How many names of a list are shown in a message.
const SHOWN: usize = 3;

/// Something with the shape of a tensor: [`Tensors`](crate::Tensors) can be compared, and so can shapes alone.
pub trait HasShape {
    /// Extent of each dimension.
    fn shape(&self) -> &[usize];
}

impl HasShape for TensorData {
    fn shape(&self) -> &[usize] {
        &self.shape
    }
}

impl HasShape for Vec<usize> {
    fn shape(&self) -> &[usize] {
        self
    }
}

/// A tensor of the right name and the wrong shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misshapen {
    /// Its name.
    pub name: String,
    /// The shape that the network has.
    pub expected: Vec<usize>,
    /// The shape that the file has.
    pub found: Vec<usize>,
}

/// Why a file's tensors do not fit a network; at least one of the lists is not empty.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct NameReport {
    /// Expected and not in the file, in the order of expectation.
    pub missing: Vec<String>,
    /// In the file and not expected, sorted.
    pub unexpected: Vec<String>,
    /// In both, of different shapes, in the order of expectation.
    pub misshapen: Vec<Misshapen>,
    /// What the cause probably is.
    pub hint: Option<String>,
}

/// Checks that `found` holds exactly the `expected` names and shapes.
///
/// Names that match a pattern of `allow_missing` may be absent, those that match one of
/// `allow_unexpected` may be there in addition; in a pattern `*` stands for any characters, as in
/// `decoder.*`. Shapes must fit in any case.
///
/// # Errors
/// A [`NameReport`] of everything that does not fit. It does not know the file: its caller names it.
pub fn check_names<T: HasShape>(
    expected: &[(String, Vec<usize>)],
    found: &BTreeMap<String, T>,
    allow_missing: &[&str],
    allow_unexpected: &[&str],
) -> Result<(), NameReport> {
    let known: BTreeSet<&str> = expected.iter().map(|(name, _)| name.as_str()).collect();
    let mut report = NameReport {
        missing: Vec::new(),
        unexpected: Vec::new(),
        misshapen: Vec::new(),
        hint: None,
    };
    for (name, shape) in expected {
        match found.get(name) {
            None if !matches_any(allow_missing, name) => report.missing.push(name.clone()),
            Some(tensor) if tensor.shape() != shape => report.misshapen.push(Misshapen {
                name: name.clone(),
                expected: shape.clone(),
                found: tensor.shape().to_vec(),
            }),
            _ => {}
        }
    }
    let extra = found
        .keys()
        .filter(|name| !known.contains(name.as_str()) && !matches_any(allow_unexpected, name));
    report.unexpected.extend(extra.cloned());
    if report.missing.is_empty() && report.unexpected.is_empty() && report.misshapen.is_empty() {
        return Ok(());
    }
    report.hint = hint(&report, expected, found);
    Err(report)
}

/// Whether `name` fits one of the patterns, in which `*` stands for any characters.
#[must_use]
pub fn matches_any(patterns: &[&str], name: &str) -> bool {
    patterns.iter().any(|pattern| matches(pattern, name))
}

/// Whether `name` fits `pattern`, in which `*` stands for any characters.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(name) = name.strip_prefix(start) else {
        return false;
    };
    (0..=name.len())
        .filter(|&i| name.is_char_boundary(i))
        .any(|i| matches(rest, &name[i..]))
}

impl fmt::Display for NameReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let misshapen: Vec<String> = self
            .misshapen
            .iter()
            .map(|m| format!("`{}` is {:?} and should be {:?}", m.name, m.found, m.expected))
            .collect();
        let quote = |names: &[String]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
        let lists = [
            ("missing", quote(&self.missing)),
            ("unexpected", quote(&self.unexpected)),
            ("of another shape", misshapen),
        ];
        let parts: Vec<String> = lists
            .iter()
            .filter(|(_, items)| !items.is_empty())
            .map(|(what, items)| part(what, items))
            .collect();
        write!(f, "the tensors do not fit the network: {}", parts.join("; "))?;
        self.hint.iter().try_for_each(|hint| write!(f, "; {hint}"))
    }
}

impl std::error::Error for NameReport {}

/// `2 missing (a, b)`.
fn part(what: &str, items: &[String]) -> String {
    let more = if items.len() > SHOWN { ", …" } else { "" };
    let shown = &items[..items.len().min(SHOWN)];
    format!("{} {what} ({}{more})", items.len(), shown.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensors;

    fn expected(names: &[(&str, &[usize])]) -> Vec<(String, Vec<usize>)> {
        names
            .iter()
            .map(|(name, shape)| ((*name).to_owned(), shape.to_vec()))
            .collect()
    }

    fn found(names: &[(&str, &[usize])]) -> Tensors {
        let zeros = |shape: &[usize]| vec![0.0; shape.iter().product()];
        expected(names)
            .into_iter()
            .map(|(name, shape)| (name, TensorData::from_f32(shape.clone(), &zeros(&shape)).unwrap()))
            .collect()
    }

    /// The message of comparing the two, without allowances.
    fn message(wanted: &[(&str, &[usize])], got: &[(&str, &[usize])]) -> String {
        check_names(&expected(wanted), &found(got), &[], &[])
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_fitting_file_passes() {
        let names: &[(&str, &[usize])] = &[("a.weight", &[2, 3]), ("a.bias", &[2])];
        assert_eq!(check_names(&expected(names), &found(names), &[], &[]), Ok(()));
    }

    #[test]
    fn allowances_are_patterns() {
        let wanted = expected(&[("encoder.a", &[1]), ("head.weight", &[1]), ("head.bias", &[1])]);
        let got = found(&[("encoder.a", &[1]), ("decoder.0.x", &[1]), ("mask_token", &[1])]);
        assert_eq!(
            check_names(&wanted, &got, &["head.*"], &["decoder.*", "mask_token"]),
            Ok(())
        );
        let report = check_names(&wanted, &got, &["*.weight"], &["decoder.*.y"]).unwrap_err();
        assert_eq!(report.missing, ["head.bias"]);
        assert_eq!(report.unexpected, ["decoder.0.x", "mask_token"]);
    }

    #[test]
    fn an_allowed_name_must_still_have_its_shape() {
        let report =
            check_names(&expected(&[("h", &[2])]), &found(&[("h", &[3])]), &["*"], &["*"]).unwrap_err();
        assert_eq!(report.misshapen[0].found, [3]);
    }

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("a*c*e", "abcde", true),
            ("a*c", "abcd", false),
            ("b*", "abc", false),
            ("a", "ab", false),
            ("é*", "éa", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn another_width_is_recognised() {
        assert_eq!(
            message(
                &[("stem.weight", &[40, 3]), ("norm.bias", &[40])],
                &[("stem.weight", &[80, 3]), ("norm.bias", &[80])]
            ),
            "the tensors do not fit the network: 2 of another shape (`stem.weight` is [80, 3] and should be [40, 3], \
             `norm.bias` is [80] and should be [40]); all names fit: the file probably holds another model size"
        );
    }

    #[test]
    fn another_depth_is_recognised() {
        let two: &[(&str, &[usize])] = &[("stages.0.0.w", &[1]), ("stages.0.1.w", &[1])];
        let one = &two[..1];
        assert!(
            message(two, one).ends_with("the file probably holds a shallower network (another model size)")
        );
        assert!(message(one, two).ends_with("the file probably holds a deeper network (another model size)"));
    }

    #[test]
    fn prefixes_are_recognised() {
        let plain: &[(&str, &[usize])] = &[("norm.weight", &[1]), ("norm.bias", &[1])];
        let wrapped: &[(&str, &[usize])] = &[("module.norm.weight", &[1]), ("module.norm.bias", &[1])];
        assert!(message(plain, wrapped).ends_with("the file's names have the prefix `module.` in addition"));
        assert!(message(wrapped, plain).ends_with("the file's names lack the prefix `module.`"));
    }

    #[test]
    fn a_near_name_is_suggested() {
        let got = message(
            &[("norm.gamma", &[1]), ("x", &[1])],
            &[("norm.gama", &[1]), ("x", &[1])],
        );
        assert!(
            got.ends_with("`norm.gamma` may be `norm.gama` in the file"),
            "{got}"
        );
    }

    #[test]
    fn a_strangers_file_is_recognised() {
        let got = message(&[("stem.weight", &[1])], &[("layers.0.attention.q", &[1])]);
        assert!(
            got.ends_with("no name fits: the file probably belongs to another program or network"),
            "{got}"
        );
    }

    #[test]
    fn long_lists_are_cut() {
        let names: Vec<String> = (0..9).map(|i| format!("w{i}")).collect();
        let wanted: Vec<_> = names.iter().map(|name| (name.clone(), vec![1])).collect();
        let got = check_names(&wanted, &Tensors::new(), &[], &[])
            .unwrap_err()
            .to_string();
        assert!(got.contains("9 missing (`w0`, `w1`, `w2`, …)"), "{got}");
    }
}
