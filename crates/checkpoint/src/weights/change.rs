//! Weights with a part less, or of another element type.

use crate::error::CheckpointError;
use crate::tensor::{Dtype, TensorData};
use crate::weights::{BlockVersion, CLASS_NAMES, RUN_CONFIG, SIGMOID, Weights};

impl Weights {
    /// Drops the decoder, if there is one.
    pub fn drop_decoder(&mut self) {
        if !self.decoder.is_empty() {
            self.architecture.decoder = None;
            self.decoder.clear();
            self.forget_run();
            self.notes.push("the decoder was dropped".to_owned());
        }
    }

    /// Drops `norm` and `head`, if they are there.
    pub fn drop_head(&mut self) {
        if !self.head.is_empty() {
            self.head.clear();
            self.architecture.classes = None;
            self.forget_run();
            self.metadata.remove(CLASS_NAMES);
            self.metadata.remove(SIGMOID);
            self.notes.push("norm and head were dropped".to_owned());
        }
    }

    /// Removes the run's config, which describes the old network; of an alternative it is all that is known.
    pub(super) fn forget_run(&mut self) {
        if self.architecture.block != BlockVersion::Other {
            self.metadata.remove(RUN_CONFIG);
        }
    }

    /// Turns every tensor into `dtype`: [`Dtype::F32`], [`Dtype::F16`] or [`Dtype::BF16`], rounded to nearest.
    ///
    /// # Errors
    /// A tensor or a `dtype` that is no such number.
    pub fn cast(&mut self, dtype: Dtype) -> Result<(), CheckpointError> {
        let parts = [&mut self.encoder, &mut self.head, &mut self.decoder];
        for tensor in parts.into_iter().flat_map(|part| part.values_mut()) {
            if tensor.dtype != dtype {
                *tensor = cast(tensor, dtype)?;
            }
        }
        Ok(())
    }
}

fn cast(tensor: &TensorData, dtype: Dtype) -> Result<TensorData, CheckpointError> {
    let (values, shape) = (tensor.to_f32()?, tensor.shape.clone());
    let half = |bytes: fn(f32) -> [u8; 2]| values.iter().flat_map(|&v| bytes(v)).collect();
    match dtype {
        Dtype::F32 => TensorData::from_f32(shape, &values),
        Dtype::F16 => TensorData::new(dtype, shape, half(|v| half::f16::from_f32(v).to_le_bytes())),
        Dtype::BF16 => TensorData::new(dtype, shape, half(|v| half::bf16::from_f32(v).to_le_bytes())),
        dtype => Err(CheckpointError::NotFloat { dtype }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_the_nearest_of_the_type() {
        let tensor = TensorData::from_f32(vec![3], &[1.0, 0.1, -3.0e38]).unwrap();
        let through = |dtype| cast(&tensor, dtype).unwrap().to_f32().unwrap();
        assert_eq!(through(Dtype::F16), [1.0, 0.099_975_586, f32::NEG_INFINITY]);
        assert_eq!(through(Dtype::BF16)[..2], [1.0, 0.100_097_656]);
        assert_eq!(through(Dtype::F32), tensor.to_f32().unwrap());
        assert!(cast(&tensor, Dtype::I64).is_err());
    }
}
