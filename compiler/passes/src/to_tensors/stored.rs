//! Weights read from what is stored of them, for all instances at once.

use super::states::Needs;
use crate::build::zeros;
use crate::error::PassError;
use crate::vectorise::{Mapped, lift, no_hook, vectorise_into};
use nestor_ir::dim::Dim;
use nestor_ir::level::RetentionInput;
use nestor_ir::tensor::{Graph, Value};
use nestor_ir::ty::Type;

/// A weight read from what is stored of it, for all instances at once.
pub(super) fn read_whole(
    g: &mut Graph,
    needs: &Needs<'_>,
    w: usize,
    stored: Mapped,
    initial: Mapped,
    lead: &[Dim],
) -> Result<Value, PassError> {
    let (Some(read), Some(retention)) = (needs.read_of(w), needs.retention(w)) else {
        return Err(PassError::bug("to_tensors", "nothing to read from"));
    };
    let ty = Type::real(needs.memory.weights[w].dims.iter().copied());
    let zero = Mapped::shared(zeros(g, &ty));
    let arguments: Vec<Mapped> = retention
        .inputs
        .iter()
        .map(|input| match input {
            RetentionInput::Stored | RetentionInput::Previous => stored,
            RetentionInput::Initial => initial,
            RetentionInput::Step
            | RetentionInput::State(_)
            | RetentionInput::Captured(_) => zero,
        })
        .collect();
    let found = vectorise_into(g, read, &arguments, lead, None, &mut no_hook)?;
    Ok(lift(g, found[0], lead))
}
