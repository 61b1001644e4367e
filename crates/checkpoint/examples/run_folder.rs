//! Saves, damages and recovers checkpoints: `cargo run -p fcmae-checkpoint --example run_folder`.
#![expect(clippy::print_stdout, reason = "an example shows what it found")]

use std::error::Error;
use std::fs;

use fcmae_checkpoint::{CheckpointFolder, Metadata, TensorData, Tensors, check_names, read_safetensors};

fn main() -> Result<(), Box<dyn Error>> {
    let root = std::env::temp_dir().join(format!("fcmae-example-{}", std::process::id()));
    let folder = CheckpointFolder::open(&root, 2)?;
    for step in [100_u64, 200, 300] {
        let weights = TensorData::from_f32(vec![2, 3], &[step as f32; 6])?;
        let tensors: Tensors = [("norm.weight".to_owned(), weights)].into();
        let staging = folder.begin(step)?;
        staging.write_tensors("model.safetensors", &tensors, &Metadata::new())?;
        staging.write_json("state.json", &step)?;
        staging.commit()?;
    }
    let steps: Vec<u64> = folder.list()?.iter().map(|checkpoint| checkpoint.step).collect();
    println!("kept: {steps:?}");
    assert_eq!(steps, [200, 300]);

    // One flipped bit in the newest: the run goes on from the one before.
    let newest = root.join("step-00000300/model.safetensors");
    let mut bytes = fs::read(&newest)?;
    *bytes.last_mut().ok_or("empty")? ^= 1;
    fs::write(&newest, bytes)?;
    let valid = folder.latest_valid()?.ok_or("no checkpoint")?;
    println!(
        "usable: step {}, with {} warning",
        valid.step,
        valid.warnings.len()
    );
    assert_eq!(valid.step, 200);

    let (tensors, _) = read_safetensors(valid.path.join("model.safetensors"))?;
    println!("norm.weight[0] = {}", tensors["norm.weight"].to_f32()?[0]);
    let report = check_names(&[("norm.weight".into(), vec![4, 3])], &tensors, &[], &[]);
    println!("{}", report.err().ok_or("the shapes should differ")?);

    fs::remove_dir_all(&root)?;
    Ok(())
}
