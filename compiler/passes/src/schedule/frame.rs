//! A kernel being built.

use super::view::{Home, Limit, View, times};
use nestor_ir::dim::Dim;
use nestor_ir::entity::{Arena, Entity};
use nestor_ir::plan::Tensor;
use nestor_ir::tile::{
    Access, Affine, Bound, Buffer, BufferParam, Extent, Index, Kernel, Matrix, Monomial,
    Place, Stmt, Tile, TileData, Use,
};
use nestor_ir::ty::{Elem, Type};
use smallvec::SmallVec;

/// A coordinate of a value: an offset, and how it moves with each dimension of a map.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Coord {
    pub(super) offset: Affine,
    pub(super) steps: SmallVec<[i64; 4]>,
}

impl Coord {
    /// Dimension `d` of `rank`.
    pub(super) fn along(d: usize, rank: usize) -> Self {
        let mut steps: SmallVec<[i64; 4]> = SmallVec::from_elem(0, rank);
        steps[d] = 1;
        Self { offset: Affine::default(), steps }
    }
    /// The same at every point.
    pub(super) fn fixed(offset: Affine, rank: usize) -> Self {
        Self { offset, steps: SmallVec::from_elem(0, rank) }
    }
    /// Moved by a number.
    pub(super) fn moved(&self, by: i64) -> Self {
        let offset = self.offset.clone().plus(&Affine::number(by));
        Self { offset, steps: self.steps.clone() }
    }
    /// `self factor + other`
    pub(super) fn scaled_plus(&self, factor: i64, other: &Self) -> Self {
        Self {
            offset: self.offset.clone().scaled(factor).plus(&other.offset),
            steps: self
                .steps
                .iter()
                .zip(&other.steps)
                .map(|(a, b)| a * factor + b)
                .collect(),
        }
    }
    /// `self - other`
    pub(super) fn minus(&self, other: &Self) -> Self {
        other.scaled_plus(-1, self)
    }
}

/// Where an index is along a dimension: nowhere else than at its begin where there is but one place, so that nothing need be known of
/// how far apart places would be.
pub(super) fn place_of(index: Index, dim: Dim) -> Affine {
    match dim {
        Dim::Fixed(1) => Affine::default(),
        _ => Affine::index(index, Monomial::number(1)),
    }
}

/// Parts of a kernel.
#[derive(Default)]
pub(super) struct Frame {
    buffers: Vec<(Tensor, BufferParam)>,
    tiles: Arena<Tile, TileData>,
    indices: usize,
    pub(super) grid: Vec<(Index, Extent)>,
    pub(super) body: Vec<Stmt>,
}

impl Frame {
    /// A new index.
    pub(super) fn index(&mut self) -> Index {
        self.indices += 1;
        Index::new(self.indices - 1)
    }

    /// A new tile.
    pub(super) fn tile(&mut self, name: &str, ty: &Type) -> View {
        let tile = self.tiles.push(TileData {
            name: name.to_owned(),
            elem: ty.elem,
            dims: ty.dims.clone(),
        });
        View::whole(Home::Tile(tile), ty.elem, &ty.dims)
    }

    /// The place of a home, as a parameter where it is a tensor.
    pub(super) fn place(
        &mut self,
        home: Home,
        types: &dyn Fn(Tensor) -> (String, Type),
        write: bool,
    ) -> Place {
        let tensor = match home {
            Home::Tile(tile) => return Place::Tile(tile),
            Home::Tensor(tensor) => tensor,
        };
        let known = self.buffers.iter().position(|(t, _)| *t == tensor);
        let at = known.unwrap_or_else(|| {
            let (name, ty) = types(tensor);
            let usage = if write { Use::Write } else { Use::Read };
            let param = BufferParam { name, elem: ty.elem, dims: ty.dims, usage };
            self.buffers.push((tensor, param));
            self.buffers.len() - 1
        });
        let usage = &mut self.buffers[at].1.usage;
        *usage = match (*usage, write) {
            (Use::Read, false) => Use::Read,
            (Use::Write, true) => Use::Write,
            (Use::Read | Use::Write | Use::Update, _) => Use::Update,
        };
        Place::Buffer(Buffer::new(at))
    }

    /// The kernel and the tensors it is launched with.
    pub(super) fn finish(self, name: String) -> (Kernel, Vec<Tensor>) {
        let mut buffers = Arena::default();
        let mut tensors = Vec::new();
        for (tensor, param) in self.buffers {
            tensors.push(tensor);
            let _: Buffer = buffers.push(param);
        }
        let kernel = Kernel {
            name,
            buffers,
            tiles: self.tiles,
            indices: self.indices,
            grid: self.grid,
            body: self.body,
        };
        (kernel, tensors)
    }
}

/// An access to the elements of a view at coordinates, in a map of `rank` dimensions.
pub(super) fn access(view: &View, place: Place, coords: &[Coord], rank: usize) -> Access {
    let mut origin = view.origin.clone();
    let mut strides: SmallVec<[Affine; 4]> = SmallVec::from_elem(Affine::default(), rank);
    for (coord, &stride) in coords.iter().zip(&view.strides) {
        origin = origin.plus(&times(&coord.offset, stride));
        for (to, &by) in strides.iter_mut().zip(&coord.steps) {
            let step = Affine::from(stride).scaled(by);
            *to = std::mem::take(to).plus(&step);
        }
    }
    let bounds = view.limit.iter().map(|l| bound(l, &coords[l.axis])).collect();
    Access { place, origin, strides, bounds, pad: 0.0 }
}

fn bound(limit: &Limit, coord: &Coord) -> Bound {
    Bound {
        offset: limit.offset.clone().plus(&coord.offset),
        strides: coord.steps.clone(),
        low: Affine::number(0),
        high: limit.high.clone(),
    }
}

/// `0 <= coordinate < size`, for a move that reads zero outside.
pub(super) fn within(coord: &Coord, size: Dim) -> Bound {
    Bound {
        offset: coord.offset.clone(),
        strides: coord.steps.clone(),
        low: Affine::number(0),
        high: Affine::from(nestor_ir::tile::Monomial::dim(size)),
    }
}

/// A matrix of a product.
pub(super) fn matrix(
    place: Place,
    origin: Affine,
    row: nestor_ir::tile::Monomial,
    column: nestor_ir::tile::Monomial,
) -> Matrix {
    Matrix { place, origin, row: Affine::from(row), column: Affine::from(column) }
}

/// The kind of a map's scalar for an element.
pub(super) fn kind(elem: Elem) -> nestor_ir::tile::ScalarKind {
    use nestor_ir::tile::ScalarKind;
    match elem {
        Elem::Real => ScalarKind::Real,
        Elem::Int => ScalarKind::Int,
        Elem::Bool => ScalarKind::Bool,
    }
}
