//! Measures of features: do channels still differ, are they alive, what do they tell apart.

mod channels;
mod cosine;
mod figures;
mod maps;
mod rank;
mod report;
mod selectivity;

pub use channels::ChannelSums;
pub use cosine::{channel_cosine_distance, channel_rms_cosine};
pub use figures::{channels_figure, collapse_figure, rank_figure, redundancy_figure, selectivity_figure};
pub use maps::{ChannelMaps, channel_maps, maps_picture};
pub use rank::EffectiveRank;
pub use report::{FeatureError, FeatureReport, FeatureStatistics, LayerMeasures};
pub use selectivity::ClassResponses;

use tch::{Kind, Tensor};

/// Maps `[N, H, W, C]` as sites `[N, H·W, C]`, in f32 at least.
fn sites(maps: &Tensor) -> Tensor {
    let (n, h, w, c) = maps.size4().expect("maps are [N, H, W, C]");
    let exact = if maps.kind() == Kind::Double {
        Kind::Double
    } else {
        Kind::Float
    };
    maps.to_kind(exact).reshape([n, h * w, c])
}

/// Numbers of a tensor of any shape, row-major.
fn numbers(tensor: &Tensor) -> Vec<f64> {
    let flat = tensor
        .to_kind(Kind::Double)
        .to_device(tch::Device::Cpu)
        .contiguous()
        .view([-1]);
    Vec::try_from(flat).expect("a contiguous vector of f64")
}
