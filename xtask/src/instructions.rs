//! Which of the kernels' back ends this CPU has, and what `FCMAE_KERNELS` forces: as `fcmae-kernels` decides it, said
//! without libtorch.

/// A path of the kernels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Path {
    /// As `FCMAE_KERNELS` takes it.
    pub(crate) name: &'static str,
    /// In words.
    pub(crate) words: &'static str,
}

/// The environment variable that forces a path.
pub(crate) const FORCED: &str = "FCMAE_KERNELS";

const fn path(name: &'static str, words: &'static str) -> Path {
    Path { name, words }
}

/// The paths that this CPU has; the last one is the best, and is taken where none is forced.
pub(crate) fn available() -> Vec<Path> {
    let [avx2, avx512, bf16, amx] = detected();
    let mut paths = vec![
        path("reference", "libtorch operations on packed tiles"),
        path("portable", "portable"),
    ];
    paths.extend(avx2.then_some(path("avx2", "AVX2 + FMA")));
    paths.extend((avx2 && avx512).then_some(path("avx512", "AVX-512")));
    paths.extend((avx2 && avx512 && bf16).then_some(path("avx512bf16", "AVX-512 bf16")));
    paths.extend((avx2 && avx512 && bf16 && amx).then_some(path("amx", "AMX bf16")));
    paths
}

/// AVX2 with FMA; the parts of AVX-512 that the kernels use; its instructions for bf16; AMX with bf16.
#[cfg(target_arch = "x86_64")]
fn detected() -> [bool; 4] {
    let amx = std::fs::read_to_string("/proc/cpuinfo").is_ok_and(|text| {
        let mut flags = text.lines().filter(|line| line.starts_with("flags"));
        flags
            .next()
            .is_some_and(|line| line.contains(" amx_bf16") && line.contains(" amx_tile"))
    });
    [
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl"),
        is_x86_feature_detected!("avx512bf16"),
        amx,
    ]
}

#[cfg(not(target_arch = "x86_64"))]
fn detected() -> [bool; 4] {
    [false; 4]
}

/// The path that is taken where `FCMAE_KERNELS` is `forced`, in words.
///
/// # Errors
/// A name that is none of `available`: the program refuses to start under it.
pub(crate) fn taken(forced: &str, available: &[Path]) -> Result<String, String> {
    let best = available.last().map_or("none", |path| path.words);
    if forced.is_empty() {
        return Ok(best.to_owned());
    }
    match available.iter().find(|path| path.name == forced) {
        Some(path) => Ok(format!("{}, forced by {FORCED}; the best is {best}", path.words)),
        None => Err(format!("{FORCED}={forced} names no kernels of this CPU")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLDER_CPU: [Path; 3] = [
        path("reference", "libtorch operations on packed tiles"),
        path("portable", "portable"),
        path("avx2", "AVX2 + FMA"),
    ];

    #[test]
    fn the_best_is_taken_unless_another_is_forced() {
        assert_eq!(taken("", &OLDER_CPU), Ok("AVX2 + FMA".to_owned()));
        assert_eq!(
            taken("portable", &OLDER_CPU).unwrap(),
            "portable, forced by FCMAE_KERNELS; the best is AVX2 + FMA"
        );
    }

    #[test]
    fn what_this_cpu_lacks_is_refused() {
        for name in ["avx512", "avx512bf16", "AVX2", "fast"] {
            let expected = format!("FCMAE_KERNELS={name} names no kernels of this CPU");
            assert_eq!(taken(name, &OLDER_CPU), Err(expected));
        }
    }

    #[test]
    fn every_cpu_has_two_paths_and_none_twice() {
        let names: Vec<_> = available().iter().map(|path| path.name).collect();
        assert_eq!(names[..2], ["reference", "portable"]);
        let all = ["reference", "portable", "avx2", "avx512", "avx512bf16", "amx"];
        assert_eq!(names, all[..names.len()], "each set contains the one before");
    }
}
