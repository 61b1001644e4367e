//! The fast block as one autograd node.

use fcmae_masking::VisibleLayout;
use fcmae_torch_ext::{Backward, attach};
use tch::{Device, Kind, Tensor};

use super::backward::backward;
use super::forward::{Saved, forward};
use super::isa::Isa;
use super::plan::{Job, Sizes, Weights};
use crate::block::{BlockOptions, BlockParams, End, Middle};
use crate::grn::GrnScope;

/// The block on the CPU in f32, or `None` where this path does not apply (another device or kind).
pub(crate) fn block(
    isa: Isa,
    x: &Tensor,
    p: &BlockParams,
    layout: &VisibleLayout,
    options: &BlockOptions,
) -> Option<Tensor> {
    let inputs = inputs(x, p);
    let fits = |t: &&Tensor| t.device() == Device::Cpu && t.kind() == Kind::Float && t.is_contiguous();
    let is_seven = p.dwconv_weight.size()[2..] == [7, 7];
    if !is_seven || !inputs[1..].iter().all(fits) || x.device() != Device::Cpu || x.kind() != Kind::Float {
        return None;
    }
    let x = x.contiguous();
    let (_, side, _, c) = x.size4().expect("packed features are [V, p, p, C]");
    let sizes = Sizes::new(layout, side as usize, c as usize, isa);
    assert_eq!(
        sizes.all_rows() * sizes.c,
        x.numel(),
        "features and layout must have the same tiles"
    );
    if let Some(factors) = options.drop_path {
        assert_eq!(factors.len(), sizes.images, "one factor of DropPath per image");
    }
    let threads = tch::get_num_threads().max(1) as usize;

    let (y, saved) = tch::no_grad(|| {
        let mut y = x.empty_like();
        let saved = {
            let (numbers, out) = (numbers(&x), numbers_mut(&mut y));
            let weights = weights(&inputs, p.has_grn(), p.has_layer_scale());
            weights.check(&sizes);
            let job = Job {
                weights: &weights,
                layout,
                sizes: &sizes,
                scope: options.grn_scope,
                drop_path: options.drop_path,
                threads,
            };
            forward(numbers, out, &job)
        };
        (y, saved)
    });
    let node = Node {
        saved,
        sizes,
        layout: layout.clone(),
        scope: options.grn_scope,
        drop_path: options.drop_path.map(<[f32]>::to_vec),
        has_grn: p.has_grn(),
        has_layer_scale: p.has_layer_scale(),
        threads,
    };
    let mut inputs = inputs;
    inputs[0] = &x;
    Some(attach(&inputs, y, Box::new(node)).expect("a fresh tensor takes a history"))
}

impl BlockParams<'_> {
    fn has_grn(&self) -> bool {
        matches!(self.middle, Middle::Grn { .. })
    }

    fn has_layer_scale(&self) -> bool {
        matches!(self.end, End::LayerScale { .. })
    }
}

/// `x` and the parameters in the order of the node's inputs.
fn inputs<'a>(x: &'a Tensor, p: &BlockParams<'a>) -> Vec<&'a Tensor> {
    let mut all = vec![
        x,
        p.dwconv_weight,
        p.dwconv_bias,
        p.norm_weight,
        p.norm_bias,
        p.pwconv1_weight,
        p.pwconv1_bias,
        p.pwconv2_weight,
        p.pwconv2_bias,
    ];
    if let Middle::Grn { gamma, beta } = p.middle {
        all.extend([gamma, beta]);
    }
    if let End::LayerScale { gamma } = p.end {
        all.push(gamma);
    }
    all
}

/// The parameters among the inputs, as numbers.
fn weights<'a, T: std::borrow::Borrow<Tensor>>(
    inputs: &'a [T],
    has_grn: bool,
    has_layer_scale: bool,
) -> Weights<'a> {
    let at = |i: usize| numbers(inputs[i].borrow());
    Weights {
        dw: at(1),
        dw_bias: at(2),
        norm: at(3),
        norm_bias: at(4),
        w1: at(5),
        b1: at(6),
        w2: at(7),
        b2: at(8),
        grn: has_grn.then(|| (at(9), at(10))),
        scale: has_layer_scale.then(|| at(if has_grn { 11 } else { 9 })),
    }
}

/// The numbers of a contiguous f32 tensor on the CPU.
fn numbers(t: &Tensor) -> &[f32] {
    debug_assert!(t.kind() == Kind::Float && t.device() == Device::Cpu && t.is_contiguous());
    if t.numel() == 0 {
        return &[];
    }
    // SAFETY: a contiguous f32 tensor holds `numel` numbers at `data_ptr`, alive as long as the tensor; nobody writes
    // to it while a kernel reads (libtorch's version counter reports a change between forward and backward).
    unsafe { std::slice::from_raw_parts(t.data_ptr().cast(), t.numel()) }
}

/// The numbers of a fresh tensor.
fn numbers_mut(t: &mut Tensor) -> &mut [f32] {
    debug_assert!(t.kind() == Kind::Float && t.device() == Device::Cpu && t.is_contiguous());
    if t.numel() == 0 {
        return &mut [];
    }
    // SAFETY: as in `numbers`; the tensor is new, so nothing else points to its memory.
    unsafe { std::slice::from_raw_parts_mut(t.data_ptr().cast(), t.numel()) }
}

struct Node {
    saved: Saved,
    sizes: Sizes,
    layout: VisibleLayout,
    scope: GrnScope,
    drop_path: Option<Vec<f32>>,
    has_grn: bool,
    has_layer_scale: bool,
    threads: usize,
}

impl Backward for Node {
    fn backward(&self, inputs: &[Tensor], grad: &Tensor) -> Result<Vec<Option<Tensor>>, String> {
        let grad = grad.to_kind(Kind::Float).contiguous();
        let mut dx = inputs[0].empty_like();
        let job = Job {
            weights: &weights(inputs, self.has_grn, self.has_layer_scale),
            layout: &self.layout,
            sizes: &self.sizes,
            scope: self.scope,
            drop_path: self.drop_path.as_deref(),
            threads: self.threads,
        };
        let g = crate::profile::span(
            || format!("block {}, backward", self.sizes.c),
            || {
                backward(
                    numbers(&inputs[0]),
                    numbers(&grad),
                    numbers_mut(&mut dx),
                    &self.saved,
                    &job,
                )
            },
        );
        let mut all = vec![g.dw, g.dw_bias, g.norm, g.norm_bias, g.w1, g.b1, g.w2, g.b2];
        if let Some((gamma, beta)) = g.grn {
            all.extend([gamma, beta]);
        }
        all.extend(g.scale);
        let shaped =
            |(numbers, input): (&Vec<f32>, &Tensor)| Some(Tensor::from_slice(numbers).view_as(input));
        Ok(std::iter::once(Some(dx))
            .chain(all.iter().zip(&inputs[1..]).map(shaped))
            .collect())
    }
}
