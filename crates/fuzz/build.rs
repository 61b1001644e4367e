//! Writes the run path to libtorch into this package's tests, examples and binaries.
//! (The same lines in every package that links libtorch: cargo does not pass link arguments on.)
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
    }
}
