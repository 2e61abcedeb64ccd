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

/// Entries of which a thread loads what a map takes before it stores the first, where so many loads are made for each.
pub(super) fn under_way(loads: usize) -> usize {
    (UNDER_WAY / loads.max(1)).max(2) / 2 * 2
}

impl<'k> Product<'k> {
    /// The products of one sum and their map.
    pub(super) fn of_all(body: &'k [Stmt]) -> Self {
        let (products, map) = parts(body);
        let then = map.and_then(|map| match map {
            Stmt::Map { space, expr, loads, sinks } => {
                Some(Map { space, expr, loads, sinks })
            }
            _ => None,
        });
        let first = Product::of(&products[0]).expect("the first is a product");
        Product { more: &products[1..], then, ..first }
    }
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// Products of one sum and their map.
    pub(super) fn products_and_map(&mut self, body: &[Stmt]) {
        self.product(Product::of_all(body));
    }

    /// The map at the points of some entries: several before the first of them is stored, so that their loads are under way together and
    /// what they load alike is loaded once. Two after one another that lie beside one another are loaded and stored at once.
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
        let own = |load: &Access| load.place == p.out.place;
        let twos = entries.len() > 1
            && sides.last() == Some(&Some(1))
            && map.loads.iter().all(|a| own(a) || self.is_some_beside(a, 2))
            && self.stores_beside(map, 2);
        let together = if twos { 2 } else { 1 };
        // The map's numbers come behind the products'.
        self.first_number = 1 + p.more.len();
        for some in entries.chunks(under_way(loads)) {
            let mut all = Vec::with_capacity(some.len());
            for beside in some.chunks(together) {
                let (row, column, _) = beside[0];
                let side = |side: &Option<usize>| match side {
                    Some(0) => row,
                    Some(_) => column,
                    None => Num::Known(0),
                };
                let at: Vec<Num<'c, 'a>> = sides.iter().map(side).collect();
                let alpha = self.real(0, p.alpha);
                let sums = beside.iter().map(|(_, _, sum)| *sum);
                let entry: Vec<V<'c, 'a>> =
                    sums.map(|sum| self.b.two("llvm.fmul", alpha, sum)).collect();
                let brought = map.loads.iter().map(|from| match (own(from), twos) {
                    (true, _) => entry.clone(),
                    (false, true) => self.loads_at(from, &at, 2),
                    (false, false) => vec![self.load(from, &at)],
                });
                let brought = brought.collect();
                let values = self.scalars_beside(map, &at, brought, together as i64);
                all.push((at, values));
            }
            for (at, values) in all {
                match twos {
                    true => self.stored_beside(map, &at, &values),
                    false => self.stored(map, &at, &values[0]),
                }
            }
        }
        self.first_number = 0;
    }
}
