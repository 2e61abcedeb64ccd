//! Tensor files that vouch for themselves: checkpoints of a run, states of a text.
//!
//! The text fields of the file carry what kind of file it is, the version of that kind, the hash
//! of the model's text, and a SHA-256 over every field, name, type, shape and element: a damaged
//! byte is noticed, and a file that is not ours or of another model is refused by name. The file
//! appears whole or not at all ([`durable`]).

use super::{LoadError, durable};
use crate::tensor_file::{self, HostTensor, TensorFileError};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// A kind of file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Kind {
    /// What people call it.
    pub name: &'static str,
    /// The field that names its version.
    pub field: &'static str,
    /// The version that is written and read.
    pub version: &'static str,
}

/// Fields of a file, by name.
pub type Fields = BTreeMap<String, String>;

/// What can be wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// It could not be written. Nothing that was there before is harmed.
    #[error("cannot write {}: {source}{}", path.display(), if is_full(source) { MAKE_ROOM } else { "" })]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is damaged.
    #[error("{} is damaged: {why}; use a copy of it, or start anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How one can tell.
        why: String,
    },
    /// It is a tensor file, but not one of this kind.
    #[error("{} is a safetensors file but not a {kind} of ours", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The kind that was expected.
        kind: &'static str,
    },
    /// It is of another version of the format.
    #[error(
        "{} is a {} of format {found}; this program reads format {}",
        path.display(), kind.name, kind.version
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: Kind,
        /// Its version.
        found: String,
    },
    /// It is of another model.
    #[error(
        "{} is a {kind} of another model: its text hashes to {found}, this model's to {expected}; give the file that it was made with, or start anew",
        path.display()
    )]
    OtherModel {
        /// The file.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
        /// Hash of the text it was made for.
        found: String,
        /// Hash of the text at hand.
        expected: String,
    },
    /// Its tensors are not those of the model.
    #[error("{} does not fit the model: {source}", path.display())]
    Fit {
        /// The file.
        path: PathBuf,
        /// How.
        source: LoadError,
    },
}

/// Writes a file; when this returns without error it is on the disk.
pub fn save(
    kind: Kind,
    path: &Path,
    spec_hash: &str,
    mut fields: Fields,
    tensors: &[HostTensor],
) -> Result<(), SealedError> {
    fields.insert(kind.field.into(), kind.version.into());
    fields.insert(SPEC.into(), spec_hash.into());
    fields.insert(CHECKSUM.into(), checksum(&fields, tensors));
    durable::replace(path, &mut |out| tensor_file::write(out, tensors, &fields))
        .map_err(|source| SealedError::Write { path: path.to_path_buf(), source })
}

/// Reads a file of this kind, made for the model whose text has this hash.
pub fn load(
    kind: Kind,
    path: &Path,
    spec_hash: &str,
) -> Result<(Fields, Vec<HostTensor>), SealedError> {
    let foreign = |path: PathBuf| SealedError::Foreign { path, kind: kind.name };
    let file = tensor_file::read(path).map_err(|error| match error {
        TensorFileError::Read { path, source } => SealedError::Read { path, source },
        TensorFileError::Format { path, why } => SealedError::Damaged { path, why },
        TensorFileError::Unknown { path, .. } | TensorFileError::Missing { path, .. } => {
            foreign(path)
        }
        TensorFileError::Mismatch(_) => foreign(path.to_path_buf()),
    })?;
    let mut fields = file.metadata;
    let Some(format) = fields.get(kind.field) else {
        return Err(foreign(path.to_path_buf()));
    };
    if format != kind.version {
        let found = format.clone();
        return Err(SealedError::Version { path: path.to_path_buf(), kind, found });
    }
    let recorded = fields.remove(CHECKSUM).unwrap_or_default();
    if recorded != checksum(&fields, &file.tensors) {
        return Err(damaged(path, "its checksum does not fit its content"));
    }
    let found = fields.get(SPEC).cloned().unwrap_or_default();
    if found != spec_hash {
        return Err(SealedError::OtherModel {
            path: path.to_path_buf(),
            kind: kind.name,
            found,
            expected: spec_hash.to_owned(),
        });
    }
    Ok((fields, file.tensors))
}

/// A file whose content contradicts itself.
pub fn damaged(path: &Path, why: &str) -> SealedError {
    SealedError::Damaged { path: path.to_path_buf(), why: why.into() }
}

/// What is said where writing failed for want of room.
pub(crate) const MAKE_ROOM: &str = " (the disk is full: make room, then resume)";

/// Whether writing failed for want of room.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge
    )
}

const SPEC: &str = "nestor.spec";
const CHECKSUM: &str = "nestor.checksum";

/// SHA-256 of fields and tensors, each part preceded by its length.
pub fn checksum(fields: &Fields, tensors: &[HostTensor]) -> String {
    let mut hash = Sha256::new();
    let text = |hash: &mut Sha256, text: &str| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    for (key, value) in fields {
        text(&mut hash, key);
        text(&mut hash, value);
    }
    let mut order: Vec<&HostTensor> = tensors.iter().collect();
    order.sort_by(|a, b| a.name.cmp(&b.name));
    for tensor in order {
        text(&mut hash, &tensor.name);
        text(&mut hash, tensor.dtype().name());
        hash.update((tensor.dims.len() as u64).to_le_bytes());
        tensor.dims.iter().for_each(|d| hash.update((*d as u64).to_le_bytes()));
        tensor
            .data
            .chunks(&mut |bytes| {
                hash.update(bytes);
                Ok(())
            })
            .expect("hashing cannot fail");
    }
    hex(&hash.finalize())
}

/// Bytes as hexadecimal text.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
