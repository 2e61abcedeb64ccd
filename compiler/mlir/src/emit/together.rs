//! A product's entries as a map takes them: from the registers in which they are summed.

use super::Emit;
use super::blocks::Product;
use super::build::V;
use super::map::Map;
use super::number::Num;
use nestor_ir::tile::together::{parts, point};
use nestor_ir::tile::{Access, Stmt};

/// Numbers that a thread loads before it stores the first of what it makes of them, about (not measured).
const UNDER_WAY: usize = 24;

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// Products of one sum and their map.
    pub(super) fn products_and_map(&mut self, body: &[Stmt]) {
        let (products, map) = parts(body);
        let then = map.and_then(|map| match map {
            Stmt::Map { space, expr, loads, sinks } => {
                Some(Map { space, expr, loads, sinks })
            }
            _ => None,
        });
        let first = Product::of(&products[0]).expect("the first is a product");
        self.product(Product { more: &products[1..], then, ..first });
    }

    /// The map at the points of some entries: several before the first of them is stored, so that their loads are under way together and
    /// what they load alike is loaded once.
    pub(super) fn taken_by(
        &mut self,
        map: Map<'_>,
        p: Product<'_>,
        entries: &[(Num<'c, 'a>, Num<'c, 'a>, V<'c, 'a>)],
    ) {
        let [m, n, _] = p.extent;
        let sides = point(map.space, [m, n]).expect("kernels are verified");
        let moves =
            |load: &&Access| load.strides.iter().any(|s| s.as_number() != Some(0));
        let loads = map.loads.iter().filter(moves).count();
        for some in entries.chunks((UNDER_WAY / loads.max(1)).max(2)) {
            let mut all = Vec::with_capacity(some.len());
            for &(row, column, sum) in some {
                let alpha = self.real(0, p.alpha);
                let entry = self.b.two("llvm.fmul", alpha, sum);
                let side = |side: &Option<usize>| match side {
                    Some(0) => row,
                    Some(_) => column,
                    None => Num::Known(0),
                };
                let at: Vec<Num<'c, 'a>> = sides.iter().map(side).collect();
                self.entry = Some((p.out.place, entry));
                // The map's numbers come behind the products'.
                self.first_number = 1 + p.more.len();
                let values = self.scalars(map, &at);
                (self.entry, self.first_number) = (None, 0);
                all.push((at, values));
            }
            for (at, values) in all {
                self.stored(map, &at, &values);
            }
        }
    }
}
