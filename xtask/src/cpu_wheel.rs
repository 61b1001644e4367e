//! From PyTorch's wheel to a libtorch for the CPU: three libraries, the headers, two CUDA stubs, a linker script.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::pins::{CUDA_CUPTI, CUDA_RUNTIME, LIBTORCH_VERSION, Wheel};
use crate::process::BadInput;
use crate::staging::{Staging, remove};
use crate::{download, libtorch};

/// Unpacks what a CPU build needs into a new `target`, which appears only when it is complete.
pub(crate) fn install(torch: &Path, stub: &dyn Fn(&Wheel) -> Result<PathBuf>, target: &Path) -> Result<()> {
    let staging = Staging::begin(target)?;
    let cuda = Cell::new(false);
    let version = format!("torch-{LIBTORCH_VERSION}");
    let places = download::unpack(torch, staging.path(), |name| {
        cuda.set(cuda.get() || name == "torch/lib/libtorch_cuda.so");
        let info = name
            .split_once(".dist-info/")
            .filter(|(_, file)| *file == "METADATA");
        if info.is_some_and(|(package, _)| package.split('+').next() == Some(version.as_str())) {
            return Some("METADATA".into());
        }
        pick_torch(name)
    })?;
    if !places.contains(&PathBuf::from("METADATA")) {
        return Err(BadInput(format!(
            "{}: not a wheel of torch {LIBTORCH_VERSION}",
            torch.display()
        ))
        .into());
    }
    remove(&staging.path().join("METADATA"))?;
    if cuda.get() {
        for (wheel, library) in [(CUDA_RUNTIME, "libcudart.so.13"), (CUDA_CUPTI, "libcupti.so.13")] {
            download::unpack(&stub(&wheel)?, staging.path(), |name| {
                name.ends_with(&format!("/{library}"))
                    .then(|| Path::new("lib").join(library))
            })?;
            if !staging.path().join("lib").join(library).exists() {
                bail!("{}: no {library} inside", wheel.file);
            }
        }
    }
    // a linker script: whoever links `torch` gets the CPU library, and `libtorch_cuda.so` is not asked for
    write(staging.path(), "lib/libtorch.so", "INPUT(-ltorch_cpu)\n")?;
    write(
        staging.path(),
        "build-version",
        &format!("{LIBTORCH_VERSION}+cpu\n"),
    )?;
    if let Err(why) = libtorch::check(staging.path()) {
        bail!("{}: incomplete wheel: {why}", torch.display());
    }
    staging.commit()?;
    Ok(())
}

/// The place in our folder of a file of the torch wheel, if a CPU build needs it.
fn pick_torch(name: &str) -> Option<PathBuf> {
    let name = name.strip_prefix("torch/")?;
    let library = ["lib/libtorch_cpu.so", "lib/libc10.so", "lib/libgomp.so.1"].contains(&name);
    (library || name.starts_with("include/")).then(|| name.into())
}

/// Writes a small file of an installation.
pub(crate) fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let path = folder.join(name);
    fs::write(&path, text).with_context(|| format!("{}: cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::download::tests::fake_wheel;

    const TORCH_FILES: [(&str, &str); 7] = [
        ("torch/lib/libtorch_cpu.so", "cpu"),
        ("torch/lib/libc10.so", "c10"),
        ("torch/lib/libgomp.so.1", "gomp"),
        ("torch/lib/libtorch_cuda.so", "never needed"),
        ("torch/include/torch/csrc/api/include/torch/torch.h", "// header"),
        ("torch/nn/modules/linear.py", "never needed"),
        ("torch-2.11.0.dist-info/METADATA", "Version: 2.11.0"),
    ];

    struct Fake {
        home: tempfile::TempDir,
    }

    impl Fake {
        fn new(files: &[(&str, &str)]) -> Fake {
            let home = tempfile::tempdir().unwrap();
            fake_wheel(&home.path().join("torch.whl"), files);
            fake_wheel(
                &home.path().join(CUDA_RUNTIME.file),
                &[("nvidia/cu13/lib/libcudart.so.13", "rt")],
            );
            fake_wheel(
                &home.path().join(CUDA_CUPTI.file),
                &[("nvidia/cu13/lib/libcupti.so.13", "cupti")],
            );
            Fake { home }
        }

        fn target(&self) -> PathBuf {
            self.home.path().join("cache/2.11.0-cpu")
        }

        fn install(&self) -> Result<()> {
            let stub = |wheel: &Wheel| Ok(self.home.path().join(wheel.file));
            install(&self.home.path().join("torch.whl"), &stub, &self.target())
        }

        fn left_in_cache(&self) -> Vec<String> {
            let entries = fs::read_dir(self.home.path().join("cache")).unwrap();
            entries
                .map(|e| e.unwrap().file_name().into_string().unwrap())
                .collect()
        }
    }

    #[test]
    fn a_wheel_becomes_a_cpu_libtorch() {
        let fake = Fake::new(&TORCH_FILES);
        fake.install().unwrap();
        let target = fake.target();
        assert_eq!(libtorch::check(&target).unwrap(), "2.11.0+cpu");
        let mut libraries: Vec<_> = fs::read_dir(target.join("lib"))
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        libraries.sort();
        let expected = [
            "libc10.so",
            "libcudart.so.13",
            "libcupti.so.13",
            "libgomp.so.1",
            "libtorch.so",
            "libtorch_cpu.so",
        ];
        assert_eq!(libraries, expected);
        assert_eq!(
            fs::read_to_string(target.join("lib/libtorch.so")).unwrap(),
            "INPUT(-ltorch_cpu)\n"
        );
        assert!(
            target
                .join("include/torch/csrc/api/include/torch/torch.h")
                .is_file()
        );
        assert!(!target.join("nn").exists() && !target.join("METADATA").exists());
        assert_eq!(fake.left_in_cache(), ["2.11.0-cpu"]);
        fake.install().unwrap(); // again, over the first
        assert_eq!(fake.left_in_cache(), ["2.11.0-cpu"]);
    }

    #[test]
    fn a_wheel_made_for_the_cpu_needs_no_stubs() {
        let files: Vec<_> = TORCH_FILES
            .iter()
            .filter(|(name, _)| !name.contains("cuda"))
            .map(|(name, text)| (name.replace("2.11.0.dist", "2.11.0+cpu.dist"), *text))
            .collect();
        let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), *text)).collect();
        let fake = Fake::new(&files);
        let never = |_: &Wheel| bail!("no stub is needed");
        install(&fake.home.path().join("torch.whl"), &never, &fake.target()).unwrap();
        assert!(!fake.target().join("lib/libcudart.so.13").exists());
    }

    #[test]
    fn wrong_and_incomplete_wheels_install_nothing() {
        let check = |files: &[(&str, &str)], expected: &str| {
            let fake = Fake::new(files);
            let text = format!("{:#}", fake.install().unwrap_err());
            assert!(text.contains(expected), "{text}");
            assert_eq!(fake.left_in_cache(), [""; 0]);
        };
        check(&TORCH_FILES[..6], "not a wheel of torch 2.11.0");
        check(
            &[("torch-2.10.0.dist-info/METADATA", "")],
            "not a wheel of torch 2.11.0",
        );
        check(&TORCH_FILES[1..], "has no lib/libtorch_cpu.so");
    }

    #[test]
    fn a_run_killed_while_unpacking_is_taken_up_by_the_next() {
        let fake = Fake::new(&TORCH_FILES);
        let killed = Staging::begin(&fake.target()).unwrap();
        write(killed.path(), "half", "…").unwrap();
        std::mem::forget(killed);
        assert!(
            libtorch::check(&fake.target()).is_err(),
            "what is half made must not look installed"
        );
        fake.install().unwrap();
        assert_eq!(fake.left_in_cache(), ["2.11.0-cpu"]);
        assert!(!fake.target().join("half").exists());
    }
}
