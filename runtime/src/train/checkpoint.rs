//! One checkpoint: the whole state of a run after a step, in one safetensors file.
//!
//! The text fields of the file carry a version, the hash of the model's text, where the run
//! stands, and a SHA-256 over every field, name, type, shape and element: a damaged byte is
//! noticed, and a file that is not ours or of another model is refused by name. The file appears
//! whole or not at all ([`durable`]).

use super::{LoadError, durable};
use crate::tensor_file::{self, HostTensor, TensorFileError};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Where a run stands.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Position {
    /// Steps finished.
    pub step: u64,
    /// Tokens learned from.
    pub tokens: u64,
    /// Time spent, all sittings together.
    pub seconds: f64,
    /// The step of the best validation loss so far, and that loss in nats a token.
    pub best: Option<(u64, f64)>,
}

/// A state and where it stands.
#[derive(Clone, PartialEq, Debug)]
pub struct Checkpoint {
    /// Where the run stands.
    pub position: Position,
    /// Weights and optimiser states.
    pub tensors: Vec<HostTensor>,
}

/// What can be wrong with a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It could not be written. Nothing that was there before is harmed.
    #[error("cannot write {}: {source}{}", path.display(), if *full { " (the disk is full: make room, then resume)" } else { "" })]
    Write {
        /// The file.
        path: PathBuf,
        /// Whether for want of room.
        full: bool,
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
    #[error("{} is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// How one can tell.
        why: String,
    },
    /// It is a tensor file, but not a checkpoint.
    #[error("{} is a safetensors file but not a checkpoint of ours", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// It is of another version of the format.
    #[error(
        "{} is a checkpoint of format {found}; this program reads format {VERSION}",
        path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: String,
    },
    /// It is of another model.
    #[error(
        "{} is a checkpoint of another model: its text hashes to {found}, this model's to {expected}",
        path.display()
    )]
    OtherModel {
        /// The file.
        path: PathBuf,
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

/// The version of the format.
pub const VERSION: &str = "1";

/// Writes a checkpoint; when this returns without error it is on the disk.
pub fn save(
    path: &Path,
    spec_hash: &str,
    position: &Position,
    tensors: &[HostTensor],
) -> Result<(), CheckpointError> {
    let mut fields = position.fields();
    fields.insert(FORMAT.into(), VERSION.into());
    fields.insert(SPEC.into(), spec_hash.into());
    fields.insert(CHECKSUM.into(), checksum(&fields, tensors));
    durable::replace(path, &mut |out| tensor_file::write(out, tensors, &fields)).map_err(
        |source| CheckpointError::Write {
            path: path.to_path_buf(),
            full: is_full(&source),
            source,
        },
    )
}

/// Reads a checkpoint of the model whose text has this hash.
pub fn load(path: &Path, spec_hash: &str) -> Result<Checkpoint, CheckpointError> {
    let damaged =
        |why: String| CheckpointError::Damaged { path: path.to_path_buf(), why };
    let file = tensor_file::read(path).map_err(|error| match error {
        TensorFileError::Read { path, source } => CheckpointError::Read { path, source },
        TensorFileError::Format { path, why } => CheckpointError::Damaged { path, why },
        TensorFileError::Unknown { path, .. } | TensorFileError::Missing { path, .. } => {
            CheckpointError::Foreign { path }
        }
        TensorFileError::Mismatch(_) => {
            CheckpointError::Foreign { path: path.to_path_buf() }
        }
    })?;
    let mut fields = file.metadata;
    let Some(format) = fields.get(FORMAT) else {
        return Err(CheckpointError::Foreign { path: path.to_path_buf() });
    };
    if format != VERSION {
        let found = format.clone();
        return Err(CheckpointError::Version { path: path.to_path_buf(), found });
    }
    let recorded = fields.remove(CHECKSUM).unwrap_or_default();
    if recorded != checksum(&fields, &file.tensors) {
        return Err(damaged("its checksum does not fit its content".into()));
    }
    let found = fields.get(SPEC).cloned().unwrap_or_default();
    if found != spec_hash {
        return Err(CheckpointError::OtherModel {
            path: path.to_path_buf(),
            found,
            expected: spec_hash.to_owned(),
        });
    }
    let position = Position::of_fields(&fields)
        .ok_or_else(|| damaged("it does not say where the run stands".into()))?;
    Ok(Checkpoint { position, tensors: file.tensors })
}

/// Whether writing failed for want of room.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge
    )
}

const FORMAT: &str = "nestor.checkpoint";
const SPEC: &str = "nestor.spec";
const CHECKSUM: &str = "nestor.checksum";
const STEP: &str = "nestor.step";
const TOKENS: &str = "nestor.tokens";
const SECONDS: &str = "nestor.seconds";
const BEST_STEP: &str = "nestor.best.step";
const BEST_LOSS: &str = "nestor.best.loss";

impl Position {
    /// Numbers as text; floats in their shortest form, which reads back to the same bits.
    fn fields(&self) -> BTreeMap<String, String> {
        let mut fields = BTreeMap::from([
            (STEP.to_owned(), self.step.to_string()),
            (TOKENS.to_owned(), self.tokens.to_string()),
            (SECONDS.to_owned(), self.seconds.to_string()),
        ]);
        if let Some((step, loss)) = self.best {
            fields.insert(BEST_STEP.to_owned(), step.to_string());
            fields.insert(BEST_LOSS.to_owned(), loss.to_string());
        }
        fields
    }

    fn of_fields(fields: &BTreeMap<String, String>) -> Option<Self> {
        let best = match (fields.get(BEST_STEP), fields.get(BEST_LOSS)) {
            (Some(step), Some(loss)) => Some((step.parse().ok()?, loss.parse().ok()?)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => return None,
        };
        Some(Self {
            step: fields.get(STEP)?.parse().ok()?,
            tokens: fields.get(TOKENS)?.parse().ok()?,
            seconds: fields.get(SECONDS)?.parse().ok()?,
            best,
        })
    }
}

/// SHA-256 of fields and tensors, each part preceded by its length.
fn checksum(fields: &BTreeMap<String, String>, tensors: &[HostTensor]) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::durable::tests::Limited;

    fn sample() -> (Position, Vec<HostTensor>) {
        let position =
            Position { step: 7, tokens: 99, seconds: 0.1, best: Some((5, 1.0 / 3.0)) };
        (
            position,
            vec![HostTensor::f32("w", &[2, 2], vec![1.0, f32::EPSILON, -0.0, 4.0])],
        )
    }

    #[test]
    fn what_is_saved_is_loaded_to_the_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("step-7.safetensors");
        let (position, tensors) = sample();
        save(&path, "abc", &position, &tensors).unwrap();
        assert_eq!(load(&path, "abc").unwrap(), Checkpoint { position, tensors });
    }

    #[test]
    fn every_torn_write_and_every_flipped_byte_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.safetensors");
        let (position, tensors) = sample();
        save(&path, "abc", &position, &tensors).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(matches!(load(&path, "abc"), Err(CheckpointError::Damaged { .. })));
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(&path, &bytes).unwrap();
            assert!(load(&path, "abc").is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_full_disk_at_any_byte_leaves_the_old_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.safetensors");
        let (position, tensors) = sample();
        save(&path, "abc", &position, &tensors).unwrap();
        let length = std::fs::read(&path).unwrap().len();
        for room in (0..length).step_by(7) {
            let fields = BTreeMap::new();
            let full = durable::replace(&path, &mut |out| {
                tensor_file::write(
                    &mut Limited { out, room: room / 4 },
                    &tensors,
                    &fields,
                )
            });
            assert!(full.is_err_and(|e| is_full(&e)));
            assert!(load(&path, "abc").is_ok());
        }
    }

    #[test]
    fn foreign_files_are_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.safetensors");
        let (position, tensors) = sample();
        save(&path, "abc", &position, &tensors).unwrap();
        let error = load(&path, "def").unwrap_err().to_string();
        assert!(error.contains("another model") && error.contains("abc"), "{error}");

        let mut bytes = Vec::new();
        tensor_file::write(&mut bytes, &tensors, &BTreeMap::new()).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(load(&path, "abc"), Err(CheckpointError::Foreign { .. })));

        let later = BTreeMap::from([(FORMAT.to_owned(), "2".to_owned())]);
        bytes.clear();
        tensor_file::write(&mut bytes, &tensors, &later).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(load(&path, "abc"), Err(CheckpointError::Version { .. })));

        std::fs::write(&path, b"hello").unwrap();
        assert!(matches!(load(&path, "abc"), Err(CheckpointError::Damaged { .. })));
        assert!(matches!(
            load(&folder.path().join("no"), "abc"),
            Err(CheckpointError::Read { .. })
        ));
    }
}
