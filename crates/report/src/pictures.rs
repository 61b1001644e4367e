//! Reconstructions of a run, small enough to be carried inside a page.
//!
//! The sheets of a run (`reconstructions/epoch-0010.png`: one row per image, three columns: input, masked input,
//! prediction) differ in their last column alone. So a page carries inputs and masked inputs once, of the newest
//! sheet, and of each epoch the predictions; images below 144 px a side in full, larger ones scaled down. With at
//! most 12 epochs and 8 images that stays below 10 MB even where the pictures are noise.

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::imageops::{self, FilterType};
use image::{DynamicImage, ImageFormat, RgbImage};

/// Epochs that are shown: the first, the last, and some between at equal distances.
const MOST_EPOCHS: usize = 12;
/// Images that are shown.
const MOST_IMAGES: u32 = 8;
/// The longer side of an image, at most.
const LONGEST_SIDE: u32 = 144;
/// White pixels between the pictures of a sheet.
const GAP: u32 = 4;
/// Pictures in a row of a sheet.
const COLUMNS: u32 = 3;

/// The pictures of a run's page. It remembers what it has read: while a run goes on, each sheet is read once.
#[derive(Debug, Clone, Default)]
pub struct Pictures {
    sheets: BTreeMap<u64, Option<Sheet>>,
    shown: Vec<u64>,
}

/// A sheet whose columns were taken apart. Each column is a PNG with all images below each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sheet {
    /// Images, from top to bottom.
    pub(crate) images: u32,
    /// Width and height of one image.
    pub(crate) size: [u32; 2],
    input: Vec<u8>,
    masked: Vec<u8>,
    prediction: Vec<u8>,
}

impl Pictures {
    /// The pictures of the run in `folder`, whose images have this height and width.
    #[must_use]
    pub fn of(folder: &Path, image_size: Option<[u32; 2]>) -> Pictures {
        let mut pictures = Pictures::default();
        pictures.update(folder, image_size);
        pictures
    }

    /// Reads what is new. A file that is no sheet of reconstructions, or is being written, is passed over.
    pub fn update(&mut self, folder: &Path, image_size: Option<[u32; 2]>) {
        let files = files(&folder.join("reconstructions"));
        let epochs: Vec<u64> = files.keys().copied().collect();
        let chosen = spread_out(&epochs, MOST_EPOCHS);
        self.sheets.retain(|epoch, _| chosen.contains(epoch));
        for epoch in &chosen {
            let sheet = || Sheet::read(&files[epoch], image_size?);
            self.sheets.entry(*epoch).or_insert_with(sheet);
        }
        let newest = self.sheets.values().flatten().next_back().map(Sheet::layout);
        let fits = |sheet: &Option<Sheet>| sheet.as_ref().map(Sheet::layout) == newest && newest.is_some();
        self.shown = self
            .sheets
            .iter()
            .filter(|(_, sheet)| fits(sheet))
            .map(|(epoch, _)| *epoch)
            .collect();
    }

    /// The epochs that are shown, in order, and the sheet of each; all of one layout.
    pub(crate) fn sheets(&self) -> impl Iterator<Item = (u64, &Sheet)> {
        self.shown
            .iter()
            .filter_map(|epoch| Some((*epoch, self.sheets.get(epoch)?.as_ref()?)))
    }
}

impl Sheet {
    fn read(file: &Path, [height, width]: [u32; 2]) -> Option<Sheet> {
        Sheet::new(&image::open(file).ok()?.into_rgb8(), height, width)
    }

    /// Takes a sheet apart whose images are `height`×`width`, enlarged by a whole factor maybe; `None` if it is laid
    /// out in any other way.
    fn new(sheet: &RgbImage, height: u32, width: u32) -> Option<Sheet> {
        let cell = sheet.width().checked_sub(GAP)? / COLUMNS;
        let zoom = cell.checked_sub(GAP)? / width.max(1);
        let rows = sheet.height().checked_sub(GAP)? / (zoom * height + GAP);
        let expected = (
            COLUMNS * (zoom * width + GAP) + GAP,
            rows * (zoom * height + GAP) + GAP,
        );
        if zoom == 0 || rows == 0 || sheet.dimensions() != expected {
            return None;
        }
        let images = rows.min(MOST_IMAGES);
        let size = fitting(width, height);
        let column = |number: u32| {
            let mut column = RgbImage::new(size[0], size[1] * images);
            for row in 0..images {
                let (x, y) = (
                    GAP + number * (zoom * width + GAP),
                    GAP + row * (zoom * height + GAP),
                );
                let picture = imageops::crop_imm(sheet, x, y, zoom * width, zoom * height).to_image();
                // without its enlargement, which repeats pixels
                let picture = imageops::resize(&picture, width, height, FilterType::Nearest);
                let picture = imageops::resize(&picture, size[0], size[1], FilterType::Triangle);
                imageops::replace(&mut column, &picture, 0, i64::from(row * size[1]));
            }
            png(column)
        };
        Some(Sheet {
            images,
            size,
            input: column(0)?,
            masked: column(1)?,
            prediction: column(2)?,
        })
    }

    fn layout(&self) -> (u32, [u32; 2]) {
        (self.images, self.size)
    }

    /// The inputs, as a data URI.
    pub(crate) fn input(&self) -> String {
        data_uri(&self.input)
    }

    /// The inputs without the hidden patches, as a data URI.
    pub(crate) fn masked(&self) -> String {
        data_uri(&self.masked)
    }

    /// The predictions, as a data URI.
    pub(crate) fn prediction(&self) -> String {
        data_uri(&self.prediction)
    }
}

fn data_uri(png: &[u8]) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(png))
}

/// The sheets of a folder by epoch.
fn files(folder: &Path) -> BTreeMap<u64, PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let numbered = entries.filter_map(|entry| {
        let name = entry.file_name();
        let number = name.to_str()?.strip_prefix("epoch-")?.strip_suffix(".png")?;
        Some((number.parse().ok()?, entry.path()))
    });
    numbered.collect()
}

/// `most` of the values at most, the first and the last among them.
fn spread_out(values: &[u64], most: usize) -> Vec<u64> {
    if values.len() <= most {
        return values.to_vec();
    }
    let last = values.len() - 1;
    (0..most).map(|i| values[i * last / (most - 1)]).collect()
}

/// Width and height after scaling down, where that is needed.
fn fitting(width: u32, height: u32) -> [u32; 2] {
    let longer = width.max(height).max(LONGEST_SIDE);
    [width, height].map(|side| (side * LONGEST_SIDE / longer).max(1))
}

/// As PNG, grey where it is grey.
fn png(picture: RgbImage) -> Option<Vec<u8>> {
    let is_grey = picture
        .pixels()
        .all(|pixel| pixel.0[0] == pixel.0[1] && pixel.0[1] == pixel.0[2]);
    let picture = DynamicImage::from(picture);
    let picture = if is_grey {
        picture.into_luma8().into()
    } else {
        picture
    };
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).ok()?;
    Some(bytes.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A sheet of `rows` images, `height`×`width`, enlarged; the pictures have the greys 10·row + column.
    fn sheet(rows: u32, height: u32, width: u32, zoom: u32) -> RgbImage {
        let (w, h) = (zoom * width + GAP, zoom * height + GAP);
        let grey = |x: u32, y: u32| {
            let is_gap = x % w < GAP || y % h < GAP;
            if is_gap { 255 } else { (10 * (y / h) + x / w) as u8 }
        };
        RgbImage::from_fn(3 * w + GAP, rows * h + GAP, |x, y| image::Rgb([grey(x, y); 3]))
    }

    fn pixels(png: &[u8]) -> image::GrayImage {
        let image = image::load_from_memory(png).unwrap();
        assert_eq!(
            image.color(),
            image::ColorType::L8,
            "grey pictures are stored grey"
        );
        image.into_luma8()
    }

    #[test]
    fn columns_are_taken_apart_and_not_enlarged() {
        let found = Sheet::new(&sheet(3, 16, 32, 6), 16, 32).unwrap();
        assert_eq!((found.images, found.size), (3, [32, 16]));
        let prediction = pixels(&found.prediction);
        assert_eq!(prediction.dimensions(), (32, 48));
        assert_eq!([0, 16, 47].map(|y| prediction.get_pixel(31, y).0[0]), [2, 12, 22]);
        assert!(pixels(&found.input).pixels().all(|pixel| pixel.0[0] % 10 == 0));
    }

    #[test]
    fn large_images_are_scaled_down_and_many_cut() {
        let found = Sheet::new(&sheet(9, 288, 576, 1), 288, 576).unwrap();
        assert_eq!((found.images, found.size), (8, [144, 72]));
    }

    #[test]
    fn what_is_no_sheet_is_passed_over() {
        assert_eq!(Sheet::new(&RgbImage::new(50, 50), 16, 16), None);
        assert_eq!(Sheet::new(&RgbImage::new(1, 1), 16, 16), None);
        assert_eq!(Sheet::new(&sheet(2, 16, 16, 2), 0, 0), None);
        let folder = tempfile::tempdir().unwrap();
        let pictures = folder.path().join("reconstructions");
        fs::create_dir(&pictures).unwrap();
        fs::write(pictures.join("epoch-0001.png"), "torn").unwrap();
        sheet(2, 16, 16, 2).save(pictures.join("epoch-0002.png")).unwrap();
        sheet(2, 16, 16, 2).save(pictures.join("mine.png")).unwrap();
        let found = Pictures::of(folder.path(), Some([16, 16]));
        assert_eq!(found.sheets().map(|(epoch, _)| epoch).collect::<Vec<_>>(), [2]);
        assert_eq!(Pictures::of(folder.path(), None).sheets().count(), 0);
    }

    #[test]
    fn first_and_last_epoch_stay() {
        assert_eq!(spread_out(&[1, 5, 9], 12), [1, 5, 9]);
        let many: Vec<u64> = (1..=160).map(|i| 10 * i).collect();
        let chosen = spread_out(&many, 12);
        assert_eq!((chosen.len(), chosen[0], chosen[11]), (12, 10, 1600));
    }

    #[test]
    fn even_noise_stays_below_ten_megabytes() {
        let mut state = 1u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let sheet = RgbImage::from_fn(3 * 148 + 4, 8 * 148 + 4, |_, _| {
            image::Rgb([noise(), noise(), noise()])
        });
        let found = Sheet::new(&sheet, 144, 144).unwrap();
        let bytes = found.input().len() + found.masked().len() + MOST_EPOCHS * found.prediction().len();
        assert!(bytes < 10_000_000, "{bytes}");
    }
}
