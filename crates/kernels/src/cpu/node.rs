//! The fast block as one autograd node.

use fcmae_masking::VisibleLayout;
use fcmae_torch_ext::{Backward, attach, records};
use tch::{Kind, Tensor};

use super::backward::backward;
use super::forward::{Saved, forward};
use super::isa::Isa;
use super::number::{Bf16, Number};
use super::plan::{Job, Sizes, Split, Weights};
use super::tensor::{fresh, is_plain, numbers, numbers_mut};
use super::unfold::Gradients;
use crate::block::{BlockOptions, BlockParams, End, Middle};
use crate::grn::GrnScope;
use crate::profile;

/// The block on the CPU in f32 or bf16 with parameters in f32, or `None` where this path does not apply.
pub(crate) fn block(
    isa: Isa,
    x: &Tensor,
    p: &BlockParams,
    layout: &VisibleLayout,
    options: &BlockOptions,
) -> Option<Tensor> {
    let fits = inputs(x, p)[1..].iter().all(|t| is_plain(t, Kind::Float));
    if !fits || p.dwconv_weight.size()[2..] != [7, 7] {
        return None;
    }
    let x = x.contiguous();
    match x.kind() {
        kind if !is_plain(&x, kind) => None,
        Kind::Float => Some(run::<f32>(isa, &x, p, layout, options)),
        Kind::BFloat16 => Some(run::<Bf16>(isa, &x, p, layout, options)),
        _ => None,
    }
}

fn run<T: Number>(
    isa: Isa,
    x: &Tensor,
    p: &BlockParams,
    layout: &VisibleLayout,
    options: &BlockOptions,
) -> Tensor {
    let inputs = inputs(x, p);
    let (_, side, _, c) = x.size4().expect("packed features are [V, p, p, C]");
    let sizes = Sizes::new::<T>(layout, side as usize, c as usize, isa);
    assert_eq!(
        sizes.all_rows() * sizes.c,
        x.numel(),
        "features and layout must have the same tiles"
    );
    if let Some(factors) = options.drop_path {
        assert_eq!(factors.len(), sizes.images, "one factor of DropPath per image");
    }
    let split = Split::new(&sizes, tch::get_num_threads().max(1) as usize);
    let has = (p.has_grn(), p.has_layer_scale());
    let keep = records(&inputs).then_some(options.activation);

    let (y, saved) = tch::no_grad(|| {
        let mut y = fresh(&x.size(), T::KIND);
        let weights = weights(&inputs, has);
        weights.check(&sizes);
        let job = Job {
            weights: &weights,
            layout,
            sizes: &sizes,
            split: &split,
            scope: options.grn_scope,
            drop_path: options.drop_path,
        };
        let saved = forward::<T>(numbers(x), numbers_mut(&mut y), &job, keep);
        (y, saved)
    });
    let Some(saved) = saved else { return y };
    let node = Node {
        saved,
        sizes,
        split,
        layout: layout.clone(),
        scope: options.grn_scope,
        drop_path: options.drop_path.map(<[f32]>::to_vec),
        has,
    };
    attach(&inputs, y, Box::new(node)).expect("a fresh tensor takes a history")
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

/// The parameters among the inputs, as numbers; `has` GRN, `has` LayerScale.
fn weights<'a, T: std::borrow::Borrow<Tensor>>(inputs: &'a [T], has: (bool, bool)) -> Weights<'a> {
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
        grn: has.0.then(|| (at(9), at(10))),
        scale: has.1.then(|| at(if has.0 { 11 } else { 9 })),
    }
}

/// Room for the gradients of the parameters, in the order of [`weights`].
fn gradients(room: &mut [Tensor], has: (bool, bool)) -> Gradients<'_> {
    let mut all = room.iter_mut().map(numbers_mut::<f32>);
    let mut next = || all.next().expect("a gradient per parameter");
    Gradients {
        dw: next(),
        dw_bias: next(),
        norm: next(),
        norm_bias: next(),
        w1: next(),
        b1: next(),
        w2: next(),
        b2: next(),
        grn: has.0.then(|| (next(), next())),
        scale: has.1.then(&mut next),
    }
}

struct Node<T: Number> {
    saved: Saved<T>,
    sizes: Sizes,
    split: Split,
    layout: VisibleLayout,
    scope: GrnScope,
    drop_path: Option<Vec<f32>>,
    has: (bool, bool),
}

impl<T: Number> Backward for Node<T> {
    fn backward(&self, inputs: &[Tensor], grad: &Tensor) -> Result<Vec<Option<Tensor>>, String> {
        profile::span(
            || format!("block {}, backward", self.sizes.c),
            || {
                let grad = grad.to_kind(T::KIND).contiguous();
                let mut dx = fresh(&inputs[0].size(), T::KIND);
                let mut room: Vec<Tensor> = inputs[1..]
                    .iter()
                    .map(|t| fresh(&t.size(), Kind::Float))
                    .collect();
                let job = Job {
                    weights: &weights(inputs, self.has),
                    layout: &self.layout,
                    sizes: &self.sizes,
                    split: &self.split,
                    scope: self.scope,
                    drop_path: self.drop_path.as_deref(),
                };
                backward::<T>(
                    numbers(&inputs[0]),
                    numbers(&grad),
                    numbers_mut(&mut dx),
                    &self.saved,
                    &job,
                    &mut gradients(&mut room, self.has),
                );
                Ok(std::iter::once(dx).chain(room).map(Some).collect())
            },
        )
    }
}
