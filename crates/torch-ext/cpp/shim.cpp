// Thin shims over libtorch functions that tch does not bind. No logic here: convert, call, report.
#include <ATen/ops/_fused_adamw.h>
#include <torch/torch.h>

#include <cstring>
#include <exception>
#include <vector>

namespace {

std::vector<at::Tensor> list(at::Tensor *const *tensors, size_t n) {
  std::vector<at::Tensor> out;
  out.reserve(n);
  for (size_t i = 0; i < n; i++) out.push_back(*tensors[i]);
  return out;
}

// No exception crosses into Rust: it becomes text that the caller frees with `free`.
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

} // namespace

extern "C" char *fcmae_fused_adamw(size_t n, at::Tensor *const *params, at::Tensor *const *grads,
                                   at::Tensor *const *exp_avgs, at::Tensor *const *exp_avg_sqs, double step,
                                   double lr, double beta1, double beta2, double weight_decay, double eps) {
  return protect([&] {
    at::NoGradGuard no_grad;
    if (n == 0) return;
    auto p = list(params, n);
    auto options = p[0].options().dtype(at::kFloat).requires_grad(false);
    std::vector<at::Tensor> steps(n, at::full({}, step, options)); // read only: one tensor serves all
    at::_fused_adamw_(p, list(grads, n), list(exp_avgs, n), list(exp_avg_sqs, n), {}, steps, lr, beta1, beta2,
                      weight_decay, eps, /*amsgrad=*/false, /*maximize=*/false);
  });
}

extern "C" const char *fcmae_libtorch_version() { return TORCH_VERSION; }
