//! Memory for kernels that outlives a call: steps repeat the same sizes, and fresh pages cost more than many a kernel.

use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::number::Number;

/// `len` numbers. What they are at first is not said (zero, or what an earlier buffer held).
///
/// Freed memory is kept for the next buffer of about the same size, but never so much that all blocks together are
/// more than were in use at one time.
pub(super) struct Buffer<T: Number> {
    block: Block,
    len: usize,
    kind: std::marker::PhantomData<T>,
}

impl<T: Number> Buffer<T> {
    /// Numbers of any value.
    pub(super) fn new(len: usize) -> Buffer<T> {
        let bytes = len
            .checked_mul(size_of::<T>())
            .expect("a buffer fits the address space");
        Buffer {
            block: pool().take(bytes),
            len,
            kind: std::marker::PhantomData,
        }
    }

    /// Zeros.
    pub(super) fn zeros(len: usize) -> Buffer<T> {
        let mut buffer = Buffer::new(len);
        buffer.fill(T::ZERO);
        buffer
    }
}

impl<T: Number> Drop for Buffer<T> {
    fn drop(&mut self) {
        pool().give(Block { ..self.block });
    }
}

impl<T: Number> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: the block holds `len` numbers, was zero when it was allocated, and any bits are a number; nobody
        // else has it until it is dropped.
        unsafe { std::slice::from_raw_parts(self.block.start.cast().as_ptr(), self.len) }
    }
}

impl<T: Number> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.block.start.cast().as_ptr(), self.len) }
    }
}

/// Allocated memory.
struct Block {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: plain memory that one owner has.
unsafe impl Send for Block {}
// SAFETY: as above; a shared `Block` gives out shared slices only.
unsafe impl Sync for Block {}

/// In tests every block ends at a page that may not be touched, so that a kernel that leaves its buffer crashes.
#[cfg(all(test, target_os = "linux"))]
use guarded as memory;
#[cfg(not(all(test, target_os = "linux")))]
use plain as memory;

/// Memory from the allocator.
#[cfg_attr(
    all(test, target_os = "linux"),
    expect(dead_code, reason = "buffers in tests take guarded memory")
)]
mod plain {
    use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
    use std::ptr::NonNull;

    /// Blocks of whole cache lines, so that sizes that differ little share them.
    pub(super) const UNIT: usize = 64;
    /// How much larger than asked for a block may be: a quarter.
    pub(super) const WASTE: usize = 4;
    const HUGE_PAGE: usize = 2 << 20;

    fn layout(bytes: usize) -> Layout {
        let align = if bytes >= 2 * HUGE_PAGE { HUGE_PAGE } else { UNIT };
        Layout::from_size_align(bytes, align).expect("a buffer fits the address space")
    }

    /// Zeros.
    pub(super) fn take(bytes: usize) -> NonNull<u8> {
        let layout = layout(bytes);
        // SAFETY: the pool asks for at least one unit.
        let start = unsafe { alloc(layout) };
        let start = NonNull::new(start).unwrap_or_else(|| handle_alloc_error(layout));
        // SAFETY: `bytes` were allocated there; the advice, before the first touch, changes no contents, and a kernel
        // that does not take it does no harm.
        unsafe {
            #[cfg(target_os = "linux")]
            if layout.align() == HUGE_PAGE {
                libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE);
            }
            start.write_bytes(0, bytes);
        }
        start
    }

    /// # Safety
    /// `start` is from `take(bytes)` and nobody else's.
    pub(super) unsafe fn give(start: NonNull<u8>, bytes: usize) {
        // SAFETY: the caller's.
        unsafe { dealloc(start.as_ptr(), layout(bytes)) }
    }
}

/// Memory that ends at a page that may not be touched.
#[cfg(all(test, target_os = "linux"))]
mod guarded {
    use std::ptr::{NonNull, null_mut};

    pub(super) const UNIT: usize = 2;
    pub(super) const WASTE: usize = usize::MAX;
    const PAGE: usize = 1 << 16; // a multiple of every page size

    pub(super) fn take(bytes: usize) -> NonNull<u8> {
        let usable = bytes.next_multiple_of(PAGE);
        // SAFETY: a new mapping touches no memory that is in use; its last page is inside.
        unsafe {
            let (protection, kind) = (
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
            );
            let start = libc::mmap(null_mut(), usable + PAGE, protection, kind, -1, 0);
            assert_ne!(start, libc::MAP_FAILED, "{bytes} bytes and a page behind them");
            assert_eq!(libc::mprotect(start.byte_add(usable), PAGE, libc::PROT_NONE), 0);
            NonNull::new_unchecked(start.byte_add(usable - bytes).cast())
        }
    }

    /// # Safety
    /// `start` is from `take(bytes)` and nobody else's.
    pub(super) unsafe fn give(start: NonNull<u8>, bytes: usize) {
        let usable = bytes.next_multiple_of(PAGE);
        // SAFETY: the mapping that `take` made.
        unsafe { libc::munmap(start.as_ptr().sub(usable - bytes).cast(), usable + PAGE) };
    }
}

/// Free blocks, oldest first.
struct Pool {
    free: Vec<Block>,
    free_bytes: usize,
    used_bytes: usize,
    most_used_bytes: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool {
    free: Vec::new(),
    free_bytes: 0,
    used_bytes: 0,
    most_used_bytes: 0,
});

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Pool {
    /// The smallest free block that holds `bytes` and is not much larger, or a new one.
    fn take(&mut self, bytes: usize) -> Block {
        let bytes = bytes.max(size_of::<f32>()).next_multiple_of(memory::UNIT);
        let fits = |block: &Block| block.bytes >= bytes && block.bytes <= bytes + bytes / memory::WASTE;
        let candidates = self.free.iter().enumerate().filter(|(_, block)| fits(block));
        let best = candidates.min_by_key(|(_, block)| block.bytes).map(|(i, _)| i);
        let block = match best {
            Some(i) => self.free.remove(i),
            None => {
                self.trim(bytes);
                Block {
                    start: memory::take(bytes),
                    bytes,
                }
            }
        };
        if best.is_some() {
            self.free_bytes -= block.bytes;
        }
        self.used_bytes += block.bytes;
        self.most_used_bytes = self.most_used_bytes.max(self.used_bytes);
        block
    }

    fn give(&mut self, block: Block) {
        self.used_bytes -= block.bytes;
        self.free_bytes += block.bytes;
        self.free.push(block);
        self.trim(0);
    }

    /// Frees the oldest blocks until `more` bytes can be used without passing the mark.
    fn trim(&mut self, more: usize) {
        while self.free_bytes > 0 && self.used_bytes + self.free_bytes + more > self.most_used_bytes {
            let oldest = self.free.remove(0);
            self.free_bytes -= oldest.bytes;
            // SAFETY: the pool's own, from `take`.
            unsafe { memory::give(oldest.start, oldest.bytes) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn empty() -> Pool {
        Pool {
            free: Vec::new(),
            free_bytes: 0,
            used_bytes: 0,
            most_used_bytes: 0,
        }
    }

    #[test]
    fn a_size_that_returns_gets_the_same_memory() {
        let mut pool = empty();
        let (a, b) = (pool.take(1024), pool.take(5056));
        let place = a.start;
        pool.give(a);
        let again = pool.take(1024);
        assert_eq!(again.start, place);
        [again, b].into_iter().for_each(|block| pool.give(block));
        assert_eq!((pool.used_bytes, pool.free_bytes), (0, 1024 + 5056));
    }

    #[test]
    fn never_more_than_was_used_at_once() {
        let mut pool = empty();
        for bytes in [1 << 12, 1 << 14, 1 << 16, 3 << 20, 1 << 12] {
            let block = pool.take(bytes);
            assert!(pool.used_bytes + pool.free_bytes <= pool.most_used_bytes);
            pool.give(block);
            assert!(pool.free_bytes <= 3 << 20);
        }
    }

    /// What the allocator gives, which the other tests do not use: zeros, aligned, large and small.
    #[test]
    fn memory_from_the_allocator_is_zero() {
        for bytes in [plain::UNIT, 5 << 20] {
            let start = plain::take(bytes);
            // SAFETY: `bytes` were allocated there, and are given back once.
            unsafe {
                let all = std::slice::from_raw_parts(start.as_ptr(), bytes);
                assert!(
                    all.iter().all(|byte| *byte == 0) && start.as_ptr().addr().is_multiple_of(plain::UNIT)
                );
                plain::give(start, bytes);
            }
        }
    }

    #[test]
    fn zeros_are_zero_also_in_memory_that_was_used() {
        let mut first = Buffer::<f32>::new(100);
        first.fill(7.0);
        drop(first);
        assert!(Buffer::<f32>::zeros(100).iter().all(|v| *v == 0.0));
    }
}
