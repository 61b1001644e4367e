//! The GPU back end of libtorch, found when the program runs.

use std::ffi::CStr;

unsafe extern "C" {
    fn fcmae_forbid_tf32() -> bool;
}

/// Loads `libtorch_cuda.so` if the dynamic linker finds it (beside libtorch, or on `LD_LIBRARY_PATH`), so that
/// its back ends register themselves. Returns whether a GPU can be used now.
///
/// The program is linked to the CPU libtorch alone, so that it needs no CUDA to install; started with a full
/// PyTorch 2.11 `lib` folder first on `LD_LIBRARY_PATH` the same binary uses the GPU. Call it once at start-up.
///
/// From then on f32 means f32: TF32, which libtorch allows in convolutions and whose 10 bits show as 3e-4, is off.
pub fn load_cuda() -> bool {
    const NAME: &CStr = c"libtorch_cuda.so";
    // SAFETY: `NAME` is NUL-terminated; running the library's constructors is the purpose of the call; the
    // handle is never closed, so what they register stays valid.
    let handle = unsafe { libc::dlopen(NAME.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    // SAFETY: sets two flags of libtorch.
    let is_exact = !unsafe { fcmae_forbid_tf32() };
    debug_assert!(is_exact, "libtorch allows TF32 against its word");
    !handle.is_null() && tch::Cuda::is_available()
}

#[cfg(test)]
mod tests {
    #[test]
    fn agrees_with_what_libtorch_says() {
        assert_eq!(super::load_cuda(), tch::Cuda::is_available());
    }

    #[test]
    fn tf32_is_off() {
        // SAFETY: sets two flags of libtorch.
        assert!(!unsafe { super::fcmae_forbid_tf32() });
    }
}
