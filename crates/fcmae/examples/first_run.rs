//! From a folder of pictures to a picture of reconstructions, in one program: what a library user writes.

use std::error::Error;

use fcmae::analysis::contact_sheet;
use fcmae::data::{Dataset, channel_stats};
use fcmae::trainer::{Hide, PretrainConfig, Pretrained, RunOptions, pretrain};

const CONFIG: &str = r#"
device = "cpu"
model = { depths = [1, 1, 1], dims = [8, 16, 24], in_chans = 1 }
decoder = { depth = 1, dim = 24 }
data = { image_size = [48, 64], color = "grey", mean = [0.5], std = [0.25], val_fraction = 0.25 }
optimizer = { lr = 3e-3 }
schedule = { epochs = 8, warmup_epochs = 1 }
train = { batch_size = 6, accumulate = 1 }
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    for i in 0..24u32 {
        let rings = image::GrayImage::from_fn(64, 64, |x, y| {
            let (dx, dy) = (x.abs_diff(32 + i % 5), y.abs_diff(30));
            image::Luma([((dx * dx + dy * dy) / (8 + i % 3) % 256) as u8])
        });
        rings.save(folder.path().join(format!("{i:02}.png")))?;
    }

    let mut config: PretrainConfig = fcmae::config::from_str(CONFIG, &[])?.parse()?;
    config.output_dir = folder.path().join("runs");
    config.data.path = Some(folder.path().to_owned());
    (config.data.mean, config.data.std) = channel_stats(&Dataset::open(&config.data)?)?;
    let summary = pretrain(&config, &RunOptions::default())?; // what it says on the way goes to stderr
    let (first, last) = (
        summary.first_held_out_loss.ok_or("no images held out")?,
        summary.held_out_loss.ok_or("no images held out")?,
    );
    report(&format!(
        "{} steps: held-out loss {first:.4} -> {last:.4}",
        summary.step
    ));
    assert!(last < first);

    let trained = Pretrained::open(&summary.run, tch::Device::Cpu)?;
    let files = trained.image_files(folder.path())?;
    let hide = Hide::Share {
        mask_ratio: 0.5,
        seed: 1,
    };
    let sheet = contact_sheet(&trained.reconstruct(&files[..2], &hide)?);
    report(&format!(
        "two reconstructions in a picture of {} × {} pixels",
        sheet.width(),
        sheet.height()
    ));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example shows its results")]
fn report(line: &str) {
    println!("{line}");
}
