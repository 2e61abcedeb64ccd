//! What an executor needs of a place that plans run in: memory by tensor, and launches in order.

use super::{Guard, RunError};
use crate::tensor_file::HostTensor;
use nestor_ir::artifact::Artifact;
use nestor_ir::dim::Sizes;
use nestor_ir::plan::Tensor;
use std::time::Duration;

/// Where a tensor lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Home {
    /// In the arena, from this byte on.
    Arena(usize),
    /// In memory of its own.
    Own,
}

/// A call: what is run, with where everything lies.
pub(crate) struct Call<'e> {
    pub(crate) artifact: &'e Artifact,
    pub(crate) homes: &'e [Home],
    /// Bytes of every tensor.
    pub(crate) bytes: &'e [usize],
    pub(crate) sizes: Sizes,
    pub(crate) guard: Option<&'e Guard>,
    /// Each launch is measured on its own.
    pub(crate) measured: bool,
}

/// A place that plans run in.
pub(crate) trait Engine: Send {
    /// Memory of its own for a tensor: at least so many bytes. What was there before may be lost.
    fn own(&mut self, tensor: Tensor, bytes: usize) -> Result<(), RunError>;
    /// The arena, and scratch memory for all launches at these sizes; what was there before is lost.
    fn reserve(
        &mut self,
        artifact: &Artifact,
        arena: usize,
        sizes: &Sizes,
    ) -> Result<(), RunError>;
    /// Bytes of scratch memory that launches need at these sizes.
    fn scratch(&self, artifact: &Artifact, sizes: &Sizes) -> usize;
    /// Bytes that a call may have for arena and scratch memory; nothing where nobody says.
    fn room(&self) -> Option<usize>;
    /// How far from one another launches may be that go side by side: what takes memory that another had waits for it.
    fn beside(&self) -> usize;
    /// Bytes of the arena.
    fn arena_bytes(&self) -> usize;
    /// Fills the arena with numbers that are none.
    fn poison(&mut self) -> Result<(), RunError>;
    /// Copies a tensor to where it lies.
    fn put(&mut self, id: Tensor, at: Home, tensor: &HostTensor) -> Result<(), RunError>;
    /// Fills a tensor's data from where it lies.
    fn take(&self, id: Tensor, at: Home, into: &mut HostTensor) -> Result<(), RunError>;
    /// Launches everything in order, where a guard does not hold what comes before the updates; gives
    /// what each launch took, where that is asked for.
    fn launch(&mut self, call: &Call<'_>) -> Result<Vec<Duration>, RunError>;
}
