//! What is kept as bfloat16: reals that nobody takes but products on tensor cores, which round them so on the way in.
//!
//! ```text
//! t0 = f(..)      t1 = t0 where .. else 0      product t2 = t1 @ b0      t0 and t1 are narrow, and so is b0
//! ```
//!
//! Rounding moves from each reading to the one writing, and no result changes by a bit: a number that was rounded is the same when it
//! is rounded again, and so is one that was only moved, chosen or negated in between. So whichever of those places are kept
//! narrow, results are the same; what is copied ahead is kept as memory has it.
//!
//! Tiles to which nothing but such numbers goes are narrow whoever takes them (`exact`).
//!
//! What kernels hand to each other is narrow too where products take it and others do as well (`Between::Closely`): these find it
//! rounded, which is no more than what products make of it. So is what the caller keeps so, whoever takes it.

mod exact;

use crate::products::on_cores;
use crate::target::Products;
use nestor_ir::artifact::Narrow;
use nestor_ir::entity::Entity;
use nestor_ir::plan::{Launch, Plan, Role, Tensor};
use nestor_ir::tile::{
    Access, Expr, ExprId, Kernel, Place, ScalarKind, ScalarOp, Sink, Stmt, Tile, Use,
    kind_of, reads,
};
use smallvec::SmallVec;

/// Whether each tile and each buffer of a kernel is narrow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Kept {
    /// By tile.
    pub tiles: Vec<bool>,
    /// By buffer.
    pub buffers: Narrow,
    /// Buffers are as they are, whoever takes them.
    decided: bool,
    /// Tiles that are narrow, whoever takes them.
    exact: Vec<bool>,
}

impl Kept {
    /// Everything as it was computed.
    pub fn wide(kernel: &Kernel) -> Self {
        Self {
            tiles: vec![false; kernel.tiles.len()],
            buffers: vec![false; kernel.buffers.len()],
            decided: false,
            exact: vec![false; kernel.tiles.len()],
        }
    }

    /// Whether a place is narrow.
    pub fn is_narrow(&self, place: Place) -> bool {
        match place {
            Place::Tile(t) => self.tiles[t.index()],
            Place::Buffer(b) => self.buffers[b.index()],
        }
    }

    fn widen(&mut self, place: Place) {
        match place {
            Place::Tile(t) => self.tiles[t.index()] = self.exact[t.index()],
            Place::Buffer(_) if self.decided => {}
            Place::Buffer(b) => self.buffers[b.index()] = false,
        }
    }
}

/// The places of a kernel that may be narrow, all tiles and those of its buffers that are said.
pub fn narrow(kernel: &Kernel, products: Products, buffers: &[bool]) -> Kept {
    found(kernel, products, buffers, false)
}

fn found(kernel: &Kernel, products: Products, buffers: &[bool], decided: bool) -> Kept {
    let mut kept = Kept::wide(kernel);
    if products != Products::Brain {
        return kept;
    }
    kept.decided = decided;
    for (tile, data) in kernel.tiles.iter() {
        kept.tiles[tile.index()] = kind_of(data.elem) == ScalarKind::Real;
    }
    for (buffer, data) in kernel.buffers.iter() {
        let may = buffers[buffer.index()] && kind_of(data.elem) == ScalarKind::Real;
        kept.buffers[buffer.index()] = may;
    }
    if decided {
        kept.exact = exact::exact(kernel, &kept.buffers);
    }
    // What moves to a place that is not narrow is not narrow either, and so on.
    loop {
        let before = kept.clone();
        body(&kernel.body, products, &mut kept);
        if kept == before {
            return kept;
        }
    }
}

/// As [`narrow`], with buffers decided: what is copied ahead is as its buffer is.
pub fn with_ahead(
    kernel: &Kernel,
    products: Products,
    buffers: &[bool],
    ahead: &[Tile],
) -> Kept {
    let mut kept = found(kernel, products, buffers, true);
    copied(&kernel.body, ahead, &mut kept);
    kept
}

fn copied(body: &[Stmt], ahead: &[Tile], kept: &mut Kept) {
    for stmt in body {
        if let Stmt::Map { loads, sinks, .. } = stmt
            && let [(_, Sink::Store(Access { place: Place::Tile(tile), .. }))] =
                sinks[..].as_ref()
            && ahead.contains(tile)
        {
            kept.tiles[tile.index()] = kept.is_narrow(loads[0].place);
        }
        copied(stmt.inner(), ahead, kept);
    }
}

fn body(stmts: &[Stmt], products: Products, kept: &mut Kept) {
    for stmt in stmts {
        match stmt {
            Stmt::Map { expr, loads, sinks, .. } => map(expr, loads, sinks, kept),
            Stmt::Product { m, n, k, left, right, out, accumulate, .. } => {
                if !on_cores([*m, *n, *k], products) {
                    kept.widen(left.place);
                    kept.widen(right.place);
                }
                if *accumulate {
                    kept.widen(out.place);
                }
            }
            Stmt::SolveUnitLower { .. }
            | Stmt::Eliminate { .. }
            | Stmt::InverseRoot { .. }
            | Stmt::LinearScan { .. }
            | Stmt::Gather { .. }
            | Stmt::ScatterAdd { .. }
            | Stmt::Total { .. } => {
                let touched = reads::touches(stmt);
                for place in touched.reads.into_iter().chain(touched.writes) {
                    kept.widen(place);
                }
            }
            Stmt::Loop { body: inner, .. }
            | Stmt::When { body: inner, .. }
            | Stmt::Together { body: inner } => {
                body(inner, products, kept);
            }
        }
    }
}

/// Loads that are computed with, or moved to where they are not narrow.
fn map(expr: &Expr, loads: &[Access], sinks: &[(ExprId, Sink)], kept: &mut Kept) {
    // What each scalar is but for its sign: one of these loads, or something that is none.
    let mut moved: Vec<SmallVec<[usize; 2]>> = Vec::with_capacity(expr.scalars.len());
    let mut used: Vec<usize> = Vec::new();
    for scalar in expr.scalars.values() {
        let mut own = SmallVec::new();
        match scalar.op {
            ScalarOp::Load(n) => own.push(n),
            ScalarOp::Neg | ScalarOp::Abs => {
                own.clone_from(&moved[scalar.operands[0].index()]);
            }
            ScalarOp::Select => {
                used.extend(&moved[scalar.operands[0].index()]);
                for operand in &scalar.operands[1..] {
                    own.extend(moved[operand.index()].iter().copied());
                }
            }
            _ => {
                for operand in &scalar.operands {
                    used.extend(&moved[operand.index()]);
                }
            }
        }
        moved.push(own);
    }
    for (root, sink) in sinks {
        match sink {
            Sink::Store(to) if kept.is_narrow(to.place) => {}
            Sink::Store(_) => used.extend(&moved[root.index()]),
            Sink::Fold { to, accumulate, .. } => {
                used.extend(&moved[root.index()]);
                if *accumulate {
                    kept.widen(to.place);
                }
            }
        }
    }
    used.into_iter().for_each(|n| kept.widen(loads[n].place));
}

/// Which of the temporaries that kernels of a plan hand to each other are narrow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Between {
    /// Where nobody else takes them, so that no bit changes.
    Exactly,
    /// Whoever else takes them finds them as rounded as products do.
    Closely,
}

/// Which buffers of each kernel of a plan are narrow.
pub fn of_plan(
    plan: &Plan,
    kernels: &[Kernel],
    products: Products,
    between: Between,
) -> Vec<Narrow> {
    let none = |k: &Kernel| vec![false; k.buffers.len()];
    if products != Products::Brain {
        return kernels.iter().map(none).collect();
    }
    let mut tensors = ours(plan);
    let mut found: Vec<Narrow> =
        kernels.iter().map(|k| vec![true; k.buffers.len()]).collect();
    if between == Between::Closely {
        let exactly = of_plan(plan, kernels, products, Between::Exactly);
        let mut taken = vec![false; tensors.len()];
        let mut added = vec![false; tensors.len()];
        let mut exact = vec![false; tensors.len()];
        let operands: Vec<Narrow> =
            kernels.iter().map(|k| operands(k, products)).collect();
        for (kernel, buffers) in launched(plan) {
            for (n, (tensor, data)) in
                buffers.iter().zip(kernels[kernel].buffers.values()).enumerate()
            {
                taken[tensor.index()] |= operands[kernel][n];
                added[tensor.index()] |= data.usage == Use::Update;
                exact[tensor.index()] |= exactly[kernel][n];
            }
        }
        // What is added to stays as it was computed.
        for ((n, tensor), data) in
            tensors.iter_mut().enumerate().zip(plan.tensors.values())
        {
            *tensor &= exact[n] || (taken[n] || data.narrow) && !added[n];
        }
    }
    // A kernel may be launched for several tensors, and a tensor is of several kernels: both say the same of it in the end.
    loop {
        let before = tensors.clone();
        for (kernel, buffers) in launched(plan) {
            for (n, tensor) in buffers.iter().enumerate() {
                found[kernel][n] &= tensors[tensor.index()];
            }
        }
        for (kernel, own) in kernels.iter().zip(&mut found) {
            *own = match between {
                Between::Exactly => narrow(kernel, products, own).buffers,
                Between::Closely => {
                    let kinds = kernel.buffers.values().map(|b| kind_of(b.elem));
                    let own = own.iter().zip(kinds);
                    own.map(|(own, kind)| *own && kind == ScalarKind::Real).collect()
                }
            };
        }
        for (kernel, buffers) in launched(plan) {
            for (n, tensor) in buffers.iter().enumerate() {
                tensors[tensor.index()] &= found[kernel][n];
            }
        }
        if tensors == before {
            return found;
        }
    }
}

/// Temporaries, and what the caller keeps narrow, that nothing but kernels touches, by tensor.
fn ours(plan: &Plan) -> Vec<bool> {
    let tensors = plan.tensors.values();
    let mut tensors: Vec<bool> =
        tensors.map(|t| t.narrow || t.role == Role::Temporary).collect();
    let both =
        |from: &Tensor, to: &Tensor| [from, to].iter().all(|t| plan.tensors[**t].narrow);
    for launch in &plan.launches {
        let others = match launch {
            Launch::Kernel { .. } => vec![],
            Launch::Dense(d) => vec![d.left.tensor, d.right.tensor, d.out.tensor],
            Launch::Zero(t) => vec![*t],
            // What the caller keeps narrow both as what it is copied from and to is copied as it is.
            Launch::Copy { from, to } if both(from, to) => vec![],
            Launch::Copy { from, to } => vec![*from, *to],
        };
        others.into_iter().for_each(|t| tensors[t.index()] = false);
    }
    tensors
}

/// Buffers of which products on tensor cores take numbers, from where they lie or from a tile that they are moved to.
fn operands(kernel: &Kernel, products: Products) -> Vec<bool> {
    let mut tiles = vec![false; kernel.tiles.len()];
    let mut buffers = vec![false; kernel.buffers.len()];
    every(&kernel.body, &mut |stmt| {
        if let Stmt::Product { m, n, k, left, right, .. } = stmt
            && on_cores([*m, *n, *k], products)
        {
            for place in [left.place, right.place] {
                match place {
                    Place::Tile(t) => tiles[t.index()] = true,
                    Place::Buffer(b) => buffers[b.index()] = true,
                }
            }
        }
    });
    every(&kernel.body, &mut |stmt| {
        let Stmt::Map { expr, loads, sinks, .. } = stmt else { return };
        for (root, sink) in sinks {
            if let Sink::Store(Access { place: Place::Tile(t), .. }) = sink
                && tiles[t.index()]
                && let ScalarOp::Load(n) = expr.scalars[*root].op
                && let Place::Buffer(b) = loads[n].place
            {
                buffers[b.index()] = true;
            }
        }
    });
    buffers
}

fn every(stmts: &[Stmt], each: &mut dyn FnMut(&Stmt)) {
    for stmt in stmts {
        each(stmt);
        every(stmt.inner(), each);
    }
}

fn launched(plan: &Plan) -> impl Iterator<Item = (usize, &[Tensor])> {
    plan.launches.iter().filter_map(|launch| match launch {
        Launch::Kernel { kernel, buffers } => Some((kernel.index(), &buffers[..])),
        Launch::Dense(_) | Launch::Zero(_) | Launch::Copy { .. } => None,
    })
}
