//! Statements on whole blocks: products, solves, linear scans, rows of tables.

use super::Emit;
use super::about::About;
use super::build::V;
use super::map::Map;
use super::number::Num;
use super::operands;
use crate::products::on_cores;
use melior::dialect::arith::CmpiPredicate;
use nestor_ir::entity::Entity;
use nestor_ir::tile::{Access, Buffer, Extent, Index, Matrix, Place, Shape, Stmt};

/// Rows that are looked at together.
const AT_ONCE: i64 = 8;

/// A product's parts.
#[derive(Clone, Copy)]
pub(super) struct Product<'k> {
    pub(super) extent: [Extent; 3],
    pub(super) alpha: f64,
    pub(super) left: &'k Matrix,
    pub(super) right: &'k Matrix,
    pub(super) out: &'k Matrix,
    pub(super) accumulate: bool,
    pub(super) shape: Shape,
    /// Others that add to it.
    pub(super) more: &'k [Stmt],
    /// The map that takes the entries.
    pub(super) then: Option<Map<'k>>,
}

impl<'k> Product<'k> {
    /// It and those that add to it, each by itself.
    pub(super) fn all(self) -> Vec<Self> {
        let more = self.more.iter().filter_map(Product::of);
        std::iter::once(Self { more: &[], then: None, ..self }).chain(more).collect()
    }

    /// The parts of a statement, where it is a product.
    pub(super) fn of(stmt: &'k Stmt) -> Option<Self> {
        match stmt {
            Stmt::Product { m, n, k, alpha, left, right, out, accumulate, shape } => {
                Some(Self {
                    extent: [*m, *n, *k],
                    alpha: *alpha,
                    left,
                    right,
                    out,
                    accumulate: *accumulate,
                    shape: *shape,
                    more: &[],
                    then: None,
                })
            }
            Stmt::Map { .. }
            | Stmt::SolveUnitLower { .. }
            | Stmt::Eliminate { .. }
            | Stmt::InverseRoot { .. }
            | Stmt::LinearScan { .. }
            | Stmt::Gather { .. }
            | Stmt::ScatterAdd { .. }
            | Stmt::Total { .. }
            | Stmt::Loop { .. }
            | Stmt::When { .. }
            | Stmt::Together { .. } => None,
        }
    }
}

/// Rows of a table and where their indices are.
#[derive(Clone, Copy)]
pub(super) struct Rows<'k> {
    pub(super) table: Buffer,
    pub(super) rows: usize,
    pub(super) index: &'k Access,
    pub(super) count: Extent,
    pub(super) width: usize,
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// Each thread has entries of the result of its own.
    pub(super) fn product(&mut self, p: Product<'_>) {
        let About { staged, kernel, exchanged, threads, .. } = self.about;
        if staged && operands::suits(p, kernel, exchanged, threads) {
            return self.product_staged(p);
        }
        if on_cores(p.extent, self.about.products) {
            return self.product_on_cores(p, self.about.products);
        }
        let [m, n, _] = p.extent;
        self.shared(&[m, n], |e, point| {
            let (i, j) = (point[0], point[1]);
            let mut sum = e.b.real(0.0);
            for one in p.all() {
                sum = e.summed_alone(one, [i, j], sum);
            }
            e.put_entries(p, &[(i, j, sum)]);
        });
    }

    /// An entry's terms added to a sum by one thread.
    fn summed_alone(
        &mut self,
        p: Product<'_>,
        [i, j]: [Num<'c, 'a>; 2],
        start: V<'c, 'a>,
    ) -> V<'c, 'a> {
        let depth = self.extent(p.extent[2]);
        let after = self.add(i, Num::Known(1));
        let (from, to) = match p.shape {
            Shape::Full | Shape::OutputLower => (Num::Known(0), depth),
            Shape::LeftLower => (Num::Known(0), self.min(after, depth)),
            Shape::LeftUpper => (self.min(i, depth), depth),
        };
        // Above the diagonal nothing is wanted: the sum has no terms.
        let to = match p.shape {
            Shape::OutputLower => {
                let wanted = self.less(j, after);
                let (some, none) = (self.value(to), self.value(Num::Known(0)));
                Num::Run(self.b.select(wanted, some, none))
            }
            Shape::Full | Shape::LeftLower | Shape::LeftUpper => to,
        };
        self.sum(from, to, start, |e, l| {
            let (a, b) = (e.entry(p.left, i, l), e.entry(p.right, l, j));
            [e.read(p.left.place, a), e.read(p.right.place, b)]
        })
    }

    /// Stores entries of a product, their rows, columns and sums known; where there are several, two after one another are beside one
    /// another.
    pub(super) fn put_entries(
        &mut self,
        p: Product<'_>,
        entries: &[(Num<'c, 'a>, Num<'c, 'a>, V<'c, 'a>)],
    ) {
        if let Some(map) = p.then {
            return self.taken_by(map, p, entries);
        }
        let out = p.out.access();
        if entries.len() > 1 && self.is_beside(&out, 2) {
            for two in entries.chunks(2) {
                self.put_two(p, &out, two);
            }
            return;
        }
        for &(row, column, sum) in entries {
            let at = self.entry(p.out, row, column);
            let alpha = self.real(0, p.alpha);
            let value = match p.accumulate {
                true => {
                    let before = self.read(p.out.place, at);
                    self.b.fma(alpha, sum, before)
                }
                false => self.b.two("llvm.fmul", alpha, sum),
            };
            self.write(p.out.place, at, value);
        }
    }

    fn put_two(
        &mut self,
        p: Product<'_>,
        out: &Access,
        two: &[(Num<'c, 'a>, Num<'c, 'a>, V<'c, 'a>)],
    ) {
        let at = [two[0].0, two[0].1];
        let alpha = self.real(0, p.alpha);
        let sums = two.iter().map(|(_, _, sum)| *sum);
        let values: Vec<V<'c, 'a>> = match p.accumulate {
            true => {
                let before = self.load_beside(out, &at, 2);
                sums.zip(before)
                    .map(|(sum, before)| self.b.fma(alpha, sum, before))
                    .collect()
            }
            false => sums.map(|sum| self.b.two("llvm.fmul", alpha, sum)).collect(),
        };
        self.store_beside(out, &at, &values);
    }

    /// `start + sum of products` over l in `from .. to`.
    pub(super) fn sum(
        &mut self,
        from: Num<'c, 'a>,
        to: Num<'c, 'a>,
        start: V<'c, 'a>,
        mut terms: impl FnMut(&mut Self, Num<'c, 'a>) -> [V<'c, 'a>; 2],
    ) -> V<'c, 'a> {
        let bounds = [from, to, Num::Known(1)].map(|n| self.value(n));
        let (opened, l, sum) = self.b.open_for(bounds, &[start]);
        let [a, b] = terms(self, Num::Run(l));
        let sum = self.b.fma(a, b, sum[0]);
        self.b.close(opened, &[sum])[0]
    }

    /// `0 .. extent`, or from the last to 0.
    pub(super) fn turns(
        &mut self,
        extent: Num<'c, 'a>,
        reverse: bool,
        body: impl FnOnce(&mut Self, Num<'c, 'a>),
    ) {
        self.turns_with(extent, reverse, &[], |e, index, _| {
            body(e, index);
            Vec::new()
        });
    }

    /// As [`Emit::turns`], with values carried from turn to turn.
    pub(super) fn turns_with(
        &mut self,
        extent: Num<'c, 'a>,
        reverse: bool,
        start: &[V<'c, 'a>],
        body: impl FnOnce(&mut Self, Num<'c, 'a>, &[V<'c, 'a>]) -> Vec<V<'c, 'a>>,
    ) -> Vec<V<'c, 'a>> {
        let bounds = [Num::Known(0), extent, Num::Known(1)].map(|n| self.value(n));
        let (opened, turn, carried) = self.b.open_for(bounds, start);
        let mut index = Num::Run(turn);
        if reverse {
            let last = self.sub(extent, Num::Known(1));
            index = self.sub(last, index);
        }
        let end = body(self, index, &carried);
        self.b.close(opened, &end)
    }

    pub(super) fn gather(&mut self, r: Rows<'_>, out: &Access) {
        self.shared(&[r.count, Extent::Fixed(r.width)], |e, point| {
            let (inside, row) = e.row_of(r, point[0]);
            let ty = e.b.float();
            let opened = e.b.open_if(inside, &[ty]);
            let at = e.add(row, point[1]);
            let x = e.read(Place::Buffer(r.table), at);
            e.b.otherwise(&opened, &[x]);
            let zero = e.b.real(0.0);
            let x = e.b.close(opened, &[zero])[0];
            let to = e.row_entry(out, point[0], r.width, point[1]);
            e.write(out.place, to, x);
        });
    }

    /// Each thread has columns of its own, and adds rows in their order; of rows that are shared, the block has its own. Most of them are
    /// then others', so that several are looked at together.
    pub(super) fn scatter_add(
        &mut self,
        r: Rows<'_>,
        values: &Access,
        share: Option<(Index, usize)>,
    ) {
        self.shared(&[Extent::Fixed(r.width)], |e, point| {
            let column = point[0];
            let count = e.extent(r.count);
            let Some(share) = share else {
                return e.turns(count, false, |e, n| {
                    let index = e.row_index(r, n);
                    e.add_row(r, values, [n, column], index);
                });
            };
            let several = e.div(count, Num::Known(AT_ONCE));
            e.turns(several, false, |e, turn| {
                let first = e.mul(turn, Num::Known(AT_ONCE));
                let all: Vec<(Num<'c, 'a>, V<'c, 'a>, V<'c, 'a>)> = (0..AT_ONCE)
                    .map(|further| {
                        let n = e.add(first, Num::Known(further));
                        let index = e.row_index(r, n);
                        (n, index, e.is_own(index, share))
                    })
                    .collect();
                let any = all.iter().map(|(_, _, own)| *own);
                let any = any.reduce(|a, b| e.b.two("llvm.or", a, b));
                let opened = e.b.open_if(any.expect("several"), &[]);
                for (n, index, own) in all {
                    let opened = e.b.open_if(own, &[]);
                    e.add_row(r, values, [n, column], index);
                    e.b.close(opened, &[]);
                }
                e.b.close(opened, &[]);
            });
            let rest = e.mul(several, Num::Known(AT_ONCE));
            let bounds = [rest, count, Num::Known(1)].map(|q| e.value(q));
            let (rest, n, _) = e.b.open_for(bounds, &[]);
            let index = e.row_index(r, Num::Run(n));
            let own = e.is_own(index, share);
            let opened = e.b.open_if(own, &[]);
            e.add_row(r, values, [Num::Run(n), column], index);
            e.b.close(opened, &[]);
            e.b.close(rest, &[]);
        });
    }

    /// Whether a row of the table is this block's; where there is no such row it does not matter.
    fn is_own(&mut self, index: V<'c, 'a>, (own, of): (Index, usize)) -> V<'c, 'a> {
        let word = self.b.int(32);
        let of = self.b.constant(32, of as i64);
        let rest = self.b.two("llvm.urem", index, of);
        let own = self.indices[own.index()].expect("an index of the grid");
        let own = self.value(own);
        let own = self.b.cast("llvm.trunc", own, word);
        self.b.compare_whole(CmpiPredicate::Eq, rest, own)
    }

    /// Adds an entry of a row to that of the table whose row has this number, if there is one.
    fn add_row(
        &mut self,
        r: Rows<'_>,
        values: &Access,
        [n, column]: [Num<'c, 'a>; 2],
        index: V<'c, 'a>,
    ) {
        let (inside, row) = self.row_at(r, index);
        let opened = self.b.open_if(inside, &[]);
        let from = self.row_entry(values, n, r.width, column);
        let x = self.read(values.place, from);
        let at = self.add(row, column);
        let before = self.read(Place::Buffer(r.table), at);
        let sum = self.b.two("llvm.fadd", before, x);
        self.write(Place::Buffer(r.table), at, sum);
        self.b.close(opened, &[]);
    }

    /// Whether an index is of a row, and that row's first element.
    fn row_of(&mut self, r: Rows<'_>, n: Num<'c, 'a>) -> (V<'c, 'a>, Num<'c, 'a>) {
        let index = self.row_index(r, n);
        self.row_at(r, index)
    }

    fn row_index(&mut self, r: Rows<'_>, n: Num<'c, 'a>) -> V<'c, 'a> {
        self.load(r.index, &[n])
    }

    fn row_at(&mut self, r: Rows<'_>, index: V<'c, 'a>) -> (V<'c, 'a>, Num<'c, 'a>) {
        let ty = self.b.int(64);
        let index = Num::Run(self.b.cast("llvm.sext", index, ty));
        let inside = self.within(index, Num::Known(0), Num::Known(r.rows as i64));
        (inside, self.mul(index, Num::Known(r.width as i64)))
    }

    fn row_entry(
        &mut self,
        rows: &Access,
        n: Num<'c, 'a>,
        width: usize,
        column: Num<'c, 'a>,
    ) -> Num<'c, 'a> {
        let origin = self.affine(&rows.origin);
        let row = self.mul(n, Num::Known(width as i64));
        let at = self.add(origin, row);
        self.add(at, column)
    }
}
