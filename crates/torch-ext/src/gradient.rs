//! Taking a tensor's gradient away: `tch` can only fill it with zeros.

use std::ffi::c_char;

use tch::Tensor;
use torch_sys::C_tensor;

use crate::error::{TorchError, take_error};

unsafe extern "C" {
    fn fcmae_clear_gradient(tensor: *mut C_tensor) -> *mut c_char;
}

/// Takes the gradient of a leaf away, for all tensors that share it.
///
/// The next backward pass then hands its own tensor over, where it would add to one of zeros: two passes over the
/// memory less. Until then [`Tensor::grad`] is not [defined](Tensor::defined).
///
/// # Errors
/// A tensor that is not defined.
pub fn clear_gradient(tensor: &Tensor) -> Result<(), TorchError> {
    const OP: &str = "clear_gradient";
    if !tensor.defined() {
        return Err(TorchError {
            op: OP,
            message: "the tensor is not defined".to_owned(),
        });
    }
    // SAFETY: the pointer is of a live, defined tensor, of which the shim touches nothing but the gradient; it catches
    // every C++ exception.
    let error = unsafe { fcmae_clear_gradient(tensor.as_ptr().cast_mut()) };
    take_error(OP, error)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};

    use tch::{Device, Kind};

    use super::*;
    use crate::node::{Backward, attach};

    fn leaf() -> Tensor {
        Tensor::ones([3], (Kind::Float, Device::Cpu)).set_requires_grad(true)
    }

    #[test]
    fn what_is_cleared_is_gone_and_comes_back() {
        let w = leaf();
        let shared = w.shallow_clone();
        for _ in 0..2 {
            clear_gradient(&w).unwrap();
            assert!(!w.grad().defined() && !shared.grad().defined());
            (&w * 2.0).sum(Kind::Float).backward();
            assert_eq!(shared.grad(), w.detach() * 2.0);
        }
        (&w * 2.0).sum(Kind::Float).backward();
        assert_eq!(w.grad(), w.detach() * 4.0);
    }

    #[test]
    fn a_tensor_that_is_not_defined_is_refused() {
        let error = clear_gradient(&Tensor::new()).unwrap_err().to_string();
        assert_eq!(error, "clear_gradient: the tensor is not defined");
    }

    /// `y = 2·x`, telling where its gradient lies.
    struct Double(Mutex<Sender<usize>>);

    impl Backward for Double {
        fn backward(&self, _: &[Tensor], grad: &Tensor) -> Result<Vec<Option<Tensor>>, String> {
            let gradient = grad * 2.0;
            let told = self.0.lock().unwrap().send(gradient.data_ptr() as usize);
            told.map_err(|error| error.to_string())?;
            Ok(vec![Some(gradient)])
        }
    }

    /// The reason for all this: no copy and no sum between a backward pass and the first gradient.
    #[test]
    fn the_backward_pass_hands_its_tensor_over() {
        let w = leaf();
        clear_gradient(&w).unwrap();
        let (told, hears) = channel();
        let y = tch::no_grad(|| &w * 2.0);
        let y = attach(&[&w], y, Box::new(Double(Mutex::new(told)))).unwrap();
        y.sum(Kind::Float).backward();
        assert_eq!(w.grad().data_ptr() as usize, hears.recv().unwrap());
        assert_eq!(w.grad(), w.full_like(2.0).detach());
    }
}
