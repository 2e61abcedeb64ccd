//! Statements other than maps: loops, tests, and calls of routines.

use crate::emitter::{Emitter, Num};
use crate::normalise::{MapParts, normalise};
use crate::unfold::unfolded;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use nestor_ir::entity::Entity;
use nestor_ir::tile::{Affine, Index, Matrix, Monomial, Part, Shape, Stmt};

impl Emitter<'_> {
    /// Emits statements in order.
    pub(crate) fn body_of(&mut self, body: &[Stmt]) {
        for stmt in body {
            self.stmt(stmt);
        }
    }

    fn stmt(&mut self, stmt: &Stmt) {
        match stmt {
            Stmt::Map { space, expr, loads, sinks } => {
                let m = normalise(MapParts {
                    space: space.to_vec(),
                    expr: expr.clone(),
                    loads: loads.clone(),
                    sinks: sinks.clone(),
                });
                if self.wide_map(&m) {
                    return;
                }
                match unfolded(&m, self.indices.len()) {
                    Some(stmts) => self.with_indices(m.space.len(), &stmts),
                    None => self.map(&m.space, &m.expr, &m.loads, &m.sinks),
                }
            }
            Stmt::Loop { index, extent, part, reverse, body } => {
                let n = self.extent(*extent);
                let at = |e: &Self, i: Index| {
                    Num::Run(e.indices[i.index()].expect("an index in scope"))
                };
                let (first, end) = match *part {
                    Part::All => (Num::Const(0), n),
                    Part::Before(i) => (Num::Const(0), at(self, i)),
                    Part::After(i) => (self.add(at(self, i), Num::Const(1)), n),
                };
                self.count(first, end, 1, |e, i| {
                    let i = if *reverse {
                        let both = e.add(first, end);
                        let last = e.add(both, Num::Const(-1));
                        let i = e.sub(last, Num::Run(i));
                        e.value(i)
                    } else {
                        i
                    };
                    let before = e.indices[index.index()].replace(i);
                    e.body_of(body);
                    e.indices[index.index()] = before;
                });
            }
            Stmt::When { value, low, high, body } => {
                let value = self.affine(value);
                let (low, high) = (self.affine(low), self.affine(high));
                let above = self.compare(IntCC::SignedLessThanOrEqual, low, value);
                let below = self.compare(IntCC::SignedLessThan, value, high);
                let both = self.b.ins().band(above, below);
                self.when(both, |e| e.body_of(body));
            }
            Stmt::Together { body } => self.body_of(body),
            Stmt::Product { m, n, k, alpha, left, right, out, accumulate, shape } => {
                let mut arguments = Vec::new();
                for extent in [m, n, k] {
                    let extent = self.extent(*extent);
                    arguments.push(self.value(extent));
                }
                arguments.push(self.b.ins().f64const(*alpha));
                for matrix in [left, right, out] {
                    arguments.extend(self.matrix(matrix));
                }
                arguments.push(self.b.ins().iconst(types::I64, i64::from(*accumulate)));
                arguments.push(self.b.ins().iconst(types::I64, shape_number(*shape)));
                self.call("product", &arguments);
            }
            Stmt::SolveUnitLower { lower, x, n, m, transpose } => {
                let mut arguments =
                    vec![self.tiles[lower.index()], self.tiles[x.index()]];
                arguments.extend(self.numbers(&[*n, *m, usize::from(*transpose)]));
                self.call("solve_unit_lower", &arguments);
            }
            Stmt::Eliminate { a, x, n, m } => {
                let mut arguments = vec![self.tiles[a.index()], self.tiles[x.index()]];
                arguments.extend(self.numbers(&[*n, *m]));
                self.call("eliminate", &arguments);
            }
            Stmt::InverseRoot { a, basis, n, p } => {
                let mut arguments =
                    vec![self.tiles[a.index()], self.tiles[basis.index()]];
                arguments.extend(self.numbers(&[*n]));
                arguments.push(self.b.ins().f64const(*p));
                self.call("inverse_root", &arguments);
            }
            Stmt::LinearScan { a, b, init, y, extent, reverse } => {
                let mut arguments: Vec<Value> =
                    [a, b, init, y].iter().map(|t| self.tiles[t.index()]).collect();
                let numbers = [extent.0, extent.1, extent.2, usize::from(*reverse)];
                arguments.extend(self.numbers(&numbers));
                self.call("linear_scan", &arguments);
            }
            Stmt::Gather { table, rows, index, count, width, out } => {
                let mut arguments = vec![self.buffers[table.index()]];
                arguments.extend(self.numbers(&[*rows]));
                arguments.extend(self.strided(index));
                let count = self.extent(*count);
                arguments.push(self.value(count));
                arguments.extend(self.numbers(&[*width]));
                let out = self.reach(out);
                arguments.push(Self::address(&out));
                self.call("gather_rows", &arguments);
            }
            Stmt::ScatterAdd { table, rows, index, count, width, values, share } => {
                let mut arguments = vec![self.buffers[table.index()]];
                arguments.extend(self.numbers(&[*rows]));
                arguments.extend(self.strided(index));
                let count = self.extent(*count);
                arguments.push(self.value(count));
                arguments.extend(self.numbers(&[*width]));
                let values = self.reach(values);
                arguments.push(Self::address(&values));
                let one = Monomial::number(1);
                let own = share.map(|(i, _)| Affine::index(i, one)).unwrap_or_default();
                let own = self.affine(&own);
                arguments.push(self.value(own));
                arguments.extend(self.numbers(&[share.map_or(1, |(_, n)| n)]));
                self.call("scatter_add_rows", &arguments);
            }
            // A team of one: others are refused.
            Stmt::Total { .. } => {}
        }
    }

    /// Emits statements that use `count` indices more than the kernel has.
    fn with_indices(&mut self, count: usize, stmts: &[Stmt]) {
        let before = self.indices.len();
        self.indices.resize(before + count, None);
        self.body_of(stmts);
        self.indices.truncate(before);
    }

    /// Address and element stride of a list of indices.
    fn strided(&mut self, access: &nestor_ir::tile::Access) -> [Value; 2] {
        let at = self.reach(access);
        let stride = match access.strides.first() {
            Some(s) => self.affine(s),
            None => Num::Const(1),
        };
        [Self::address(&at), self.value(stride)]
    }
    fn numbers(&mut self, n: &[usize]) -> Vec<Value> {
        n.iter()
            .map(|n| {
                let n = i64::try_from(*n).expect("a size fits 63 bits");
                self.b.ins().iconst(types::I64, n)
            })
            .collect()
    }
    /// Address, row stride and column stride, in elements.
    fn matrix(&mut self, m: &Matrix) -> [Value; 3] {
        let (base, elem) = self.place(m.place);
        let bytes = self.bytes(elem);
        let origin = self.affine(&m.origin);
        let origin = self.mul(origin, Num::Const(bytes));
        let address = self.offset(base, origin);
        let (row, column) = (self.affine(&m.row), self.affine(&m.column));
        [address, self.value(row), self.value(column)]
    }
    fn call(&mut self, name: &str, arguments: &[Value]) {
        let routine = self.routines.get(name);
        self.b.ins().call(routine, arguments);
    }
}

/// The number routines know a shape by.
fn shape_number(shape: Shape) -> i64 {
    match shape {
        Shape::Full => 0,
        Shape::OutputLower => 1,
        Shape::LeftLower => 2,
        Shape::LeftUpper => 3,
    }
}
