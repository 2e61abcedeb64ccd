//! In which order columns that groups of warps have go to rows of an instruction: in their own, so that cores read those that lie in shared memory
//! themselves, or as lanes want them that turn what they move (`crossed`).

use super::crossed::Along;
use crate::emit::Emit;
use crate::emit::about::About;
use crate::emit::direct::every_product;
use crate::emit::groups::of_columns;
use crate::emit::map::Map;
use nestor_ir::tile::together::parts;
use nestor_ir::tile::{Access, Extent, Place, Sink, Stmt};

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// Whether cores read columns of some product themselves, and nothing is moved turned.
    pub(in super::super) fn are_in_order(&self) -> bool {
        let About { kernel, placement, exchanged, .. } = self.about;
        let mut some = false;
        if placement.strips.groups {
            every_product(&kernel.body, &placement.strips, &mut |p, by_strips| {
                some |= by_strips && of_columns(p, kernel, exchanged).is_some();
            });
        }
        some && !self.some_cross(&kernel.body)
    }

    fn some_cross(&self, body: &[Stmt]) -> bool {
        let strips = &self.about.placement.strips;
        body.iter().any(|stmt| match stmt {
            stmt if !strips.takes(stmt) => self.some_cross(stmt.inner()),
            Stmt::Together { body } => {
                let (products, map) = parts(body);
                let own = products.first().and_then(|p| match p {
                    Stmt::Product { m, out, .. } => Some((*m, out.place)),
                    _ => None,
                });
                products.iter().any(|p| self.operand_crosses(p))
                    || map.is_some_and(|map| self.map_crosses(map, own))
            }
            stmt => self.operand_crosses(stmt) || self.map_crosses(stmt, None),
        })
    }

    /// Whether the columns of a product are moved turned.
    fn operand_crosses(&self, stmt: &Stmt) -> bool {
        let Stmt::Product { right, .. } = stmt else { return false };
        self.moves_turned(&right.access())
    }

    /// Whether something that a map touches is; `own` are the rows and the entries of the product before it.
    fn map_crosses(&self, stmt: &Stmt, own: Option<(Extent, Place)>) -> bool {
        let Stmt::Map { space, expr, loads, sinks } = stmt else { return false };
        let map = Map { space, expr, loads, sinks };
        let rows = own.map_or_else(|| Extent::Fixed(self.rows_of(map)), |(rows, _)| rows);
        let own = own.map(|(_, place)| place);
        let sides = self.about.placement.strips.sides((space, loads, sinks), rows, own);
        let Some((sides, _)) = sides else { return false };
        let turned = Along::of(map, &sides);
        let whole = if sides.last() == Some(&Some(1)) { map } else { turned.map() };
        let stores = whole.sinks.iter().filter_map(|(_, sink)| match sink {
            Sink::Store(to) => Some(to),
            Sink::Fold { .. } => None,
        });
        let mut all = whole.loads.iter().chain(stores);
        all.any(|a| Some(a.place) != own && self.moves_turned(a))
    }

    fn moves_turned(&self, a: &Access) -> bool {
        self.about.placement.strips.tile(a.place).is_none() && self.crosses(a)
    }
}
