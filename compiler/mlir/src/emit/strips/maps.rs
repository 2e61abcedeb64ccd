//! Maps at the points of a warp's columns, two beside one another at a time.

use crate::emit::Emit;
use crate::emit::build::V;
use crate::emit::map::Map;
use crate::emit::number::Num;
use crate::emit::together::under_way;
use crate::strips::Begins;
use nestor_ir::entity::Entity;
use nestor_ir::tile::together::point;
use nestor_ir::tile::{Access, ExprId, Extent, Place, Sink, Tile};

/// What the map behind a product takes: at this place its sums; or nothing yet, where those begin with what it gives.
pub(super) enum Own<'c, 'a> {
    Sums(Place, Vec<V<'c, 'a>>),
    Begins(Begins),
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// A map at the points of a warp's columns.
    pub(super) fn strip_map(
        &mut self,
        map: Map<'_>,
        rows: usize,
        own: Option<Own<'c, 'a>>,
    ) {
        let strips = &self.about.placement.strips;
        let entries = [rows, strips.columns].map(Extent::Fixed);
        let sides = point(map.space, entries).expect("it is a map of these");
        let held: Vec<Option<Vec<V<'c, 'a>>>> = map
            .loads
            .iter()
            .map(|from| match &own {
                Some(Own::Sums(place, sums)) if from.place == *place => {
                    Some(sums.clone())
                }
                Some(Own::Begins(begins)) if from.place == begins.own => {
                    Some(vec![self.b.real(0.0); rows * self.across() / 4])
                }
                _ => Some(self.held_at(from.place)?.1),
            })
            .collect();
        // What is given of a scalar.
        let given = |root: ExprId| match &own {
            Some(Own::Begins(begins)) if begins.sum == root => begins.other,
            _ => root,
        };
        let moves = |load: &Access| load.strides.iter().any(|s| s.as_number() != Some(0));
        let loads = map.loads.iter().zip(&held).filter(|(a, h)| h.is_none() && moves(a));
        let count = under_way(loads.count()) / 2;
        let mut made: Vec<(Tile, usize, Vec<V<'c, 'a>>)> = Vec::new();
        for (n, (_, sink)) in map.sinks.iter().enumerate() {
            if let Some(tile) = strips.tile(sink.to().place) {
                made.push((tile, n, Vec::new()));
            }
        }
        for some in self.pairs(rows).chunks(count) {
            let mut all = Vec::with_capacity(some.len());
            for pair in some {
                let side = |side: &Option<usize>| match side {
                    Some(0) => pair.row,
                    Some(_) => pair.column,
                    None => Num::Known(0),
                };
                let at: Vec<Num<'c, 'a>> = sides.iter().map(side).collect();
                let brought =
                    map.loads.iter().zip(&held).map(|(from, held)| match held {
                        Some(numbers) => numbers[pair.at..pair.at + 2].to_vec(),
                        None => self.loads_of_two(from, &at),
                    });
                let brought = brought.collect();
                all.push((self.scalars_beside(map, &at, brought, 2), at));
            }
            for (values, at) in all {
                for (n, (root, sink)) in map.sinks.iter().enumerate() {
                    let two = [0, 1].map(|lane| values[lane][given(*root).index()]);
                    match made.iter_mut().find(|(_, sink, _)| *sink == n) {
                        Some((.., numbers)) => numbers.extend(two),
                        None => self.store_two(sink, &at, two),
                    }
                }
            }
        }
        for (tile, _, numbers) in made {
            self.held[tile.index()] = Some(numbers);
        }
    }

    /// What a load gives at two points beside one another.
    fn loads_of_two(&mut self, from: &Access, at: &[Num<'c, 'a>]) -> Vec<V<'c, 'a>> {
        match self.is_some_beside(from, 2) {
            true => self.loads_at(from, at, 2),
            false => [0, 1]
                .map(|lane| {
                    let at = self.further(at, lane);
                    self.load(from, &at)
                })
                .to_vec(),
        }
    }

    fn store_two(&mut self, sink: &Sink, at: &[Num<'c, 'a>], two: [V<'c, 'a>; 2]) {
        let to = sink.to();
        if self.is_beside(to, 2) {
            return self.store_beside(to, at, &two);
        }
        for (lane, x) in (0..).zip(two) {
            let at = self.further(at, lane);
            self.store(to, &at, x);
        }
    }

    /// The point so many further along the last dimension.
    fn further(&mut self, at: &[Num<'c, 'a>], lane: i64) -> Vec<Num<'c, 'a>> {
        let mut at = at.to_vec();
        if let Some(last) = at.last_mut() {
            *last = self.add(*last, Num::Known(lane));
        }
        at
    }
}
