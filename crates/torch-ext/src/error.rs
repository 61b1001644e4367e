//! Errors that come out of libtorch, shortened for people.

use std::ffi::{CStr, c_char};

/// libtorch refused a call.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[error("{op}: {message}")]
pub struct TorchError {
    /// The function that was called.
    pub op: &'static str,
    /// First line of libtorch's message.
    pub message: String,
}

/// The first line of a libtorch error text: what follows is a C++ backtrace.
///
/// ```
/// assert_eq!(fcmae_torch_ext::first_line("bad shape\nException raised from …"), "bad shape");
/// ```
#[must_use]
pub fn first_line(message: &str) -> &str {
    message.lines().next().unwrap_or_default().trim_end()
}

/// Turns the text that a shim returned into an error, and frees it.
pub(crate) fn take_error(op: &'static str, error: *mut c_char) -> Result<(), TorchError> {
    if error.is_null() {
        return Ok(());
    }
    // SAFETY: a shim returns null or a NUL-terminated string from `strdup`, which is ours to free, once.
    let message = unsafe {
        let text = CStr::from_ptr(error).to_string_lossy().into_owned();
        libc::free(error.cast());
        text
    };
    Err(TorchError {
        op,
        message: first_line(&message).to_owned(),
    })
}
