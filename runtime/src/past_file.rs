//! Where a text stands, in a file: a later call goes on as if it were one.

use crate::reader::Past;
use crate::tensor_file::{Data, HostTensor};
use crate::train::sealed::{self, Fields, Kind, SealedError};
use std::path::Path;

/// What such a file is called, and its version.
pub const KIND: Kind = Kind { name: "state", field: "nestor.state", version: "2" };

const POSITION: &str = "nestor.position";
const WEIGHTS: &str = "nestor.weights";
const LOGITS: &str = "logits";

/// Why a state cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// The file.
    #[error(transparent)]
    File(#[from] SealedError),
    /// The states were made by other weights of the same model.
    #[error(
        "{path} was made with other weights: they hash to {found}, these to {expected}; the run has gone on since, so begin a new state"
    )]
    OtherWeights {
        /// The file.
        path: String,
        /// The weights it was made with.
        found: String,
        /// The weights at hand.
        expected: String,
    },
}

/// Writes where a text stands, all or nothing.
///
/// # Errors
/// Where it cannot be written; what was there before is unharmed.
pub fn save(
    path: &Path,
    spec_hash: &str,
    weights: &[HostTensor],
    past: &Past,
) -> Result<(), SealedError> {
    let fields = Fields::from([
        (POSITION.to_owned(), past.position.to_string()),
        (WEIGHTS.to_owned(), sealed::checksum(&Fields::new(), weights)),
    ]);
    let mut tensors = past.states.clone();
    tensors.push(HostTensor::f32(LOGITS, &[past.logits.len()], past.logits.clone()));
    sealed::save(KIND, path, spec_hash, fields, &tensors)
}

/// Reads where a text of this model with these weights stands.
///
/// # Errors
/// Where the file is damaged, foreign, of another model or of other weights.
pub fn load(
    path: &Path,
    spec_hash: &str,
    weights: &[HostTensor],
) -> Result<Past, PastError> {
    let (fields, tensors) = sealed::load(KIND, path, spec_hash)?;
    let damaged = |why| PastError::File(sealed::damaged(path, why));
    let expected = sealed::checksum(&Fields::new(), weights);
    let found = fields.get(WEIGHTS).cloned().unwrap_or_default();
    if found != expected {
        let path = path.display().to_string();
        return Err(PastError::OtherWeights { path, found, expected });
    }
    let position = fields.get(POSITION).and_then(|p| p.parse().ok());
    let mut past = Past {
        position: position.ok_or_else(|| damaged("it does not say where it stands"))?,
        ..Past::default()
    };
    for tensor in tensors {
        match (tensor.name.as_str(), &tensor.data) {
            (LOGITS, Data::F32(v)) => past.logits.clone_from(v),
            _ => past.states.push(tensor),
        }
    }
    Ok(past)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_of_one_model_and_of_its_weights() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text.state");
        let weights = [HostTensor::f32("w", &[2], vec![1.0, 2.0])];
        let past = Past {
            position: 3,
            states: vec![HostTensor::f32("state.W", &[1, 1], vec![0.5])],
            logits: vec![0.25, -1.0],
        };
        save(&path, "abc", &weights, &past).unwrap();
        assert_eq!(load(&path, "abc", &weights).unwrap(), past);
        let other = load(&path, "def", &weights).unwrap_err().to_string();
        assert!(other.contains("abc") && other.contains("def"), "{other}");
        let moved = [HostTensor::f32("w", &[2], vec![1.0, 3.0])];
        let error = load(&path, "abc", &moved).unwrap_err();
        assert!(matches!(error, PastError::OtherWeights { .. }), "{error}");
    }
}
