//! The confusion matrix as a picture.

use image::{Rgb, RgbImage};

use super::confusion::ConfusionMatrix;
use crate::text::{self, Text};

/// Up to this many classes a cell holds its count and its share of the row.
const MOST_WRITTEN: usize = 24;
/// Up to this many classes the rows and columns are named.
const MOST_NAMED: usize = 96;
/// A longer name is cut.
const LONGEST_NAME: usize = 20;
const MARGIN: u32 = 12;
const WHITE: Rgb<u8> = Rgb([255, 255, 255]);
const INK: Rgb<u8> = Rgb([30, 30, 30]);
const GRID: Rgb<u8> = Rgb([210, 210, 210]);
/// What a cell is coloured that holds its whole row.
const FULL: Rgb<u8> = Rgb([8, 48, 107]);

/// Rows are true classes, columns predicted ones; a cell is the darker, the larger its share of its row. With at most
/// 24 classes counts and shares are written, with at most 96 names; beyond, it is a map of a few pixels per cell.
///
/// # Panics
/// When there are not as many names as classes.
#[must_use]
pub fn confusion_picture(matrix: &ConfusionMatrix, names: &[String]) -> RgbImage {
    let classes = matrix.classes();
    assert_eq!(names.len(), classes, "one name per class");
    let names: Vec<String> = names.iter().map(|name| shortened(name)).collect();
    let named = classes <= MOST_NAMED;
    let cell = if classes <= MOST_WRITTEN {
        text::width(&"0".repeat(longest_count(matrix).max(4))) + 16
    } else if named {
        text::HEIGHT
    } else {
        (1024 / classes as u32).clamp(1, 8)
    };
    let longest = names
        .iter()
        .map(|name| text::width(name))
        .max()
        .unwrap_or_default();
    let axis = text::HEIGHT + MARGIN; // the words `true` and `predicted`
    let origin = MARGIN + axis + if named { longest + MARGIN / 2 } else { 0 };
    let side = origin + cell * classes as u32 + MARGIN;
    let mut picture = RgbImage::from_pixel(side, side, WHITE);
    let middle = origin + cell * classes as u32 / 2;
    Text::new("predicted class", INK).centred(&mut picture, middle, MARGIN + text::HEIGHT / 2);
    Text::new("true class", INK).upward(&mut picture, MARGIN + text::HEIGHT / 2, middle);
    for (truth, row) in matrix.rows().enumerate() {
        let support: u64 = row.iter().sum();
        let y = origin + truth as u32 * cell;
        for (predicted, &count) in row.iter().enumerate() {
            let x = origin + predicted as u32 * cell;
            let share = if support == 0 {
                0.0
            } else {
                count as f64 / support as f64
            };
            fill(&mut picture, x, y, cell, shade(share), cell >= text::HEIGHT);
            if classes <= MOST_WRITTEN {
                write_cell(&mut picture, x + cell / 2, y + cell / 2, count, share, support);
            }
        }
        if named {
            let at = y + cell / 2;
            Text::new(&names[truth], INK).right_aligned(&mut picture, origin - MARGIN / 2, at);
            Text::new(&names[truth], INK).upward_from(&mut picture, at, origin - MARGIN / 2);
        }
    }
    picture
}

fn longest_count(matrix: &ConfusionMatrix) -> usize {
    matrix
        .rows()
        .flatten()
        .map(|count| count.to_string().len())
        .max()
        .unwrap_or(1)
}

fn shortened(name: &str) -> String {
    if name.chars().count() <= LONGEST_NAME {
        return name.to_owned();
    }
    name.chars().take(LONGEST_NAME - 2).chain("..".chars()).collect()
}

/// From white to dark blue.
fn shade(share: f64) -> Rgb<u8> {
    let mix = |channel: usize| {
        let (light, dark) = (f64::from(WHITE.0[channel]), f64::from(FULL.0[channel]));
        (light + (dark - light) * share).round() as u8
    };
    Rgb([mix(0), mix(1), mix(2)])
}

fn fill(picture: &mut RgbImage, left: u32, top: u32, side: u32, color: Rgb<u8>, framed: bool) {
    for y in 0..side {
        for x in 0..side {
            let is_frame = framed && (x == 0 || y == 0 || x == side - 1 || y == side - 1);
            picture.put_pixel(left + x, top + y, if is_frame { GRID } else { color });
        }
    }
}

fn write_cell(picture: &mut RgbImage, x: u32, y: u32, count: u64, share: f64, support: u64) {
    let ink = if share > 0.5 { WHITE } else { INK };
    let half = text::HEIGHT / 2;
    Text::new(&count.to_string(), ink).centred(picture, x, y - half);
    if support > 0 {
        Text::new(&format!("{:.0}%", share * 100.0), ink).centred(picture, x, y + half);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(classes: usize) -> Vec<String> {
        (0..classes).map(|class| format!("class {class}")).collect()
    }

    /// Pixels of exactly this colour.
    fn count(picture: &RgbImage, color: Rgb<u8>) -> usize {
        picture.pixels().filter(|&&pixel| pixel == color).count()
    }

    #[test]
    fn a_full_row_is_dark_and_written_in_white() {
        let matrix = ConfusionMatrix::of(2, &[0, 0, 1, 1], &[0, 0, 0, 1]);
        let picture = confusion_picture(&matrix, &names(2));
        let cell = picture.width() - MARGIN; // right border of the last column
        assert!(count(&picture, FULL) > 500); // the cell of class 0
        assert!(count(&picture, shade(0.5)) > 500);
        assert_eq!(
            picture.get_pixel(cell - 2, picture.height() - MARGIN - 2),
            &shade(0.5)
        );
        assert!(count(&picture, INK) > 50); // names and counts are written
    }

    #[test]
    fn more_classes_make_smaller_cells() {
        for classes in [1, 24, 25, 96, 97, 1000] {
            let labels: Vec<u32> = (0..classes as u32).collect();
            let picture = confusion_picture(&ConfusionMatrix::of(classes, &labels, &labels), &names(classes));
            assert!(
                (100..2600).contains(&picture.width()),
                "{classes}: {}",
                picture.width()
            );
            assert!(count(&picture, FULL) >= classes, "{classes}");
        }
    }

    #[test]
    fn long_and_foreign_names_fit() {
        let matrix = ConfusionMatrix::of(2, &[0, 1], &[0, 1]);
        let long = [
            "a very long class name that goes on".to_owned(),
            "été 猫".to_owned(),
        ];
        let short = ["a very long class ..".to_owned(), "été 猫".to_owned()];
        assert_eq!(
            confusion_picture(&matrix, &long),
            confusion_picture(&matrix, &short)
        );
    }
}
