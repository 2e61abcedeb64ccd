//! Which axes of tiles and dimensions of statements run together.

use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::Fold;
use nestor_ir::tile::size::strides;
use nestor_ir::tile::{
    Access, Affine, Extent, Kernel, Place, ScalarOp, Shape, Sink, Stmt, lifetimes, reads,
};
use nestor_ir::ty::Dims;
use petgraph::unionfind::UnionFind;
use smallvec::SmallVec;

/// Groups of axes and dimensions, and those whose entries meet otherwise than in sums.
pub(super) struct Axes {
    groups: UnionFind<usize>,
    /// The first axis of every tile, of every buffer that several statements write, and the first dimension of every statement and how many it
    /// has, statements in the order of the text.
    tiles: Vec<usize>,
    buffers: Vec<Option<usize>>,
    stmts: Vec<(usize, usize)>,
    bound: Vec<usize>,
}

/// A group that can be dealt out: at most an axis of each tile and a dimension of each statement.
pub(super) struct Dealt {
    pub(super) tiles: Vec<Option<usize>>,
    pub(super) stmts: Vec<Option<usize>>,
    /// How many entries.
    pub(super) width: usize,
}

/// A map, or a product as a map that is folded over its depth.
pub(super) struct Work {
    pub(super) space: SmallVec<[Extent; 4]>,
    reads: Vec<Access>,
    writes: Vec<Write>,
    /// Dimensions whose place is asked for.
    asked: Vec<usize>,
}

struct Write {
    to: Access,
    /// Dimensions that are folded, the last ones.
    folded: usize,
    sum: bool,
}

impl Work {
    /// Nothing for other statements.
    pub(super) fn of(stmt: &Stmt) -> Option<Self> {
        match stmt {
            Stmt::Map { space, expr, loads, sinks } => {
                let write = |sink: &Sink| match sink {
                    Sink::Store(to) => Write { to: to.clone(), folded: 0, sum: true },
                    Sink::Fold { fold, axes, to, .. } => {
                        Write { to: to.clone(), folded: *axes, sum: *fold == Fold::Sum }
                    }
                };
                let asked = expr.scalars.values().filter_map(|s| match s.op {
                    ScalarOp::Index(d, _) => Some(d),
                    _ => None,
                });
                Some(Self {
                    space: space.clone(),
                    reads: loads.clone(),
                    writes: sinks.iter().map(|(_, sink)| write(sink)).collect(),
                    asked: asked.collect(),
                })
            }
            Stmt::Product { m, n, k, left, right, out, shape, .. } => {
                let asked: &[usize] = match shape {
                    Shape::Full => &[],
                    Shape::OutputLower => &[0, 1],
                    Shape::LeftLower | Shape::LeftUpper => &[0, 2],
                };
                Some(Self {
                    space: SmallVec::from_iter([*m, *n, *k]),
                    reads: vec![left.over(3, [0, 2]), right.over(3, [2, 1])],
                    writes: vec![Write { to: out.access(), folded: 1, sum: true }],
                    asked: asked.to_vec(),
                })
            }
            _ => None,
        }
    }

    fn accesses(&self) -> impl Iterator<Item = &Access> {
        self.reads.iter().chain(self.writes.iter().map(|w| &w.to))
    }

    /// Whether entries along a dimension meet in sums alone, and every store has its own.
    fn may_part(&self, d: usize) -> bool {
        self.writes.iter().all(|w| match d + w.folded >= self.space.len() {
            true => w.sum,
            false => w.to.strides[d].as_number() != Some(0),
        })
    }
}

/// Every statement, those with a body before it.
fn all<'s>(body: &'s [Stmt], out: &mut Vec<&'s Stmt>) {
    for stmt in body {
        out.push(stmt);
        all(stmt.inner(), out);
    }
}

impl Axes {
    /// Those of a kernel; nothing where it holds statements that are not dealt out.
    pub(super) fn of(kernel: &Kernel) -> Option<Self> {
        let mut stmts = Vec::new();
        all(&kernel.body, &mut stmts);
        let mut count = 0;
        let mut next = |n: usize| {
            count += n;
            count - n
        };
        let tiles = kernel.tiles.values().map(|t| next(t.dims.len())).collect();
        let buffers = kernel.buffers.iter().map(|(buffer, data)| {
            let writes = |s: &&&Stmt| {
                s.inner().is_empty() && reads::writes(s, Place::Buffer(buffer))
            };
            (stmts.iter().filter(writes).count() > 1).then(|| next(data.dims.len()))
        });
        let buffers = buffers.collect();
        let firsts = stmts.iter().map(|s| {
            let rank = Work::of(s).map_or(0, |w| w.space.len());
            (next(rank), rank)
        });
        let firsts = firsts.collect();
        let groups = UnionFind::new(count);
        let mut out = Self { groups, tiles, buffers, stmts: firsts, bound: Vec::new() };
        for (n, stmt) in stmts.into_iter().enumerate() {
            match stmt {
                Stmt::Gather { .. } | Stmt::ScatterAdd { .. } => return None,
                Stmt::Together { .. } | Stmt::Total { .. } => return None,
                Stmt::Loop { .. } | Stmt::When { .. } => {}
                stmt => out.statement(kernel, stmt, n),
            }
        }
        Some(out)
    }

    fn statement(&mut self, kernel: &Kernel, stmt: &Stmt, n: usize) {
        let Some(work) = Work::of(stmt) else {
            lifetimes::touched(kernel, stmt, |tile, _| {
                let first = self.tiles[tile.index()];
                self.bound.extend(first..first + kernel.tiles[tile].dims.len());
            });
            return;
        };
        for access in work.accesses() {
            let Some((first, axes)) = self.axes_of(kernel, access.place) else {
                continue;
            };
            let Some(pairs) = matched(kernel, access, &work.space) else {
                self.bound.extend(first..first + axes);
                let moves = |d: &usize| access.strides[*d].as_number() != Some(0);
                let along = (0..access.strides.len()).filter(moves);
                self.bound.extend(along.map(|d| self.stmts[n].0 + d));
                continue;
            };
            for axis in 0..axes {
                let at = first + axis;
                match pairs.iter().find(|(a, _)| *a == axis) {
                    Some((_, d)) => {
                        self.groups.union(at, self.stmts[n].0 + d);
                    }
                    None => self.bound.push(at),
                }
            }
        }
        let parted = |d: &usize| work.may_part(*d) && !work.asked.contains(d);
        let not = (0..work.space.len()).filter(|d| !parted(d));
        self.bound.extend(not.map(|d| self.stmts[n].0 + d));
    }

    /// The first of a place's axes and how many it has, where they are looked at.
    fn axes_of(&self, kernel: &Kernel, place: Place) -> Option<(usize, usize)> {
        let first = match place {
            Place::Tile(tile) => Some(self.tiles[tile.index()]),
            Place::Buffer(buffer) => self.buffers[buffer.index()],
        };
        Some((first?, dims_of(kernel, place).len()))
    }

    /// The groups that can be dealt out.
    pub(super) fn groups(&self, kernel: &Kernel) -> Vec<Dealt> {
        let bound: Vec<usize> = self.bound.iter().map(|n| self.groups.find(*n)).collect();
        let mut seen = Vec::new();
        let mut out = Vec::new();
        for (tile, data) in kernel.tiles.iter() {
            for (axis, dim) in data.dims.iter().enumerate() {
                let root = self.groups.find(self.tiles[tile.index()] + axis);
                let Some(width) = dim.fixed() else { continue };
                if width > 1 && !seen.contains(&root) && !bound.contains(&root) {
                    seen.push(root);
                    out.extend(self.dealt(kernel, root, width));
                }
            }
        }
        out
    }

    /// Nothing where a tile or a statement has the group twice.
    fn dealt(&self, kernel: &Kernel, root: usize, width: usize) -> Option<Dealt> {
        let one = |(first, count): (usize, usize)| -> Option<Option<usize>> {
            let mut own = (0..count).filter(|n| self.groups.find(first + n) == root);
            let found = own.next();
            own.next().is_none().then_some(found)
        };
        let ranks = kernel.tiles.values().map(|t| t.dims.len());
        let tiles = self.tiles.iter().copied().zip(ranks).map(one);
        let stmts = self.stmts.iter().copied().map(one);
        Some(Dealt {
            tiles: tiles.collect::<Option<_>>()?,
            stmts: stmts.collect::<Option<_>>()?,
            width,
        })
    }
}

fn dims_of(kernel: &Kernel, place: Place) -> &Dims {
    match place {
        Place::Tile(tile) => &kernel.tiles[tile].dims,
        Place::Buffer(buffer) => &kernel.buffers[buffer].dims,
    }
}

/// Which axis of its place each dimension of an access runs along, all of it; nothing where it is another.
pub(super) fn matched(
    kernel: &Kernel,
    access: &Access,
    space: &[Extent],
) -> Option<SmallVec<[(usize, usize); 4]>> {
    let dims = dims_of(kernel, access.place);
    let steps = strides(dims);
    // In a buffer it is the part of a point and of a loop's turn.
    if access.origin != Affine::default() && matches!(access.place, Place::Tile(_)) {
        return None;
    }
    let mut out: SmallVec<[(usize, usize); 4]> = SmallVec::new();
    for (d, stride) in access.strides.iter().enumerate() {
        if space[d] == Dim::Fixed(1) || stride.as_number() == Some(0) {
            continue;
        }
        let fits = |axis: &usize| {
            dims[*axis] == space[d]
                && Affine::from(steps[*axis]) == *stride
                && out.iter().all(|(a, _)| a != axis)
        };
        let axis = (0..dims.len()).find(fits)?;
        out.push((axis, d));
    }
    Some(out)
}
