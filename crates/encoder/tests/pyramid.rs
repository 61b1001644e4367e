//! The feature pyramid: sizes, the last map against the classifier, padding, gradients.

use fcmae_blocks::{Pass, initialise};
use fcmae_encoder::{Classifier, EncoderConfig, FeaturePyramid, Place, Site, SparseEncoder, masked_dense};
use fcmae_masking::{PatchGrid, PatchMask};
use fcmae_testing::{F32, F64, assert_close};
use proptest::prelude::*;
use tch::{Device, Kind, Tensor, nn};

fn config() -> EncoderConfig {
    EncoderConfig {
        depths: vec![1; 4],
        dims: vec![4, 6, 8, 10],
        stem_stride: 2,
        ..EncoderConfig::default()
    }
}

/// Every parameter random, GRN's too.
fn randomise(vs: &nn::VarStore) {
    initialise(vs, 1);
    tch::manual_seed(2);
    for mut parameter in vs.trainable_variables() {
        tch::no_grad(|| drop(parameter.g_add_(&(parameter.randn_like() * 0.1))));
    }
}

#[test]
fn maps_are_those_of_the_dense_network() {
    let mut vs = nn::VarStore::new(Device::Cpu);
    let pyramid = FeaturePyramid::new(&vs.root(), &config()).unwrap();
    randomise(&vs);
    vs.double();
    let images = Tensor::randn([2, 3, 32, 48], (Kind::Double, Device::Cpu));
    let maps = pyramid.forward(&images, &Pass::default()).unwrap();
    let mask = PatchMask::none_hidden(PatchGrid { rows: 2, cols: 3 }, 2);
    let expected = masked_dense(pyramid.encoder(), &images, &mask, &Pass::default());
    assert_eq!(pyramid.strides(), [2, 4, 8, 16]);
    for ((map, expected), (stride, &channels)) in maps
        .iter()
        .zip(expected)
        .zip(pyramid.strides().into_iter().zip(pyramid.channels()))
    {
        let stride = stride as i64;
        assert_eq!(map.size(), [2, channels as i64, 32 / stride, 48 / stride]);
        assert_close("map", &map.permute([0, 2, 3, 1]), &expected, F64.forward);
    }
}

/// Every place is shown once and in order, and the last output of a stage is the stage's map, also where the stride
/// does not divide the image.
#[test]
fn what_is_observed_on_the_way_are_the_maps() {
    let config = EncoderConfig {
        depths: vec![1, 2, 1],
        dims: vec![4, 6, 8],
        ..EncoderConfig::default()
    };
    let vs = nn::VarStore::new(Device::Cpu);
    let encoder = SparseEncoder::new(&vs.root(), &config).unwrap();
    randomise(&vs);
    let images = Tensor::randn([2, 3, 33, 40], (Kind::Float, Device::Cpu));
    let maps = encoder.forward_maps(&images, &Pass::default()).unwrap();
    let mut seen: Vec<(Place, Tensor)> = Vec::new();
    let mut observe = |place, map: &Tensor| seen.push((place, map.shallow_clone()));
    encoder.forward_observed(&images, &mut observe).unwrap();
    assert_eq!(seen.len(), 4 * Site::ALL.len());
    assert!(seen.is_sorted_by_key(|(place, _)| *place));
    for (stage, map) in maps.iter().enumerate() {
        let mut outputs = seen.iter().filter(|(place, _)| place.stage == stage);
        let (place, last) = outputs.next_back().unwrap();
        assert_eq!(
            (place.block, place.site),
            (config.depths[stage] - 1, Site::Output)
        );
        assert_close(&place.to_string(), last, &map.permute([0, 2, 3, 1]), F32.forward);
    }
    let (place, hidden) = &seen[0];
    assert_eq!(place.to_string(), "stages.0.0, before GELU");
    assert_eq!(hidden.size(), [2, 9, 10, 16]); // ⌈33 / 4⌉ × ⌈40 / 4⌉ sites of 4·4 channels
}

#[test]
fn the_mean_of_the_last_map_is_what_a_classifier_pools() {
    let vs = nn::VarStore::new(Device::Cpu);
    let classifier = Classifier::new(&vs.root(), &config(), 3).unwrap();
    randomise(&vs);
    let images = Tensor::randn([2, 3, 32, 32], (Kind::Float, Device::Cpu));
    let pooled = classifier.pooled(&images, &Pass::default()).unwrap();
    let other = nn::VarStore::new(Device::Cpu);
    let pyramid = FeaturePyramid::from(SparseEncoder::new(&other.root(), &config()).unwrap());
    let weights = vs.variables();
    for (name, mut parameter) in other.variables() {
        tch::no_grad(|| parameter.copy_(&weights[&name]));
    }
    let last = pyramid.forward(&images, &Pass::default()).unwrap().pop().unwrap();
    let mean = last.mean_dim([2i64, 3].as_slice(), false, Kind::Float);
    assert!((mean - pooled).abs().max().double_value(&[]) < 1e-5);
}

#[test]
fn gradients_reach_every_parameter() {
    let vs = nn::VarStore::new(Device::Cpu);
    let pyramid = FeaturePyramid::new(&vs.root(), &config()).unwrap();
    randomise(&vs);
    let images = Tensor::randn([1, 3, 33, 40], (Kind::Float, Device::Cpu));
    let maps = pyramid.forward(&images, &Pass::default()).unwrap();
    let loss: Tensor = maps.iter().map(|map| map.square().mean(Kind::Float)).sum();
    loss.backward();
    for (name, parameter) in vs.variables() {
        let gradient = parameter.grad();
        assert!(
            gradient.defined() && gradient.abs().max().double_value(&[]) > 0.0,
            "{name}"
        );
    }
}

#[test]
fn images_without_pixels_are_refused() {
    let vs = nn::VarStore::new(Device::Cpu);
    let pyramid = FeaturePyramid::new(&vs.root(), &config()).unwrap();
    let images = Tensor::zeros([1, 3, 0, 16], (Kind::Float, Device::Cpu));
    assert!(pyramid.forward(&images, &Pass::default()).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any size: maps cover the image, and are those of the image with zeros beside it.
    #[test]
    fn any_size_is_padded_and_cut(height in 1i64..50, width in 1i64..50) {
        let vs = nn::VarStore::new(Device::Cpu);
        let pyramid = FeaturePyramid::new(&vs.root(), &config()).unwrap();
        randomise(&vs);
        let images = Tensor::randn([1, 3, height, width], (Kind::Float, Device::Cpu));
        let whole = Tensor::zeros([1, 3, (height + 15) / 16 * 16, (width + 15) / 16 * 16], (Kind::Float, Device::Cpu));
        whole.narrow(2, 0, height).narrow(3, 0, width).copy_(&images);
        let maps = pyramid.forward(&images, &Pass::default()).unwrap();
        let padded = pyramid.forward(&whole, &Pass::default()).unwrap();
        for (stride, (map, padded)) in pyramid.strides().into_iter().zip(maps.iter().zip(&padded)) {
            let sites = |side: i64| (side + stride as i64 - 1) / stride as i64;
            prop_assert_eq!(&map.size()[2..], &[sites(height), sites(width)]);
            let cut = padded.narrow(2, 0, sites(height)).narrow(3, 0, sites(width));
            prop_assert!(map.equal(&cut));
        }
    }
}
