//! Tensors as slices of numbers.

use tch::{Device, Kind, Tensor};

use super::number::Number;

/// Whether a tensor is contiguous, on the CPU and of this kind.
pub(super) fn is_plain(t: &Tensor, kind: Kind) -> bool {
    t.device() == Device::Cpu && t.kind() == kind && t.is_contiguous()
}

/// The numbers of a plain tensor.
pub(super) fn numbers<T: Number>(t: &Tensor) -> &[T] {
    assert!(
        is_plain(t, T::KIND),
        "a contiguous {:?} tensor on the CPU, not {t:?}",
        T::KIND
    );
    if t.numel() == 0 {
        return &[];
    }
    // SAFETY: a contiguous tensor of this kind holds `numel` numbers at `data_ptr`, alive as long as the tensor; nobody
    // writes to it while a kernel reads (libtorch's version counter reports a change between forward and backward).
    unsafe { std::slice::from_raw_parts(t.data_ptr().cast(), t.numel()) }
}

/// The numbers of a fresh tensor.
pub(super) fn numbers_mut<T: Number>(t: &mut Tensor) -> &mut [T] {
    assert!(
        is_plain(t, T::KIND),
        "a contiguous {:?} tensor on the CPU, not {t:?}",
        T::KIND
    );
    if t.numel() == 0 {
        return &mut [];
    }
    // SAFETY: as in `numbers`; the tensor is new, so nothing else points to its memory.
    unsafe { std::slice::from_raw_parts_mut(t.data_ptr().cast(), t.numel()) }
}

/// A new tensor of undefined numbers for a result.
pub(super) fn fresh(shape: &[i64], kind: Kind) -> Tensor {
    let tensor = Tensor::empty(shape, (kind, Device::Cpu));
    #[cfg(test)]
    if GUARD_RESULTS.get() {
        return fcmae_testing::guarded(&tensor);
    }
    tensor
}

#[cfg(test)]
thread_local! {
    /// Whether results of this thread end at a page that may not be touched; their memory is never given back.
    pub(super) static GUARD_RESULTS: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}
