// libtorch's own threads for Rust closures (compiled with -fopenmp: without it this would run serially).
#include <ATen/Parallel.h>

#include <cstdint>

extern "C" void fcmae_parallel_for(int64_t tasks, void *context, void (*run)(void *, int64_t)) {
  at::parallel_for(0, tasks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; task++) run(context, task);
  });
}
