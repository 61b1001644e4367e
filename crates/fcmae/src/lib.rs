//! Masked pre-training of ConvNeXt V2 with a really sparse encoder.
