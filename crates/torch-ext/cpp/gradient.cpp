// Taking a gradient away. No logic here.
#include "shim.h"

extern "C" char *fcmae_clear_gradient(at::Tensor *tensor) {
  return fcmae::protect([&] { tensor->mutable_grad() = at::Tensor(); });
}
