// An autograd node whose backward pass is Rust.
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/functions/utils.h>
#include <torch/csrc/autograd/saved_variable.h>

#include <stdexcept>

#include "shim.h"

namespace {

// Rust's side: `backward` fills `out` with owned tensors or null and returns null or an error text to `free`.
using Backward = char *(*)(void *context, at::Tensor *const *inputs, size_t n_inputs, at::Tensor *grad,
                           at::Tensor **out);
using Drop = void (*)(void *context);

struct RustNode : torch::autograd::Node {
  std::vector<torch::autograd::SavedVariable> inputs;
  void *context = nullptr;
  Backward backward = nullptr;
  Drop drop = nullptr;

  torch::autograd::variable_list apply(torch::autograd::variable_list &&grads) override {
    if (!context) throw std::runtime_error("backward through a graph whose buffers were freed; keep the graph");
    std::vector<at::Tensor> unpacked;
    std::vector<at::Tensor *> pointers;
    unpacked.reserve(inputs.size());
    for (auto &input : inputs) unpacked.push_back(input.unpack());
    for (auto &input : unpacked) pointers.push_back(&input);
    std::vector<at::Tensor *> out(inputs.size(), nullptr);
    torch::autograd::variable_list result(inputs.size());
    if (!grads[0].defined()) return result;
    char *error = backward(context, pointers.data(), pointers.size(), &grads[0], out.data());
    for (size_t i = 0; i < out.size(); i++) {
      if (!out[i]) continue;
      result[i] = std::move(*out[i]);
      delete out[i];
    }
    if (error) {
      std::string text(error);
      free(error);
      throw std::runtime_error(text);
    }
    return result;
  }

  void release_variables() override {
    inputs.clear();
    if (context) drop(context);
    context = nullptr;
  }

  ~RustNode() override { release_variables(); }
  std::string name() const override { return "fcmae::RustNode"; }
};

} // namespace

// Whether an operation on `inputs` is recorded: outside `no_grad`, and one of them requires a gradient.
extern "C" bool fcmae_records(at::Tensor *const *inputs, size_t n_inputs) {
  bool records = false;
  char *error = fcmae::protect([&] {
    records = torch::autograd::compute_requires_grad(fcmae::list(inputs, n_inputs));
  });
  free(error);
  return records;
}

// Makes `output` the result of `context` applied to `inputs`. Takes `context` over, in every case.
extern "C" char *fcmae_attach(at::Tensor *const *inputs, size_t n_inputs, at::Tensor *output, void *context,
                              Backward backward, Drop drop) {
  bool taken = false;
  char *error = fcmae::protect([&] {
    auto variables = fcmae::list(inputs, n_inputs);
    if (!torch::autograd::compute_requires_grad(variables)) return;
    auto node = std::shared_ptr<RustNode>(new RustNode(), torch::autograd::deleteNode);
    node->context = context;
    node->backward = backward;
    node->drop = drop;
    taken = true;
    node->set_next_edges(torch::autograd::collect_next_edges(variables));
    for (auto &variable : variables) node->inputs.emplace_back(variable, /*is_output=*/false);
    torch::autograd::set_history(*output, node);
  });
  if (!taken) drop(context);
  return error;
}
