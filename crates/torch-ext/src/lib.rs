//! What libtorch can do and tch does not bind.
