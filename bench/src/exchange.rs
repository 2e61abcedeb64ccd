//! Tensors handed over and taken back as files, so that a peer can work on the same numbers.

use crate::Failure;
use nestor_runtime::Sizes;
use nestor_runtime::executor::Executor;
use nestor_runtime::tensor_file::{self, HostTensor};
use std::path::Path;

/// Makes the tensors of a file the inputs of their names; the others stay as they are.
pub(crate) fn give(executor: &mut Executor, file: &Path) -> Result<usize, Failure> {
    let found = tensor_file::read(file)?;
    for tensor in &found.tensors {
        executor.set(tensor)?;
    }
    Ok(found.tensors.len())
}

/// Writes every input as it is now: after a step of training, the weights that it left.
pub(crate) fn inputs(executor: &Executor, file: &Path) -> Result<usize, Failure> {
    let names = executor.inputs().into_iter();
    let tensors: Result<Vec<HostTensor>, _> =
        names.map(|(name, _)| executor.get(name)).collect();
    write(&tensors?, file)
}

/// Calls the program once and writes its outputs.
pub(crate) fn outputs(
    executor: &mut Executor,
    sizes: Sizes,
    file: &Path,
) -> Result<usize, Failure> {
    write(&executor.run(&[], sizes)?, file)
}

fn write(tensors: &[HostTensor], file: &Path) -> Result<usize, Failure> {
    let mut bytes = Vec::new();
    tensor_file::write(&mut bytes, tensors, &Default::default())?;
    std::fs::write(file, bytes)
        .map_err(|e| format!("cannot write {}: {e}", file.display()))?;
    Ok(tensors.len())
}
