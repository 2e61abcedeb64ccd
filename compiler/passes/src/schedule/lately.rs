//! Walks whose final states are the last few tokens: windows of the past that are handed from call to call.
//!
//! ```text
//! s' = concat(x, s)[0:3]      after three tokens nothing is left of what s was
//! ```
//!
//! Where nothing else is asked of such a walk, only the steps of these tokens are walked.

use crate::autodiff::{body_inputs, state_inputs};
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Graph, Op, Scan, Stride, Value};
use nestor_ir::tile::{Affine, Monomial, Stmt};

/// Along a value's first axis: which entry of the state each one is; nothing of one that is no part of it.
type Old = Vec<Option<usize>>;

/// How many of the last tokens a walk's final states depend on, where it is a walk by chunks that yields nothing and they depend on no
/// others.
pub(super) fn lately(scan: &Scan) -> Option<usize> {
    if scan.reverse || !scan.yields.is_empty() {
        return None;
    }
    match scan.stride {
        Stride::Token => by_tokens(scan),
        Stride::Chunk(_) => {
            let mut walks = scan.body.nodes.values().filter_map(|n| match &n.op {
                Op::Scan { scan } => Some((n, scan)),
                _ => None,
            });
            let (node, inner) = walks.next()?;
            let inputs = state_inputs(scan);
            let initials: Vec<Value> = inner.states().map(|k| node.operands[k]).collect();
            let nexts = scan.body.outputs.iter().map(|o| o.value);
            let handed = walks.next().is_none()
                && initials == inputs
                && nexts.eq(node.results.iter().copied());
            if handed { lately(inner) } else { None }
        }
    }
}

/// The step of a walk by chunks for so many last tokens alone: the last chunk may have one of them.
pub(super) fn last_steps(
    step: Vec<Stmt>,
    (tokens, chunk): (usize, usize),
    (index, extent): (&Affine, Dim),
) -> Vec<Stmt> {
    let before = (tokens - 1).div_ceil(chunk) as i64;
    let high = Affine::from(Monomial::dim(extent));
    let low = high.clone().plus(&Affine::number(-1 - before));
    vec![Stmt::When { value: index.clone(), low, high, body: step }]
}

/// How many of the last tokens the final states of a walk by tokens depend on.
fn by_tokens(scan: &Scan) -> Option<usize> {
    let body = &scan.body;
    let states = state_inputs(scan);
    let mut most = 0;
    for (state, next) in states.iter().zip(&body.outputs) {
        let old = traced(body, *state)?;
        // Nothing goes from one state to another.
        let others = states.iter().filter(|s| *s != state);
        let mixed = others.map(|s| traced(body, *s).map(|o| touched(&o, next.value)));
        if mixed.collect::<Option<Vec<bool>>>()?.contains(&true) {
            return None;
        }
        most = most.max(depth(old[next.value.index()].as_ref()?)?);
    }
    let fed = body_inputs(scan).len() > states.len();
    (fed && most > 0).then_some(most)
}

fn touched(old: &[Option<Old>], v: Value) -> bool {
    old[v.index()].as_ref().is_none_or(|entries| entries.iter().any(Option::is_some))
}

/// Steps after which no entry is an old one; nothing where some always are.
fn depth(next: &Old) -> Option<usize> {
    let mut left: Vec<usize> = vec![1; next.len()];
    // An entry has been there for one step more than the one that it was.
    for (j, from) in next.iter().enumerate() {
        if let Some(i) = from {
            left[j] = (*i < j).then(|| left[*i] + 1)?;
        }
    }
    left.into_iter().max()
}

/// Where a state's entries are in every value; nothing where they do more than move along the first axis.
fn traced(body: &Graph, state: Value) -> Option<Vec<Option<Old>>> {
    let rows = |v: Value| body.ty(v).dims.first().map_or(Some(1), |d| d.fixed());
    let mut old: Vec<Option<Old>> = vec![None; body.values.len()];
    for node in body.nodes.values() {
        let fresh = node.operands.iter().all(|o| !touched(&old, *o));
        for &v in &node.results {
            let here = match &node.op {
                Op::Input { .. } if v == state => {
                    rows(v).map(|n| (0..n).map(Some).collect())
                }
                _ if fresh => rows(v).map(|n| vec![None; n]),
                Op::Concat { axis: 0 } => {
                    let parts = node.operands.iter().map(|o| old[o.index()].clone());
                    parts.collect::<Option<Vec<Old>>>().map(|p| p.concat())
                }
                Op::Slice { axis: 0, start, size } => {
                    let from = old[node.operands[0].index()].as_ref();
                    from.map(|o| o[*start..start + size].to_vec())
                }
                _ => None,
            };
            old[v.index()] = here;
        }
    }
    Some(old)
}

#[cfg(test)]
mod tests {
    use super::depth;

    #[test]
    fn a_window_is_forgotten_after_as_many_tokens_as_it_has() {
        assert_eq!(depth(&vec![None, Some(0), Some(1)]), Some(3));
        assert_eq!(depth(&vec![None]), Some(1));
        // The second entry stays for ever; so do two that change places.
        assert_eq!(depth(&vec![None, Some(1)]), None);
        assert_eq!(depth(&vec![Some(1), Some(0)]), None);
    }
}
