//! Loops, and choices that are closed as they are.
//!
//! A loop tests at its end whether there is another turn; one that may have none stands in a choice. That is the form that what
//! lowers it would bring it to, which takes long where many loops follow one another. What is known of the bounds says
//! where there is at least one turn, and where there is no other: then there is no loop.

use super::{Builder, V, block, place};
use indexmap::IndexMap;
use melior::dialect::arith::CmpiPredicate;
use melior::dialect::scf;
use melior::ir::ValueLike;
use melior::ir::block::BlockLike;
use melior::ir::operation::{OperationBuilder, OperationLike};
use melior::ir::{Block, BlockRef, OperationRef, Region, RegionLike, Type};

/// What is being filled.
pub(in super::super) enum Opened<'c, 'a> {
    /// A choice.
    Choice {
        /// It.
        op: OperationRef<'c, 'a>,
        /// The block around it.
        outer: BlockRef<'c, 'a>,
    },
    /// A loop.
    Loop(Turns<'c, 'a>),
}

/// A loop that is being filled.
pub(in super::super) struct Turns<'c, 'a> {
    /// The choice around it where it may have no turn, and what its results are then.
    guard: Option<(Box<Opened<'c, 'a>>, Vec<V<'c, 'a>>)>,
    /// Nothing where there is one turn.
    op: Option<(OperationRef<'c, 'a>, BlockRef<'c, 'a>)>,
    index: V<'c, 'a>,
    high: V<'c, 'a>,
    step: V<'c, 'a>,
}

impl<'c: 'a, 'a> Builder<'c, 'a> {
    /// Opens `for i in low .. high by step` with values carried from turn to turn, `low` not negative; what is given back is to be
    /// closed with.
    pub(in super::super) fn open_for(
        &mut self,
        [low, high, step]: [V<'c, 'a>; 3],
        carried: &[V<'c, 'a>],
    ) -> (Opened<'c, 'a>, V<'c, 'a>, Vec<V<'c, 'a>>) {
        let types: Vec<Type<'c>> = carried.iter().map(|v| v.r#type()).collect();
        let least = |v: Option<(i64, i64)>| v.map_or(0, |(from, _)| from);
        let exact = |v: Option<(i64, i64)>| v.filter(|(a, b)| a + 1 == *b).map(|v| v.0);
        let [from, to, by] = [low, high, step].map(|v| self.range(v));
        let some = match (from, exact(to)) {
            (Some((_, below)), Some(to)) => below <= to,
            _ => false,
        };
        let once = match (exact(to), exact(by)) {
            (Some(to), Some(by)) => least(from) + by >= to,
            _ => false,
        };
        let guard = (!some).then(|| {
            let there = self.compare_whole(CmpiPredicate::Slt, low, high);
            let guard = self.open_if(there, &types);
            (Box::new(guard), carried.to_vec())
        });
        if once {
            let turns = Turns { guard, op: None, index: low, high, step };
            self.known.push(IndexMap::new());
            return (Opened::Loop(turns), low, carried.to_vec());
        }
        let mut all = vec![(low.r#type(), self.location)];
        all.extend(types.iter().map(|t| (*t, self.location)));
        let (body, after) = (Region::new(), Region::new());
        body.append_block(Block::new(&all));
        after.append_block(Block::new(&all));
        let starts: Vec<V<'c, 'a>> = [&[low], carried].concat();
        let results: Vec<Type<'c>> = all.iter().map(|(t, _)| *t).collect();
        let op = OperationBuilder::new("scf.while", self.location)
            .add_operands(&starts)
            .add_results(&results)
            .add_regions([body, after])
            .build()
            .expect("a loop");
        let op = self.block.append_operation(op);
        // Behind the test, what goes on goes to the next turn.
        let last = block(op, 1);
        let given: Vec<V<'c, 'a>> = arguments(last, results.len());
        last.append_operation(scf::r#yield(&given, self.location));
        let inner = block(op, 0);
        let outer = std::mem::replace(&mut self.block, inner);
        self.known.push(IndexMap::new());
        let given: Vec<V<'c, 'a>> = arguments(inner, results.len());
        let index = given[0];
        if let Some((_, below)) = to {
            self.ranges.insert(place(index), (least(from), below - 1));
        }
        let turns = Turns { guard, op: Some((op, outer)), index, high, step };
        (Opened::Loop(turns), index, given[1..].to_vec())
    }

    /// Ends the first branch with these results and begins the second.
    pub(in super::super) fn otherwise(
        &mut self,
        opened: &Opened<'c, 'a>,
        results: &[V<'c, 'a>],
    ) {
        let Opened::Choice { op, .. } = opened else {
            unreachable!("a loop has one branch")
        };
        self.block.append_operation(scf::r#yield(results, self.location));
        self.block = block(*op, 1);
        *self.known.last_mut().expect("a block") = IndexMap::new();
    }

    /// Ends what was opened, and gives its results.
    pub(in super::super) fn close(
        &mut self,
        opened: Opened<'c, 'a>,
        results: &[V<'c, 'a>],
    ) -> Vec<V<'c, 'a>> {
        match opened {
            Opened::Choice { op, outer } => {
                self.block.append_operation(scf::r#yield(results, self.location));
                self.block = outer;
                self.known.pop();
                op.results().map(Into::into).collect()
            }
            Opened::Loop(turns) => self.close_loop(turns, results),
        }
    }

    fn close_loop(
        &mut self,
        turns: Turns<'c, 'a>,
        results: &[V<'c, 'a>],
    ) -> Vec<V<'c, 'a>> {
        let ends = match turns.op {
            None => results.to_vec(),
            Some((op, outer)) => {
                let next = self.two("llvm.add", turns.index, turns.step);
                let more = self.compare_whole(CmpiPredicate::Slt, next, turns.high);
                let given: Vec<V<'c, 'a>> = [&[more, next], results].concat();
                self.op("scf.condition", &given, &[], &[]);
                self.block = outer;
                op.results().skip(1).map(Into::into).collect()
            }
        };
        self.known.pop();
        let Some((guard, starts)) = turns.guard else { return ends };
        if !starts.is_empty() {
            self.otherwise(&guard, &ends);
            return self.close(*guard, &starts);
        }
        self.close(*guard, &[])
    }

    /// The least a whole number may be, and what it is below, where that is known.
    pub(in super::super) fn range(&self, v: V<'c, 'a>) -> Option<(i64, i64)> {
        self.ranges.get(&place(v)).copied()
    }

    /// Keeps what is known of a result, of operands that are not negative.
    pub(super) fn ranged(&mut self, name: &str, [a, b]: [V<'c, 'a>; 2], made: V<'c, 'a>) {
        let Some((by, _)) = self.range(b).filter(|(b, below)| b + 1 == *below) else {
            return;
        };
        let range = match (name, self.range(a)) {
            ("llvm.and", _) if by >= 0 => (0, by + 1),
            ("llvm.urem", _) if by > 0 => (0, by),
            ("llvm.add", Some((from, below))) => (from + by, below + by),
            ("llvm.udiv", Some((from, below))) if by > 0 && from >= 0 => {
                (from / by, (below - 1) / by + 1)
            }
            _ => return,
        };
        self.ranges.insert(place(made), range);
    }
}

fn arguments<'c, 'a>(block: BlockRef<'c, 'a>, count: usize) -> Vec<V<'c, 'a>> {
    (0..count).map(|n| block.argument(n).expect("an argument").into()).collect()
}
