//! Maps at the points of a warp's columns, two beside one another at a time.

use super::crossed::Along;
use super::{OWN, Spot};
use crate::emit::Emit;
use crate::emit::build::V;
use crate::emit::map::Map;
use crate::emit::number::Num;
use crate::emit::together::under_way;
use crate::strips::Begins;
use nestor_ir::entity::Entity;
use nestor_ir::tile::{Access, ExprId, Extent, Place, Sink, Tile};

/// What the map behind a product takes: at this place its sums; or nothing yet, where those begin with what it gives.
pub(super) enum Own<'c, 'a> {
    Sums(Place, Vec<V<'c, 'a>>),
    Begins(Begins),
}

impl Own<'_, '_> {
    /// Where the product's entries are.
    fn place(&self) -> Place {
        match self {
            Own::Sums(place, _) => *place,
            Own::Begins(begins) => begins.own,
        }
    }
}

/// A map at the points of a warp's columns.
struct Pointed<'k, 'c, 'a> {
    /// As it is written, and as pairs have it: a pair's numbers are neighbours along the last dimension.
    whole: Turn<'k>,
    of_pairs: Turn<'k>,
    /// By load: what a lane has of it, where that is held.
    held: Vec<Option<Vec<V<'c, 'a>>>>,
    own: Option<&'k Own<'c, 'a>>,
}

/// A map with the side that each of its dimensions runs along.
#[derive(Clone, Copy)]
struct Turn<'k> {
    map: Map<'k>,
    sides: &'k [Option<usize>],
}

impl Turn<'_> {
    /// Its point at a row and a column.
    fn at<'c, 'a>(self, row: Num<'c, 'a>, column: Num<'c, 'a>) -> Vec<Num<'c, 'a>> {
        let of = |side: &Option<usize>| match side {
            Some(0) => row,
            Some(_) => column,
            None => Num::Known(0),
        };
        self.sides.iter().map(of).collect()
    }
}

impl Pointed<'_, '_, '_> {
    /// What is given of a scalar.
    fn given(&self, root: ExprId) -> ExprId {
        match self.own {
            Some(Own::Begins(begins)) if begins.sum == root => begins.other,
            _ => root,
        }
    }

    /// Spots whose loads are under way together.
    fn at_once(&self, pairs: usize) -> usize {
        let moves = |load: &Access| load.strides.iter().any(|s| s.as_number() != Some(0));
        let loads = self.whole.map.loads.iter().zip(&self.held);
        let loads = loads.filter(|(a, h)| h.is_none() && moves(a)).count();
        (under_way(loads) / 2 / pairs).max(1)
    }
}

/// Every scalar's value at the two points of a pair, and the first of these.
type OfPair<'c, 'a> = (Vec<Vec<V<'c, 'a>>>, Vec<Num<'c, 'a>>);

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// A map at the points of a warp's columns.
    pub(super) fn strip_map(
        &mut self,
        map: Map<'_>,
        rows: usize,
        own: Option<&Own<'c, 'a>>,
    ) {
        if rows == 1 {
            return self.map_of_columns(map);
        }
        let strips = &self.about.placement.strips;
        let sides = strips.sides(
            (map.space, map.loads, map.sinks),
            Extent::Fixed(rows),
            own.map(Own::place),
        );
        let (sides, _) = sides.expect("it is a map of these");
        let other = Along::of(map, &sides);
        let both =
            [Turn { map, sides: &sides }, Turn { map: other.map(), sides: &other.sides }];
        // Pairs are neighbours in a row, or in a column; what is turned within the warp lies in rows.
        let [whole, along] = match sides.last() {
            Some(Some(1)) => both,
            _ => [both[1], both[0]],
        };
        let of_pairs = if strips.groups { along } else { whole };
        let held = map.loads.iter().map(|from| match own {
            Some(Own::Sums(place, sums)) if from.place == *place => Some(sums.clone()),
            Some(Own::Begins(begins)) if from.place == begins.own => {
                Some(vec![self.b.real(0.0); rows * self.across() / 4])
            }
            _ => {
                let (tile, numbers) = self.held_at(from.place)?;
                Some(match strips.rows(tile) {
                    1 => self.in_all_rows(&numbers, rows),
                    _ => numbers,
                })
            }
        });
        let pointed = Pointed { whole, of_pairs, held: held.collect(), own };
        let mut folds = self.folds_of(map);
        let mut made: Vec<(Tile, usize, Vec<V<'c, 'a>>)> = Vec::new();
        for (n, (_, sink)) in map.sinks.iter().enumerate() {
            let Sink::Store(to) = sink else { continue };
            if let Some(tile) = strips.tile(to.place) {
                made.push((tile, n, Vec::new()));
            }
        }
        let spots = self.spots(rows);
        let mut number = 0;
        for some in spots.chunks(pointed.at_once(spots[0].pairs.len())) {
            let values: Vec<Vec<OfPair<'c, 'a>>> =
                some.iter().map(|spot| self.values_of(&pointed, spot)).collect();
            for (spot, values) in some.iter().zip(values) {
                let twos = |root: usize| -> Vec<[V<'c, 'a>; 2]> {
                    let two =
                        |(values, _): &OfPair<'c, 'a>| [values[0][root], values[1][root]];
                    values.iter().map(two).collect()
                };
                self.fold_spot(map, &mut folds, number, twos);
                number += 1;
                for (n, (root, sink)) in map.sinks.iter().enumerate() {
                    if let Sink::Fold { .. } = sink {
                        continue;
                    }
                    let twos = twos(pointed.given(*root).index());
                    match made.iter_mut().find(|(_, sink, _)| *sink == n) {
                        Some((.., numbers)) => numbers.extend(twos.concat()),
                        None => self.put_of(&pointed, n, spot, &twos, &values),
                    }
                }
            }
        }
        self.end_folds(map, folds);
        for (tile, _, numbers) in made {
            self.held[tile.index()] = Some(numbers);
        }
    }

    /// Numbers of columns as those of a tile with so many rows, all of which have the same.
    fn in_all_rows(&self, numbers: &[V<'c, 'a>], rows: usize) -> Vec<V<'c, 'a>> {
        let groups = self.about.placement.strips.groups;
        let of = |n: usize| match groups {
            true => n / 2 % 2,
            false => 2 * (n / OWN % self.across()) + n % 2,
        };
        (0..rows * self.across() / 4).map(|n| numbers[of(n)]).collect()
    }

    /// The values of a map at a spot.
    fn values_of(
        &mut self,
        pointed: &Pointed<'_, 'c, 'a>,
        spot: &Spot<'c, 'a>,
    ) -> Vec<OfPair<'c, 'a>> {
        let Pointed { whole, of_pairs, held, .. } = pointed;
        let mut crossed: Vec<Option<Vec<V<'c, 'a>>>> = Vec::with_capacity(held.len());
        for (from, held) in whole.map.loads.iter().zip(held) {
            let across = spot.across.filter(|_| held.is_none() && self.crosses(from));
            crossed
                .push(across.map(|[row, column]| {
                    self.load_crossed(from, &whole.at(row, column))
                }));
        }
        let mut out = Vec::with_capacity(spot.pairs.len());
        for (n, pair) in spot.pairs.iter().enumerate() {
            let at = of_pairs.at(pair.row, pair.column);
            let mut brought = Vec::with_capacity(held.len());
            for (which, from) in of_pairs.map.loads.iter().enumerate() {
                brought.push(match (&held[which], &crossed[which]) {
                    (Some(numbers), _) => numbers[pair.at..pair.at + 2].to_vec(),
                    (None, Some(four)) => four[2 * n..2 * n + 2].to_vec(),
                    (None, None) => self.loads_of_two(from, &at),
                });
            }
            out.push((self.scalars_beside(of_pairs.map, &at, brought, 2), at));
        }
        out
    }

    /// Stores two numbers of each pair of a spot to where nothing is held.
    fn put_of(
        &mut self,
        pointed: &Pointed<'_, 'c, 'a>,
        sink: usize,
        spot: &Spot<'c, 'a>,
        twos: &[[V<'c, 'a>; 2]],
        values: &[OfPair<'c, 'a>],
    ) {
        let Pointed { whole, of_pairs, .. } = pointed;
        let to = whole.map.sinks[sink].1.to();
        match spot.across.filter(|_| self.crosses(to)) {
            Some([row, column]) => {
                let four = self.crossed(&twos.concat());
                self.store_beside(to, &whole.at(row, column), &four);
            }
            None => {
                let to = &of_pairs.map.sinks[sink].1;
                for (two, (_, at)) in twos.iter().zip(values) {
                    self.store_two(to, at, *two);
                }
            }
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
