//! Pictures of reconstructions, into the run folder and TensorBoard.

use std::fs;
use std::io::Cursor;

use anyhow::{Context, Result};
use fcmae_analysis::{Reconstruction, contact_sheet};
use image::ImageFormat;

use crate::run_folder::RunFolder;
use crate::tensorboard::EventWriter;

/// Writes the rows as `reconstructions/epoch-….png` and as a TensorBoard image; nothing where there are none.
pub(crate) fn write(
    folder: &RunFolder,
    events: &mut EventWriter,
    epoch: u64,
    step: u64,
    rows: &[Reconstruction],
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let sheet = contact_sheet(rows);
    let mut png = Cursor::new(Vec::new());
    sheet
        .write_to(&mut png, ImageFormat::Png)
        .context("encoding a picture of reconstructions")?;
    let file = folder.reconstruction(epoch);
    if let Some(parent) = file.parent() {
        fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    }
    fs::write(&file, png.get_ref()).with_context(|| file.display().to_string())?;
    events.image(
        "reconstructions",
        step,
        sheet.width(),
        sheet.height(),
        png.get_ref(),
    )?;
    Ok(())
}
