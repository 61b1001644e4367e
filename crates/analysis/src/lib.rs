//! Measures and pictures of a model: reconstructions, proofs of the masking.
