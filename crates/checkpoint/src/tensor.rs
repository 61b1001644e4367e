//! Tensors as they stand in a file: type, shape, bytes.

use std::collections::BTreeMap;
use std::fmt;

use half::{bf16, f16};

use crate::error::CheckpointError;

/// Named tensors, in the order of their names.
pub type Tensors = BTreeMap<String, TensorData>;

/// Free text that a safetensors file carries beside its tensors, in the order of its keys.
pub type Metadata = BTreeMap<String, String>;

/// Element type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Dtype {
    /// 64-bit floating point.
    F64,
    /// 32-bit floating point.
    F32,
    /// 16-bit floating point (IEEE half).
    F16,
    /// 16-bit floating point (bfloat).
    BF16,
    /// Signed 64-bit integer.
    I64,
    /// Signed 32-bit integer.
    I32,
    /// Signed 16-bit integer.
    I16,
    /// Signed 8-bit integer.
    I8,
    /// Unsigned 64-bit integer.
    U64,
    /// Unsigned 32-bit integer.
    U32,
    /// Unsigned 16-bit integer.
    U16,
    /// Unsigned 8-bit integer.
    U8,
    /// One byte, 0 or 1.
    Bool,
}

impl Dtype {
    /// Every type, with its name in a safetensors header and the bytes of one element.
    const TABLE: [(Dtype, &'static str, usize); 13] = [
        (Dtype::F64, "F64", 8),
        (Dtype::F32, "F32", 4),
        (Dtype::F16, "F16", 2),
        (Dtype::BF16, "BF16", 2),
        (Dtype::I64, "I64", 8),
        (Dtype::I32, "I32", 4),
        (Dtype::I16, "I16", 2),
        (Dtype::I8, "I8", 1),
        (Dtype::U64, "U64", 8),
        (Dtype::U32, "U32", 4),
        (Dtype::U16, "U16", 2),
        (Dtype::U8, "U8", 1),
        (Dtype::Bool, "BOOL", 1),
    ];

    /// Bytes of one element.
    #[must_use]
    pub fn size(self) -> usize {
        self.row().2
    }

    /// The name in a safetensors header, as `F32`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// The type of that name, if this crate knows it.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Dtype> {
        Dtype::TABLE.iter().find(|row| row.1 == name).map(|row| row.0)
    }

    fn row(self) -> (Dtype, &'static str, usize) {
        // The table is in the order of the variants (tested).
        Dtype::TABLE[self as usize]
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One tensor: little-endian bytes in row-major order, with their type and shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorData {
    /// Element type.
    pub dtype: Dtype,
    /// Extent of each dimension; empty for a scalar.
    pub shape: Vec<usize>,
    /// The elements, `dtype.size()` bytes each.
    pub bytes: Vec<u8>,
}

impl TensorData {
    /// A tensor of the given bytes.
    ///
    /// # Errors
    /// [`CheckpointError::ByteCount`] when the number of bytes does not fit type and shape.
    pub fn new(dtype: Dtype, shape: Vec<usize>, bytes: Vec<u8>) -> Result<TensorData, CheckpointError> {
        let expected = byte_count(dtype, &shape)?;
        if bytes.len() != expected {
            return Err(CheckpointError::ByteCount {
                dtype,
                shape,
                expected,
                got: bytes.len(),
            });
        }
        Ok(TensorData { dtype, shape, bytes })
    }

    /// An [`Dtype::F32`] tensor.
    ///
    /// # Errors
    /// As [`TensorData::new`].
    pub fn from_f32(shape: Vec<usize>, values: &[f32]) -> Result<TensorData, CheckpointError> {
        TensorData::new(
            Dtype::F32,
            shape,
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        )
    }

    /// An [`Dtype::F64`] tensor.
    ///
    /// # Errors
    /// As [`TensorData::new`].
    pub fn from_f64(shape: Vec<usize>, values: &[f64]) -> Result<TensorData, CheckpointError> {
        TensorData::new(
            Dtype::F64,
            shape,
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        )
    }

    /// An [`Dtype::I64`] tensor.
    ///
    /// # Errors
    /// As [`TensorData::new`].
    pub fn from_i64(shape: Vec<usize>, values: &[i64]) -> Result<TensorData, CheckpointError> {
        TensorData::new(
            Dtype::I64,
            shape,
            values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        )
    }

    /// Number of elements; 1 for a scalar.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.bytes.len() / self.dtype.size()
    }

    /// The values as `f32`: f16 and bf16 exactly, f64 rounded to nearest.
    ///
    /// # Errors
    /// [`CheckpointError::NotFloat`] for integers and booleans: turning them into weights unasked would
    /// hide a mistake.
    pub fn to_f32(&self) -> Result<Vec<f32>, CheckpointError> {
        Ok(match self.dtype {
            Dtype::F64 => self.decode(|b| f64::from_le_bytes(b) as f32),
            Dtype::F32 => self.decode(f32::from_le_bytes),
            Dtype::F16 => self.decode(|b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => self.decode(|b| bf16::from_le_bytes(b).to_f32()),
            dtype => return Err(CheckpointError::NotFloat { dtype }),
        })
    }

    /// The same tensor as [`Dtype::F32`]; see [`TensorData::to_f32`].
    ///
    /// # Errors
    /// As [`TensorData::to_f32`].
    pub fn into_f32(self) -> Result<TensorData, CheckpointError> {
        if self.dtype == Dtype::F32 {
            return Ok(self);
        }
        let values = self.to_f32()?;
        TensorData::from_f32(self.shape, &values)
    }

    fn decode<const SIZE: usize, T>(&self, element: impl Fn([u8; SIZE]) -> T) -> Vec<T> {
        let (elements, _) = self.bytes.as_chunks::<SIZE>();
        elements.iter().map(|&bytes| element(bytes)).collect()
    }
}

/// Bytes that a tensor of this type and shape takes.
pub(crate) fn byte_count(dtype: Dtype, shape: &[usize]) -> Result<usize, CheckpointError> {
    shape
        .iter()
        .try_fold(dtype.size(), |product, &extent| product.checked_mul(extent))
        .ok_or_else(|| CheckpointError::ShapeOverflow {
            shape: shape.to_vec(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_variants() {
        for (index, (dtype, name, _)) in Dtype::TABLE.into_iter().enumerate() {
            assert_eq!(dtype as usize, index);
            assert_eq!(Dtype::from_name(name), Some(dtype));
            assert_eq!(dtype.to_string(), name);
        }
        assert_eq!(Dtype::from_name("F8_E4M3"), None);
    }

    #[test]
    fn halves_convert_exactly() {
        let values = [0.0_f32, -1.5, 0.099_975_586, 65504.0, f32::INFINITY];
        let bytes = values
            .iter()
            .flat_map(|&v| f16::from_f32(v).to_le_bytes())
            .collect();
        assert_eq!(
            TensorData::new(Dtype::F16, vec![5], bytes)
                .unwrap()
                .to_f32()
                .unwrap(),
            values
        );

        let values = [0.0_f32, -1.5, 3.0e38, 1.0e-38];
        let bytes = values
            .iter()
            .flat_map(|&v| bf16::from_f32(v).to_le_bytes())
            .collect();
        let expected: Vec<f32> = values.iter().map(|&v| bf16::from_f32(v).to_f32()).collect();
        let tensor = TensorData::new(Dtype::BF16, vec![2, 2], bytes)
            .unwrap()
            .into_f32()
            .unwrap();
        assert_eq!((tensor.dtype, &tensor.shape[..]), (Dtype::F32, &[2, 2][..]));
        assert_eq!(tensor.to_f32().unwrap(), expected);
        // bf16 is the upper half of the f32.
        assert_eq!(expected[1].to_bits(), (-1.5_f32).to_bits());
    }

    #[test]
    fn doubles_round_to_nearest() {
        let tensor = TensorData::from_f64(vec![2], &[0.1, 1e300]).unwrap();
        assert_eq!(tensor.to_f32().unwrap(), [0.1_f32, f32::INFINITY]);
    }

    #[test]
    fn integers_are_not_weights() {
        let error = TensorData::from_i64(vec![1], &[3]).unwrap().to_f32().unwrap_err();
        assert_eq!(
            error.to_string(),
            "a tensor of type I64 does not hold floating-point numbers"
        );
    }

    #[test]
    fn wrong_byte_counts_are_refused() {
        let error = TensorData::from_f32(vec![2, 2], &[1.0]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a tensor of type F32 and shape [2, 2] takes 16 bytes, not 4"
        );
        let error = TensorData::new(Dtype::F64, vec![usize::MAX, 2], vec![]).unwrap_err();
        assert!(matches!(error, CheckpointError::ShapeOverflow { .. }));
    }

    #[test]
    fn scalars_and_empty_tensors_have_their_counts() {
        assert_eq!(TensorData::from_f32(vec![], &[1.0]).unwrap().elements(), 1);
        assert_eq!(TensorData::from_f32(vec![0, 3], &[]).unwrap().elements(), 0);
    }
}
