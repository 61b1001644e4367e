//! Images decoded ahead of the network, in their order, a few batches at a time.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use fcmae_data::{DataError, DecodeOptions, Location, Normalize, Reads, Transform, decode_with};
use fcmae_random::{Purpose, Stream};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::config::InferenceConfig;

/// A picture that could not be read, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unreadable {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it.
    pub problem: String,
}

impl Unreadable {
    pub(super) fn new(file: &Location, error: &DataError) -> Unreadable {
        Unreadable {
            file: file.path().to_owned(),
            problem: error.to_string(),
        }
    }
}

/// The next few images.
#[derive(Debug)]
pub(super) struct Decoded {
    /// Each file of the batch in order, and whether it is in `images`.
    pub(super) files: Vec<(Location, Result<(), DataError>)>,
    /// Those that could be read, normalised, `[N, C, H, W]`.
    pub(super) images: Vec<f32>,
    /// C, H, W.
    one: [usize; 3],
}

impl Decoded {
    /// N, C, H, W.
    pub(super) fn shape(&self) -> [usize; 4] {
        let [c, h, w] = self.one;
        [self.images.len() / (c * h * w), c, h, w]
    }
}

/// Decoded batches in their order.
#[derive(Debug)]
pub(super) struct Batches {
    receiver: Receiver<Result<Decoded>>,
    /// What makes them; taken at the end.
    thread: Option<JoinHandle<()>>,
}

impl Iterator for Batches {
    type Item = Result<Decoded>;

    /// # Panics
    /// As the thread that makes the batches did: a list cut short must not pass for a whole one.
    fn next(&mut self) -> Option<Result<Decoded>> {
        if let Ok(batch) = self.receiver.recv() {
            return Some(batch);
        }
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
        None
    }
}

/// Decodes, brings to size and normalises.
#[derive(Debug, Clone)]
pub(super) struct Decoder {
    reads: Arc<Reads>,
    options: DecodeOptions,
    transform: Transform,
    normalize: Normalize,
    batch_size: usize,
    prefetch: usize,
    workers: usize,
}

impl Decoder {
    pub(super) fn new(config: &InferenceConfig) -> Decoder {
        let data = &config.data;
        Decoder {
            reads: Arc::default(),
            options: data.decode_options(),
            transform: config.data.eval_transform(),
            normalize: Normalize::new(&data.mean, &data.std),
            batch_size: config.batch_size,
            prefetch: data.prefetch,
            workers: data.workers,
        }
    }

    /// Batches of `files`, made on threads of their own while the caller works on the batch before. At most
    /// `prefetch` + 2 batches are in memory, however long the list. An error of the list ends it, and a server that
    /// stays away.
    pub(super) fn batches(
        self,
        files: impl Iterator<Item = Result<Location>> + Send + 'static,
    ) -> Result<Batches> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.workers)
            .thread_name(|index| format!("fcmae-decode-{index}"))
            .build()
            .context("starting threads that decode")?;
        let (sender, receiver) = sync_channel(self.prefetch.max(1));
        let mut files = files.fuse();
        let make = move || {
            loop {
                let next: Result<Vec<Location>> = files.by_ref().take(self.batch_size).collect();
                let batch = match next {
                    Ok(next) if next.is_empty() => return,
                    Ok(next) => pool.install(|| self.decode(next)),
                    Err(error) => Err(error),
                };
                let is_last = batch.is_err();
                if sender.send(batch).is_err() || is_last {
                    return; // nobody listens any more
                }
            }
        };
        let thread = thread::Builder::new()
            .name("fcmae-decode".to_owned())
            .spawn(make)
            .context("starting a thread that decodes")?;
        Ok(Batches {
            receiver,
            thread: Some(thread),
        })
    }

    fn decode(&self, files: Vec<Location>) -> Result<Decoded> {
        let [height, width] = self.transform.size();
        let one = [self.normalize.channels(), height, width];
        let image = |file: &Location| {
            let bytes = self.reads.read(file)?;
            decode_with(&bytes, &file.path().display().to_string(), &self.options)
        };
        let read = |file: Location| match image(&file) {
            Err(error) => (file, Err(error)),
            Ok(image) => {
                // the evaluation transform draws nothing
                let ready = self
                    .transform
                    .apply(&image, &mut Stream::new(0, Purpose::Augment, 0, 0));
                let mut numbers = vec![0.0; one.iter().product()];
                self.normalize.write(&ready, &mut numbers);
                (file, Ok(numbers))
            }
        };
        let read: Vec<_> = files.into_par_iter().with_max_len(1).map(read).collect();
        if self.reads.is_stopped() {
            return Err(self.reads.cause_of(DataError::Stopped).into());
        }
        let mut decoded = Decoded {
            files: Vec::with_capacity(read.len()),
            images: Vec::new(),
            one,
        };
        for (file, result) in read {
            let result = result.map(|numbers| decoded.images.extend(numbers));
            decoded.files.push((file, result));
        }
        Ok(decoded)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn config() -> InferenceConfig {
        let mut config = InferenceConfig {
            batch_size: 3,
            ..InferenceConfig::default()
        };
        config.data.image_size = [8, 12];
        config
    }

    #[test]
    fn order_is_kept_and_what_is_unreadable_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = |i: usize| folder.path().join(format!("{i}.png"));
        for i in 0..7u8 {
            image::RgbImage::from_pixel(20, 20, image::Rgb([i * 30; 3]))
                .save(file(usize::from(i)))
                .unwrap();
        }
        fs::write(file(4), "no picture").unwrap();
        let files: Vec<_> = (0..7).map(|i| Ok(file(i).into())).collect();
        let batches: Vec<_> = Decoder::new(&config())
            .batches(files.into_iter())
            .unwrap()
            .collect();
        let batches: Vec<Decoded> = batches.into_iter().map(Result::unwrap).collect();
        let shapes: Vec<_> = batches.iter().map(Decoded::shape).collect();
        assert_eq!(shapes, [[3, 3, 8, 12], [2, 3, 8, 12], [1, 3, 8, 12]]);
        let names: Vec<_> = batches
            .iter()
            .flat_map(|b| b.files.iter().map(|(f, _)| f.path().to_owned()))
            .collect();
        assert_eq!(names, (0..7).map(file).collect::<Vec<_>>());
        assert!(
            batches[1].files[1]
                .1
                .as_ref()
                .unwrap_err()
                .to_string()
                .contains("4.png")
        );
        // one grey each, so the first number of an image tells which it is
        let first = |batch: &Decoded, at: usize| batch.images[at * 3 * 8 * 12];
        let normalised = |byte: f32| (byte / 255.0 - 0.485) / 0.229;
        assert!((first(&batches[1], 1) - normalised(150.0)).abs() < 1e-5);
        assert!((first(&batches[2], 0) - normalised(180.0)).abs() < 1e-5);
    }

    #[test]
    fn an_error_of_the_list_ends_it() {
        let files = vec![
            Ok("a.png".into()),
            Err(anyhow::anyhow!("the pipe broke")),
            Ok("b.png".into()),
        ];
        let batches: Vec<_> = Decoder::new(&config())
            .batches(files.into_iter())
            .unwrap()
            .collect();
        assert_eq!(batches.len(), 1);
        assert_eq!(batches[0].as_ref().unwrap_err().to_string(), "the pipe broke");
    }

    #[test]
    #[should_panic(expected = "a fault while listing")]
    fn a_fault_of_the_thread_is_no_end_of_the_list() {
        let files = (0..7).map(|i| match i {
            5 => panic!("a fault while listing"),
            i => Ok(format!("{i}.png").into()),
        });
        let _ = Decoder::new(&config()).batches(files).unwrap().count();
    }
}
