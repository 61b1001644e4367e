//! Images per second of the loader, and of decoding and resizing alone; prints one line of JSON. Run by
//! `cargo xtask bench data`, which compares them with torchvision's.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use clap::Parser;
use fcmae_data::{
    AugmentConfig, DataConfig, Dataset, DecodeOptions, Image, JpegDecoder, Loader, LoaderOptions, Location,
    Position, Rect, Transform, decode_with, resize_bicubic,
};
use fcmae_random::{Purpose, Stream};
use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;
use serde_json::json;

/// What to measure, and on what.
#[derive(Debug, Parser)]
struct Args {
    /// A folder of images, or shards
    images: PathBuf,
    /// First make the folder: this many JPEG pictures of 500×375 pixels, quality 90, of the pictures of `--from`
    #[arg(long, value_name = "COUNT", requires = "from")]
    make: Option<usize>,
    /// A folder or manifest of pictures
    #[arg(long)]
    from: Option<String>,
    /// Worker threads
    #[arg(long, default_value_t = 2)]
    workers: usize,
    /// Images of a batch
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Side of the images that are made, in pixels
    #[arg(long, default_value_t = 224)]
    size: usize,
    /// Decode by libjpeg-turbo, in a build with the feature `turbojpeg`
    #[arg(long)]
    turbo: bool,
    /// What `cargo bench` adds
    #[arg(long, hide = true)]
    bench: bool,
}

/// How often each image is made in a measurement: half a second for an epoch of 1,024 would be too short.
const EPOCHS: usize = 4;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let args = Args::parse();
    match (args.make, &args.from) {
        (Some(count), Some(from)) => make(&args.images, from, count),
        _ => measure(&args),
    }
}

#[expect(clippy::print_stdout, reason = "a benchmark shows its results")]
fn measure(args: &Args) -> Result<()> {
    let config = DataConfig {
        path: Some(args.images.clone()),
        image_size: [args.size; 2],
        workers: args.workers,
        jpeg: if args.turbo {
            JpegDecoder::Turbo
        } else {
            JpegDecoder::Zune
        },
        ..DataConfig::default()
    };
    let dataset = Arc::new(Dataset::open(&config)?);
    let locations = dataset.locations();
    let files = locations
        .iter()
        .map(Location::read)
        .collect::<std::result::Result<Vec<_>, _>>()?;
    let options = config.decode_options();
    let augment = AugmentConfig::default();
    let loader = loader_rate(&dataset, &config, &augment, args.batch)?;
    let images = files.len() * EPOCHS;
    let rate = |seconds: f64| images as f64 / seconds;
    let file = |at: usize| &files[at % files.len()];
    let decode = on_threads(args.workers, images, |at| drop(decoded(file(at), &options)));
    let decode_resize = on_threads(args.workers, images, |at| {
        let image = decoded(file(at), &options);
        let mut stream = Stream::new(0, Purpose::Augment, 0, at as u64);
        let crop = augment.draw_crop(image.width(), image.height(), &mut stream);
        drop(resize_bicubic(&image, crop, args.size, args.size));
    });
    let report = json!({
        "images_per_second": loader,
        "decode": rate(decode),
        "decode_resize": rate(decode_resize),
        "images": files.len(),
        "workers": args.workers,
    });
    println!("{report}");
    Ok(())
}

/// Seconds that `threads` threads need to do `work` to each of `count` things.
fn on_threads(threads: usize, count: usize, work: impl Fn(usize) + Sync) -> f64 {
    let next = AtomicUsize::new(0);
    let started = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count {
                        return;
                    }
                    work(at);
                }
            });
        }
    });
    started.elapsed().as_secs_f64()
}

fn decoded(bytes: &[u8], options: &DecodeOptions) -> Image {
    decode_with(bytes, "a picture of the benchmark", options).expect("the loader has read it before")
}

/// Images per second over [`EPOCHS`], after one epoch that warms up.
fn loader_rate(
    dataset: &Arc<Dataset>,
    config: &DataConfig,
    augment: &AugmentConfig,
    batch: usize,
) -> Result<f64> {
    let transform = Transform::train(augment, config.image_size);
    let options = LoaderOptions::new(config, transform, batch, 7);
    let mut loader = Loader::new(dataset.clone(), options, Position::default())?;
    let epoch = loader.batches_per_epoch();
    let mut take = |batches: u64| -> Result<usize> {
        let mut images = 0;
        for _ in 0..batches {
            images += loader.next().ok_or("the loader has ended early")??.ids.len();
        }
        Ok(images)
    };
    take(epoch)?;
    let started = Instant::now();
    let images = take(epoch * EPOCHS as u64)?;
    Ok(images as f64 / started.elapsed().as_secs_f64())
}

/// Writes `count` pictures in ten class folders: real ones, tiled to 500×375 and given colours.
fn make(folder: &Path, from: &str, count: usize) -> Result<()> {
    const SIZE: [usize; 2] = [500, 375];
    let mut config = DataConfig::default();
    config.set_source(from);
    let dataset = Dataset::open(&config)?;
    for at in 0..count {
        let image = dataset.load(at % dataset.len())?;
        let picture = coloured(&image, SIZE, at);
        let class = folder.join(format!("class{}", at % 10));
        std::fs::create_dir_all(&class)?;
        let file = class.join(format!("{at:05}.jpg"));
        let mut bytes = Vec::new();
        let [width, height] = SIZE.map(|side| side as u32);
        JpegEncoder::new_with_quality(&mut bytes, 90).encode(
            &picture,
            width,
            height,
            ExtendedColorType::Rgb8,
        )?;
        std::fs::write(&file, bytes)?;
    }
    Ok(())
}

/// The picture side by side with itself, in colours that differ from picture to picture.
fn coloured(image: &Image, [width, height]: [usize; 2], at: usize) -> Vec<u8> {
    let side = image.width().min(image.height());
    let square = Rect {
        left: 0,
        top: 0,
        width: side,
        height: side,
    };
    let tile = resize_bicubic(image, square, height, height);
    let tint: [usize; 3] = std::array::from_fn(|c| 160 + (at * (37 + 23 * c)) % 96);
    let mut pixels = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            let from = (y * height + x % height) * 3;
            let pixel = &tile.pixels()[from..from + 3];
            pixels.extend(
                pixel
                    .iter()
                    .zip(tint)
                    .map(|(&value, tint)| (usize::from(value) * tint / 255) as u8),
            );
        }
    }
    pixels
}
