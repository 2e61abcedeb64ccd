//! What is known of states where every call begins with the first token of its sequences.
//!
//! ```text
//! before   Wa' = if position mod N = 0 then W else Wa         Wa and W begin with the same value, N tokens at most
//! after    Wa' = Wa
//!
//! before   P' = if row C - 1 is there then 0 else P + x       P begins with 0
//! after    P' = if row C - 1 is there then 0 else x
//! ```
//!
//! A boundary that only the first token of a call meets changes nothing where the state begins as what it is set
//! to: gradients at the memory that a sequence began with are gradients at a constant. And what every whole
//! chunk leaves as the walk found it, every chunk finds so: only the last one may lack its last row.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "one shape of next state is looked for; all others stay as they are"
)]

use super::anchors::boundary_of;
use crate::autodiff::state_inputs;
use crate::build::{replace, uniform};
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Feed, Graph, Layout, Op, Scan, Stride, Value};

/// The walk by tokens, for calls that begin with the first token and have no more than `longest`.
pub(super) fn never_set_again(scan: &Scan, operands: &[Value], longest: usize) -> Scan {
    let inputs = state_inputs(scan);
    let begins: Vec<(&Layout, Value)> = scan
        .feeds
        .iter()
        .zip(operands)
        .filter(|((feed, _), _)| *feed == Feed::Initial)
        .map(|((_, layout), &operand)| (layout, operand))
        .collect();
    let mut out = scan.clone();
    for (k, &input) in inputs.iter().enumerate() {
        let next = scan.body.outputs[k].value;
        let Some(boundary) = boundary_of(&scan.body, next) else { continue };
        if boundary.at != 0 || boundary.otherwise != input || boundary.period < longest {
            continue;
        }
        let set = scan.body.def(next).operands[1];
        let from = inputs.iter().position(|&i| i == set);
        if from.is_some_and(|j| begins[j] == begins[k]) {
            replace(&mut out.body, next, input);
        }
    }
    out
}

/// The walk by chunks, for calls that begin with the first token; `begins` is the number that a state is
/// everywhere at the start, for every state of which that is known.
pub(super) fn found_as_begun(scan: &Scan, begins: &[Option<f64>]) -> Scan {
    let Stride::Chunk(rows) = scan.stride else { return scan.clone() };
    let stays: Vec<(Value, f64)> = state_inputs(scan)
        .into_iter()
        .enumerate()
        .filter_map(|(k, input)| {
            let left = left_by_whole_chunks(&scan.body, scan.body.outputs[k].value, rows);
            begins[k].filter(|&begin| left == Some(begin)).map(|begin| (input, begin))
        })
        .collect();
    if stays.is_empty() {
        return scan.clone();
    }
    let mut body = Graph::new();
    let mut arguments = Vec::new();
    for named in &scan.body.inputs {
        let ty = scan.body.ty(named.value).clone();
        let input = body.input(named.name.clone(), ty.clone());
        let known = stays.iter().find(|(state, _)| *state == named.value);
        arguments.push(match known {
            Some(&(_, value)) => body.add(Op::Constant { value, ty }, &[]),
            None => input,
        });
    }
    let map = body.splice(&scan.body, &arguments);
    for output in &scan.body.outputs {
        body.output(output.name.clone(), map[output.value.index()]);
    }
    Scan { body, ..scan.clone() }
}

/// The number that a state is everywhere where the chunk's last row is there.
fn left_by_whole_chunks(body: &Graph, next: Value, rows: usize) -> Option<f64> {
    let node = body.def(next);
    let &[mut when, then, _] = &node.operands[..] else { return None };
    if node.op != Op::Select {
        return None;
    }
    while let Op::Broadcast { .. } | Op::Reshape { .. } = body.def(when).op {
        when = body.def(when).operands[0];
    }
    let valid = body.inputs.get(body.inputs.len().checked_sub(2)?)?.value;
    let row = body.def(when);
    let last = Op::Slice { axis: 0, start: rows - 1, size: 1 };
    let alone = when == valid && rows == 1;
    (alone || row.op == last && row.operands[0] == valid).then(|| uniform(body, then))?
}
