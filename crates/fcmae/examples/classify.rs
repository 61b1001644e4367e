//! Loads weights and classifies pictures: `cargo run -p fcmae --example classify -- WEIGHTS PICTURE…`
#![allow(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;
use std::path::PathBuf;

use fcmae::trainer::Inference;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let weights = args.next().ok_or("give weights and pictures")?;
    let pictures: Vec<PathBuf> = args.collect();
    let classifier = Inference::open(&weights, &[])?; // a run folder, or a file of fcmae, timm, transformers, …
    classifier.predict(pictures.into_iter().map(|picture| Ok(picture.into())), |result| {
        match result {
            Ok(prediction) => {
                let (class, share) = classifier.most_likely(&prediction.logits, 1)[0];
                println!(
                    "{}: {} ({share:.3})",
                    prediction.file.display(),
                    classifier.class_names[class]
                );
            }
            Err(unreadable) => println!("{}", unreadable.problem),
        }
        Ok(())
    })?;
    Ok(())
}
