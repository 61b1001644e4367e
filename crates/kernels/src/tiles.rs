//! Between packed tiles `[V, p, p, C]` and whole maps `[N, H, W, C]`.

use std::cell::RefCell;

use fcmae_masking::VisibleLayout;
use tch::{Device, Tensor};

/// Flat patch numbers as an index tensor `[len]` on `device`.
fn index(patches: &[u32], device: Device) -> Tensor {
    if device == Device::Cpu {
        return wide(patches);
    }
    SENT.with_borrow_mut(|sent| sent.find_or_send(patches, device))
}

fn wide(patches: &[u32]) -> Tensor {
    let wide: Vec<i64> = patches.iter().map(|&patch| i64::from(patch)).collect();
    Tensor::from_slice(&wide)
}

thread_local! {
    static SENT: RefCell<Sent> = const { RefCell::new(Sent(Vec::new())) };
}

/// The index tensors that were last sent to a device: each operation of a step asks for the same two, and sending one
/// waits for the device.
struct Sent(Vec<(Vec<u32>, Device, Tensor)>);

impl Sent {
    /// Those of a step, and of a step of another kind in between.
    const KEPT: usize = 4;

    fn find_or_send(&mut self, patches: &[u32], device: Device) -> Tensor {
        let Sent(kept) = self;
        if let Some((.., index)) = kept.iter().find(|(p, d, _)| *d == device && p == patches) {
            return index.shallow_clone();
        }
        kept.truncate(Sent::KEPT - 1);
        let index = wide(patches).to_device(device);
        kept.insert(0, (patches.to_vec(), device, index.shallow_clone()));
        index
    }
}

/// `[N, gh, gw]` as libtorch counts.
fn shape(layout: &VisibleLayout) -> (i64, i64, i64) {
    let grid = layout.grid();
    (layout.images() as i64, grid.rows as i64, grid.cols as i64)
}

/// Packed tiles `[V, p, p, C]` → whole map `[N, gh·p, gw·p, C]`, zero at hidden sites.
pub fn unpack_tiles(x: &Tensor, layout: &VisibleLayout) -> Tensor {
    let (_, p, _, c) = x.size4().expect("packed features are [V, p, p, C]");
    let (n, gh, gw) = shape(layout);
    let all = if layout.is_full() {
        x.shallow_clone()
    } else {
        let hidden_zero = x.new_zeros([n * gh * gw, p, p, c], (x.kind(), x.device()));
        hidden_zero.index_copy(0, &index(layout.visible(), x.device()), x)
    };
    all.view([n, gh, gw, p, p, c])
        .permute([0, 1, 3, 2, 4, 5])
        .reshape([n, gh * p, gw * p, c])
}

/// Whole map `[N, gh·p, gw·p, C]` → packed tiles `[V, p, p, C]`: what is hidden is left out.
pub fn pack_tiles(map: &Tensor, layout: &VisibleLayout) -> Tensor {
    let (_, h, w, c) = map.size4().expect("maps are [N, H, W, C]");
    let (n, gh, gw) = shape(layout);
    let p = h / gh;
    debug_assert_eq!(
        (gh * p, gw * p),
        (h, w),
        "the map must be cut by the layout's grid"
    );
    let tiles = map.view([n, gh, p, gw, p, c]).permute([0, 1, 3, 2, 4, 5]);
    if layout.is_full() {
        return tiles.reshape([n * gh * gw, p, p, c]);
    }
    // Selecting on the permuted view copies visible tiles alone.
    tiles
        .reshape([n * gh * gw, p, p, c])
        .index_select(0, &index(layout.visible(), map.device()))
}

/// Pixels of the visible patches: images `[N, C, H, W]` → `[V, C, P, P]`.
pub(crate) fn visible_pixels(images: &Tensor, layout: &VisibleLayout) -> Tensor {
    let patches = image_patches(images, layout);
    if layout.is_full() {
        return patches;
    }
    patches.index_select(0, &index(layout.visible(), images.device()))
}

/// All patches of all images: `[N, C, H, W]` → `[N·L, C, P, P]`.
fn image_patches(images: &Tensor, layout: &VisibleLayout) -> Tensor {
    let (n, c, h, w) = images.size4().expect("images are [N, C, H, W]");
    let (_, gh, gw) = shape(layout);
    let (ph, pw) = (h / gh, w / gw);
    images
        .view([n, c, gh, ph, gw, pw])
        .permute([0, 2, 4, 1, 3, 5])
        .reshape([n * gh * gw, c, ph, pw])
}

/// Fills hidden patches with the mask token: packed `[V, D]` and `token [D]` → tokens `[N·L, D]` (paper §3).
pub fn complete(packed: &Tensor, token: &Tensor, layout: &VisibleLayout) -> Tensor {
    if layout.is_full() {
        return packed.shallow_clone();
    }
    let (n, gh, gw) = shape(layout);
    let filled = token
        .to_kind(packed.kind())
        .view([1, -1])
        .expand([n * gh * gw, -1], false);
    filled.index_copy(0, &index(layout.visible(), packed.device()), packed)
}

/// Rows of the hidden patches: tokens `[N·L, …]` → `[N·(L−K), …]`.
pub fn select_hidden(tokens: &Tensor, layout: &VisibleLayout) -> Tensor {
    tokens.index_select(0, &index(layout.hidden(), tokens.device()))
}

#[cfg(test)]
mod tests {
    use fcmae_masking::{PatchGrid, PatchMask};
    use tch::Kind;

    use super::*;

    fn layout() -> VisibleLayout {
        let grid = PatchGrid { rows: 1, cols: 3 };
        let mask = PatchMask::from_hidden_indices(grid, &[vec![1], vec![0]]).unwrap();
        VisibleLayout::from(&mask)
    }

    #[test]
    fn packing_is_the_inverse_of_unpacking() {
        let x = Tensor::arange(4 * 2 * 2 * 3, (Kind::Double, Device::Cpu)).view([4, 2, 2, 3]);
        let map = unpack_tiles(&x, &layout());
        assert_eq!(map.size(), [2, 2, 6, 3]);
        assert_eq!(pack_tiles(&map, &layout()), x);
    }

    #[test]
    fn an_index_is_sent_once_and_never_mistaken_for_another() {
        let mut sent = Sent(Vec::new());
        let lists: Vec<Vec<u32>> = (0..6).map(|i| vec![i, i + 1]).collect();
        for list in lists.iter().chain(&lists[..5]) {
            let first = sent.find_or_send(list, Device::Cpu);
            assert_eq!(first, wide(list));
            assert_eq!(first.data_ptr(), sent.find_or_send(list, Device::Cpu).data_ptr());
        }
        assert_eq!(sent.0.len(), Sent::KEPT);
    }

    #[test]
    fn hidden_sites_of_a_map_are_zero() {
        let map = unpack_tiles(
            &Tensor::ones([4, 2, 2, 1], (Kind::Double, Device::Cpu)),
            &layout(),
        );
        let first_row: Vec<f64> = (0..6).map(|x| map.double_value(&[0, 0, x, 0])).collect();
        assert_eq!(first_row, [1.0, 1.0, 0.0, 0.0, 1.0, 1.0]); // patch 1 of image 0 is hidden
    }

    #[test]
    fn tokens_stand_where_patches_are_hidden() {
        let packed = Tensor::from_slice(&[1.0, 2.0, 3.0, 4.0]).view([4, 1]);
        let tokens = complete(&packed, &Tensor::from_slice(&[9.0]), &layout());
        assert_eq!(
            Vec::<f64>::try_from(tokens.view([-1])).unwrap(),
            [1.0, 9.0, 2.0, 9.0, 3.0, 4.0]
        );
        assert_eq!(
            Vec::<f64>::try_from(select_hidden(&tokens, &layout()).view([-1])).unwrap(),
            [9.0, 9.0]
        );
    }
}
