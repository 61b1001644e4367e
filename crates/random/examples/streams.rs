//! Draws from keyed streams: `cargo run -p fcmae-random --example streams`.
#![expect(clippy::print_stdout, reason = "an example shows what it drew")]

use fcmae_random::{Purpose, Stream, hash64};

fn main() {
    let (seed, epoch) = (7, 3);

    // The same key gives the same draws, whichever thread asks, and in whichever order.
    let forwards: Vec<f64> = (0..4)
        .map(|id| Stream::new(seed, Purpose::Augment, epoch, id).uniform())
        .collect();
    let mut backwards: Vec<f64> = (0..4)
        .rev()
        .map(|id| Stream::new(seed, Purpose::Augment, epoch, id).uniform())
        .collect();
    backwards.reverse();
    println!(
        "one draw per sample: {forwards:.3?}; asked in reverse order: {}",
        forwards == backwards
    );
    assert_eq!(forwards, backwards);

    // A permutation per epoch.
    for epoch in 0..3 {
        println!(
            "epoch {epoch}: order {:?}",
            Stream::new(seed, Purpose::Order, epoch, 0).permutation(8)
        );
    }

    // A held-out quarter by name: independent of which other files exist.
    let held_out = (0..1000)
        .map(|i| format!("cell{i:04}.png"))
        .filter(|name| Stream::new(seed, Purpose::Split, 0, hash64(name.as_bytes())).bernoulli(0.25))
        .count();
    println!("held out: {held_out} of 1000 names (expected about 250)");

    let mut weights = Stream::new(seed, Purpose::Init, 0, hash64(b"encoder.stem.weight"));
    let n = 10_000;
    let variance = (0..n)
        .map(|_| weights.truncated_normal(0.02, -2.0, 2.0).powi(2))
        .sum::<f64>()
        / f64::from(n);
    println!(
        "deviation of {n} initial weights: {:.4} (expected 0.02)",
        variance.sqrt()
    );
    assert!((variance.sqrt() - 0.02).abs() < 0.001);
}
