//! Size of the decoder.

use serde::{Deserialize, Serialize};

/// Depth and width of the decoder (section `[decoder]` of a run's file; paper Table 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecoderConfig {
    /// Number of ConvNeXt blocks. Paper: 1.
    pub depth: usize,
    /// Width of the blocks. Paper: 512.
    pub dim: usize,
}

impl Default for DecoderConfig {
    fn default() -> DecoderConfig {
        DecoderConfig { depth: 1, dim: 512 }
    }
}

/// A decoder that cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[error("`decoder.{key}` = {got}: must be {expected}")]
pub struct DecoderError {
    /// Key in section `[decoder]`.
    pub key: &'static str,
    /// The value as given.
    pub got: usize,
    /// What would be accepted.
    pub expected: &'static str,
}

impl DecoderConfig {
    /// Checks the ranges.
    ///
    /// # Errors
    /// Names the key, the value and what is accepted.
    pub fn validate(&self) -> Result<(), DecoderError> {
        if self.depth == 0 || self.depth > 64 {
            return Err(DecoderError {
                key: "depth",
                got: self.depth,
                expected: "between 1 and 64 blocks",
            });
        }
        if self.dim == 0 || self.dim > 1 << 14 {
            return Err(DecoderError {
                key: "dim",
                got: self.dim,
                expected: "between 1 and 16384 channels",
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_cannot_be_built() {
        let depth = DecoderConfig { depth: 0, dim: 8 }.validate().unwrap_err();
        assert_eq!(
            depth.to_string(),
            "`decoder.depth` = 0: must be between 1 and 64 blocks"
        );
        let dim = DecoderConfig { depth: 1, dim: 0 }.validate().unwrap_err();
        assert_eq!(
            dim.to_string(),
            "`decoder.dim` = 0: must be between 1 and 16384 channels"
        );
    }
}
