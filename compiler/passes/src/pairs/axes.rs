//! The order of a value's axes within a step.

use super::cone::Role;
use nestor_ir::dim::Dim;
use nestor_ir::tensor::Axes;
use nestor_ir::ty::Dims;

/// The axes that are there within a walk, in their order there: as they were, or with tokens that stay across, which are columns then.
pub(super) fn within(roles: &[Role], across: bool) -> Vec<usize> {
    let mut out: Vec<usize> = (0..roles.len()).filter(|&a| is_within(roles[a])).collect();
    if across {
        out.sort_by_key(|&axis| match roles[axis] {
            Role::Summed => 0,
            Role::Map(_) | Role::Own => 1,
            Role::Kept => 2,
        });
    }
    out
}

/// The shape of a value with such axes in a step.
pub(super) fn seen(dims: &[Dim], roles: &[Role], rows: Dim, across: bool) -> Dims {
    let one = |axis: usize| match roles[axis] {
        Role::Kept | Role::Summed => rows,
        Role::Map(_) | Role::Own => dims[axis],
    };
    within(roles, across).into_iter().map(one).collect()
}

/// The order in which what is fed has tokens first is turned to that of a step.
pub(super) fn tokens_first(roles: &[Role], across: bool) -> Axes {
    let of_tokens = |role: Role| matches!(role, Role::Kept | Role::Summed);
    let first = usize::from(roles.iter().any(|r| of_tokens(*r)));
    let place = |axis: usize| match of_tokens(roles[axis]) {
        true => 0,
        false => first + roles[..axis].iter().filter(|r| !of_tokens(**r)).count(),
    };
    within(roles, across).into_iter().map(place).collect()
}

/// Whether an axis is there within a walk.
pub(super) fn is_within(role: Role) -> bool {
    !matches!(role, Role::Map(_))
}

/// Numbers of a token that a value with such axes has.
pub(super) fn own_numbers(dims: &[Dim], roles: &[Role]) -> usize {
    let own = roles.iter().zip(dims).filter(|(r, _)| **r == Role::Own);
    own.map(|(_, d)| d.fixed().unwrap_or(1)).product()
}
