//! The compute of ConvNeXt V2 on packed tiles, forward and backward.
