//! Statements that a kernel has many times, at other places that lie alike and with other numbers: they are written once, as functions.
//!
//! ```text
//! product t153 += -1.2 * t150 @ b41[16384 i2]      f(t153, t150, b41 + 16384 i2, -1.2)      f(z, x, y, a) { product z += a * x @ y }
//! product t158 +=  1.2 * t156 @ b44[16384 i2]      f(t158, t156, b44 + 16384 i2, 1.2)
//! ```
//!
//! Five steps of Newton and Schulz for each of three weights, with their gradients, are more than a hundred products of some ten kinds. Written
//! out, they are most of a kernel that is longer than what a processor keeps of its code.

use crate::boxes::Bulk;
use crate::exchange::{Exchange, Exchanged};
use crate::narrow::Kept;
use crate::placement::{Home, Placement};
use nestor_ir::entity::Entity;
use nestor_ir::tile::{
    Access, Affine, Expr, ExprId, Kernel, Matrix, Place, ScalarKind, ScalarOp, Stmt, Tile,
};

/// How many statements of a kind are many: fewer are written where they stand (not measured).
const MANY: usize = 4;

/// What a function is given begins at a multiple of so many numbers: at sixteen bytes of the narrowest, which are loaded together.
const WHOLE: i64 = 8;

/// A statement that is written as a function of where its places begin, and of numbers.
#[derive(Clone, PartialEq, Debug)]
pub struct Function {
    /// As a kernel of one statement.
    pub kernel: Kernel,
    /// What is narrow of it.
    pub kept: Kept,
    /// By tile.
    pub exchanged: Exchanged,
    /// Its places, as they are given in order, and whether they are in shared memory.
    pub places: Vec<(Place, bool)>,
    /// Which of its numbers, in the order of `each_number`, are given behind them.
    pub numbers: Vec<usize>,
}

/// A call of a function.
#[derive(Clone, PartialEq, Debug)]
pub struct Call {
    /// Which.
    pub function: usize,
    /// Where the places begin that it is given.
    pub places: Vec<(Place, Affine)>,
    /// The numbers that it is given.
    pub numbers: Vec<f64>,
}

/// What a kernel has often.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Often {
    /// What is written once.
    pub functions: Vec<Function>,
    /// By a statement's number, as `barriers` numbers them.
    calls: Vec<Option<Call>>,
}

impl Often {
    /// What a statement is a call of.
    pub fn call(&self, number: usize) -> Option<&Call> {
        self.calls.get(number)?.as_ref()
    }
}

/// A statement as a function of all of its numbers, and its number.
struct Found {
    number: usize,
    places: Vec<(Place, Affine)>,
    numbers: Vec<f64>,
}

/// What a kernel has often, where its tiles lie as they do.
pub fn often(
    kernel: &Kernel,
    kept: &Kept,
    placement: &Placement,
    exchanged: &[Option<Exchange>],
    bulk: &Bulk,
) -> Often {
    let mut all = Vec::new();
    numbered(&kernel.body, &mut all);
    let mut out = Often { functions: Vec::new(), calls: vec![None; all.len()] };
    let mut kinds: Vec<(Function, Vec<Found>)> = Vec::new();
    for (number, stmt) in all.into_iter().enumerate() {
        let is_own =
            |s: &&Stmt| !placement.strips.takes(s) && bulk.early_at(number).is_none();
        let Some(stmt) = stmt.filter(is_own) else { continue };
        let found = (number, stmt);
        let Some((function, found)) = function(found, kernel, kept, placement, exchanged)
        else {
            continue;
        };
        match kinds.iter_mut().find(|(f, _)| *f == function) {
            Some((_, calls)) => calls.push(found),
            None => kinds.push((function, vec![found])),
        }
    }
    kinds.retain(|(_, calls)| calls.len() >= MANY);
    for (n, (mut function, calls)) in kinds.into_iter().enumerate() {
        let first = &calls[0].numbers;
        let varies = |i: &usize| calls.iter().any(|c| c.numbers[*i] != first[*i]);
        function.numbers = (0..first.len()).filter(varies).collect();
        let mut known = first.iter();
        each_number(&mut function.kernel.body[0], &mut |x, _| {
            *x = known.next().copied().unwrap_or(*x);
        });
        for Found { number, places, numbers } in calls {
            let numbers = function.numbers.iter().map(|i| numbers[*i]).collect();
            out.calls[number] = Some(Call { function: n, places, numbers });
        }
        out.functions.push(function);
    }
    out
}

/// Statements in the order of their numbers; nothing for one that is a part of another.
fn numbered<'k>(body: &'k [Stmt], out: &mut Vec<Option<&'k Stmt>>) {
    for stmt in body {
        out.push(Some(stmt));
        match stmt {
            Stmt::Together { body } => out.extend(body.iter().map(|_| None)),
            stmt => numbered(stmt.inner(), out),
        }
    }
}

/// A statement as a function of where its places begin and of its numbers, with these; nothing where it depends on more.
fn function(
    (number, stmt): (usize, &Stmt),
    kernel: &Kernel,
    kept: &Kept,
    placement: &Placement,
    exchanged: &[Option<Exchange>],
) -> Option<(Function, Found)> {
    let mut stmt = stmt.clone();
    let mut numbers = Vec::new();
    // A division by what is known is a multiplication, where that is exact: it stays known.
    each_number(&mut stmt, &mut |x, divides| {
        numbers.push(*x);
        *x = if divides { *x } else { 0.0 };
    });
    let mut out = Function {
        kept: Kept::wide(&Kernel::default()),
        kernel: Kernel::default(),
        exchanged: Exchanged::new(),
        places: Vec::new(),
        numbers: Vec::new(),
    };
    let mut places: Vec<(Place, Affine)> = Vec::new();
    let mut one = |place: &mut Place, origin: &mut Affine| {
        let mut from = (*place, Affine::default());
        // Where parts are exchanged depends on the number of the element.
        let moves = match *place {
            Place::Tile(tile) => exchanged[tile.index()].is_none(),
            Place::Buffer(_) => true,
        };
        match moves {
            true if origin.is_multiple_of(WHOLE) => from.1 = std::mem::take(origin),
            false if origin.as_number().is_some() => {}
            _ => return false,
        }
        if let Some(known) = places.iter().position(|p| *p == from) {
            *place = out.places[known].0;
            return true;
        }
        let mut is_shared = false;
        let new = match *place {
            Place::Tile(tile) => {
                let mut data = kernel.tiles[tile].clone();
                data.name = String::new();
                out.exchanged.push(exchanged[tile.index()]);
                out.kept.tiles.push(kept.is_narrow(*place));
                is_shared = !matches!(placement.homes[tile.index()], Home::Scratch(_));
                Place::Tile(out.kernel.tiles.push(data))
            }
            Place::Buffer(buffer) => {
                let mut data = kernel.buffers[buffer].clone();
                data.name = String::new();
                out.kept.buffers.push(kept.is_narrow(*place));
                Place::Buffer(out.kernel.buffers.push(data))
            }
        };
        out.places.push((new, is_shared));
        places.push(from);
        *place = new;
        true
    };
    if !each_place(&mut stmt, &mut one) {
        return None;
    }
    out.kernel.body.push(stmt);
    Some((out, Found { number, places, numbers }))
}

/// Visits the numbers that a statement computes with, and says whether it divides by them.
fn each_number(stmt: &mut Stmt, one: &mut dyn FnMut(&mut f64, bool)) {
    match stmt {
        Stmt::Map { expr, .. } => {
            let divisions = expr.scalars.values();
            let divisions =
                divisions.filter(|s| matches!(s.op, ScalarOp::Div | ScalarOp::Rem));
            let divisions = divisions.filter_map(|s| s.operands.get(1).copied());
            let divisors: Vec<ExprId> = divisions.collect();
            for id in expr.scalars.keys() {
                let scalar = &mut expr.scalars[id];
                if let (ScalarOp::Constant(x), ScalarKind::Real) =
                    (&mut scalar.op, scalar.kind)
                {
                    one(x, divisors.contains(&id));
                }
            }
        }
        Stmt::Product { alpha, .. } => one(alpha, false),
        Stmt::SolveUnitLower { .. }
        | Stmt::Eliminate { .. }
        | Stmt::InverseRoot { .. }
        | Stmt::LinearScan { .. }
        | Stmt::Gather { .. }
        | Stmt::ScatterAdd { .. }
        | Stmt::Total { .. }
        | Stmt::Loop { .. }
        | Stmt::When { .. } => {}
        Stmt::Together { body } => body.iter_mut().for_each(|s| each_number(s, one)),
    }
}

/// Visits a statement's places with where they begin, as long as each is well; whether all are, and it depends on nothing else that is not
/// known.
fn each_place(
    stmt: &mut Stmt,
    one: &mut dyn FnMut(&mut Place, &mut Affine) -> bool,
) -> bool {
    let none = &mut Affine::default();
    let mut tiles = |tiles: &mut [&mut Tile]| {
        tiles.iter_mut().all(|tile| {
            let mut place = Place::Tile(**tile);
            let well = one(&mut place, none);
            if let Place::Tile(new) = place {
                **tile = new;
            }
            well
        })
    };
    match stmt {
        Stmt::SolveUnitLower { lower: a, x, .. }
        | Stmt::Eliminate { a, x, .. }
        | Stmt::InverseRoot { a, basis: x, .. } => tiles(&mut [a, x]),
        Stmt::LinearScan { a, b, init, y, .. } => tiles(&mut [a, b, init, y]),
        Stmt::Map { space, expr, loads, sinks } => {
            let sinks = sinks.iter_mut().map(|(_, sink)| sink.to_mut());
            let Expr { offsets, .. } = expr;
            space.iter().all(|d| d.fixed().is_some())
                && offsets.iter().all(is_known)
                && loads
                    .iter_mut()
                    .chain(sinks)
                    .all(|a| is_access_known(a) && one(&mut a.place, &mut a.origin))
        }
        Stmt::Product { m, n, k, left, right, out, .. } => {
            [m, n, k].iter().all(|d| d.fixed().is_some())
                && [left, right, out].into_iter().all(|x: &mut Matrix| {
                    is_known(&x.row)
                        && is_known(&x.column)
                        && one(&mut x.place, &mut x.origin)
                })
        }
        Stmt::Together { body } => body.iter_mut().all(|s| each_place(s, one)),
        Stmt::Gather { .. }
        | Stmt::ScatterAdd { .. }
        | Stmt::Total { .. }
        | Stmt::Loop { .. }
        | Stmt::When { .. } => false,
    }
}

fn is_known(n: &Affine) -> bool {
    n.as_number().is_some()
}

/// Whether nothing of an access moves but where it begins; what may be outside of a buffer begins at the buffer.
fn is_access_known(a: &Access) -> bool {
    let bounds = a.bounds.iter().flat_map(|b| [&b.offset, &b.low, &b.high]);
    let from_buffer = matches!(a.place, Place::Buffer(_)) && !a.bounds.is_empty();
    !from_buffer && bounds.chain(&a.strides).all(is_known)
}
