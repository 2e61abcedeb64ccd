//! One checkpoint: the whole state of a run after a step, and where the run stands.

use super::sealed::{self, Fields, Kind, SealedError};
use crate::tensor_file::HostTensor;
use std::path::Path;

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

/// What a checkpoint is called, and its version.
pub const KIND: Kind =
    Kind { name: "checkpoint", field: "nestor.checkpoint", version: "1" };

/// Writes a checkpoint; when this returns without error it is on the disk.
pub fn save(
    path: &Path,
    spec_hash: &str,
    position: &Position,
    tensors: &[HostTensor],
) -> Result<(), SealedError> {
    sealed::save(KIND, path, spec_hash, position.fields(), tensors)
}

/// Reads a checkpoint of the model whose text has this hash.
pub fn load(path: &Path, spec_hash: &str) -> Result<Checkpoint, SealedError> {
    let (fields, tensors) = sealed::load(KIND, path, spec_hash)?;
    let position = Position::of_fields(&fields)
        .ok_or_else(|| sealed::damaged(path, "it does not say where the run stands"))?;
    Ok(Checkpoint { position, tensors })
}

const STEP: &str = "nestor.step";
const TOKENS: &str = "nestor.tokens";
const SECONDS: &str = "nestor.seconds";
const BEST_STEP: &str = "nestor.best.step";
const BEST_LOSS: &str = "nestor.best.loss";

impl Position {
    /// Numbers as text; floats in their shortest form, which reads back to the same bits.
    fn fields(&self) -> Fields {
        let mut fields = Fields::from([
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

    fn of_fields(fields: &Fields) -> Option<Self> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor_file;
    use crate::train::durable;
    use crate::train::durable::tests::Limited;
    use crate::train::sealed::is_full;
    use std::collections::BTreeMap;

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
            assert!(matches!(load(&path, "abc"), Err(SealedError::Damaged { .. })));
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
        assert!(matches!(load(&path, "abc"), Err(SealedError::Foreign { .. })));

        let later = BTreeMap::from([(KIND.field.to_owned(), "2".to_owned())]);
        bytes.clear();
        tensor_file::write(&mut bytes, &tensors, &later).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        assert!(matches!(load(&path, "abc"), Err(SealedError::Version { .. })));

        std::fs::write(&path, b"hello").unwrap();
        assert!(matches!(load(&path, "abc"), Err(SealedError::Damaged { .. })));
        assert!(matches!(
            load(&folder.path().join("no"), "abc"),
            Err(SealedError::Read { .. })
        ));
    }
}
