//! Files of tensors: PyTorch's, as archives and as they were before; safetensors.

use std::io::{Cursor, Read, Write};

use fcmae_checkpoint::{CheckpointError, Tensors, read_contents, read_tensors, read_weights};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::bytes;
use crate::target::{Input, Outcome, Seed, Target, Verdict, any_read};

/// An archive with a pickle in it. What is inside is the pickle: its checksum is right, whatever is in it.
pub(crate) const TORCH_ZIP: Target = Target {
    name: "torch-zip",
    file: "input.pth",
    seeds: || {
        let names = [
            "odd_tensors.pth",
            "malicious.pth",
            "official_dense.pth",
            "timm.pth",
        ];
        names.map(archive).into()
    },
    words: PICKLE,
    read,
};

/// Pickles one after the other.
pub(crate) const TORCH_LEGACY: Target = Target {
    name: "torch-legacy",
    file: "input.pth",
    seeds: || {
        let names = [
            "odd_tensors_legacy.pth",
            "malicious_legacy.pth",
            "official_dense_legacy.pth",
        ];
        names.map(|name| Seed::plain(golden(name))).into()
    },
    words: PICKLE,
    read,
};

/// A header in JSON behind its length. What is inside is the header and the numbers.
pub(crate) const SAFETENSORS: Target = Target {
    name: "safetensors",
    file: "input.safetensors",
    seeds: || {
        let names = ["odd_tensors.safetensors", "hf/model.safetensors"];
        let small = |(header, numbers): (&str, usize)| {
            with_length([header.as_bytes(), &vec![7; numbers]].concat(), header.len())
        };
        let by_hand = [
            (
                r#"{"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"I64","shape":[],"data_offsets":[24,32]}}"#,
                32,
            ),
            (
                r#"{"__metadata__":{"fcmae.step":"3"},"norm.weight":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}}"#,
                8,
            ),
        ];
        let files = names.map(|name| {
            let file = golden(name);
            let header = u64::from_le_bytes(*file.first_chunk().expect("a length")) as usize;
            with_length(file[8..].to_vec(), header)
        });
        files.into_iter().chain(by_hand.map(small)).collect()
    },
    words: &[
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"",
        b",",
        b":",
        b"null",
        b"\"dtype\"",
        b"\"shape\"",
        b"\"data_offsets\"",
        b"\"U8\"",
        b"\"F64\"",
        b"\"BOOL\"",
        b"\"F4\"",
        b"__metadata__",
        b"1152921504606846976",
        b"\\u0000",
    ],
    read,
};

/// Opcodes and names of pickles.
const PICKLE: &[&[u8]] = &[
    b"\x80\x02",
    b"}",
    b"]",
    b")",
    b"(",
    b"t",
    b"R",
    b"Q",
    b"q\x00",
    b"h\x00",
    b"j\xff\xff\xff\xff",
    b"K\x01",
    b"M\xff\xff",
    b"J\xff\xff\xff\x7f",
    b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"X\xff\xff\xff\xff",
    b"U\xff",
    b"\x85",
    b"\x86",
    b"\x87",
    b"s",
    b"u",
    b"a",
    b"e",
    b"2",
    b"0",
    b"1",
    b".",
    b"b",
    b"\x81",
    b"\x93",
    b"\x94",
    b"ctorch._utils\n_rebuild_tensor_v2\n",
    b"ctorch\nFloatStorage\n",
    b"ctorch\nDoubleStorage\n",
    b"ccollections\nOrderedDict\n",
    b"cposix\nsystem\n",
    b"ctorch._utils\n_rebuild_parameter\n",
    b"X\x07\x00\x00\x00storage",
    b"X\x01\x00\x00\x000",
    b"X\x03\x00\x00\x00cpu",
    b"PK\x03\x04",
];

fn golden(name: &str) -> Vec<u8> {
    bytes(&format!("crates/checkpoint/tests/golden/{name}"))
}

/// A golden archive, to be made again around another pickle.
fn archive(name: &str) -> Seed {
    let mut zip = ZipArchive::new(Cursor::new(golden(name))).expect("a golden archive");
    let mut entries: Vec<(String, Vec<u8>)> = Vec::new();
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).expect("an entry");
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("an entry's bytes");
        entries.push((entry.name().expect("a name").into_owned(), bytes));
    }
    let at = entries
        .iter()
        .position(|(name, _)| name.ends_with("/data.pkl"))
        .expect("a pickle");
    let (pickle, inside) = entries.remove(at);
    Seed::dressed(inside, move |inside| {
        let all = std::iter::once((pickle.as_str(), inside));
        let others = entries
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        zipped(all.chain(others))
    })
}

/// An archive as `torch.save` writes it: nothing is compressed.
fn zipped<'a>(entries: impl Iterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, bytes) in entries {
        zip.start_file(name, options).expect("memory");
        zip.write_all(bytes).expect("memory");
    }
    zip.finish().expect("memory").into_inner()
}

/// A header and numbers behind the header's length, which is that of the good file unless the header has grown.
fn with_length(inside: Vec<u8>, header: usize) -> Seed {
    let numbers = inside.len() - header;
    Seed::dressed(inside, move |inside| {
        let header = inside.len().saturating_sub(numbers) as u64;
        [&header.to_le_bytes(), inside].concat()
    })
}

/// Every way to read a file of tensors.
fn read(input: &Input) -> Verdict {
    let told = |error: &CheckpointError| input.refused(error);
    let contents = read_contents(input.file);
    let tensors = read_tensors(input.file);
    let weights = read_weights(input.file);
    any_read([
        contents.map_or_else(|error| told(&error), |_| Ok(Outcome::Read)),
        tensors.map_or_else(|error| told(&error), |tensors| whole(&tensors)),
        weights.map_or_else(
            |error| told(&error),
            |weights| any_read([&weights.encoder, &weights.head, &weights.decoder].map(whole)),
        ),
    ])
}

/// Whether every tensor has the bytes that its shape and type call for.
fn whole(tensors: &Tensors) -> Verdict {
    for (name, tensor) in tensors {
        let elements: usize = tensor.shape.iter().product();
        if elements * tensor.dtype.size() != tensor.bytes.len() {
            return Err(format!(
                "tensor {name:?}: {:?} in {} bytes",
                tensor.shape,
                tensor.bytes.len()
            ));
        }
    }
    Ok(Outcome::Read)
}
