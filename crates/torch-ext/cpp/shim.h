// What the shims share: lists of tensors, and the border that no exception crosses.
#pragma once
#include <torch/torch.h>

#include <cstring>
#include <exception>
#include <vector>

namespace fcmae {

inline std::vector<at::Tensor> list(at::Tensor *const *tensors, size_t n) {
  std::vector<at::Tensor> out;
  out.reserve(n);
  for (size_t i = 0; i < n; i++) out.push_back(*tensors[i]);
  return out;
}

// An exception becomes text that the caller frees with `free`.
template <typename F> char *protect(F f) {
  try {
    f();
    return nullptr;
  } catch (const std::exception &e) {
    return strdup(e.what());
  } catch (...) {
    return strdup("unknown C++ exception");
  }
}

} // namespace fcmae
