//! Tensors on the host and their files: safetensors, read with checks and written in one order.
//!
//! The files are what `run` reads and writes and what checkpoints are made of. Reading leans on
//! the `safetensors` crate for the header; writing is done here, to any writer, with tensors and
//! metadata in a fixed order, so that equal tensors make equal files.

use safetensors::tensor::TensorView;
use safetensors::{Dtype as Stored, SafeTensors};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A tensor in host memory, row-major.
#[derive(Clone, PartialEq, Debug)]
pub struct HostTensor {
    /// Its name: a stream, or the path of a weight.
    pub name: String,
    /// Its shape.
    pub dims: Vec<usize>,
    /// Its elements; as many as the shape says.
    pub data: Data,
}

/// Elements of one kind.
#[derive(Clone, PartialEq, Debug)]
pub enum Data {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit floats.
    F64(Vec<f64>),
    /// 32-bit whole numbers.
    I32(Vec<i32>),
    /// 64-bit whole numbers.
    I64(Vec<i64>),
    /// Bytes.
    U8(Vec<u8>),
    /// Truth values.
    Bool(Vec<bool>),
}

/// The kind of an element.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dtype {
    /// 32-bit float.
    F32,
    /// 64-bit float.
    F64,
    /// 32-bit whole number.
    I32,
    /// 64-bit whole number.
    I64,
    /// Byte.
    U8,
    /// Truth value.
    Bool,
}

/// What a file holds.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct TensorFile {
    /// Where it was read.
    pub path: PathBuf,
    /// Its tensors, by name.
    pub tensors: Vec<HostTensor>,
    /// Its text fields.
    pub metadata: BTreeMap<String, String>,
}

/// What can be wrong with a tensor file.
#[derive(Debug, thiserror::Error)]
pub enum TensorFileError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not safetensors, or damaged.
    #[error("{} is not a whole safetensors file: {why}", path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// What the reader said.
        why: String,
    },
    /// An element type outside our table.
    #[error(
        "tensor `{name}` in {} has elements of type {found}; known are F32, F64, I32, I64, U8, BOOL",
        path.display()
    )]
    Unknown {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// Its type.
        found: String,
    },
    /// A tensor that was asked for is not there.
    #[error("{} has no tensor `{name}`; it holds {present}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The tensor.
        name: String,
        /// What there is.
        present: String,
    },
    /// A tensor is not what was asked for.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
}

/// A tensor that is not of the type asked for.
#[derive(Clone, PartialEq, Debug, thiserror::Error)]
#[error(
    "tensor `{name}` is {}{found_dims:?}, expected {}{expected_dims:?}",
    found.name(), expected.name()
)]
pub struct Mismatch {
    /// The tensor.
    pub name: String,
    /// The element type that is there.
    pub found: Dtype,
    /// The shape that is there.
    pub found_dims: Vec<usize>,
    /// The element type asked for.
    pub expected: Dtype,
    /// The shape asked for.
    pub expected_dims: Vec<usize>,
}

/// Reads a file.
pub fn read(path: &Path) -> Result<TensorFile, TensorFileError> {
    let bytes = std::fs::read(path)
        .map_err(|source| TensorFileError::Read { path: path.to_path_buf(), source })?;
    parse(&bytes, path)
}

/// Reads the bytes of a file; `path` is for messages.
pub fn parse(bytes: &[u8], path: &Path) -> Result<TensorFile, TensorFileError> {
    let bad = |why: safetensors::SafeTensorError| TensorFileError::Format {
        path: path.to_path_buf(),
        why: why.to_string(),
    };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(bad)?;
    let file = SafeTensors::deserialize(bytes).map_err(bad)?;
    let mut metadata = BTreeMap::new();
    if let Some(fields) = header.metadata() {
        metadata.extend(fields.iter().map(|(k, v)| (k.clone(), v.clone())));
    }
    let mut tensors = Vec::new();
    for (name, view) in file.iter() {
        let data = decode(&view).ok_or_else(|| TensorFileError::Unknown {
            path: path.to_path_buf(),
            name: name.to_owned(),
            found: format!("{:?}", view.dtype()),
        })?;
        tensors.push(HostTensor {
            name: name.to_owned(),
            dims: view.shape().to_vec(),
            data,
        });
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(TensorFile { path: path.to_path_buf(), tensors, metadata })
}

/// Writes a file: length of the header, header, elements; the widest elements first so that each
/// tensor lies aligned. Names must be distinct.
pub fn write(
    out: &mut dyn Write,
    tensors: &[HostTensor],
    metadata: &BTreeMap<String, String>,
) -> io::Result<()> {
    let mut order: Vec<&HostTensor> = tensors.iter().collect();
    order.sort_by(|a, b| (b.dtype().size(), &a.name).cmp(&(a.dtype().size(), &b.name)));
    let mut header = serde_json::Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".into(), serde_json::json!(metadata));
    }
    let mut start = 0;
    for tensor in &order {
        let end = start + tensor.count() * tensor.dtype().size();
        let entry = serde_json::json!({
            "dtype": tensor.dtype().name(), "shape": tensor.dims, "data_offsets": [start, end],
        });
        if tensor.data.len() != tensor.count()
            || header.insert(tensor.name.clone(), entry).is_some()
        {
            let why =
                format!("tensor `{}` is given twice or has a wrong count", tensor.name);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        start = end;
    }
    let mut header = serde_json::to_vec(&header)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(&header)?;
    for tensor in order {
        tensor.data.chunks(&mut |bytes| out.write_all(bytes))?;
    }
    out.flush()
}

impl TensorFile {
    /// The tensor of a name, which must be of this type and shape.
    pub fn get(
        &self,
        name: &str,
        dtype: Dtype,
        dims: &[usize],
    ) -> Result<&HostTensor, TensorFileError> {
        let tensor = self.tensors.iter().find(|t| t.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.tensors.iter().map(|t| t.name.as_str()).collect();
            TensorFileError::Missing {
                path: self.path.clone(),
                name: name.to_owned(),
                present: if names.is_empty() {
                    "nothing".into()
                } else {
                    names.join(", ")
                },
            }
        })?;
        tensor.expect(dtype, dims)?;
        Ok(tensor)
    }
}

impl HostTensor {
    /// A tensor of 32-bit floats.
    pub fn f32(name: impl Into<String>, dims: &[usize], data: Vec<f32>) -> Self {
        Self { name: name.into(), dims: dims.to_vec(), data: Data::F32(data) }
    }

    /// How many elements the shape asks for.
    pub fn count(&self) -> usize {
        self.dims.iter().product()
    }

    /// The kind of its elements.
    pub fn dtype(&self) -> Dtype {
        match self.data {
            Data::F32(_) => Dtype::F32,
            Data::F64(_) => Dtype::F64,
            Data::I32(_) => Dtype::I32,
            Data::I64(_) => Dtype::I64,
            Data::U8(_) => Dtype::U8,
            Data::Bool(_) => Dtype::Bool,
        }
    }

    /// Says how the tensor differs from what is expected, if it does.
    pub fn expect(&self, dtype: Dtype, dims: &[usize]) -> Result<(), Mismatch> {
        if self.dtype() == dtype && self.dims == dims {
            return Ok(());
        }
        Err(Mismatch {
            name: self.name.clone(),
            found: self.dtype(),
            found_dims: self.dims.clone(),
            expected: dtype,
            expected_dims: dims.to_vec(),
        })
    }

    /// Whether every element is a finite number.
    pub fn is_finite(&self) -> bool {
        match &self.data {
            Data::F32(v) => v.iter().all(|x| x.is_finite()),
            Data::F64(v) => v.iter().all(|x| x.is_finite()),
            Data::I32(_) | Data::I64(_) | Data::U8(_) | Data::Bool(_) => true,
        }
    }
}

impl Dtype {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F64 => "F64",
            Self::I32 => "I32",
            Self::I64 => "I64",
            Self::U8 => "U8",
            Self::Bool => "BOOL",
        }
    }

    /// Bytes of an element.
    pub fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::U8 | Self::Bool => 1,
        }
    }
}

/// What [`Data::chunks`] hands pieces of a tensor to.
pub type Sink<'a> = dyn FnMut(&[u8]) -> io::Result<()> + 'a;

impl Data {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
            Self::I32(v) => v.len(),
            Self::I64(v) => v.len(),
            Self::U8(v) => v.len(),
            Self::Bool(v) => v.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hands over the elements as little-endian bytes, in pieces.
    pub fn chunks(&self, sink: &mut Sink<'_>) -> io::Result<()> {
        match self {
            Self::F32(v) => encode(v, |x| x.to_le_bytes(), sink),
            Self::F64(v) => encode(v, |x| x.to_le_bytes(), sink),
            Self::I32(v) => encode(v, |x| x.to_le_bytes(), sink),
            Self::I64(v) => encode(v, |x| x.to_le_bytes(), sink),
            Self::U8(v) => sink(v),
            Self::Bool(v) => encode(v, |x| [u8::from(x)], sink),
        }
    }
}

fn encode<T: Copy, const N: usize>(
    values: &[T],
    bytes: impl Fn(T) -> [u8; N],
    sink: &mut Sink<'_>,
) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(1 << 16);
    for piece in values.chunks((1 << 16) / N) {
        buffer.clear();
        piece.iter().for_each(|x| buffer.extend_from_slice(&bytes(*x)));
        sink(&buffer)?;
    }
    Ok(())
}

/// How bytes of a kind are read.
type Decode = (Stored, fn(&[u8]) -> Data);

const KINDS: [Decode; 6] = [
    (Stored::F32, |b| Data::F32(values(b, f32::from_le_bytes))),
    (Stored::F64, |b| Data::F64(values(b, f64::from_le_bytes))),
    (Stored::I32, |b| Data::I32(values(b, i32::from_le_bytes))),
    (Stored::I64, |b| Data::I64(values(b, i64::from_le_bytes))),
    (Stored::U8, |b| Data::U8(b.to_vec())),
    (Stored::BOOL, |b| Data::Bool(b.iter().map(|x| *x != 0).collect())),
];

fn decode(view: &TensorView<'_>) -> Option<Data> {
    let known = KINDS.iter().find(|(dtype, _)| *dtype == view.dtype());
    known.map(|(_, read)| read(view.data()))
}

fn values<T, const N: usize>(bytes: &[u8], make: fn([u8; N]) -> T) -> Vec<T> {
    bytes
        .chunks_exact(N)
        .map(|piece| make(piece.try_into().expect("a piece has N bytes")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<HostTensor> {
        let tensor = |name: &str, dims: &[usize], data| HostTensor {
            name: name.into(),
            dims: dims.to_vec(),
            data,
        };
        vec![
            tensor("flag", &[3], Data::Bool(vec![true, false, true])),
            tensor("k", &[2, 2], Data::F32(vec![1.5, -0.0, f32::MIN_POSITIVE, 3.0])),
            tensor("long", &[1], Data::I64(vec![i64::MIN])),
            tensor("none", &[0, 4], Data::F32(vec![])),
            tensor("raw", &[2], Data::U8(vec![0, 255])),
            tensor("scalar", &[], Data::F64(vec![std::f64::consts::PI])),
            tensor("tokens", &[1, 2], Data::I32(vec![-1, 7])),
        ]
    }

    fn bytes_of(tensors: &[HostTensor]) -> Vec<u8> {
        let mut out = Vec::new();
        let metadata = BTreeMap::from([("about".to_owned(), "a \"test\"".to_owned())]);
        write(&mut out, tensors, &metadata).unwrap();
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let bytes = bytes_of(&sample());
        let file = parse(&bytes, Path::new("x")).unwrap();
        assert_eq!(file.tensors, sample());
        assert_eq!(file.metadata["about"], "a \"test\"");
        let mut reversed = sample();
        reversed.reverse();
        assert_eq!(bytes, bytes_of(&reversed));
    }

    #[test]
    fn every_truncation_is_noticed() {
        let bytes = bytes_of(&sample());
        for length in 0..bytes.len() {
            let error = parse(&bytes[..length], Path::new("x")).unwrap_err();
            assert!(matches!(error, TensorFileError::Format { .. }), "{length}: {error}");
        }
    }

    #[test]
    fn errors_name_tensor_found_and_expected() {
        let file = parse(&bytes_of(&sample()), Path::new("in.safetensors")).unwrap();
        let error = file.get("k", Dtype::F64, &[2, 3]).unwrap_err().to_string();
        assert_eq!(error, "tensor `k` is F32[2, 2], expected F64[2, 3]");
        let error = file.get("q", Dtype::F32, &[1]).unwrap_err().to_string();
        assert!(
            error.starts_with("in.safetensors has no tensor `q`; it holds flag, k"),
            "{error}"
        );
        assert!(file.get("k", Dtype::F32, &[2, 2]).is_ok());
    }

    #[test]
    fn half_precision_is_refused_by_name() {
        let mut header =
            br#"{"h":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}"#.to_vec();
        header.resize(header.len().next_multiple_of(8), b' ');
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header);
        bytes.extend([0, 0]);
        let error = parse(&bytes, Path::new("x")).unwrap_err().to_string();
        assert!(error.contains("`h`") && error.contains("BF16"), "{error}");
    }

    #[test]
    fn twice_the_same_name_is_refused() {
        let tensors = [sample()[0].clone(), sample()[0].clone()];
        assert!(write(&mut Vec::new(), &tensors, &BTreeMap::new()).is_err());
    }
}
