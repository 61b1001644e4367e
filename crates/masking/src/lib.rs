//! Which patches the encoder may see: grids, masks, samplers and the layout of what is left.
