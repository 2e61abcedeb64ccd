//! Sums that a team's blocks make of what each has in a tile.
//!
//! A team is a cluster: its blocks run at the same time, and each reaches the others' shared memory. Each sums a share of a tile's entries,
//! of all blocks in their order, and puts the sums where each of them has the tile; so all have the same numbers, and no entry is moved more
//! than twice. A tile in a block's own part of memory is reached there, blocks of a team being neighbours.

use super::Emit;
use super::build::V;
use super::number::Num;
use crate::placement::Home;
use melior::ir::Type;
use nestor_ir::entity::Entity;
use nestor_ir::tile::{Extent, Place, Tile};

/// Entries that are moved at once.
const WIDE: usize = 4;

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    pub(super) fn total(&mut self, tiles: &[Tile]) {
        self.b.meet();
        for tile in tiles {
            self.total_of(*tile);
        }
        self.b.meet();
    }

    fn total_of(&mut self, tile: Tile) {
        let kernel = self.about.kernel;
        let team = kernel.team();
        let dims = kernel.tiles[tile].dims.iter().map(|d| d.fixed());
        let entries: usize = dims.product::<Option<usize>>().expect("its size is known");
        let wide = if entries.is_multiple_of(WIDE) { WIDE } else { 1 };
        let (all, share) = (entries / wide, (entries / wide).div_ceil(team));
        let others: Vec<V<'c, 'a>> = (0..team).map(|n| self.of_other(tile, n)).collect();
        let float = self.b.float();
        let ty = if wide == 1 { float } else { Type::vector(&[wide as u64], float) };
        let own = [Num::Run(self.thread), Num::Known(i64::from(self.about.threads))];
        self.strided(&[Extent::Fixed(share)], own, |e, point| {
            let first = e.mul(e.member(), Num::Known(share as i64));
            let n = e.add(first, point[0]);
            let sum = |e: &mut Self| {
                let at = e.value(n);
                let places: Vec<V<'c, 'a>> =
                    others.iter().map(|base| e.b.element(*base, at, ty)).collect();
                let each: Vec<V<'c, 'a>> =
                    places.iter().map(|place| e.b.load(*place, ty)).collect();
                let sum = each[1..]
                    .iter()
                    .fold(each[0], |sum, x| e.b.two("llvm.fadd", sum, *x));
                places.iter().for_each(|place| e.b.store(sum, *place));
            };
            if share * team == all {
                return sum(e);
            }
            let there = e.less(n, Num::Known(all as i64));
            let opened = e.b.open_if(there, &[]);
            sum(e);
            e.b.close(opened, &[]);
        });
    }

    /// This block's number in its team.
    fn member(&self) -> Num<'c, 'a> {
        let (index, _) = self.about.kernel.grid.last().expect("a team's index");
        self.indices[index.index()].expect("the grid's indices are known")
    }

    /// Where a block of the team has a tile.
    fn of_other(&mut self, tile: Tile, n: usize) -> V<'c, 'a> {
        let own = self.base(Place::Tile(tile));
        match self.about.placement.homes[tile.index()] {
            Home::Shared(..) => {
                let n = self.b.constant(32, n as i64);
                let to = self.b.pointer(7);
                self.b.intrinsic("llvm.nvvm.mapa.shared.cluster", &[own, n], to)
            }
            Home::Scratch(_) => {
                let each = self.lines(&self.about.placement.scratch);
                let back = self.mul(self.member(), Num::Known(-1));
                let apart = self.add(Num::Known(n as i64), back);
                let bytes = self.mul(apart, each);
                let (bytes, byte) = (self.value(bytes), self.b.int(8));
                self.b.element(own, bytes, byte)
            }
            Home::Nowhere | Home::Held => unreachable!("what is summed has a place"),
        }
    }
}
