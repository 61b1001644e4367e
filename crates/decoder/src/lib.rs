//! The FCMAE decoder: mask token, ConvNeXt blocks, pixel prediction.
