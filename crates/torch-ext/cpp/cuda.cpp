// What a GPU may round.
#include <ATen/Context.h>

// Returns whether TF32 is still allowed somewhere.
extern "C" bool fcmae_forbid_tf32() {
  at::globalContext().setAllowTF32CuDNN(false);
  at::globalContext().setAllowTF32CuBLAS(false);
  return at::globalContext().allowTF32CuDNN() || at::globalContext().allowTF32CuBLAS();
}
