//! Memory for kernels that outlives a call: steps repeat the same sizes, and fresh pages cost more than many a kernel.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::number::Number;

/// Where blocks begin: cache lines for all, huge pages for large ones.
const LINE: usize = 64;
const HUGE_PAGE: usize = 2 << 20;

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

impl Block {
    fn layout(bytes: usize) -> Layout {
        let align = if bytes >= 2 * HUGE_PAGE { HUGE_PAGE } else { LINE };
        Layout::from_size_align(bytes, align).expect("a buffer fits the address space")
    }

    fn new(bytes: usize) -> Block {
        let layout = Block::layout(bytes);
        // SAFETY: `take` asks for at least one line.
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
        Block { start, bytes }
    }

    fn free(self) {
        // SAFETY: allocated by `new` with this layout, and owned.
        unsafe { dealloc(self.start.as_ptr(), Block::layout(self.bytes)) }
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
        let bytes = bytes.max(1).next_multiple_of(LINE);
        let fits = |block: &Block| block.bytes >= bytes && block.bytes <= bytes + bytes / 4;
        let candidates = self.free.iter().enumerate().filter(|(_, block)| fits(block));
        let best = candidates.min_by_key(|(_, block)| block.bytes).map(|(i, _)| i);
        let block = match best {
            Some(i) => self.free.remove(i),
            None => {
                self.trim(bytes);
                Block::new(bytes)
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
            oldest.free();
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
        let (a, b) = (pool.take(1000), pool.take(5000));
        let place = a.start;
        pool.give(a);
        let again = pool.take(960);
        assert_eq!(again.start, place);
        [again, b].into_iter().for_each(|block| pool.give(block));
        assert_eq!((pool.used_bytes, pool.free_bytes), (0, 1024 + 5056));
        pool.free.into_iter().for_each(Block::free);
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
        pool.free.into_iter().for_each(Block::free);
    }

    #[test]
    fn zeros_are_zero_also_in_memory_that_was_used() {
        let mut first = Buffer::<f32>::new(100);
        first.fill(7.0);
        drop(first);
        assert!(Buffer::<f32>::zeros(100).iter().all(|v| *v == 0.0));
    }
}
