//! Folds along columns that warps hold: a lane folds what it has of a column, and those that have the rest of it fold what they made, so that all
//! of them have a number for the column; and maps of such numbers.

use crate::emit::Emit;
use crate::emit::build::V;
use crate::emit::map::Map;
use crate::emit::number::Num;
use crate::strips::DEPTH;
use nestor_ir::entity::Entity;
use nestor_ir::tile::{Access, Extent, Sink};

/// A fold under way: what a lane has of each of its columns.
pub(super) struct Folding<'c, 'a> {
    /// Which sink of the map it is.
    sink: usize,
    own: Vec<Option<V<'c, 'a>>>,
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// The folds of a map, nothing folded yet.
    pub(super) fn folds_of(&self, map: Map<'_>) -> Vec<Folding<'c, 'a>> {
        let columns = self.own_count();
        let folds = map.sinks.iter().enumerate();
        let folds = folds.filter(|(_, (_, sink))| matches!(sink, Sink::Fold { .. }));
        folds.map(|(sink, _)| Folding { sink, own: vec![None; columns] }).collect()
    }

    /// Folds what a lane has at a spot in; two numbers of each pair, by sink.
    pub(super) fn fold_spot(
        &mut self,
        map: Map<'_>,
        folds: &mut [Folding<'c, 'a>],
        number: usize,
        twos: impl Fn(usize) -> Vec<[V<'c, 'a>; 2]>,
    ) {
        let groups = self.about.placement.strips.groups;
        let across = number / 2 % self.across();
        for folding in folds {
            let (root, Sink::Fold { fold, .. }) = &map.sinks[folding.sink] else {
                continue;
            };
            for (n, two) in twos(root.index()).into_iter().enumerate() {
                for (which, x) in two.into_iter().enumerate() {
                    let column = if groups { n } else { 2 * across + which };
                    let own = folding.own[column];
                    folding.own[column] = Some(match own {
                        Some(before) => self.folded(*fold, before, x),
                        None => x,
                    });
                }
            }
        }
    }

    /// Lanes that have parts of a column fold them: all of them have what comes of it.
    pub(super) fn end_folds(&mut self, map: Map<'_>, folds: Vec<Folding<'c, 'a>>) {
        let groups = self.about.placement.strips.groups;
        let bits: &[i64] = if groups { &[1, 2] } else { &[4, 8, 16] };
        let mut ended = Vec::new();
        for folding in folds {
            let Sink::Fold { fold, to, .. } = &map.sinks[folding.sink].1 else {
                continue;
            };
            let mut values = Vec::with_capacity(folding.own.len());
            for own in folding.own {
                let mut value = own.expect("a lane has some of each of its columns");
                for bit in bits {
                    let other = self.b.shuffled(value, *bit);
                    value = self.folded(*fold, value, other);
                }
                values.push(value);
            }
            ended.push((to, values));
        }
        self.put_in_columns(ended);
    }

    /// A map with a point for each column.
    pub(super) fn map_of_columns(&mut self, map: Map<'_>) {
        let strips = &self.about.placement.strips;
        let sides =
            strips.sides((map.space, map.loads, map.sinks), Extent::Fixed(1), None);
        let (sides, _) = sides.expect("it is a map of these");
        let held: Vec<Option<Vec<V<'c, 'a>>>> =
            map.loads.iter().map(|from| Some(self.held_at(from.place)?.1)).collect();
        let mut made = vec![Vec::new(); map.sinks.len()];
        for (n, column) in self.lane_columns().into_iter().enumerate() {
            let at = sides.iter().map(|s| s.map_or(Num::Known(0), |_| column));
            let at: Vec<Num<'c, 'a>> = at.collect();
            let mut brought = Vec::with_capacity(held.len());
            for (from, held) in map.loads.iter().zip(&held) {
                brought.push(match held {
                    Some(numbers) => vec![numbers[n]],
                    None => vec![self.load(from, &at)],
                });
            }
            let values = self.scalars_beside(map, &at, brought, 1).remove(0);
            for ((root, _), made) in map.sinks.iter().zip(&mut made) {
                made.push(values[root.index()]);
            }
        }
        let sinks = map.sinks.iter().map(|(_, sink)| sink.to());
        self.put_in_columns(sinks.zip(made).collect());
    }

    /// The columns of which a lane has numbers.
    fn lane_columns(&mut self) -> Vec<Num<'c, 'a>> {
        let spots = self.spots(DEPTH);
        if self.about.placement.strips.groups {
            return spots[0].pairs.iter().map(|pair| pair.column).collect();
        }
        let pieces = spots.iter().step_by(2).map(|spot| spot.pairs[0].column);
        let pieces: Vec<Num<'c, 'a>> = pieces.collect();
        let two = |first| [0, 1].map(|n| (first, n));
        let all: Vec<(Num<'c, 'a>, i64)> = pieces.into_iter().flat_map(two).collect();
        all.into_iter().map(|(first, n)| self.add(first, Num::Known(n))).collect()
    }

    /// Holds a number for each of a lane's columns, or stores it: one of the lanes that have it.
    fn put_in_columns(&mut self, all: Vec<(&Access, Vec<V<'c, 'a>>)>) {
        let mut ended: Vec<(&Access, Vec<V<'c, 'a>>)> = Vec::new();
        for (to, values) in all {
            match self.about.placement.strips.tile(to.place) {
                Some(tile) => self.held[tile.index()] = Some(values),
                None => ended.push((to, values)),
            }
        }
        let groups = self.about.placement.strips.groups;
        let columns = self.lane_columns();
        if ended.is_empty() {
            return;
        }
        let lane = self.rem(Num::Run(self.thread), Num::Known(32));
        let who = match groups {
            true => self.rem(lane, Num::Known(4)),
            false => self.div(lane, Num::Known(4)),
        };
        let first = self.is_zero(who);
        let opened = self.b.open_if(first, &[]);
        for (to, values) in ended {
            for (column, value) in columns.iter().zip(values) {
                // Dimensions of one point come before.
                let mut at = vec![Num::Known(0); to.strides.len()];
                at[to.strides.len() - 1] = *column;
                self.store(to, &at, value);
            }
        }
        self.b.close(opened, &[]);
    }
}
