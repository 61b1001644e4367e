//! The shapes in which other programs keep the same numbers, and the way to ours and back.

use crate::tensor::TensorData;
use crate::weights::naming::Naming;

/// Turns a tensor into the shape that it has here; `name` is ours. Shapes that fit no known layout stay as they
/// are, for the comparison with the network to report.
pub(crate) fn to_ours(naming: Naming, name: &str, tensor: TensorData) -> TensorData {
    let is_minkowski = naming == Naming::Minkowski && !is_decoder(name);
    match (&tensor.shape[..], kind(name)) {
        (&[volume, channels], Kind::Kernel) if is_minkowski => depthwise_to_dense(volume, channels, tensor),
        (&[volume, from, to], Kind::Kernel) if is_minkowski => kernel_to_dense([volume, from, to], tensor),
        _ => {
            let shape = our_shape(naming, name, &tensor.shape);
            TensorData { shape, ..tensor }
        }
    }
}

/// The shape that a tensor of theirs has here; see [`to_ours`].
pub(crate) fn our_shape(naming: Naming, name: &str, shape: &[usize]) -> Vec<usize> {
    let is_minkowski = naming == Naming::Minkowski && !is_decoder(name);
    match (shape, kind(name)) {
        (&[volume, channels], Kind::Kernel) if is_minkowski => match side(volume) {
            Some(side) => vec![channels, 1, side, side],
            None => shape.to_vec(),
        },
        (&[volume, from, to], Kind::Kernel) if is_minkowski => match side(volume) {
            Some(side) => vec![to, from, side, side],
            None => shape.to_vec(),
        },
        // GRN comes as (C), (1, C) and (1, 1, 1, C)
        (&[c] | &[1, c] | &[1, 1, 1, c], Kind::Grn) => vec![1, 1, 1, c],
        (&[1, c], Kind::Bias) => vec![c],
        // timm's "conv_mlp" form
        (&[to, from, 1, 1], Kind::Linear) => vec![to, from],
        _ => shape.to_vec(),
    }
}

/// How GRN's parameters and linear maps are to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Style {
    pub(crate) naming: Naming,
    /// Leading ones of GRN's parameters.
    pub(crate) grn_ones: usize,
    /// Whether linear maps are 1×1 convolutions.
    pub(crate) conv_mlp: bool,
}

/// Turns a tensor of ours into the shape of another program.
pub(crate) fn to_theirs(style: Style, name: &str, mut tensor: TensorData) -> TensorData {
    let is_minkowski = style.naming == Naming::Minkowski && !is_decoder(name);
    match (&tensor.shape[..], kind(name)) {
        (&[_, _, _, _], Kind::Kernel) if is_minkowski && !name.starts_with("downsample_layers.0.") => {
            return kernel_to_minkowski(tensor);
        }
        (&[c], Kind::Bias) if is_minkowski && is_convolution(name) => tensor.shape = vec![1, c],
        (&[.., c], Kind::Grn) if !is_decoder(name) => {
            tensor.shape = vec![1; style.grn_ones];
            tensor.shape.push(c);
        }
        (&[to, from], Kind::Linear) if style.conv_mlp => tensor.shape = vec![to, from, 1, 1],
        _ => {}
    }
    tensor
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Kernel,
    Linear,
    Grn,
    Bias,
    Other,
}

fn kind(name: &str) -> Kind {
    let is_pointwise = name.contains(".pwconv");
    match name.rsplit('.').next() {
        Some("gamma" | "beta") if name.contains(".grn.") => Kind::Grn,
        Some("bias") => Kind::Bias,
        Some("weight") if is_pointwise => Kind::Linear,
        Some("weight") if name.ends_with(".dwconv.weight") || name.starts_with("downsample_layers.") => {
            Kind::Kernel
        }
        _ => Kind::Other,
    }
}

fn is_decoder(name: &str) -> bool {
    super::part(name) == super::Part::Decoder
}

/// Whether MinkowskiEngine has this layer's bias as `(1, C)`.
fn is_convolution(name: &str) -> bool {
    let is_downsample = name.starts_with("downsample_layers.") && !name.starts_with("downsample_layers.0.");
    name.ends_with(".dwconv.bias") || (is_downsample && name.ends_with(".1.bias"))
}

/// Side of a square kernel.
fn side(volume: usize) -> Option<usize> {
    let side = volume.isqrt();
    (side * side == volume).then_some(side)
}

fn depthwise_to_dense(volume: usize, channels: usize, tensor: TensorData) -> TensorData {
    match side(volume) {
        Some(side) => permute(tensor, vec![channels, 1, side, side], |[c, _, h, w]| {
            (h + side * w) * channels + c
        }),
        None => tensor,
    }
}

/// MinkowskiEngine numbers the places of a kernel with the row fastest: `k = row + side·column` (fact sheet §2.10).
fn kernel_to_dense([volume, from, to]: [usize; 3], tensor: TensorData) -> TensorData {
    match side(volume) {
        Some(side) => permute(tensor, vec![to, from, side, side], |[o, i, h, w]| {
            ((h + side * w) * from + i) * to + o
        }),
        None => tensor,
    }
}

fn kernel_to_minkowski(tensor: TensorData) -> TensorData {
    let [to, from, side, width] = tensor.shape[..] else {
        return tensor;
    };
    let volume = side * width;
    let is_depthwise = from == 1;
    let shape = if is_depthwise {
        vec![volume, to]
    } else {
        vec![volume, from, to]
    };
    let dense = move |k: usize, i: usize, o: usize| ((o * from + i) * side + k % side) * width + k / side;
    let permuted = permute(tensor, vec![1, volume, from, to], |[_, k, i, o]| dense(k, i, o));
    TensorData { shape, ..permuted }
}

/// A tensor whose element at `index` is the element at place `from(index)` of the old one.
fn permute(tensor: TensorData, shape: Vec<usize>, from: impl Fn([usize; 4]) -> usize) -> TensorData {
    let size = tensor.dtype.size();
    let mut bytes = Vec::with_capacity(tensor.bytes.len());
    let [a, b, c, d] = [shape[0], shape[1], shape[2], shape[3]];
    for i in 0..a {
        for j in 0..b {
            for k in 0..c {
                for l in 0..d {
                    let place = from([i, j, k, l]) * size;
                    bytes.extend_from_slice(&tensor.bytes[place..place + size]);
                }
            }
        }
    }
    TensorData {
        dtype: tensor.dtype,
        shape,
        bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(shape: &[usize]) -> TensorData {
        let values: Vec<f32> = (0..shape.iter().product::<usize>()).map(|i| i as f32).collect();
        TensorData::from_f32(shape.to_vec(), &values).unwrap()
    }

    #[test]
    fn a_kernel_of_minkowski_has_the_row_fastest() {
        // k = 1 is row 1, column 0
        let sparse = numbers(&[4, 2, 3]);
        let dense = to_ours(Naming::Minkowski, "downsample_layers.1.1.weight", sparse);
        assert_eq!(dense.shape, [3, 2, 2, 2]);
        let values = dense.to_f32().unwrap();
        // output 0, input 0: rows then columns
        assert_eq!(values[..4], [0.0, 12.0, 6.0, 18.0]);
    }

    #[test]
    fn layouts_go_there_and_back() {
        let minkowski = Style {
            naming: Naming::Minkowski,
            grn_ones: 1,
            conv_mlp: false,
        };
        let timm = Style {
            naming: Naming::Timm,
            grn_ones: 0,
            conv_mlp: true,
        };
        for (style, name, shape, theirs) in [
            (
                minkowski,
                "stages.0.0.dwconv.weight",
                &[5, 1, 7, 7][..],
                &[49, 5][..],
            ),
            (minkowski, "stages.0.0.dwconv.bias", &[5], &[1, 5]),
            (
                minkowski,
                "downsample_layers.2.1.weight",
                &[3, 5, 2, 2],
                &[4, 5, 3],
            ),
            (minkowski, "downsample_layers.2.1.bias", &[3], &[1, 3]),
            (minkowski, "downsample_layers.2.0.bias", &[3], &[3]),
            (
                minkowski,
                "downsample_layers.0.0.weight",
                &[3, 3, 4, 4],
                &[3, 3, 4, 4],
            ),
            (minkowski, "stages.0.0.grn.beta", &[1, 1, 1, 8], &[1, 8]),
            (minkowski, "decoder.0.grn.beta", &[1, 1, 1, 8], &[1, 1, 1, 8]),
            (minkowski, "decoder.0.dwconv.weight", &[5, 1, 7, 7], &[5, 1, 7, 7]),
            (timm, "stages.0.0.grn.beta", &[1, 1, 1, 8], &[8]),
            (timm, "stages.0.0.pwconv1.weight", &[8, 2], &[8, 2, 1, 1]),
            (timm, "head.weight", &[8, 2], &[8, 2]),
        ] {
            let tensor = numbers(shape);
            let there = to_theirs(style, name, tensor.clone());
            assert_eq!(there.shape, theirs, "{name}");
            assert_eq!(our_shape(style.naming, name, &there.shape), shape, "{name}");
            assert_eq!(to_ours(style.naming, name, there), tensor, "{name}");
        }
    }

    #[test]
    fn shapes_that_fit_nothing_are_left_to_be_reported() {
        let odd = numbers(&[5, 3]); // five places are no square
        assert_eq!(
            to_ours(Naming::Minkowski, "stages.0.0.dwconv.weight", odd.clone()),
            odd
        );
        let odd = numbers(&[2, 4]);
        assert_eq!(to_ours(Naming::Timm, "stages.0.0.grn.gamma", odd.clone()), odd);
    }
}
