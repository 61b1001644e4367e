//! Many classes are measured in little more memory than their scores take.

use std::fs;

use fcmae_analysis::{Bootstrap, ClassificationReport, ConfusionMatrix, Scores};

/// The most memory that this process has held, in MiB, where the system tells.
fn peak_mib() -> Option<usize> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()? / 1024)
}

#[test]
fn one_ranking_is_held_at_a_time() {
    let (images, classes) = (128, 25 * ConfusionMatrix::MOST_CLASSES);
    let values: Vec<f32> = (0..images * classes).map(|at| (at % 8191) as f32).collect(); // 24 MiB
    let labels = vec![0; images];
    let names = vec![String::new(); classes];
    let scores = Scores::new(&values, classes).unwrap();
    let no_intervals = Bootstrap {
        resamples: 0,
        ..Bootstrap::default()
    };
    let Some(before) = peak_mib() else {
        return eprintln!("skipped: this system does not tell a process its peak");
    };
    let report = ClassificationReport::new(&scores, &labels, &names, &no_intervals).unwrap();
    assert!(report.auroc.is_none() && report.per_class.len() == classes);
    let grown = peak_mib().unwrap() - before;
    assert!(grown < 32, "{grown} MiB"); // all probabilities and rankings: 98 MiB, the matrix: 19 GiB
}
