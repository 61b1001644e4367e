//! FCMAE: encoder, decoder and loss as one model.
