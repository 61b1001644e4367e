//! Compiles the C++ shims against the libtorch that torch-sys found, and writes the run path to it.
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=cpp");
    let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") else {
        return; // torch-sys was built without libtorch (docs only)
    };
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    let include = PathBuf::from(&lib).join("../include");
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .warnings(false)
        .flag("-D_GLIBCXX_USE_CXX11_ABI=1")
        .flag("-fopenmp")
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .files([
            "cpp/cuda.cpp",
            "cpp/gradient.cpp",
            "cpp/node.cpp",
            "cpp/optimizer.cpp",
            "cpp/parallel.cpp",
        ])
        .compile("fcmae_shim");
    link_gomp(Path::new(&lib));
}

/// Links the OpenMP runtime that libtorch itself uses, so that there is one in the process: two would each start
/// their threads and fight for the cores.
fn link_gomp(lib: &Path) {
    let files = std::fs::read_dir(lib).into_iter().flatten().flatten();
    let mut names = files.filter_map(|file| file.file_name().into_string().ok());
    match names.find(|name| name.starts_with("libgomp") && name.contains(".so")) {
        Some(name) => {
            println!("cargo:rustc-link-search=native={}", lib.display());
            println!("cargo:rustc-link-lib=dylib:+verbatim={name}");
        }
        None => println!("cargo:rustc-link-lib=dylib=gomp"), // a libtorch that uses the system's
    }
}
