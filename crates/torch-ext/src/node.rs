//! Autograd nodes written in Rust.

use std::ffi::{CString, c_char, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};

use tch::Tensor;
use torch_sys::C_tensor;

use crate::error::{TorchError, take_error};

/// The backward half of an operation, with whatever it kept of the forward half.
///
/// It is dropped when the graph is freed.
pub trait Backward: Send {
    /// Gradients of `inputs` (as given to [`attach`]) from the gradient of the output; `None` where there is none.
    ///
    /// # Errors
    /// A message; it becomes the error of the `backward` call.
    fn backward(&self, inputs: &[Tensor], grad: &Tensor) -> Result<Vec<Option<Tensor>>, String>;
}

unsafe extern "C" {
    fn fcmae_records(inputs: *const *const C_tensor, n_inputs: usize) -> bool;
    fn fcmae_attach(
        inputs: *const *const C_tensor,
        n_inputs: usize,
        output: *mut C_tensor,
        context: *mut c_void,
        backward: extern "C" fn(
            *mut c_void,
            *const *mut C_tensor,
            usize,
            *mut C_tensor,
            *mut *mut C_tensor,
        ) -> *mut c_char,
        drop: extern "C" fn(*mut c_void),
    ) -> *mut c_char;
}

/// What crosses the border: a thin pointer to a fat one.
struct Context(Box<dyn Backward>);

/// Makes `output`, computed outside the graph, the result of a differentiable operation on `inputs`.
///
/// Under `no_grad`, or when no input requires a gradient, `output` comes back as it is and `backward` is dropped.
///
/// # Errors
/// What libtorch refuses (an output that is part of a graph already).
pub fn attach(
    inputs: &[&Tensor],
    mut output: Tensor,
    backward: Box<dyn Backward>,
) -> Result<Tensor, TorchError> {
    let pointers: Vec<_> = inputs.iter().map(|t| t.as_ptr()).collect();
    let context = Box::into_raw(Box::new(Context(backward)));
    // SAFETY: the pointers are of live tensors; the shim takes `context` over and gives it back to `drop_context`
    // exactly once; both callbacks catch every panic.
    let error = unsafe {
        fcmae_attach(
            pointers.as_ptr(),
            pointers.len(),
            output.as_mut_ptr(),
            context.cast(),
            call_backward,
            drop_context,
        )
    };
    take_error("attach", error)?;
    Ok(output)
}

/// Whether an operation on `inputs` is recorded for a backward pass: outside `no_grad`, and one of them requires a
/// gradient.
#[must_use]
pub fn records(inputs: &[&Tensor]) -> bool {
    let pointers: Vec<_> = inputs.iter().map(|t| t.as_ptr()).collect();
    // SAFETY: the pointers are of live tensors; the shim catches every C++ exception.
    unsafe { fcmae_records(pointers.as_ptr(), pointers.len()) }
}

/// Called by the node: gradients into `out`, one place per input, or an error text from `malloc`.
extern "C" fn call_backward(
    context: *mut c_void,
    inputs: *const *mut C_tensor,
    n_inputs: usize,
    grad: *mut C_tensor,
    out: *mut *mut C_tensor,
) -> *mut c_char {
    let run = || -> Result<Vec<Option<Tensor>>, String> {
        // SAFETY: `context` is what `attach` made and has not been dropped; the node passes `n_inputs` pointers to
        // live tensors and one to the gradient, of which `clone_from_ptr` makes shallow copies of our own.
        let (context, inputs, grad) = unsafe {
            let context = &*context.cast::<Context>();
            let inputs = std::slice::from_raw_parts(inputs, n_inputs);
            let inputs: Vec<Tensor> = inputs.iter().map(|&t| Tensor::clone_from_ptr(t)).collect();
            (context, inputs, Tensor::clone_from_ptr(grad))
        };
        tch::no_grad(|| context.0.backward(&inputs, &grad))
    };
    let message = match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(gradients)) if gradients.len() == n_inputs => {
            for (i, gradient) in gradients.into_iter().enumerate() {
                let Some(mut gradient) = gradient else { continue };
                // SAFETY: `out` has `n_inputs` places; the node takes the tensor over, so it is not dropped here.
                unsafe { *out.add(i) = gradient.as_mut_ptr() };
                std::mem::forget(gradient);
            }
            return std::ptr::null_mut();
        }
        Ok(Ok(gradients)) => format!("{} gradients for {n_inputs} inputs", gradients.len()),
        Ok(Err(message)) => message,
        Err(panic) => panic_text(panic.as_ref()),
    };
    let text = CString::new(message.replace('\0', " ")).unwrap_or_default();
    // SAFETY: `text` is NUL-terminated; the copy is from `malloc`, as the node expects.
    unsafe { libc::strdup(text.as_ptr()) }
}

extern "C" fn drop_context(context: *mut c_void) {
    // SAFETY: made by `Box::into_raw` in `attach`; the shim calls this once.
    let context = unsafe { Box::from_raw(context.cast::<Context>()) };
    // A panic in a destructor must not unwind into C++; there is nobody to tell.
    let _ = catch_unwind(AssertUnwindSafe(|| drop(context)));
}

/// The message of a caught panic.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tch::{Device, Kind};

    use super::*;

    /// `y = a·b`, and a counter of living nodes.
    struct Product {
        alive: Arc<AtomicUsize>,
        fail: bool,
    }

    impl Product {
        fn new(alive: &Arc<AtomicUsize>, fail: bool) -> Box<Product> {
            alive.fetch_add(1, Ordering::SeqCst);
            Box::new(Product {
                alive: alive.clone(),
                fail,
            })
        }
    }

    impl Drop for Product {
        fn drop(&mut self) {
            self.alive.fetch_sub(1, Ordering::SeqCst);
        }
    }

    impl Backward for Product {
        fn backward(&self, inputs: &[Tensor], grad: &Tensor) -> Result<Vec<Option<Tensor>>, String> {
            assert!(!self.fail, "told to fail");
            Ok(vec![Some(grad * &inputs[1]), Some(grad * &inputs[0])])
        }
    }

    fn leaf(value: f64) -> Tensor {
        (Tensor::ones([2], (Kind::Double, Device::Cpu)) * value).set_requires_grad(true)
    }

    fn product(a: &Tensor, b: &Tensor, node: Box<Product>) -> Tensor {
        let y = tch::no_grad(|| a * b);
        attach(&[a, b], y, node).unwrap()
    }

    #[test]
    fn gradients_flow_through_rust_and_the_node_is_freed() {
        let alive = Arc::default();
        let (a, b) = (leaf(3.0), leaf(5.0));
        let y = product(&(&a * 2.0), &b, Product::new(&alive, false));
        assert!(y.requires_grad());
        (y * 10.0).sum(Kind::Double).backward();
        assert_eq!(a.grad().double_value(&[0]), 100.0); // 10·5·2
        assert_eq!(b.grad().double_value(&[1]), 60.0); // 10·(3·2)
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_panic_becomes_an_error_of_backward() {
        let alive = Arc::default();
        let (a, b) = (leaf(1.0), leaf(2.0));
        let y = product(&a, &b, Product::new(&alive, true)).sum(Kind::Double);
        let error = y.f_backward().unwrap_err().to_string();
        assert!(error.contains("told to fail"), "{error}");
        drop(y);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn without_a_graph_nothing_is_kept() {
        let alive = Arc::default();
        let (a, b) = (leaf(1.0), leaf(2.0));
        let y = tch::no_grad(|| product(&a, &b, Product::new(&alive, false)));
        assert!(!y.requires_grad());
        assert!(records(&[&b.detach(), &a]) && !records(&[&a.detach(), &b.detach()]));
        assert!(!tch::no_grad(|| records(&[&a, &b])));
        let y = product(&a.detach(), &b.detach(), Product::new(&alive, false));
        assert!(!y.requires_grad());
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn an_input_that_was_changed_in_between_is_an_error() {
        let alive = Arc::default();
        let (a, b) = (leaf(1.0), leaf(2.0));
        let middle = &a * 1.0;
        let y = product(&middle, &b, Product::new(&alive, false)).sum(Kind::Double);
        tch::no_grad(|| drop(middle.shallow_clone().fill_(7.0)));
        assert!(
            y.f_backward()
                .unwrap_err()
                .to_string()
                .contains("modified by an inplace operation")
        );
    }
}
