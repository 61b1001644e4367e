// The fused AdamW step. No logic here: convert, call, report.
#include <ATen/ops/_fused_adamw.h>

#include "shim.h"

extern "C" char *fcmae_fused_adamw(size_t n, at::Tensor *const *params, at::Tensor *const *grads,
                                   at::Tensor *const *exp_avgs, at::Tensor *const *exp_avg_sqs, double step,
                                   double lr, double beta1, double beta2, double weight_decay, double eps) {
  return fcmae::protect([&] {
    at::NoGradGuard no_grad;
    if (n == 0) return;
    auto p = fcmae::list(params, n);
    auto options = p[0].options().dtype(at::kFloat).requires_grad(false);
    std::vector<at::Tensor> steps(n, at::full({}, step, options)); // read only: one tensor serves all
    at::_fused_adamw_(p, fcmae::list(grads, n), fcmae::list(exp_avgs, n), fcmae::list(exp_avg_sqs, n), {}, steps,
                      lr, beta1, beta2, weight_decay, eps, /*amsgrad=*/false, /*maximize=*/false);
  });
}

extern "C" const char *fcmae_libtorch_version() { return TORCH_VERSION; }
