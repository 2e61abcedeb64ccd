//! Elements of places: their addresses, loads and stores under bounds.

use super::Emit;
use super::build::V;
use super::number::Num;
use crate::placement::{Home, width};
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tile::ScalarKind as Kind;
use nestor_ir::tile::expr::kind_of;
use nestor_ir::tile::lifetimes::LINE;
use nestor_ir::tile::{Access, Matrix, Place, Use};
use nestor_ir::ty::Elem;

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    pub(super) fn elem(&self, place: Place) -> Elem {
        match place {
            Place::Buffer(b) => self.about.kernel.buffers[b].elem,
            Place::Tile(t) => self.about.kernel.tiles[t].elem,
        }
    }

    /// Whether its reals are kept as bfloat16.
    pub(super) fn is_narrow(&self, place: Place) -> bool {
        self.about.kept.is_narrow(place)
    }

    /// The address of a place's first element.
    pub(super) fn base(&mut self, place: Place) -> V<'c, 'a> {
        let tile = match place {
            Place::Buffer(b) => return self.buffers[b.index()],
            Place::Tile(t) => t,
        };
        if let Some(given) = self.tiles.get(tile.index()) {
            return *given;
        }
        let byte = self.b.int(8);
        match self.about.placement.homes[tile.index()].clone() {
            Home::Shared(at, bytes) => {
                let all = self.b.address_of(super::SHARED, 3);
                let all = self.shared.unwrap_or(all);
                let at = self.b.constant(64, at);
                let at = self.b.element(all, at, byte);
                match self.staged_at(place, bytes) {
                    Some(behind) => self.b.element(at, behind, byte),
                    None => at,
                }
            }
            // A function is given it with the rest; nobody looks there.
            Home::Nowhere => self.b.address_of(super::SHARED, 3),
            Home::Held => unreachable!("what is held has no address"),
            Home::Scratch(before) => {
                let at = self.lines(&before);
                let at = self.value(at);
                let own = self.scratch.expect("a kernel with scratch memory is given it");
                self.b.element(own, at, byte)
            }
        }
    }

    /// The sum of bytes, each rounded up to a line.
    pub(super) fn lines(&mut self, bytes: &[nestor_ir::tile::Monomial]) -> Num<'c, 'a> {
        let mut sum = Num::Known(0);
        for m in bytes {
            let n = self.monomial(m);
            let n = self.add(n, Num::Known(LINE - 1));
            let n = self.div(n, Num::Known(LINE));
            let n = self.mul(n, Num::Known(LINE));
            sum = self.add(sum, n);
        }
        sum
    }

    /// Element number `n` of a place.
    pub(super) fn read(&mut self, place: Place, n: Num<'c, 'a>) -> V<'c, 'a> {
        let (at, elem) = self.address(place, n);
        match elem {
            Elem::Real if self.is_narrow(place) => {
                let (half, word, float) =
                    (self.b.int(16), self.b.int(32), self.b.float());
                let half = self.b.load(at, half);
                let upper = self.b.cast("llvm.zext", half, word);
                let by = self.b.constant(32, 16);
                let upper = self.b.two("llvm.shl", upper, by);
                self.b.cast("llvm.bitcast", upper, float)
            }
            Elem::Real => {
                let ty = self.b.float();
                self.b.load(at, ty)
            }
            Elem::Int => {
                let ty = self.b.int(32);
                self.b.load(at, ty)
            }
            Elem::Bool => {
                let ty = self.b.int(8);
                let byte = self.b.load(at, ty);
                let zero = self.b.constant(8, 0);
                let how = melior::dialect::arith::CmpiPredicate::Ne;
                self.b.compare_whole(how, byte, zero)
            }
        }
    }

    /// Element number `n` of a place of reals whose neighbours others write meanwhile.
    pub(super) fn read_alone(&mut self, place: Place, n: Num<'c, 'a>) -> V<'c, 'a> {
        let (at, _) = self.address(place, n);
        let ty = self.b.float();
        self.b.load_alone(at, ty)
    }

    pub(super) fn write(&mut self, place: Place, n: Num<'c, 'a>, x: V<'c, 'a>) {
        let (at, elem) = self.address(place, n);
        let x = match elem {
            Elem::Real if self.is_narrow(place) => {
                let brain = melior::ir::Type::bfloat16(self.b.context);
                self.b.intrinsic("llvm.nvvm.f2bf16.rn", &[x], brain)
            }
            Elem::Real | Elem::Int => x,
            Elem::Bool => {
                let ty = self.b.int(8);
                self.b.cast("llvm.zext", x, ty)
            }
        };
        self.b.store(x, at);
    }

    pub(super) fn address(&mut self, place: Place, n: Num<'c, 'a>) -> (V<'c, 'a>, Elem) {
        let elem = self.elem(place);
        let base = self.base(place);
        let narrow = elem == Elem::Real && self.is_narrow(place);
        let (n, bits) = match narrow || self.exchange_of(place).is_some() {
            true => (self.byte_of(place, n, width(elem, narrow)), 8),
            false => (n, 8 * width(elem, false) as u32),
        };
        // What is known comes last: it is part of the instruction, and neighbours have the rest in common. In a loop that would be kept in
        // registers from turn to turn.
        let n = if self.loops > 0 { Num::Run(self.value(n)) } else { n };
        let (of, (first, further)) = (self.b.int(bits), n.parts());
        let mut at = base;
        if let Some(first) = first {
            at = self.b.element(at, first, of);
        }
        if further != 0 {
            let further = self.b.constant(64, further);
            at = self.b.element(at, further, of);
        }
        (at, elem)
    }

    /// The element that an access names at a point, and the condition under which it does; nothing where it
    /// always does.
    pub(super) fn spot(
        &mut self,
        a: &Access,
        point: &[Num<'c, 'a>],
    ) -> (Num<'c, 'a>, Option<V<'c, 'a>>) {
        let mut condition: Option<V<'c, 'a>> = None;
        for bound in &a.bounds {
            let mut n = self.affine(&bound.offset);
            for (stride, p) in bound.strides.iter().zip(point) {
                let moved = self.mul(Num::Known(*stride), *p);
                n = self.add(n, moved);
            }
            let (low, high) = (self.affine(&bound.low), self.affine(&bound.high));
            let inside = self.within(n, low, high);
            condition = Some(match condition {
                None => inside,
                Some(before) => self.b.two("llvm.and", before, inside),
            });
        }
        let mut n = self.affine(&a.origin);
        for (stride, p) in a.strides.iter().zip(point) {
            let stride = self.affine(stride);
            let moved = self.mul(stride, *p);
            n = self.add(n, moved);
        }
        (n, condition)
    }

    /// Whether a place has so many first elements that may be read at any time.
    pub(super) fn has_first(&self, place: Place, count: i64) -> bool {
        let Place::Buffer(b) = place else { return false };
        let data = &self.about.kernel.buffers[b];
        let fixed: usize = data.dims.iter().filter_map(|d| d.fixed()).product();
        let there = |d: &Dim| {
            d.fixed().is_none_or(|n| n > 0)
                && matches!(
                    d.of_tokens(),
                    (Dim::Fixed(_) | Dim::Batch, _)
                        | (Dim::Time | Dim::Samples | Dim::Chunks(_), 1)
                )
        };
        data.usage == Use::Read && fixed as i64 >= count && data.dims.iter().all(there)
    }

    /// An element that may be read whether there are so many from one on or not: those where there are, else some of the first ones. No branch is
    /// needed then, and loads of several points are under way together; neighbours have all but a known number in common. Nothing where the place
    /// may have no such elements.
    pub(super) fn first_instead(
        &mut self,
        place: Place,
        n: Num<'c, 'a>,
        condition: V<'c, 'a>,
        count: i64,
    ) -> Option<Num<'c, 'a>> {
        if !self.has_first(place, count) {
            return None;
        }
        let (mut n, mut further) = n.parts();
        if further < 0 || !self.has_first(place, further + count) {
            (n, further) = (Some(self.value(Num::of(n, further))), 0);
        }
        let Some(n) = n else { return Some(Num::Known(further)) };
        let zero = self.value(Num::Known(0));
        let n = self.b.select(condition, n, zero);
        Some(Num::of(Some(n), further))
    }

    /// What an access reads at a point.
    pub(super) fn load(&mut self, a: &Access, point: &[Num<'c, 'a>]) -> V<'c, 'a> {
        let (n, condition) = self.spot(a, point);
        let Some(condition) = condition else { return self.read(a.place, n) };
        let kind = kind_of(self.elem(a.place));
        let instead = match kind {
            Kind::Real => self.first_instead(a.place, n, condition, 1),
            Kind::Int | Kind::Bool => None,
        };
        if let Some(n) = instead {
            let there = self.read(a.place, n);
            let pad = self.b.real(a.pad);
            return self.b.select(condition, there, pad);
        }
        let ty = self.b.ty(kind);
        let opened = self.b.open_if(condition, &[ty]);
        let there = self.read(a.place, n);
        self.b.otherwise(&opened, &[there]);
        let pad = match kind {
            Kind::Real => self.b.real(a.pad),
            Kind::Int => self.b.constant(32, a.pad as i64),
            Kind::Bool => self.b.constant(1, i64::from(a.pad != 0.0)),
        };
        self.b.close(opened, &[pad])[0]
    }

    /// Stores at a point, where the bounds hold.
    pub(super) fn store(&mut self, a: &Access, point: &[Num<'c, 'a>], x: V<'c, 'a>) {
        let (n, condition) = self.spot(a, point);
        let Some(condition) = condition else { return self.write(a.place, n, x) };
        let opened = self.b.open_if(condition, &[]);
        self.write(a.place, n, x);
        self.b.close(opened, &[]);
    }

    /// The entry of a matrix.
    pub(super) fn entry(
        &mut self,
        x: &Matrix,
        row: Num<'c, 'a>,
        column: Num<'c, 'a>,
    ) -> Num<'c, 'a> {
        let [origin, down, right] =
            [&x.origin, &x.row, &x.column].map(|q| self.affine(q));
        let down = self.mul(down, row);
        let right = self.mul(right, column);
        let n = self.add(origin, down);
        self.add(n, right)
    }
}
