//! Products on tensor cores: every warp has pieces of the result of its own, 16 rows and 8 columns each.
//!
//! Operands are read from where they lie, as float32, and rounded on the way into the registers that the
//! instruction wants; what is outside of a matrix, or known to be zero, is zero.

use super::Emit;
use super::blocks::Product;
use super::build::V;
use super::number::Num;
use crate::target::Products;
use melior::dialect::llvm::r#type as types;
use melior::ir::Attribute;
use melior::ir::attribute::{DenseI32ArrayAttribute, DenseI64ArrayAttribute};
use nestor_ir::tile::{Matrix, Shape};

const ROWS: i64 = 16;
const COLUMNS: i64 = 8;

/// A piece: its first row and column, and this lane's place in it.
#[derive(Clone, Copy)]
pub(super) struct Piece<'c, 'a> {
    pub(super) row: Num<'c, 'a>,
    pub(super) column: Num<'c, 'a>,
    pub(super) group: Num<'c, 'a>,
    pub(super) within: Num<'c, 'a>,
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    pub(super) fn product_on_cores(&mut self, p: Product<'_>, how: Products) {
        let [m, n, _] = p.extent.map(|d| self.extent(d));
        let depth = if how == Products::Brain { 16 } else { 8 };
        let lane = self.rem(Num::Run(self.thread), Num::Known(32));
        let warp = self.div(Num::Run(self.thread), Num::Known(32));
        let group = self.div(lane, Num::Known(4));
        let within = self.rem(lane, Num::Known(4));
        let down = self.pieces(m, ROWS);
        let across = self.pieces(n, COLUMNS);
        let all = self.mul(down, across);
        let warps = Num::Known(i64::from(self.about.threads) / 32);
        let bounds = [warp, all, warps].map(|n| self.value(n));
        let (opened, piece, _) = self.b.open_for(bounds, &[]);
        let row = self.div(Num::Run(piece), across);
        let column = self.rem(Num::Run(piece), across);
        let row = self.mul(row, Num::Known(ROWS));
        let column = self.mul(column, Num::Known(COLUMNS));
        let piece = Piece { row, column, group, within };
        let mut sums = vec![self.b.real(0.0); 4];
        for one in p.all() {
            sums = self.sums(one, how, piece, depth, &sums);
        }
        let own = |(n, sum)| (piece, n as i64, sum);
        let sums = sums.into_iter().enumerate().map(own).collect();
        self.finish(p, sums, [m, n], [ROWS, COLUMNS]);
        self.b.close(opened, &[]);
    }

    fn pieces(&mut self, n: Num<'c, 'a>, of: i64) -> Num<'c, 'a> {
        let up = self.add(n, Num::Known(of - 1));
        self.div(up, Num::Known(of))
    }

    /// The terms of a lane's four sums added to these.
    fn sums(
        &mut self,
        p: Product<'_>,
        how: Products,
        piece: Piece<'c, 'a>,
        depth: i64,
        start: &[V<'c, 'a>],
    ) -> Vec<V<'c, 'a>> {
        let [m, n, k] = p.extent.map(|d| self.extent(d));
        let (from, to) = match p.shape {
            Shape::Full => (Num::Known(0), k),
            Shape::LeftLower => {
                let end = self.add(piece.row, Num::Known(ROWS));
                (Num::Known(0), self.min(end, k))
            }
            // Rows begin at multiples of the depth.
            Shape::LeftUpper => (piece.row, k),
            Shape::OutputLower => {
                // A piece above the diagonal has no terms.
                let end = self.add(piece.row, Num::Known(ROWS));
                let wanted = self.less(piece.column, end);
                let (some, none) = (self.value(k), self.value(Num::Known(0)));
                (Num::Known(0), Num::Run(self.b.select(wanted, some, none)))
            }
        };
        let bounds = [from, to, Num::Known(depth)].map(|n| self.value(n));
        let (opened, l, sums) = self.b.open_for(bounds, start);
        let l = Num::Run(l);
        let left: Vec<Vec<V<'c, 'a>>> =
            (0..4).map(|r| self.left(p, how, piece, [m, k], l, r)).collect();
        let right: Vec<Vec<V<'c, 'a>>> =
            (0..2).map(|r| self.right(p, how, piece, [k, n], l, r)).collect();
        let sums = self.all_parts(how, [&left, &right], &sums);
        self.b.close(opened, &sums)
    }

    /// Sums of products of operands in their parts.
    pub(super) fn all_parts(
        &mut self,
        how: Products,
        [left, right]: [&[Vec<V<'c, 'a>>]; 2],
        sums: &[V<'c, 'a>],
    ) -> Vec<V<'c, 'a>> {
        // Of operands in two parts, the products of a small part come first.
        let pairs: &[(usize, usize)] = match how {
            Products::Tf32x3 => &[(1, 0), (0, 1), (0, 0)],
            Products::Float32 | Products::Tf32 | Products::Brain => &[(0, 0)],
        };
        let mut sums = sums.to_vec();
        for (a, b) in pairs {
            let a: Vec<V<'c, 'a>> = left.iter().map(|parts| parts[*a]).collect();
            let b: Vec<V<'c, 'a>> = right.iter().map(|parts| parts[*b]).collect();
            sums = self.multiply(how, &a, &b, &sums);
        }
        sums
    }

    /// Register number `r` of the left operand, in its parts.
    pub(super) fn left(
        &mut self,
        p: Product<'_>,
        how: Products,
        piece: Piece<'c, 'a>,
        extent: [Num<'c, 'a>; 2],
        l: Num<'c, 'a>,
        r: i64,
    ) -> Vec<V<'c, 'a>> {
        let row = self.add(piece.row, piece.group);
        let row = self.add(row, Num::Known(8 * (r % 2)));
        let steps = self.depths(how, piece.within, r / 2);
        if let [first, _] = steps[..]
            && matches!(p.shape, Shape::Full | Shape::OutputLower)
        {
            let column = self.add(l, first);
            let at = [row, column];
            if let Some(word) = self.two_terms(p.left, false, at, extent, ROWS) {
                return vec![word];
            }
        }
        let values: Vec<V<'c, 'a>> = steps
            .into_iter()
            .map(|step| {
                let column = self.add(l, step);
                let zero = match p.shape {
                    Shape::Full | Shape::OutputLower => None,
                    Shape::LeftLower => Some(self.less(row, column)),
                    Shape::LeftUpper => Some(self.less(column, row)),
                };
                self.guarded(p.left, [row, column], extent, [ROWS, 16], zero)
            })
            .collect();
        self.rounded(how, &values)
    }

    /// Register number `r` of the right operand, in its parts.
    pub(super) fn right(
        &mut self,
        p: Product<'_>,
        how: Products,
        piece: Piece<'c, 'a>,
        extent: [Num<'c, 'a>; 2],
        l: Num<'c, 'a>,
        r: i64,
    ) -> Vec<V<'c, 'a>> {
        let column = self.add(piece.column, piece.group);
        let steps = self.depths(how, piece.within, r);
        if let [first, _] = steps[..] {
            let row = self.add(l, first);
            let at = [row, column];
            if let Some(word) = self.two_terms(p.right, true, at, extent, COLUMNS) {
                return vec![word];
            }
        }
        let values: Vec<V<'c, 'a>> = steps
            .into_iter()
            .map(|step| {
                let row = self.add(l, step);
                self.guarded(p.right, [row, column], extent, [16, COLUMNS], None)
            })
            .collect();
        self.rounded(how, &values)
    }

    /// A register of two terms of bfloat16 that lie beside one another, where they do: zeros where a matrix has none.
    fn two_terms(
        &mut self,
        x: &Matrix,
        right: bool,
        at: [Num<'c, 'a>; 2],
        extent: [Num<'c, 'a>; 2],
        side: i64,
    ) -> Option<V<'c, 'a>> {
        let mut access = x.access();
        let (terms, multiples) = match right {
            false => (extent[1], [side, 16]),
            true => {
                access.strides.reverse();
                (extent[0], [16, side])
            }
        };
        let even = matches!(terms, Num::Known(n) if n % 2 == 0);
        if !even || !self.is_beside(&access, 2) {
            return None;
        }
        let word = self.b.int(32);
        let inside = self.inside(at, extent, multiples);
        let opened = inside.map(|inside| self.b.open_if(inside, &[word]));
        let n = self.entry(x, at[0], at[1]);
        let there = match self.is_narrow(x.place) {
            true => {
                let (at, _) = self.address(x.place, n);
                self.b.load(at, word)
            }
            false => {
                let both = self.read_beside(x.place, n, 2);
                self.rounded(Products::Brain, &both)[0]
            }
        };
        let Some(opened) = opened else { return Some(there) };
        self.b.otherwise(&opened, &[there]);
        let nothing = self.b.constant(32, 0);
        Some(self.b.close(opened, &[nothing])[0])
    }

    /// Which terms of a step a register of this lane holds.
    pub(super) fn depths(
        &mut self,
        how: Products,
        within: Num<'c, 'a>,
        half: i64,
    ) -> Vec<Num<'c, 'a>> {
        if how != Products::Brain {
            return vec![self.add(within, Num::Known(4 * half))];
        }
        let pair = self.mul(within, Num::Known(2));
        (0..2).map(|one| self.add(pair, Num::Known(8 * half + one))).collect()
    }

    /// The entry of a matrix, or zero outside of it; extents that are multiples need no look.
    pub(super) fn guarded(
        &mut self,
        x: &Matrix,
        at: [Num<'c, 'a>; 2],
        extent: [Num<'c, 'a>; 2],
        multiples: [i64; 2],
        zero: Option<V<'c, 'a>>,
    ) -> V<'c, 'a> {
        let mut inside = self.inside(at, extent, multiples);
        if let Some(zero) = zero {
            let one = self.b.constant(1, 1);
            let here = self.b.two("llvm.xor", zero, one);
            inside = Some(match inside {
                None => here,
                Some(before) => self.b.two("llvm.and", before, here),
            });
        }
        let Some(inside) = inside else {
            let n = self.entry(x, at[0], at[1]);
            return self.read(x.place, n);
        };
        let ty = self.b.float();
        let opened = self.b.open_if(inside, &[ty]);
        let n = self.entry(x, at[0], at[1]);
        let there = self.read(x.place, n);
        self.b.otherwise(&opened, &[there]);
        let nothing = self.b.real(0.0);
        self.b.close(opened, &[nothing])[0]
    }

    /// Whether a row and a column are of a matrix; nothing where its extents are multiples, so that they always are.
    fn inside(
        &mut self,
        at: [Num<'c, 'a>; 2],
        extent: [Num<'c, 'a>; 2],
        multiples: [i64; 2],
    ) -> Option<V<'c, 'a>> {
        let mut inside: Option<V<'c, 'a>> = None;
        for ((at, extent), multiple) in at.into_iter().zip(extent).zip(multiples) {
            if matches!(extent, Num::Known(n) if n % multiple == 0) {
                continue;
            }
            let here = self.less(at, extent);
            inside = Some(match inside {
                None => here,
                Some(before) => self.b.two("llvm.and", before, here),
            });
        }
        inside
    }

    /// Values as a register of 32 bits, in the parts that their product takes.
    pub(super) fn rounded(
        &mut self,
        how: Products,
        values: &[V<'c, 'a>],
    ) -> Vec<V<'c, 'a>> {
        let (word, float) = (self.b.int(32), self.b.float());
        let near = |e: &mut Self, x| e.b.intrinsic("llvm.nvvm.f2tf32.rna", &[x], word);
        match how {
            Products::Float32 | Products::Tf32 => vec![near(self, values[0])],
            Products::Tf32x3 => {
                let large = near(self, values[0]);
                let back = self.b.cast("llvm.bitcast", large, float);
                let rest = self.b.two("llvm.fsub", values[0], back);
                vec![large, near(self, rest)]
            }
            Products::Brain => {
                // Both in one instruction, the second of them in the upper half; one by one they take many times as long.
                let brain = melior::ir::Type::bfloat16(self.b.context);
                let pair = melior::ir::Type::vector(&[2], brain);
                let halves = [values[1], values[0]];
                let pair = self.b.intrinsic("llvm.nvvm.ff2bf16x2.rn", &halves, pair);
                vec![self.b.cast("llvm.bitcast", pair, word)]
            }
        }
    }

    /// One instruction: sums of products of what all lanes hold.
    pub(super) fn multiply(
        &mut self,
        how: Products,
        left: &[V<'c, 'a>],
        right: &[V<'c, 'a>],
        sums: &[V<'c, 'a>],
    ) -> Vec<V<'c, 'a>> {
        let context = self.b.context;
        let parsed = |text: &str| Attribute::parse(context, text).expect("an attribute");
        let (of, depth) = match how {
            Products::Brain => ("bf16", 16),
            Products::Float32 | Products::Tf32 | Products::Tf32x3 => ("tf32", 8),
        };
        let of = parsed(&format!("#nvvm.mma_type<{of}>"));
        let shape = parsed(&format!("#nvvm.shape<m = 16, n = 8, k = {depth}>"));
        let segments = DenseI32ArrayAttribute::new(context, &[4, 2, 4]).into();
        let attributes = [
            ("layoutA", parsed("#nvvm.mma_layout<row>")),
            ("layoutB", parsed("#nvvm.mma_layout<col>")),
            ("multiplicandAPtxType", of),
            ("multiplicandBPtxType", of),
            ("shape", shape),
            ("operandSegmentSizes", segments),
        ];
        let float = self.b.float();
        let four = types::r#struct(context, &[float; 4], false);
        let operands = [left, right, sums].concat();
        let all = self.b.made("nvvm.mma.sync", &operands, four, &attributes);
        let part = |e: &mut Self, n: i64| {
            let at = DenseI64ArrayAttribute::new(context, &[n]).into();
            e.b.made("llvm.extractvalue", &[all], float, &[("position", at)])
        };
        (0..4).map(|n| part(self, n)).collect()
    }

    /// Stores a lane's sums, each with its number in a piece, of a block of the result that begins at multiples of some numbers.
    pub(super) fn finish(
        &mut self,
        p: Product<'_>,
        sums: Vec<(Piece<'c, 'a>, i64, V<'c, 'a>)>,
        extent: [Num<'c, 'a>; 2],
        multiples: [i64; 2],
    ) {
        let mut entries = Vec::with_capacity(sums.len());
        for (piece, n, sum) in sums {
            let row = self.add(piece.row, piece.group);
            let row = self.add(row, Num::Known(8 * (n / 2)));
            let column = self.mul(piece.within, Num::Known(2));
            let column = self.add(piece.column, column);
            let column = self.add(column, Num::Known(n % 2));
            let sum = match p.shape {
                Shape::OutputLower => {
                    let above = self.less(row, column);
                    let zero = self.b.real(0.0);
                    self.b.select(above, zero, sum)
                }
                Shape::Full | Shape::LeftLower | Shape::LeftUpper => sum,
            };
            let Some(inside) = self.inside([row, column], extent, multiples) else {
                entries.push((row, column, sum));
                continue;
            };
            let opened = self.b.open_if(inside, &[]);
            self.put_entries(p, &[(row, column, sum)]);
            self.b.close(opened, &[]);
        }
        self.put_entries(p, &entries);
    }
}
