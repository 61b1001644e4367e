//! Every version and hash that xtask downloads by: to move to another one, change this file and nothing else.

/// The libtorch release that the `tch` of this workspace is made for.
pub(crate) const LIBTORCH_VERSION: &str = "2.11.0";

/// One wheel of the Python package index: a zip, of which no Python code is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wheel {
    /// Name of the package, as pip takes it.
    pub(crate) package: &'static str,
    /// Exact version.
    pub(crate) version: &'static str,
    /// Name of the file that pip is expected to bring.
    pub(crate) file: &'static str,
    /// SHA-256 of that file, lower-case hexadecimal.
    pub(crate) sha256: &'static str,
    /// Size of that file in bytes.
    pub(crate) bytes: u64,
}

/// PyTorch itself: `libtorch_cpu.so`, `libc10.so`, `libgomp.so.1` and the headers are taken from it.
pub(crate) const TORCH: Wheel = Wheel {
    package: "torch",
    version: LIBTORCH_VERSION,
    file: "torch-2.11.0-cp312-cp312-manylinux_2_28_x86_64.whl",
    sha256: "0f68f4ac6d95d12e896c3b7a912b5871619542ec54d3649cf48cc1edd4dd2756",
    bytes: 530_712_279,
};

/// `libcudart.so.13`, which `libtorch_cpu.so` of that wheel asks for even on a machine without a GPU.
pub(crate) const CUDA_RUNTIME: Wheel = Wheel {
    package: "nvidia-cuda-runtime",
    version: "13.0.96",
    file: "nvidia_cuda_runtime-13.0.96-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
    sha256: "7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548",
    bytes: 2_243_632,
};

/// `libcupti.so.13`, for the same reason.
pub(crate) const CUDA_CUPTI: Wheel = Wheel {
    package: "nvidia-cuda-cupti",
    version: "13.0.85",
    file: "nvidia_cuda_cupti-13.0.85-py3-none-manylinux_2_25_x86_64.whl",
    sha256: "4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8",
    bytes: 10_715_597,
};

/// The other programs whose weights are ours too, as pip takes them, and what timm needs of the same release as PyTorch.
pub(crate) const TIMM: &str = "timm==1.0.31";
pub(crate) const TORCHVISION: &str = "torchvision==0.26.0";
pub(crate) const TRANSFORMERS: &str = "transformers==5.23.0";

/// The default data set, ELPV: images and labels of solar cells.
pub(crate) const ELPV: Wheel = Wheel {
    package: "elpv-dataset",
    version: "1.0.0.post1",
    file: "elpv_dataset-1.0.0.post1-py3-none-any.whl",
    sha256: "85e31c1126ee9b48e62d3a0232c58f58b2d189b0814a45c13642fa0415af4a4c",
    bytes: 90_801_454,
};

/// SHA-256 of the list of hashes of all files that ELPV is laid out as, train and test split included.
pub(crate) const ELPV_CHECKSUMS: &str = "5e8d5b9871b4bb432765ea470e898b97aeb84d5b9f404e9391b83fa15fbe9b79";

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Wheel; 4] = [TORCH, CUDA_RUNTIME, CUDA_CUPTI, ELPV];

    #[test]
    fn each_pin_is_complete_and_its_file_name_says_the_same() {
        for wheel in ALL {
            assert_eq!(wheel.sha256.len(), 64, "{}", wheel.package);
            assert!(
                wheel
                    .sha256
                    .bytes()
                    .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
            );
            let start = format!("{}-{}-", wheel.package.replace('-', "_"), wheel.version);
            assert!(
                wheel.file.starts_with(&start),
                "{} does not start with {start}",
                wheel.file
            );
            assert!(wheel.file.ends_with(".whl") && wheel.bytes > 1_000_000);
        }
    }

    #[test]
    fn libtorch_is_the_release_that_tch_is_locked_to() {
        // tch 0.24 names its libtorch only in its build script, so the pair is pinned here.
        let manifest = include_str!("../../Cargo.toml");
        assert!(manifest.contains("tch = \"=0.24.0\"") && LIBTORCH_VERSION == "2.11.0");
    }
}
