//! Errors for people: one message, and whether the input or the run was at fault.

use std::error::Error;
use std::panic::PanicHookInfo;

use fcmae::analysis::VerifyError;
use fcmae::checkpoint::{CheckpointError, NameReport};
use fcmae::config::ConfigError;
use fcmae::data::{DataError, is_decoding};
use fcmae::decoder::DecoderError;
use fcmae::encoder::EncoderError;
use fcmae::masking::MaskError;
use fcmae::model::ModelError;
use fcmae::report::ReportError;
use fcmae::torch_ext::first_line;
use fcmae::trainer::{InputError, one_line};
use tch::TchError;

/// 2 for input that the user can put right, 1 for everything else.
pub(super) fn code(error: &anyhow::Error) -> u8 {
    if error.chain().any(is_input) { 2 } else { 1 }
}

fn is_input(error: &(dyn Error + 'static)) -> bool {
    error.is::<InputError>()
        || error.is::<ConfigError>()
        || error.downcast_ref::<DataError>().is_some_and(is_bad_data)
        || error.is::<CheckpointError>()
        || error.is::<NameReport>()
        || error.is::<MaskError>()
        || error.is::<EncoderError>()
        || error.is::<DecoderError>()
        || error.is::<ModelError>()
        || error.is::<VerifyError>()
        || error.is::<ReportError>()
}

/// A server that fails for a while is nobody's input: the same command may go better later.
fn is_bad_data(error: &DataError) -> bool {
    !matches!(
        error,
        DataError::Fetch {
            is_lasting: false,
            ..
        }
    )
}

/// The error and its causes in one message; a cause that the message before it already tells is left out.
pub(super) fn describe(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain() {
        let text = cause.to_string();
        // libtorch appends a C++ backtrace
        let text = if cause.is::<TchError>() {
            first_line(&text)
        } else {
            text.as_str()
        };
        if message.is_empty() {
            message = text.to_owned();
        } else if !message.contains(text) {
            message = format!("{message}: {text}");
        }
    }
    one_line(&message).into_owned()
}

/// A panic is a fault of this program, or libtorch out of memory. That of an image's decoder becomes an error.
pub(super) fn report_panic(info: &PanicHookInfo) {
    if is_decoding() {
        return;
    }
    let payload = info.payload();
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    let place = info
        .location()
        .map(|place| format!(" ({}:{})", place.file(), place.line()));
    let message = panic_message(text) + &place.unwrap_or_default();
    eprintln!("error: {}", one_line(&message));
}

fn panic_message(text: &str) -> String {
    // tch panics with `called Result::unwrap() on an Err value: Torch("…\n…")`, escaped
    let line = first_line(text).split("\\n").next().unwrap_or_default();
    let is_memory = ["allocate memory", "out of memory"]
        .iter()
        .any(|words| text.contains(words));
    if is_memory {
        return format!(
            "out of memory; lower `batch_size` (in a training `train.batch_size`, and raise `train.accumulate`): {line}"
        );
    }
    format!("a fault of this program, please report it: {line}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input() -> anyhow::Error {
        anyhow::Error::new(InputError::NothingToResume {
            folder: "runs/a".into(),
        })
    }

    #[test]
    fn input_errors_are_told_from_failures() {
        assert_eq!(code(&input()), 2);
        assert_eq!(code(&input().context("while preparing")), 2);
        assert_eq!(code(&anyhow::anyhow!("the loss is NaN")), 1);
        assert_eq!(code(&DataError::NoSource.into()), 2);
        for (is_lasting, expected) in [(false, 1), (true, 2)] {
            let fetch = DataError::Fetch {
                url: "https://127.0.0.1/a.tar".to_owned(),
                problem: "timeout".to_owned(),
                is_lasting,
            };
            assert_eq!(code(&anyhow::Error::new(fetch).context("step 3")), expected);
        }
        assert_eq!(
            code(&fcmae::config::load("no/such/file.toml", &[]).unwrap_err().into()),
            2
        );
    }

    #[test]
    fn causes_are_told_once() {
        let inner = std::io::Error::other("disk on fire");
        let error = anyhow::Error::new(inner)
            .context("writing a: disk on fire")
            .context("step 3");
        assert_eq!(describe(&error), "step 3: writing a: disk on fire");
    }

    #[test]
    fn a_message_is_one_line_whatever_names_a_file_has_put_into_it() {
        let error = anyhow::Error::msg("a\nb.png: cannot read");
        assert_eq!(describe(&error), "a\\nb.png: cannot read");
    }

    #[test]
    fn libtorch_errors_lose_their_backtrace() {
        let error = tch::Tensor::from_slice(&[1.0f32]).f_view([3i64]).unwrap_err();
        assert!(error.to_string().contains('\n'));
        let message = describe(&anyhow::Error::new(error));
        assert!(
            message.contains("shape '[3]' is invalid") && !message.contains('\n'),
            "{message}"
        );
    }

    #[test]
    fn panics_are_one_line() {
        let text = "called `Result::unwrap()` on an `Err` value: Torch(\"DefaultCPUAllocator: can't allocate memory: \
                    you tried to allocate 9 bytes.\\nException raised from …\")";
        let message = panic_message(text);
        assert!(
            message.starts_with("out of memory; lower `batch_size`"),
            "{message}"
        );
        assert!(message.ends_with("9 bytes."), "{message}");
        assert!(panic_message("index out of bounds").contains("please report it: index out of bounds"));
    }
}
