//! Folds along columns that warps hold: a lane folds what it has of a column, and those that have the rest of it fold what they made.

use super::Spot;
use crate::emit::Emit;
use crate::emit::build::V;
use crate::emit::map::Map;
use crate::emit::number::Num;
use nestor_ir::entity::Entity;
use nestor_ir::tile::{Access, Sink};

/// A fold under way: what a lane has of each of its columns.
pub(super) struct Folding<'c, 'a> {
    /// Which sink of the map it is.
    sink: usize,
    own: Vec<Option<V<'c, 'a>>>,
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// The folds of a map, nothing folded yet.
    pub(super) fn folds_of(&self, map: Map<'_>) -> Vec<Folding<'c, 'a>> {
        let columns =
            if self.about.placement.strips.groups { 2 } else { 2 * self.across() };
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

    /// Lanes that have parts of a column fold them, and one of them stores what comes of it.
    pub(super) fn end_folds(
        &mut self,
        map: Map<'_>,
        folds: Vec<Folding<'c, 'a>>,
        spots: &[Spot<'c, 'a>],
    ) {
        let groups = self.about.placement.strips.groups;
        let bits: &[i64] = if groups { &[1, 2] } else { &[4, 8, 16] };
        let mut ended: Vec<(&Access, Num<'c, 'a>, V<'c, 'a>)> = Vec::new();
        for folding in folds {
            let Sink::Fold { fold, to, .. } = &map.sinks[folding.sink].1 else {
                continue;
            };
            for (n, own) in folding.own.into_iter().enumerate() {
                let mut value = own.expect("a lane has some of each of its columns");
                for bit in bits {
                    let other = self.b.shuffled(value, *bit);
                    value = self.folded(*fold, value, other);
                }
                let column = match groups {
                    true => spots[0].pairs[n].column,
                    false => {
                        let first = spots[2 * (n / 2)].pairs[0].column;
                        self.add(first, Num::Known(n as i64 % 2))
                    }
                };
                ended.push((to, column, value));
            }
        }
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
        for (to, column, value) in ended {
            self.store(to, &[column], value);
        }
        self.b.close(opened, &[]);
    }
}
