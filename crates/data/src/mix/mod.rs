//! Mixup and CutMix: images of a batch mixed with one another, and their targets with them.
//!
//! Image i of N is mixed with image N − 1 − i, as in the reference (timm 0.3.2, fact sheet §3.8): mixup
//! (Zhang et al. 2018) adds `λ xᵢ + (1 − λ) xⱼ`, CutMix (Yun et al. 2019) puts a box of xⱼ, `1 − λ` of the
//! area, into xᵢ. The targets are `λ yᵢ + (1 − λ) yⱼ` of smoothed rows.

mod apply;
mod config;
mod draw;
mod smooth;

pub use config::{CutmixBox, MixConfig, MixMode};
pub use draw::Mixed;
