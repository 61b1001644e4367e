//! Tensors that end where memory ends.

use tch::Tensor;

/// A copy of a CPU tensor, contiguous and without a graph, whose memory ends exactly where a page begins that may not
/// be touched: kernels that read beyond a buffer crash in the test instead of reading a neighbour.
///
/// Its start is aligned to its elements and to nothing more. The memory is never given back, so it is for tests. Only
/// Linux has such pages here; elsewhere it is a plain copy.
///
/// # Panics
/// When the tensor is not on the CPU, or the system gives no memory.
pub fn guarded(tensor: &Tensor) -> Tensor {
    assert_eq!(
        tensor.device(),
        tch::Device::Cpu,
        "only the CPU has guarded pages"
    );
    let source = tensor.detach().contiguous();
    #[cfg(target_os = "linux")]
    return linux::guarded(&source);
    #[cfg(not(target_os = "linux"))]
    source.copy()
}

#[cfg(target_os = "linux")]
mod linux {
    #![expect(unsafe_code, reason = "pages come from the system alone")]

    use std::ptr;

    use tch::{Device, Tensor};

    pub(super) fn guarded(source: &Tensor) -> Tensor {
        let bytes = source.numel() * source.kind().elt_size_in_bytes();
        let start = before_a_guard(bytes);
        // SAFETY: `bytes` bytes from `start` are writable, aligned to the elements (the end is, and their number is a
        // multiple of an element), belong to nobody else, and are never unmapped; a contiguous tensor of this shape
        // takes exactly `bytes`.
        let mut copy = unsafe {
            Tensor::from_blob(
                start,
                &source.size(),
                &source.stride(),
                source.kind(),
                Device::Cpu,
            )
        };
        copy.copy_(source);
        copy
    }

    /// The start of `bytes` writable bytes that end where a page begins that may not be touched.
    fn before_a_guard(bytes: usize) -> *const u8 {
        let page = page();
        let usable = bytes.next_multiple_of(page);
        // SAFETY: a new private mapping at an address of the system's choice touches no memory that is in use.
        let mapping = unsafe {
            libc::mmap(
                ptr::null_mut(),
                usable + page,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        assert_ne!(
            mapping,
            libc::MAP_FAILED,
            "{bytes} bytes and a page to guard them"
        );
        // SAFETY: `usable` bytes lie inside the mapping.
        let guard = unsafe { mapping.byte_add(usable) };
        // SAFETY: the guard is the mapping's last page, which nothing refers to yet.
        let protected = unsafe { libc::mprotect(guard, page, libc::PROT_NONE) };
        assert_eq!(protected, 0, "the page behind {bytes} bytes cannot be protected");
        guard.cast::<u8>().wrapping_sub(bytes)
    }

    /// Bytes of a page.
    pub(super) fn page() -> usize {
        // SAFETY: asks the system for a number.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
        usize::try_from(page).expect("the system knows the size of its pages")
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    fn numbers(kind: Kind) -> Tensor {
        let numbers = Tensor::arange(3 * 5 * 7, (Kind::Float, Device::Cpu));
        numbers.view([3, 5, 7]).transpose(0, 2).to_kind(kind)
    }

    #[test]
    fn a_guarded_tensor_is_an_equal_one() {
        for kind in [Kind::Float, Kind::BFloat16, Kind::Double, Kind::Int64] {
            let numbers = numbers(kind);
            let copy = guarded(&numbers);
            assert_eq!(copy, numbers);
            assert!(copy.is_contiguous() && copy.kind() == kind);
        }
        let leaf = numbers(Kind::Float).set_requires_grad(true);
        let copy = guarded(&leaf).set_requires_grad(true);
        (&copy * 2.0).sum(Kind::Float).backward();
        assert_eq!(copy.grad(), copy.full_like(2.0).detach());
        assert!(!leaf.grad().defined());
        assert_eq!(guarded(&numbers(Kind::Float).narrow(0, 0, 0)).numel(), 0);
    }

    /// The system's own list says what lies behind it.
    #[cfg(target_os = "linux")]
    #[test]
    fn behind_its_end_is_a_page_that_may_not_be_touched() {
        for elements in [1, 1023, 1024, 1025, 5000] {
            let copy = guarded(&Tensor::ones([elements], (Kind::Float, Device::Cpu)));
            let end = copy.data_ptr() as usize + 4 * elements as usize;
            assert!(
                end.is_multiple_of(linux::page()),
                "{elements} elements end at {end:#x}"
            );
            let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
            let behind = maps.lines().find(|line| line.starts_with(&format!("{end:x}-")));
            let behind = behind.unwrap_or_else(|| panic!("nothing begins at {end:#x}"));
            assert_eq!(behind.split_whitespace().nth(1), Some("---p"), "{behind}");
        }
    }
}
