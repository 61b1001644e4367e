//! Fewer points for the same picture.

use crate::chart::Point;

/// At most about `most` of the points: of each stretch of the axis the lowest and the highest, so that no peak is
/// lost, and the first and the last of all.
#[must_use]
pub(crate) fn thin(points: &[Point], most: usize) -> Vec<Point> {
    if points.len() <= most {
        return points.to_vec();
    }
    let stretch = points.len().div_ceil((most / 2).max(1));
    let last = points.len() - 1;
    let mut kept = vec![0, last];
    for start in (0..points.len()).step_by(stretch) {
        let range = start..(start + stretch).min(points.len());
        let by_height = |a: &usize, b: &usize| points[*a][1].total_cmp(&points[*b][1]);
        kept.extend(range.clone().min_by(by_height));
        kept.extend(range.max_by(by_height));
    }
    kept.sort_unstable();
    kept.dedup();
    kept.into_iter().map(|i| points[i]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ends_and_extremes_stay(values in prop::collection::vec(-1e3..1e3f64, 1..3000), most in 4..500usize) {
            let points: Vec<Point> = values.iter().enumerate().map(|(i, &y)| [i as f64, y]).collect();
            let thinned = thin(&points, most);
            prop_assert!(thinned.len() <= most + 4);
            prop_assert_eq!(thinned.first(), points.first());
            prop_assert_eq!(thinned.last(), points.last());
            prop_assert!(thinned.windows(2).all(|pair| pair[0][0] < pair[1][0]));
            let highest = |points: &[Point]| points.iter().map(|p| p[1]).fold(f64::MIN, f64::max);
            prop_assert_eq!(highest(&thinned), highest(&points));
        }
    }
}
