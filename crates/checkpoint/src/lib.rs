//! Checkpoints without pickle and without libtorch: safetensors in, safetensors out, written atomically.
