//! What a loop's next turn takes from memory, copied while this turn is worked on.
//!
//! ```text
//! before   loop i { product t3 = b1[.. i ..] @ t0;  map t4 = f(b2[.. i ..], t3) }
//! after    loop i { map t5 = b1[.. i ..];  map t6 = b2[.. i ..];  product t3 = t5 @ t0;  map t4 = f(t6, t3) }
//! ```
//!
//! Copies from buffers that are only read come first in the body, each to a tile that nothing else writes; such a tile has two
//! places in shared memory that turns use by turns, and the copies of the next turn are under way meanwhile (`emit/ahead`). A
//! copy that is there already is taken as it is. What is copied ahead is chosen by its room: the smallest first, for every one of them is a
//! wait, as long as as many blocks find place on a processor as before.

use crate::placement::{Placement, width};
use nestor_ir::entity::Entity;
use nestor_ir::tile::reads::writes;
use nestor_ir::tile::{
    Access, Affine, Bound, Buffer, Expr, Extent, Kernel, Matrix, Place, ScalarKind,
    ScalarOp, Sink, Stmt, Tile, TileData, Use, lifetimes,
};
use nestor_ir::ty::Elem;
use smallvec::SmallVec;

/// Numbers that are copied one by one, at most: their lines are not whole.
const MOST_SINGLE: usize = 1024;
/// Numbers of a copy, at most.
const MOST: usize = 8192;
/// Bytes of a copy, at most.
const PART: i64 = 16;
/// Bytes of a copy, at least.
const LEAST: i64 = 4;

/// A kernel whose loops begin with copies, and the tiles that are copied to.
pub struct Ahead {
    /// The kernel.
    pub kernel: Kernel,
    /// Its tiles with two places each.
    pub tiles: Vec<Tile>,
}

/// What is copied: numbers of a buffer along some dimensions, the last one's neighbours in memory where there are some.
#[derive(Clone, PartialEq, Debug)]
struct Source {
    buffer: Buffer,
    origin: Affine,
    dims: Vec<(usize, Affine)>,
    bounds: Vec<Bound>,
}

/// A load as its source, and the dimension of its statement that each of the source's is.
struct Found {
    source: Source,
    order: Vec<usize>,
}

/// The kernel with as much copied ahead as there is room for: `placed` says where tiles lie with some of them in two places,
/// and how good that is, more being better; what makes it worse is left out.
pub fn ahead(
    kernel: &Kernel,
    narrow: &[bool],
    placed: &dyn Fn(&Kernel, &[Tile]) -> i64,
) -> Ahead {
    let all = sources(kernel, narrow);
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|n| all[*n].numbers());
    let mut wanted = vec![false; all.len()];
    let mut best = Ahead { kernel: kernel.clone(), tiles: vec![] };
    let least = placed(kernel, &[]);
    for n in order {
        wanted[n] = true;
        let tried = arranged(kernel, &all, &wanted);
        match placed(&tried.kernel, &tried.tiles) >= least {
            true => best = tried,
            // Larger ones do not fit either.
            false => break,
        }
    }
    best
}

/// How many statements at the beginning of a loop's body are copies ahead.
pub fn copies(body: &[Stmt], placement: &Placement) -> usize {
    let is_one =
        |stmt: &&Stmt| target(stmt).is_some_and(|t| placement.ahead.contains(&t));
    body.iter().take_while(is_one).count()
}

/// The tile of a map that stores to one and no more.
pub fn target(map: &Stmt) -> Option<Tile> {
    let Stmt::Map { sinks, .. } = map else { return None };
    match &sinks[..] {
        [(_, Sink::Store(Access { place: Place::Tile(tile), .. }))] => Some(*tile),
        _ => None,
    }
}

/// How many numbers of so many bytes are copied at a time: sixteen bytes where lines are whole, else four; nothing where numbers are
/// narrow and even those are not.
pub fn at_once(from: &Access, space: &[Extent], width: i64) -> Option<i64> {
    if are_whole(from, space, PART / width) {
        return Some(PART / width);
    }
    let single = LEAST / width;
    (single == 1 || are_whole(from, space, single)).then_some(single)
}

/// Whether a copy's lines are so many numbers at a time.
fn are_whole(from: &Access, space: &[Extent], numbers: i64) -> bool {
    let Some((last, before)) = from.strides.split_last() else { return false };
    let Some(Extent::Fixed(count)) = space.last() else { return false };
    let whole = |a: &Affine| a.is_multiple_of(numbers);
    let along = space.len() - 1;
    last.as_number() == Some(1)
        && *count as i64 % numbers == 0
        && whole(&from.origin)
        && before.iter().all(whole)
        && from.bounds.iter().all(|b| b.strides[along] == 0)
}

impl Source {
    fn numbers(&self) -> usize {
        self.dims.iter().map(|(n, _)| n).product()
    }

    fn space(&self) -> SmallVec<[Extent; 4]> {
        self.dims.iter().map(|(n, _)| Extent::Fixed(*n)).collect()
    }

    fn access(&self) -> Access {
        Access {
            place: Place::Buffer(self.buffer),
            origin: self.origin.clone(),
            strides: self.dims.iter().map(|(_, s)| s.clone()).collect(),
            bounds: self.bounds.iter().cloned().collect(),
            pad: 0.0,
        }
    }

    /// Elements between neighbours along each dimension of the tile that it is copied to.
    fn steps(&self) -> Vec<i64> {
        let after = |n: usize| self.dims[n + 1..].iter().map(|(m, _)| *m as i64);
        (0..self.dims.len()).map(|n| after(n).product()).collect()
    }

    /// Whether it is copied, numbers of so many bytes.
    fn is_worth_it(&self, width: i64) -> bool {
        let most = match at_once(&self.access(), &self.space(), width) {
            Some(n) if n * width == PART => MOST,
            Some(_) => MOST_SINGLE,
            None => return false,
        };
        !self.dims.is_empty() && self.numbers() <= most
    }
}

/// Everything that loops take from buffers in their own statements, each once; loops in the order of the text.
fn sources(kernel: &Kernel, narrow: &[bool]) -> Vec<Source> {
    let mut all: Vec<Source> = Vec::new();
    let width = |buffer: Buffer| width(Elem::Real, narrow[buffer.index()]);
    every_loop(&kernel.body, &mut |body| {
        for found in body.iter().flat_map(|stmt| found(kernel, stmt)) {
            let width = width(found.source.buffer);
            if found.source.is_worth_it(width) && !all.contains(&found.source) {
                all.push(found.source);
            }
        }
    });
    all
}

fn every_loop(body: &[Stmt], each: &mut dyn FnMut(&[Stmt])) {
    for stmt in body {
        if let Stmt::Loop { extent, body, .. } = stmt
            && extent.fixed().is_none_or(|n| n > 1)
        {
            each(body);
        }
        every_loop(stmt.inner(), each);
    }
}

/// What a statement takes from buffers that are only read.
fn found(kernel: &Kernel, stmt: &Stmt) -> Vec<Found> {
    match stmt {
        Stmt::Map { space, loads, .. } => {
            loads.iter().filter_map(|l| of_load(kernel, l, space)).collect()
        }
        Stmt::Product { m, n, k, left, right, .. } => {
            let operands = [(left, [*m, *k]), (right, [*k, *n])];
            let of = |(x, extent): &(&Matrix, [Extent; 2])| {
                of_load(kernel, &x.access(), extent)
            };
            operands.iter().filter_map(of).collect()
        }
        Stmt::SolveUnitLower { .. }
        | Stmt::Eliminate { .. }
        | Stmt::InverseRoot { .. }
        | Stmt::LinearScan { .. }
        | Stmt::Gather { .. }
        | Stmt::ScatterAdd { .. }
        | Stmt::Total { .. }
        | Stmt::Loop { .. }
        | Stmt::When { .. } => vec![],
        Stmt::Together { body } => body.iter().flat_map(|s| found(kernel, s)).collect(),
    }
}

fn of_load(kernel: &Kernel, load: &Access, space: &[Extent]) -> Option<Found> {
    let Place::Buffer(buffer) = load.place else { return None };
    let data = &kernel.buffers[buffer];
    if data.usage != Use::Read || data.elem != Elem::Real || load.pad != 0.0 {
        return None;
    }
    let still = |s: &Affine| s.as_number() == Some(0);
    let mut order: Vec<usize> =
        (0..load.strides.len()).filter(|d| !still(&load.strides[*d])).collect();
    // Neighbours last.
    order.sort_by_key(|d| load.strides[*d].as_number() == Some(1));
    let mut dims = Vec::new();
    for &d in &order {
        let stride = &load.strides[d];
        if !stride.terms.is_empty() {
            return None;
        }
        dims.push((space[d].fixed()?, stride.clone()));
    }
    let mut bounds = Vec::new();
    for bound in &load.bounds {
        let outside = |(d, s): (usize, &i64)| *s != 0 && !order.contains(&d);
        if bound.strides.iter().enumerate().any(outside) {
            return None;
        }
        let strides = order.iter().map(|d| bound.strides[*d]).collect();
        bounds.push(Bound { strides, ..bound.clone() });
    }
    let source = Source { buffer, origin: load.origin.clone(), dims, bounds };
    Some(Found { source, order })
}

/// The kernel with wanted sources copied at the beginning of their loops.
fn arranged(kernel: &Kernel, all: &[Source], wanted: &[bool]) -> Ahead {
    let mut out = Ahead { kernel: kernel.clone(), tiles: vec![] };
    let mut body = std::mem::take(&mut out.kernel.body);
    rearrange(&mut body, kernel, all, wanted, &mut out);
    out.kernel.body = body;
    out
}

fn rearrange(
    body: &mut [Stmt],
    from: &Kernel,
    all: &[Source],
    wanted: &[bool],
    out: &mut Ahead,
) {
    for stmt in body {
        if let Stmt::When { body, .. } | Stmt::Loop { body, .. } = stmt {
            rearrange(body, from, all, wanted, out);
        }
        if let Stmt::Loop { extent, body, .. } = stmt
            && extent.fixed().is_none_or(|n| n > 1)
        {
            *body = begun(std::mem::take(body), from, all, wanted, out);
        }
    }
}

/// A loop's body that begins with its copies.
fn begun(
    body: Vec<Stmt>,
    from: &Kernel,
    all: &[Source],
    wanted: &[bool],
    out: &mut Ahead,
) -> Vec<Stmt> {
    let mut copied: Vec<(Source, Tile)> = Vec::new();
    let is_wanted =
        |s: &Source| all.iter().position(|a| a == s).is_some_and(|n| wanted[n]);
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    for (at, mut stmt) in body.iter().cloned().enumerate() {
        let taken = found(from, &stmt).into_iter().map(|f| f.source);
        for source in taken.filter(|s| is_wanted(s)).collect::<Vec<_>>() {
            if copied.iter().any(|(s, _)| *s == source) {
                continue;
            }
            let own = own_tile(from, &out.kernel, (&body, at), &source);
            let tile = own.unwrap_or_else(|| {
                let name = from.buffers[source.buffer].name.clone();
                let dims = source.space().into_iter().collect();
                out.kernel.tiles.push(TileData { name, elem: Elem::Real, dims })
            });
            out.tiles.push(tile);
            first.push(copy(&source, tile));
            copied.push((source, tile));
        }
        replace(from, &mut stmt, &copied);
        let is_own =
            own_copy(&stmt).is_some_and(|t| copied.iter().any(|(_, tile)| *tile == t));
        if !is_own {
            rest.push(stmt);
        }
    }
    first.append(&mut rest);
    first
}

/// The tile of a statement that is nothing but the copy of a source, where that may be copied ahead as it is: nothing else
/// writes it, and nothing outside of the loop, or before the copy, touches it.
fn own_tile(
    from: &Kernel,
    kernel: &Kernel,
    (body, at): (&[Stmt], usize),
    source: &Source,
) -> Option<Tile> {
    let Stmt::Map { space, expr, loads, sinks } = &body[at] else { return None };
    let ([_], [(root, Sink::Store(to))]) = (&loads[..], &sinks[..]) else { return None };
    let Place::Tile(tile) = to.place else { return None };
    let found = of_load(kernel, &loads[0], space)?;
    let steps: Vec<Option<i64>> = to.strides.iter().map(Affine::as_number).collect();
    let same: Vec<Option<i64>> = source.steps().into_iter().map(Some).collect();
    let whole = lifetimes_whole(kernel, &body[at], tile);
    let plain = matches!(expr.scalars[*root].op, ScalarOp::Load(0))
        && found.source == *source
        && found.order.iter().copied().eq(0..space.len())
        && to.origin.as_number() == Some(0)
        && to.bounds.is_empty()
        && steps == same
        && whole;
    let inside: usize = body[at..].iter().map(|s| touches(kernel, s, tile)).sum();
    let everywhere: usize = from.body.iter().map(|s| touches(kernel, s, tile)).sum();
    let written = body[at + 1..].iter().any(|s| writes(s, Place::Tile(tile)));
    (plain && inside == everywhere && !written).then_some(tile)
}

fn lifetimes_whole(kernel: &Kernel, stmt: &Stmt, tile: Tile) -> bool {
    let mut whole = false;
    lifetimes::touched(kernel, stmt, |t, all| whole |= t == tile && all);
    whole
}

/// How often a statement, and those that it holds, touch a tile.
fn touches(kernel: &Kernel, stmt: &Stmt, tile: Tile) -> usize {
    let mut count = 0;
    lifetimes::touched(kernel, stmt, |t, _| count += usize::from(t == tile));
    count + stmt.inner().iter().map(|s| touches(kernel, s, tile)).sum::<usize>()
}

/// The tile that a statement copies to itself after its load was replaced.
fn own_copy(stmt: &Stmt) -> Option<Tile> {
    let Stmt::Map { loads, sinks, expr, .. } = stmt else { return None };
    let ([from], [(root, Sink::Store(to))]) = (&loads[..], &sinks[..]) else {
        return None;
    };
    let (Place::Tile(a), Place::Tile(b)) = (from.place, to.place) else { return None };
    let same = a == b && matches!(expr.scalars[*root].op, ScalarOp::Load(0));
    same.then_some(a)
}

/// A source to a tile of its own.
fn copy(source: &Source, tile: Tile) -> Stmt {
    let mut expr = Expr::default();
    let root = expr.add(ScalarOp::Load(0), &[], ScalarKind::Real);
    let strides = source.steps().into_iter().map(Affine::number).collect();
    let to = Access {
        place: Place::Tile(tile),
        origin: Affine::default(),
        strides,
        bounds: SmallVec::new(),
        pad: 0.0,
    };
    let (space, loads) = (source.space(), vec![source.access()]);
    Stmt::Map { space, expr, loads, sinks: vec![(root, Sink::Store(to))] }
}

/// Takes what is copied from where it was copied to.
fn replace(kernel: &Kernel, stmt: &mut Stmt, copied: &[(Source, Tile)]) {
    let tile_of = |s: &Source| copied.iter().find(|(c, _)| c == s).map(|(_, t)| *t);
    let steps_of = |found: &Found, rank: usize| -> Vec<i64> {
        let mut steps = vec![0; rank];
        for (d, step) in found.order.iter().zip(found.source.steps()) {
            steps[*d] = step;
        }
        steps
    };
    if let Stmt::Together { body } = stmt {
        body.iter_mut().for_each(|s| replace(kernel, s, copied));
    }
    if let Stmt::Map { space, loads, .. } = stmt {
        for load in loads {
            let Some(found) = of_load(kernel, load, space) else { continue };
            let Some(tile) = tile_of(&found.source) else { continue };
            let steps = steps_of(&found, load.strides.len());
            *load = Access {
                place: Place::Tile(tile),
                origin: Affine::default(),
                strides: steps.into_iter().map(Affine::number).collect(),
                bounds: SmallVec::new(),
                pad: 0.0,
            };
        }
    }
    if let Stmt::Product { m, n, k, left, right, .. } = stmt {
        for (x, extent) in [(left, [*m, *k]), (right, [*k, *n])] {
            let Some(found) = of_load(kernel, &x.access(), &extent) else {
                continue;
            };
            let Some(tile) = tile_of(&found.source) else { continue };
            let steps = steps_of(&found, 2);
            let [row, column] = [0, 1].map(|d| Affine::number(steps[d]));
            *x = Matrix {
                place: Place::Tile(tile),
                origin: Affine::default(),
                row,
                column,
            };
        }
    }
}
