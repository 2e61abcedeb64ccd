//! Maps as vector code of AVX-512, sixteen singles at a time.
//!
//! Cranelift's vectors are of 128 bits, a quarter of what these machines have, and its loops test
//! at every vector what a mask register says for free. So a map whose accesses allow it becomes a
//! function of its own here, and the kernel calls it with addresses and run-time quantities in a
//! list of words. Everything else, and every map on other machines or in double precision, stays
//! with Cranelift.

mod asm;
mod emit;
mod loops;
mod memory;
mod nest;
mod program;
mod registers;
mod targets;
mod vector;
mod words;

use crate::normalise::MapParts;
use emit::Keep;
pub(crate) use nest::Argument;
use nest::{Along, Reach};
use nestor_ir::tile::{ExprId, Kernel, Sink};
use program::{Op, Program};

/// The code of a map and what it is called with.
pub(crate) struct WideMap {
    pub(crate) code: Vec<u8>,
    pub(crate) arguments: Vec<Argument>,
}

/// Words that the list of arguments has room for.
pub(crate) const MOST_ARGUMENTS: usize = 96;

/// The function of a map; nothing where it is left to Cranelift.
pub(crate) fn compiled(kernel: &Kernel, m: &MapParts) -> Option<WideMap> {
    let roots: Vec<ExprId> = m.sinks.iter().map(|(root, _)| *root).collect();
    let (program, roots) = program::lowered(&m.expr, &roots)?;
    let nest = nest::nest(kernel, m, &indices(&program))?;
    // Turned matrices have a routine that reads and writes whole vectors.
    let far = |r: &Reach| matches!(r.along, Along::Far(_));
    let turns = program.nodes.len() == 1 && nest.loads.iter().any(far);
    if nest.arguments.len() > MOST_ARGUMENTS || turns {
        return None;
    }
    let folds = m.sinks.iter().any(|(_, s)| matches!(s, Sink::Fold { .. }));
    let widest = match program.nodes.len() {
        0..=16 => 4,
        17..=40 => 2,
        _ => 1,
    };
    for keep in [Keep::All, Keep::NoConstants, Keep::Nothing] {
        for unroll in [4, 2, 1] {
            if unroll > widest && !(folds && unroll == 2) {
                continue;
            }
            if let Some(code) = emit::code(&nest, &program, &roots, keep, unroll) {
                return Some(WideMap { code, arguments: nest.arguments });
            }
        }
    }
    None
}

/// The indices that a program asks for.
fn indices(program: &Program) -> Vec<(usize, usize)> {
    let index = |op: &Op| match op {
        Op::Index(d, offset) => Some((*d, *offset)),
        _ => None,
    };
    program.nodes.iter().filter_map(|n| index(&n.op)).collect()
}
