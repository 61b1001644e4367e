//! libtorch's thread pool for Rust closures.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;

unsafe extern "C" {
    fn fcmae_parallel_for(tasks: i64, context: *mut c_void, run: extern "C" fn(*mut c_void, i64));
}

/// What a thread needs: the closure, and where the first panic goes.
struct Job<'a> {
    run: &'a (dyn Fn(usize) + Sync),
    panic: Mutex<Option<Box<dyn std::any::Any + Send>>>,
}

/// Runs `run(0) … run(tasks − 1)` on libtorch's threads and returns when all are done.
///
/// Tasks are dealt out in equal, contiguous shares, so which thread runs which task depends on the number of
/// threads alone. A kernel that runs on another pool right after a libtorch operation loses about 7 ms to that
/// operation's spinning threads; here there is one pool. Called inside itself it runs serially.
///
/// # Panics
/// With the panic of a task, after all tasks are done.
pub fn parallel_for(tasks: usize, run: impl Fn(usize) + Sync) {
    let job = Job {
        run: &run,
        panic: Mutex::new(None),
    };
    // SAFETY: `call` gets a pointer to `job`, which outlives the call, from threads that share it (`Sync`).
    unsafe { fcmae_parallel_for(tasks as i64, std::ptr::from_ref(&job).cast_mut().cast(), call) };
    let panic = job
        .panic
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(panic) = panic {
        resume_unwind(panic);
    }
}

extern "C" fn call(context: *mut c_void, task: i64) {
    // SAFETY: the pointer that `parallel_for` passed, alive until it returns; only shared references are made.
    let job = unsafe { &*context.cast::<Job>() };
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (job.run)(task as usize))) {
        job.panic
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .get_or_insert(panic);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_task_runs_once_and_more_than_one_thread_is_at_work() {
        tch::set_num_threads(2);
        let seen = Mutex::new((vec![0; 64], HashSet::new()));
        parallel_for(64, |task| {
            let mut seen = seen.lock().unwrap();
            seen.0[task] += 1;
            seen.1.insert(std::thread::current().id());
        });
        let (counts, threads) = seen.into_inner().unwrap();
        assert_eq!(counts, [1; 64]);
        assert_eq!(threads.len(), 2, "is the shim compiled with -fopenmp?");
    }

    #[test]
    fn there_is_one_openmp_runtime_in_the_process() {
        parallel_for(2, |_| ());
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let runtimes: HashSet<&str> = maps
            .lines()
            .filter_map(|line| line.split_whitespace().nth(5))
            .filter(|path| {
                ["libgomp", "libomp", "libiomp"]
                    .iter()
                    .any(|name| path.contains(name))
            })
            .collect();
        assert_eq!(runtimes.len(), 1, "{runtimes:?}");
    }

    #[test]
    fn a_panic_of_a_task_arrives_after_all_tasks() {
        let done = Mutex::new(0);
        let caught = catch_unwind(AssertUnwindSafe(|| {
            parallel_for(8, |task| {
                *done.lock().unwrap() += 1;
                assert!(task != 3, "task three");
            });
        }));
        assert_eq!(
            crate::node::panic_text(caught.unwrap_err().as_ref()),
            "task three"
        );
        assert_eq!(*done.lock().unwrap(), 8);
    }
}
