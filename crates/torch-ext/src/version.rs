//! Which libtorch this is.

use std::ffi::{CStr, c_char};

unsafe extern "C" {
    fn fcmae_libtorch_version() -> *const c_char;
}

/// The version of the libtorch that this program was built against, e.g. `2.11.0`.
#[must_use]
pub fn libtorch_version() -> &'static str {
    // SAFETY: the shim returns a string literal: NUL-terminated, alive for the whole program, never written.
    let version = unsafe { CStr::from_ptr(fcmae_libtorch_version()) };
    version.to_str().unwrap_or("unknown")
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_the_version_that_tch_pairs_with() {
        assert!(
            super::libtorch_version().starts_with("2.11."),
            "{}",
            super::libtorch_version()
        );
    }
}
