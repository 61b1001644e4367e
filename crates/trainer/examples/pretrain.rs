//! Pre-trains a tiny network on generated images, goes back to a checkpoint half-way, and arrives at the same bits.

use std::error::Error;
use std::fs;

use fcmae_trainer::{PretrainConfig, RunOptions, Summary, pretrain};

const CONFIG: &str = r#"
device = "cpu"
model = { depths = [1, 1, 1], dims = [4, 8, 8], in_chans = 1 }
decoder = { depth = 1, dim = 8 }
data = { image_size = 32, color = "grey", mean = [0.4], std = [0.25], val_fraction = 0.2 }
optimizer = { lr = 5e-3 }
schedule = { epochs = 5, warmup_epochs = 1 }
train = { batch_size = 4, accumulate = 2 }
checkpoint = { every_steps = 1, keep = 20 }
"#;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let images = folder.path().join("images");
    fs::create_dir(&images)?;
    for i in 0..20u32 {
        let bars = image::GrayImage::from_fn(48, 48, |x, y| image::Luma([((x + 3 * i) % 12 * 18 + y) as u8]));
        bars.save(images.join(format!("{i:02}.png")))?;
    }
    let mut config: PretrainConfig = fcmae_config::from_str(CONFIG, &[])?.parse()?;
    config.data.path = Some(images);
    config.output_dir = folder.path().join("runs");

    let options = RunOptions::default(); // what it says on the way goes to stderr
    let first = pretrain(&config, &options)?;
    let loss = |run: &Summary| run.held_out_loss.unwrap_or(f64::NAN);
    report(&format!(
        "{} steps, held-out loss {:.4}",
        first.step,
        loss(&first)
    ));

    let checkpoints = first.run.join("checkpoints");
    let weights = || fs::read(checkpoints.join("last/model.safetensors"));
    let undisturbed = weights()?;
    for step in 6..=first.step {
        fs::remove_dir_all(checkpoints.join(format!("step-{step:08}")))?; // as if killed before step 6 was saved
    }
    let second = pretrain(&config, &options)?;
    assert_eq!((second.resumed_from, second.step), (Some(5), first.step));
    assert_eq!(weights()?, undisturbed);
    report("resumed from step 5: the same bits");
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example shows its results")]
fn report(line: &str) {
    println!("{line}");
}
