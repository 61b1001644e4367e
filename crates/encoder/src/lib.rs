//! The sparse ConvNeXt V2 encoder, its masked-dense twin, and the classifier.
