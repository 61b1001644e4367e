//! Parameters to and from checkpoint tensors, by name.

use fcmae_checkpoint::{Dtype, TensorData, Tensors, check_names};
use tch::{Device, Kind, Tensor, nn};

use crate::config::ModelError;

/// Names and shapes of a store's parameters, sorted by name.
#[must_use]
pub fn shapes(vs: &nn::VarStore) -> Vec<(String, Vec<usize>)> {
    let shape = |t: &Tensor| t.size().iter().map(|&s| s as usize).collect();
    let mut all: Vec<_> = vs
        .variables()
        .iter()
        .map(|(name, t)| (name.clone(), shape(t)))
        .collect();
    all.sort();
    all
}

/// A store's parameters as checkpoint tensors.
#[must_use]
pub fn tensors(vs: &nn::VarStore) -> Tensors {
    vs.variables()
        .iter()
        .map(|(name, tensor)| (name.clone(), to_data(tensor)))
        .collect()
}

/// Fills a store from checkpoint tensors: all names, and nothing else, with equal shapes.
///
/// # Errors
/// Lists every missing, unexpected and misshapen name; the store is unchanged then.
pub fn load(vs: &nn::VarStore, found: &Tensors) -> Result<(), ModelError> {
    check_names(&shapes(vs), found, &[], &[])?;
    fill(vs, found)
}

/// Fills the parameters that are in `found`, whose shapes fit.
pub(crate) fn fill(vs: &nn::VarStore, found: &Tensors) -> Result<(), ModelError> {
    let mut pairs = Vec::with_capacity(found.len());
    for (name, parameter) in vs.variables() {
        if let Some(data) = found.get(&name) {
            pairs.push((parameter, from_data(&name, data)?)); // all are read before one is changed
        }
    }
    for (mut parameter, value) in pairs {
        tch::no_grad(|| parameter.copy_(&value));
    }
    Ok(())
}

/// One tensor as bytes, dtype and shape.
///
/// # Panics
/// For kinds that a checkpoint does not hold (complex, quantised): no model here has them.
#[must_use]
pub fn to_data(tensor: &Tensor) -> TensorData {
    let dtype = dtypes()
        .into_iter()
        .find(|(_, kind)| *kind == tensor.kind())
        .map(|(dtype, _)| dtype);
    let dtype = dtype.expect("parameters and optimizer state are plain numbers");
    let tensor = tensor.detach().to_device(Device::Cpu).contiguous();
    let mut bytes = vec![0u8; tensor.numel() * dtype.size()];
    tensor.copy_data_u8(&mut bytes, tensor.numel());
    let shape = tensor.size().iter().map(|&s| s as usize).collect();
    TensorData { dtype, shape, bytes }
}

/// The tensor `name` that bytes, dtype and shape describe, on the CPU.
///
/// # Errors
/// An unsigned type that libtorch does not compute with.
pub fn from_data(name: &str, data: &TensorData) -> Result<Tensor, ModelError> {
    let kind = dtypes()
        .into_iter()
        .find(|(dtype, _)| *dtype == data.dtype)
        .map(|(_, kind)| kind);
    let kind = kind.ok_or_else(|| ModelError::Dtype {
        name: name.to_owned(),
        dtype: data.dtype,
    })?;
    let shape: Vec<i64> = data.shape.iter().map(|&s| s as i64).collect();
    Ok(Tensor::from_data_size(&data.bytes, &shape, kind))
}

/// Which dtype of a checkpoint is which kind of libtorch.
fn dtypes() -> [(Dtype, Kind); 10] {
    [
        (Dtype::F64, Kind::Double),
        (Dtype::F32, Kind::Float),
        (Dtype::F16, Kind::Half),
        (Dtype::BF16, Kind::BFloat16),
        (Dtype::I64, Kind::Int64),
        (Dtype::I32, Kind::Int),
        (Dtype::I16, Kind::Int16),
        (Dtype::I8, Kind::Int8),
        (Dtype::U8, Kind::Uint8),
        (Dtype::Bool, Kind::Bool),
    ]
}
