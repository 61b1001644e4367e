//! Pillow's `transform(AFFINE, BICUBIC)` and `rotate`: f64, a cubic with a = −1, no antialiasing.

use crate::image::Image;

/// The output pixel with its centre at `(X, Y)` looks at `(m0 X + m1 Y + m2, m3 X + m4 Y + m5)`.
type Matrix = [f64; 6];

/// Turns counter-clockwise about the centre, as Pillow's `rotate` without `expand`.
pub(super) fn rotate(image: Image, degrees: f64, fill: &[u8]) -> Image {
    let degrees = degrees.rem_euclid(360.0);
    if degrees == 0.0 {
        return image;
    }
    let angle = -degrees.to_radians();
    let (cos, sin) = (round15(angle.cos()), round15(angle.sin()));
    let (x, y) = (image.width() as f64 / 2.0, image.height() as f64 / 2.0);
    let matrix = [
        cos,
        sin,
        cos * -x + sin * -y + x,
        -sin,
        cos,
        -sin * -x + cos * -y + y,
    ];
    transform(&image, matrix, fill)
}

/// Rounded to 15 decimals, as Python's `round(x, 15)`: a right angle's cosine is 0.
fn round15(x: f64) -> f64 {
    format!("{x:.15}").parse().unwrap_or(x)
}

pub(super) fn transform(image: &Image, matrix: Matrix, fill: &[u8]) -> Image {
    let size = (image.width(), image.height());
    let pixels = match image.channels() {
        1 => Affine::<1>::run(size, image.pixels().iter().map(|&x| [x]), matrix, [fill[0]]).into_flattened(),
        // A fourth channel of zeros makes a pixel one vector.
        _ => {
            let pixels = image.pixels().as_chunks().0.iter().map(|&[r, g, b]| [r, g, b, 0]);
            let out = Affine::<4>::run(size, pixels, matrix, [fill[0], fill[1], fill[2], 0]);
            out.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect()
        }
    };
    Image::new(size.0, size.1, image.channels(), pixels)
}

/// The transform of an image of `C` channels.
struct Affine<const C: usize> {
    width: usize,
    height: usize,
    pixels: Vec<[f32; C]>,
    matrix: Matrix,
    fill: [u8; C],
}

impl<const C: usize> Affine<C> {
    fn run(
        (width, height): (usize, usize),
        pixels: impl Iterator<Item = [u8; C]>,
        matrix: Matrix,
        fill: [u8; C],
    ) -> Vec<[u8; C]> {
        let pixels = pixels.map(|pixel| pixel.map(f32::from)).collect();
        pulp::Arch::new().dispatch(Affine {
            width,
            height,
            pixels,
            matrix,
            fill,
        })
    }

    /// The value at column `u`, row `v`, both above −1: rows first, each cut at the border. Without a
    /// fraction the cubic is its second value, to the bit: then three quarters of the work are left out.
    #[inline(always)]
    fn sample(&self, u: f64, v: f64) -> [u8; C] {
        let (left, dx) = whole_and_rest(u);
        let (top, dy) = whole_and_rest(v);
        let columns = neighbours(left, self.width);
        let along = |row: usize| {
            let row = &self.pixels[row * self.width..(row + 1) * self.width];
            let value = |column: usize| row[column].map(f64::from);
            if dx == 0.0 {
                value(columns[1])
            } else {
                cubic(columns.map(value), dx)
            }
        };
        let rows = neighbours(top, self.height);
        let value = if dy == 0.0 {
            along(rows[1])
        } else {
            cubic(rows.map(along), dy)
        };
        value.map(|value| value as u8) // `as` cuts and truncates
    }
}

impl<const C: usize> pulp::NullaryFnOnce for Affine<C> {
    type Output = Vec<[u8; C]>;

    #[inline(always)]
    fn call(self) -> Vec<[u8; C]> {
        let m = self.matrix;
        let mut out = Vec::with_capacity(self.pixels.len());
        for y in 0..self.height {
            for x in 0..self.width {
                let (x, y) = (x as f64 + 0.5, y as f64 + 0.5);
                let u = m[0] * x + m[1] * y + m[2];
                let v = m[3] * x + m[4] * y + m[5];
                let inside = u >= 0.0 && u < self.width as f64 && v >= 0.0 && v < self.height as f64;
                out.push(if inside {
                    self.sample(u - 0.5, v - 0.5)
                } else {
                    self.fill
                });
            }
        }
        out
    }
}

#[inline(always)]
fn whole_and_rest(x: f64) -> (i64, f64) {
    let whole = x as i64 - i64::from(x < 0.0);
    (whole, x - whole as f64)
}

/// Four places from one before `at` on, cut to `0..size`.
#[inline(always)]
fn neighbours(at: i64, size: usize) -> [usize; 4] {
    std::array::from_fn(|k| (at - 1 + k as i64).clamp(0, size as i64 - 1) as usize)
}

/// Between the second value (`d` = 0) and the third (`d` = 1). The order of the operations decides the last
/// bit, and with it sometimes the byte.
#[inline(always)]
fn cubic<const C: usize>([a, b, c, d]: [[f64; C]; 4], t: f64) -> [f64; C] {
    std::array::from_fn(|i| {
        let (a, b, c, d) = (a[i], b[i], c[i], d[i]);
        b + t * ((c - a) + t * ((2.0 * (a - b) + c - d) + t * (-a + b - c + d)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp() -> Image {
        Image::new(5, 4, 1, (0..20).map(|i| i * 10).collect())
    }

    #[test]
    fn whole_pixels_move_unchanged() {
        assert_eq!(transform(&ramp(), [1.0, 0.0, 0.0, 0.0, 1.0, 0.0], &[9]), ramp());
        let moved = transform(&ramp(), [1.0, 0.0, 2.0, 0.0, 1.0, -1.0], &[9]);
        assert_eq!(moved.pixels()[..5], [9; 5]);
        assert_eq!(moved.pixels()[5..10], [20, 30, 40, 9, 9]);
    }

    #[test]
    fn quarter_turns_of_a_square_move_pixels() {
        let square = Image::new(3, 3, 1, (1..=9).collect());
        assert_eq!(rotate(square.clone(), 0.0, &[0]), square);
        assert_eq!(rotate(square.clone(), -360.0, &[0]), square);
        assert_eq!(
            rotate(square.clone(), 90.0, &[0]).pixels(),
            [3, 6, 9, 2, 5, 8, 1, 4, 7]
        );
        assert_eq!(rotate(square, 180.0, &[0]).pixels(), [9, 8, 7, 6, 5, 4, 3, 2, 1]);
    }
}
