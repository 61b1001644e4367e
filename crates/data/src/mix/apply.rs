//! Mixing the images and the targets of a batch, in place.

use rayon::prelude::*;

use super::Mixed;

impl Mixed {
    /// Mixes each image with image N − 1 − i. `images`: `[N, C, H, W]`, `width`: W, `height`: H.
    ///
    /// # Panics
    /// When the buffer does not hold one image for each of `mixed`.
    pub fn mix_images(mixed: &[Mixed], images: &mut [f32], [height, width]: [usize; 2]) {
        if mixed.iter().all(|m| *m == Mixed::Not) {
            return;
        }
        let one = images.len() / mixed.len();
        assert_eq!(images.len(), one * mixed.len(), "images to mix");
        let half = mixed.len() / 2;
        let (first, rest) = images.split_at_mut(half * one);
        let second = &mut rest[(mixed.len() % 2) * one..];
        first
            .par_chunks_exact_mut(one)
            .zip(second.par_chunks_exact_mut(one).rev())
            .enumerate()
            .for_each(|(i, (a, b))| {
                let before = a.to_vec();
                mixed[i].mix(a, b, height, width);
                mixed[mixed.len() - 1 - i].mix(b, &before, height, width);
            });
    }

    /// Mixes one image, planes of `height` × `width`, with its partner.
    fn mix(&self, image: &mut [f32], partner: &[f32], height: usize, width: usize) {
        match *self {
            Mixed::Not => {}
            Mixed::Up { lambda } => blend(image, partner, lambda),
            Mixed::Cut { cut, .. } => {
                let planes = image.chunks_exact_mut(height * width);
                for (plane, other) in planes.zip(partner.chunks_exact(height * width)) {
                    for y in cut.top..cut.top + cut.height {
                        let row = y * width + cut.left..y * width + cut.left + cut.width;
                        plane[row.clone()].copy_from_slice(&other[row]);
                    }
                }
            }
        }
    }

    /// Mixes each row of targets, `[N, classes]`, with row N − 1 − i.
    ///
    /// # Panics
    /// When the buffer does not hold one row for each of `mixed`.
    pub fn mix_rows(mixed: &[Mixed], rows: &mut [f32], classes: usize) {
        assert_eq!(rows.len(), mixed.len() * classes, "rows to mix");
        let before = rows.to_vec();
        let partners = before.chunks_exact(classes).rev();
        for ((row, partner), mixed) in rows.chunks_exact_mut(classes).zip(partners).zip(mixed) {
            if *mixed != Mixed::Not {
                blend(row, partner, mixed.lambda());
            }
        }
    }
}

/// `lambda a + (1 − lambda) b`, in f32 operation by operation as timm does it.
fn blend(a: &mut [f32], b: &[f32], lambda: f64) {
    let (own, other) = (lambda as f32, (1.0 - lambda) as f32);
    for (a, b) in a.iter_mut().zip(b) {
        *a = *a * own + *b * other;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::Rect;

    const BOX: Mixed = Mixed::Cut {
        cut: Rect {
            left: 1,
            top: 0,
            width: 1,
            height: 2,
        },
        lambda: 0.5,
    };

    /// Three images of two channels and 2 × 2 pixels: image i holds i + 1.
    fn images() -> Vec<f32> {
        (0..24).map(|at| (at / 8 + 1) as f32).collect()
    }

    #[test]
    fn partners_are_mixed_from_what_they_were() {
        let mut mixed = images();
        Mixed::mix_images(&[Mixed::Up { lambda: 0.25 }, BOX, BOX], &mut mixed, [2, 2]);
        assert_eq!(mixed[..8], [0.25 + 0.75 * 3.0; 8]);
        assert_eq!(mixed[8..16], [2.0; 8]); // its own partner
        assert_eq!(mixed[16..], [3.0, 1.0, 3.0, 1.0, 3.0, 1.0, 3.0, 1.0]);
    }

    #[test]
    fn targets_follow_the_images() {
        let mut rows = vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        Mixed::mix_rows(&[Mixed::Up { lambda: 0.25 }, BOX, Mixed::Not], &mut rows, 3);
        assert_eq!(rows, [0.25, 0.0, 0.75, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn nothing_drawn_changes_nothing() {
        let mut same = images();
        Mixed::mix_images(&[Mixed::Not; 3], &mut same, [2, 2]);
        assert_eq!(same, images());
        Mixed::mix_images(&[], &mut [], [2, 2]);
    }
}
