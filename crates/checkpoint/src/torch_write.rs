//! Writes tensors as `torch.save` does: a zip archive, stored, with a pickle of the dictionary.
//!
//! Archive: `archive/data.pkl`, `archive/byteorder` (`little`), `archive/data/<n>` (one storage per tensor, each
//! starting at a multiple of 64 bytes), `archive/version` (`3`). The pickle is of protocol 2 and names three kinds
//! of globals: `torch._utils _rebuild_tensor_v2`, `torch <Type>Storage` and `collections OrderedDict`; that is
//! what `torch.load(…, weights_only=True)` accepts. Equal tensors give equal bytes.

use std::io::{self, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use crate::atomic::{Sink, replace_file};
use crate::error::CheckpointError;
use crate::tensor::{Dtype, TensorData, Tensors};

/// Where storages start, as torch has it (for memory maps).
const ALIGNMENT: u16 = 64;

/// Writes `{wrapper: {name: tensor}}`, or `{name: tensor}` without a wrapper, replacing `file` whole or not at all.
pub(crate) fn write_torch(
    file: &Path,
    wrapper: Option<&str>,
    tensors: &Tensors,
) -> Result<(), CheckpointError> {
    let pickle = pickle(file, wrapper, tensors)?;
    replace_file(file, |out| archive(out, &pickle, tensors))
}

fn archive(out: &mut dyn Sink, pickle: &[u8], tensors: &Tensors) -> io::Result<()> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Stored)
        .last_modified_time(DateTime::default())
        .with_alignment(ALIGNMENT);
    let mut zip = ZipWriter::new(out);
    let mut entry = |name: &str, bytes: &[u8]| -> io::Result<()> {
        let is_large = bytes.len() >= u32::MAX as usize;
        zip.start_file(format!("archive/{name}"), options.large_file(is_large))?;
        zip.write_all(bytes)
    };
    entry("data.pkl", pickle)?;
    entry("byteorder", b"little")?;
    for (index, tensor) in tensors.values().enumerate() {
        entry(&format!("data/{index}"), &tensor.bytes)?;
    }
    entry("version", b"3\n")?;
    zip.finish()?;
    Ok(())
}

fn pickle(file: &Path, wrapper: Option<&str>, tensors: &Tensors) -> Result<Vec<u8>, CheckpointError> {
    let mut out = Pickle(b"\x80\x02".to_vec()); // PROTO 2
    if let Some(wrapper) = wrapper {
        out.op(b"}"); // EMPTY_DICT
        out.text(wrapper);
    }
    out.op(b"}(");
    for (index, (name, tensor)) in tensors.iter().enumerate() {
        let storage = storage(tensor.dtype).ok_or_else(|| CheckpointError::Tensor {
            file: file.to_path_buf(),
            tensor: name.clone(),
            problem: format!("PyTorch has no storage of type {}", tensor.dtype),
        })?;
        out.text(name);
        out.tensor(index, storage, tensor);
    }
    out.op(b"u"); // SETITEMS
    if wrapper.is_some() {
        out.op(b"s"); // SETITEM
    }
    out.op(b"."); // STOP
    Ok(out.0)
}

/// Name of the storage class.
fn storage(dtype: Dtype) -> Option<&'static str> {
    Some(match dtype {
        Dtype::F64 => "DoubleStorage",
        Dtype::F32 => "FloatStorage",
        Dtype::F16 => "HalfStorage",
        Dtype::BF16 => "BFloat16Storage",
        Dtype::I64 => "LongStorage",
        Dtype::I32 => "IntStorage",
        Dtype::I16 => "ShortStorage",
        Dtype::I8 => "CharStorage",
        Dtype::U8 => "ByteStorage",
        Dtype::Bool => "BoolStorage",
        Dtype::U64 | Dtype::U32 | Dtype::U16 => return None,
    })
}

/// Opcodes of a pickle.
struct Pickle(Vec<u8>);

impl Pickle {
    fn op(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// BINUNICODE.
    fn text(&mut self, text: &str) {
        self.op(b"X");
        self.op(&(text.len() as u32).to_le_bytes());
        self.op(text.as_bytes());
    }

    /// BININT, or LONG1 for what does not fit.
    fn integer(&mut self, value: usize) {
        match i32::try_from(value) {
            Ok(value) => {
                self.op(b"J");
                self.op(&value.to_le_bytes());
            }
            Err(_) => {
                self.op(b"\x8a\x09");
                self.op(&(value as u64).to_le_bytes());
                self.op(b"\0"); // the sign
            }
        }
    }

    fn tuple(&mut self, values: impl Iterator<Item = usize>) {
        self.op(b"(");
        values.for_each(|value| self.integer(value));
        self.op(b"t");
    }

    /// `_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks)`.
    fn tensor(&mut self, key: usize, storage: &str, tensor: &TensorData) {
        self.op(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        self.text("storage");
        self.op(format!("ctorch\n{storage}\n").as_bytes());
        self.text(&key.to_string());
        self.text("cpu");
        self.integer(tensor.elements());
        self.op(b"tQ"); // TUPLE, BINPERSID
        self.integer(0);
        self.tuple(tensor.shape.iter().copied());
        let stride = |axis: usize| {
            tensor.shape[axis + 1..]
                .iter()
                .map(|&extent| extent.max(1))
                .product()
        };
        self.tuple((0..tensor.shape.len()).map(stride));
        self.op(b"\x89ccollections\nOrderedDict\n)RtR"); // NEWFALSE, OrderedDict(), TUPLE, REDUCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{read_contents, read_safetensors, read_tensors};

    #[test]
    fn every_type_comes_back_and_equal_tensors_give_equal_bytes() {
        let odd = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/odd_tensors.safetensors");
        let (tensors, _) = read_safetensors(odd).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a.pth"), folder.path().join("b.pth"));
        write_torch(&a, None, &tensors).unwrap();
        assert_eq!(read_tensors(&a).unwrap(), tensors);
        write_torch(&b, None, &tensors).unwrap();
        assert_eq!(std::fs::read(&a).unwrap(), std::fs::read(&b).unwrap());

        write_torch(&a, Some("model"), &tensors).unwrap();
        let contents = read_contents(&a).unwrap();
        assert!(contents.tensors.keys().all(|name| name.starts_with("model.")));
        assert_eq!(
            (contents.format, contents.skipped.len()),
            (crate::Format::TorchZip, 0)
        );
    }

    #[test]
    fn large_numbers_are_long_integers() {
        let mut pickle = Pickle(Vec::new());
        pickle.integer(usize::MAX);
        assert_eq!(pickle.0, *b"\x8a\x09\xff\xff\xff\xff\xff\xff\xff\xff\0");
    }

    #[test]
    fn types_without_a_storage_are_refused() {
        let tensor = TensorData::new(Dtype::U32, vec![1], vec![0; 4]).unwrap();
        let error = write_torch(Path::new("x.pth"), None, &[("w".to_owned(), tensor)].into()).unwrap_err();
        assert!(error.to_string().contains("PyTorch has no storage of type U32"));
    }
}
