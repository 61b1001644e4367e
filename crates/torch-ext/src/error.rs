//! Errors that come out of libtorch, shortened for people.

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
