//! The ConvNeXt block: parameters and names.
