//! Depthwise 7×7 on packed tiles: the slot table is read in place, hidden neighbours are skipped.

use fcmae_masking::VisibleLayout;

use super::lanes::Lanes;
use super::number::Number;

const REACH: usize = 3;
const SIDE: usize = 7;
const TAPS: usize = SIDE * SIDE;

/// Where the `(p + 6)²` positions around a tile stand: packed position, or `HIDDEN`.
///
/// Positions are counted within the packed tensor: `row·p·p + y·p + x`.
pub(super) struct Halo {
    p: usize,
    side: usize,
    positions: Vec<u32>,
}

const HIDDEN: u32 = u32::MAX;

impl Halo {
    pub(super) fn new(p: usize) -> Halo {
        let side = p + 2 * REACH;
        Halo {
            p,
            side,
            positions: vec![HIDDEN; side * side],
        }
    }

    /// Fills the table for packed row `tile`.
    pub(super) fn set(&mut self, layout: &VisibleLayout, tile: usize) {
        let (grid, p) = (layout.grid(), self.p as isize);
        let flat = layout.visible()[tile] as usize;
        let (image, patch) = (flat / grid.patches(), flat % grid.patches());
        let (row, col) = ((patch / grid.cols) as isize, (patch % grid.cols) as isize);
        let slots = &layout.slots()[image * grid.patches()..][..grid.patches()];
        for (hy, line) in self.positions.chunks_exact_mut(self.side).enumerate() {
            let y = row * p + hy as isize - REACH as isize;
            let tile_row = y.div_euclid(p);
            let in_rows = (0..grid.rows as isize).contains(&tile_row);
            let mut hx = 0;
            while hx < line.len() {
                // One run of positions that lie in the same tile.
                let x = col * p + hx as isize - REACH as isize;
                let tile_col = x.div_euclid(p);
                let inner = x.rem_euclid(p);
                let run = ((p - inner) as usize).min(line.len() - hx);
                let slot = if in_rows && (0..grid.cols as isize).contains(&tile_col) {
                    slots[tile_row as usize * grid.cols + tile_col as usize]
                } else {
                    -1
                };
                let first = slot as isize * p * p + y.rem_euclid(p) * p + inner;
                for (i, position) in line[hx..hx + run].iter_mut().enumerate() {
                    *position = if slot < 0 {
                        HIDDEN
                    } else {
                        (first + i as isize) as u32
                    };
                }
                hx += run;
            }
        }
    }

    #[inline(always)]
    fn line(&self, y: usize) -> &[u32] {
        &self.positions[y * self.side..][..self.side]
    }
}

/// Weights `[C, 1, 7, 7]` → taps first, `[49, C]`, as they are or turned by 180° (for the input gradient).
pub(super) fn taps_first(weight: &[f32], channels: usize, turned: bool) -> Vec<f32> {
    let mut out = vec![0.0; TAPS * channels];
    for (t, out) in out.chunks_exact_mut(channels.max(1)).enumerate() {
        let t = if turned { TAPS - 1 - t } else { t };
        for (out, taps) in out.iter_mut().zip(weight.chunks_exact(TAPS)) {
            *out = taps[t];
        }
    }
    out
}

/// What the sums of a tile start from: a row per position (the gradient that passes by the branch), or with stride 0
/// the same for all (the bias).
#[derive(Clone, Copy)]
pub(super) struct Start<S> {
    pub(super) from: *const S,
    pub(super) stride: usize,
}

/// `y = start + Σ w·x` for one tile: `x` is the whole packed tensor `[V·p·p, C]`, `y` the tile's `p·p` rows.
///
/// # Safety
/// The CPU must have `L`; `x` must hold every position of the halo, `y` `p·p·C` numbers, `weight` `49·C`.
#[inline(always)]
pub(super) unsafe fn convolve_tile<X: Number, S: Number, Y: Number, L: Lanes>(
    halo: &Halo,
    x: *const X,
    weight: *const f32,
    channels: usize,
    start: Start<S>,
    y: *mut Y,
) {
    let p = halo.p;
    let mut c = 0;
    while c < channels {
        let n = L::N.min(channels - c);
        for row in 0..p {
            let mut col = 0;
            while col < p {
                let width = strip(p - col);
                // SAFETY: the caller's; channels `c .. c + n` of positions in the halo and of this tile.
                unsafe {
                    let at = row * p + col;
                    let place = Strip {
                        halo,
                        row,
                        col,
                        x: x.add(c),
                        weight: weight.add(c),
                        channels,
                        n,
                        start: Start {
                            from: start.from.add(at * start.stride + c),
                            ..start
                        },
                        y: y.add(at * channels + c),
                    };
                    match (width, n == L::N) {
                        (8, true) => place.sums::<L, 8, true>(),
                        (8, false) => place.sums::<L, 8, false>(),
                        (4, true) => place.sums::<L, 4, true>(),
                        (4, false) => place.sums::<L, 4, false>(),
                        (2, true) => place.sums::<L, 2, true>(),
                        (2, false) => place.sums::<L, 2, false>(),
                        (_, true) => place.sums::<L, 1, true>(),
                        (_, false) => place.sums::<L, 1, false>(),
                    }
                }
                col += width;
            }
        }
        c += n;
    }
}

/// Positions of the next strip when `left` are left in a row: their sums stay in registers.
#[inline(always)]
fn strip(left: usize) -> usize {
    match left {
        8.. => 8,
        4.. => 4,
        2.. => 2,
        _ => 1,
    }
}

/// Loads a vector of channels: `n` is `L::N` where `FULL`.
#[inline(always)]
unsafe fn load<T: Number, L: Lanes, const FULL: bool>(from: *const T, n: usize) -> L::V {
    // SAFETY: the caller's.
    unsafe {
        if FULL {
            T::load::<L>(from)
        } else {
            T::load_part::<L>(from, n)
        }
    }
}

/// Writes a vector of channels: `n` is `L::N` where `FULL`.
#[inline(always)]
unsafe fn store<T: Number, L: Lanes, const FULL: bool>(to: *mut T, v: L::V, n: usize) {
    // SAFETY: the caller's.
    unsafe {
        if FULL {
            T::store::<L>(to, v);
        } else {
            T::store_part::<L>(to, v, n);
        }
    }
}

/// Some positions of a tile's row and a vector of channels; pointers are at the first of them.
struct Strip<'a, X, S, Y> {
    halo: &'a Halo,
    row: usize,
    col: usize,
    /// At the first channel of position 0.
    x: *const X,
    weight: *const f32,
    channels: usize,
    n: usize,
    start: Start<S>,
    y: *mut Y,
}

impl<X: Number, S: Number, Y: Number> Strip<'_, X, S, Y> {
    #[inline(always)]
    unsafe fn sums<L: Lanes, const W: usize, const FULL: bool>(self) {
        let (n, channels) = (self.n, self.channels);
        // SAFETY: the caller's.
        unsafe {
            let mut acc = [L::splat(0.0); W];
            for (i, sum) in acc.iter_mut().enumerate() {
                *sum = load::<S, L, FULL>(self.start.from.add(i * self.start.stride), n);
            }
            for dy in 0..SIDE {
                let line = self.halo.line(self.row + dy);
                let mut taps = [L::splat(0.0); SIDE];
                for (dx, tap) in taps.iter_mut().enumerate() {
                    *tap = load::<f32, L, FULL>(self.weight.add((dy * SIDE + dx) * channels), n);
                }
                for i in 0..W + 2 * REACH {
                    let position = *line.get_unchecked(self.col + i);
                    if position == HIDDEN {
                        continue;
                    }
                    let value = load::<X, L, FULL>(self.x.add(position as usize * channels), n);
                    // Position `col − 3 + i` is tap `i − s` of output `col + s`.
                    for (s, sum) in acc.iter_mut().enumerate() {
                        if i >= s && i - s < SIDE {
                            *sum = L::fma(taps[i - s], value, *sum);
                        }
                    }
                }
            }
            for (i, sum) in acc.iter().enumerate() {
                store::<Y, L, FULL>(self.y.add(i * channels), *sum, n);
            }
        }
    }
}

/// Adds the tiles' part of the weight gradient, `[49, C]`: `Σ_positions dy·x(position + offset)`.
///
/// `dy` are the rows of `tiles` (consecutive), `x` the whole packed tensor, `halos` one table per tile.
///
/// # Safety
/// As [`convolve_tile`]; `gradient` must hold `49·C` numbers.
#[inline(always)]
pub(super) unsafe fn weight_gradient<X: Number, L: Lanes>(
    halos: &[Halo],
    x: *const X,
    dy: *const f32,
    channels: usize,
    gradient: *mut f32,
) {
    let mut c = 0;
    while c < channels {
        let n = L::N.min(channels - c);
        for tap_row in 0..SIDE {
            // SAFETY: the caller's; channels `c .. c + n`.
            unsafe {
                let (x, dy) = (x.add(c), dy.add(c));
                let gradient = gradient.add(tap_row * SIDE * channels + c);
                if n == L::N {
                    tap_row_gradient::<X, L, true>(halos, tap_row, x, dy, channels, n, gradient);
                } else {
                    tap_row_gradient::<X, L, false>(halos, tap_row, x, dy, channels, n, gradient);
                }
            }
        }
        c += n;
    }
}

#[inline(always)]
unsafe fn tap_row_gradient<X: Number, L: Lanes, const FULL: bool>(
    halos: &[Halo],
    tap_row: usize,
    x: *const X,
    dy: *const f32,
    channels: usize,
    n: usize,
    gradient: *mut f32,
) {
    // SAFETY: the caller's.
    unsafe {
        let mut acc = [L::splat(0.0); SIDE];
        for (dx, sum) in acc.iter_mut().enumerate() {
            *sum = load::<f32, L, FULL>(gradient.add(dx * channels), n);
        }
        let mut tile = dy;
        for halo in halos {
            let p = halo.p;
            for row in 0..p {
                let line = halo.line(row + tap_row);
                let mut col = 0;
                while col < p {
                    let width = strip(p - col);
                    let dy = tile.add((row * p + col) * channels);
                    let line = line.get_unchecked(col..);
                    match width {
                        8 => strip_gradient::<X, L, 8, FULL>(line, x, dy, channels, n, &mut acc),
                        4 => strip_gradient::<X, L, 4, FULL>(line, x, dy, channels, n, &mut acc),
                        2 => strip_gradient::<X, L, 2, FULL>(line, x, dy, channels, n, &mut acc),
                        _ => strip_gradient::<X, L, 1, FULL>(line, x, dy, channels, n, &mut acc),
                    }
                    col += width;
                }
            }
            tile = tile.add(p * p * channels);
        }
        for (dx, sum) in acc.iter().enumerate() {
            store::<f32, L, FULL>(gradient.add(dx * channels), *sum, n);
        }
    }
}

#[inline(always)]
unsafe fn strip_gradient<X: Number, L: Lanes, const W: usize, const FULL: bool>(
    line: &[u32],
    x: *const X,
    dy: *const f32,
    channels: usize,
    n: usize,
    acc: &mut [L::V; SIDE],
) {
    // SAFETY: the caller's.
    unsafe {
        let mut grads = [L::splat(0.0); W];
        for (s, grad) in grads.iter_mut().enumerate() {
            *grad = load::<f32, L, FULL>(dy.add(s * channels), n);
        }
        for i in 0..W + 2 * REACH {
            let position = *line.get_unchecked(i);
            if position == HIDDEN {
                continue;
            }
            let value = load::<X, L, FULL>(x.add(position as usize * channels), n);
            for (s, grad) in grads.iter().enumerate() {
                if i >= s && i - s < SIDE {
                    acc[i - s] = L::fma(*grad, value, acc[i - s]);
                }
            }
        }
    }
}
