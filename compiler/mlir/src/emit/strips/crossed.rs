//! What lanes of a group of warps have of its columns, two numbers of a column one below the other, and how that is moved between registers and
//! tensors whose columns lie beside one another: warps turn eight rows and eight columns at a time, of bfloat16.
//!
//! ```text
//! in order, it has      rows 8 n + 2 w, 8 n + 2 w + 1 of columns g and eight further on
//! a lane has            rows 8 n + 2 w, 8 n + 2 w + 1 of columns 4 (g / 2) + g mod 2, and two further on    (g = lane / 4, w = lane mod 4)
//! turned, it has        row 8 n + g of columns 4 w to 4 w + 3: eight bytes
//! ```

use super::{OWN, Pair, Spot};
use crate::emit::Emit;
use crate::emit::blocks::Product;
use crate::emit::build::V;
use crate::emit::map::Map;
use crate::emit::number::Num;
use nestor_ir::tile::{Access, Expr, ExprId, Extent, ScalarOp, Sink};

/// A map whose last dimension runs along rows where that of another one does along columns, or the other way.
pub(super) struct Along {
    space: Vec<Extent>,
    expr: Expr,
    loads: Vec<Access>,
    sinks: Vec<(ExprId, Sink)>,
    /// Which side each of its dimensions runs along.
    pub(super) sides: Vec<Option<usize>>,
}

impl Along {
    /// Of a map whose last dimension runs along the other side.
    pub(super) fn of(map: Map<'_>, sides: &[Option<usize>]) -> Self {
        let last = sides.len() - 1;
        let rows = sides.iter().position(|s| *s != sides[last]).unwrap_or(last);
        let turned = |a: &Access| {
            let mut a = a.clone();
            a.strides.swap(rows, last);
            a.bounds.iter_mut().for_each(|bound| bound.strides.swap(rows, last));
            a
        };
        let mut expr = map.expr.clone();
        for id in map.expr.scalars.keys() {
            if let ScalarOp::Index(d, _) = &mut expr.scalars[id].op {
                *d = match *d {
                    d if d == rows => last,
                    d if d == last => rows,
                    d => d,
                };
            }
        }
        let sink = |sink: &Sink| match sink {
            Sink::Store(to) => Sink::Store(turned(to)),
            fold @ Sink::Fold { .. } => fold.clone(),
        };
        let (mut space, mut sides) = (map.space.to_vec(), sides.to_vec());
        space.swap(rows, last);
        sides.swap(rows, last);
        Self {
            space,
            expr,
            loads: map.loads.iter().map(turned).collect(),
            sinks: map.sinks.iter().map(|(root, s)| (*root, sink(s))).collect(),
            sides,
        }
    }

    pub(super) fn map(&self) -> Map<'_> {
        let Self { space, expr, loads, sinks, .. } = self;
        Map { space, expr, loads, sinks }
    }
}

/// What an access to a matrix names, rows last.
fn down(a: &Access) -> Access {
    let mut a = a.clone();
    a.strides.reverse();
    a.bounds.iter_mut().for_each(|bound| bound.strides.reverse());
    a
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    pub(super) fn spots_of_groups(
        &mut self,
        rows: usize,
        first: Num<'c, 'a>,
        [group, within]: [Num<'c, 'a>; 2],
    ) -> Vec<Spot<'c, 'a>> {
        let in_order = self.in_order;
        let (column, apart) = match in_order {
            true => (group, 8),
            false => {
                let (half, odd) =
                    (self.div(group, Num::Known(2)), self.rem(group, Num::Known(2)));
                let column = self.mul(half, Num::Known(4));
                (self.add(column, odd), 2)
            }
        };
        let column = self.add(first, column);
        let below = self.mul(within, Num::Known(2));
        let beside = self.mul(within, Num::Known(4));
        let beside = self.add(first, beside);
        let mut out = Vec::new();
        for piece in 0..rows / 8 {
            let down = Num::Known(8 * piece as i64);
            let row = self.add(below, down);
            let pairs = [0, 1].map(|which| {
                let column = self.add(column, Num::Known(apart * which as i64));
                Pair { row, column, at: OWN * piece + 2 * which }
            });
            let across = [self.add(group, down), beside];
            let across = Some(across).filter(|_| !in_order);
            out.push(Spot { pairs: pairs.to_vec(), across });
        }
        out
    }

    /// Whether what an access names at a spot is moved turned.
    pub(super) fn crosses(&self, a: &Access) -> bool {
        self.about.placement.strips.groups
            && !self.in_order
            && self.is_narrow(a.place)
            && self.is_beside(a, 4)
    }

    /// The registers of a warp's columns of a product's right operand.
    pub(super) fn own_columns(&mut self, p: Product<'_>) -> Vec<V<'c, 'a>> {
        let from = p.right.access();
        let rows = p.extent[2].fixed().expect("of known size");
        let numbers = match self.held_at(p.right.place) {
            Some((_, numbers)) => numbers,
            None if self.crosses(&from) => {
                let mut out = Vec::new();
                for spot in self.spots(rows) {
                    let at = spot.across.expect("warps of a group turn what they have");
                    out.extend(self.load_crossed(&from, &at));
                }
                out
            }
            None if self.is_beside(&down(&from), 2) => {
                let mut out = Vec::new();
                for pair in self.spots(rows).into_iter().flat_map(|spot| spot.pairs) {
                    out.extend(self.load_beside(
                        &down(&from),
                        &[pair.column, pair.row],
                        2,
                    ));
                }
                out
            }
            None => {
                let mut out = Vec::new();
                for pair in self.spots(rows).into_iter().flat_map(|spot| spot.pairs) {
                    for further in 0..2 {
                        let row = self.add(pair.row, Num::Known(further));
                        out.push(self.load(&from, &[row, pair.column]));
                    }
                }
                out
            }
        };
        numbers.chunks(2).map(|two| self.register_of(two)).collect()
    }

    /// What a lane has of the four numbers from a point on that lanes bring and turn.
    pub(super) fn load_crossed(
        &mut self,
        from: &Access,
        at: &[Num<'c, 'a>],
    ) -> Vec<V<'c, 'a>> {
        let four = self.load_beside(from, at, 4);
        self.crossed(&four)
    }

    /// Four numbers as lanes have them when the warp has turned them, either way.
    pub(super) fn crossed(&mut self, four: &[V<'c, 'a>]) -> Vec<V<'c, 'a>> {
        let mut out = Vec::with_capacity(four.len());
        for two in four.chunks(2) {
            let register = self.register_of(two);
            let turned = self.b.turned(register);
            out.extend(self.b.apart(turned));
        }
        out
    }
}
