//! Writes a small image folder, makes an epoch of batches, and starts again in its middle.

use std::sync::Arc;

use fcmae_data::{
    AugmentConfig, Color, DataConfig, Dataset, Loader, LoaderOptions, Position, Transform, channel_stats,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = tempfile::tempdir()?;
    for i in 0..20u32 {
        let folder = root
            .path()
            .join("train")
            .join(if i % 4 == 0 { "rings" } else { "stripes" });
        std::fs::create_dir_all(&folder)?;
        let image = image::GrayImage::from_fn(80, 60, |x, y| {
            let wave = if i % 4 == 0 {
                (x * x + y * y) / (40 + i)
            } else {
                3 * x + i * y
            };
            image::Luma([(wave % 256) as u8])
        });
        image.save(folder.join(format!("{i:02}.png")))?;
    }

    let mut config = DataConfig {
        path: Some(root.path().to_owned()),
        image_size: [32, 48],
        color: Color::Grey,
        mean: vec![0.5],
        std: vec![0.25],
        ..DataConfig::default()
    };
    (config.mean, config.std) = channel_stats(&Dataset::open(&config)?)?;
    let dataset = Dataset::open(&config)?;
    let (train, val) = dataset.split_validation(0.2, 0)?;
    report(&format!(
        "{} classes, {} + {} images",
        dataset.class_names().len(),
        train.len(),
        val.len()
    ));

    let train = Arc::new(train);
    let transform = Transform::train(&AugmentConfig::default(), config.image_size);
    let options = LoaderOptions::new(&config, transform, 5, 7);
    let loader = Loader::new(train.clone(), options.clone(), Position::default())?;
    let epoch: Vec<_> = loader.take(3).collect::<Result<_, _>>()?;
    for batch in &epoch {
        let mean = batch.images.iter().sum::<f32>() / batch.images.len() as f32;
        report(&format!(
            "batch {}: {:?}, ids {:?}, mean {mean:+.3}",
            batch.batch, batch.shape, batch.ids
        ));
    }

    let again = Loader::new(train, options, epoch[2].position())?
        .next()
        .ok_or("no batch")??;
    assert_eq!(again, epoch[2]);
    report("a loader that starts at batch 2 makes the same batch 2, bit for bit");
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example shows its results")]
fn report(line: &str) {
    println!("{line}");
}
