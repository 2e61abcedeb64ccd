//! Loops, and choices that are closed as they are: blocks and branches between them, as LLVM has them.
//!
//! A loop tests at its end whether there is another turn; one that may have none stands in a choice. That is the form that what
//! lowers it would bring it to, which takes long where many loops follow one another. What is known of the bounds says
//! where there is at least one turn, and where there is no other: then there is no loop.

use super::{Builder, Table, V};
use melior::dialect::arith::CmpiPredicate;
use melior::ir::attribute::DenseI32ArrayAttribute;
use melior::ir::block::BlockLike;
use melior::ir::operation::OperationBuilder;
use melior::ir::{Block, BlockRef, Identifier, RegionLike, Type, ValueLike};

/// What is being filled.
pub(in super::super) enum Opened<'c, 'a> {
    /// A choice.
    Choice {
        /// Its other branch, where it has results.
        no: Option<BlockRef<'c, 'a>>,
        /// Where both go on, with the results.
        after: BlockRef<'c, 'a>,
    },
    /// A loop.
    Loop(Turns<'c, 'a>),
}

/// A loop that is being filled.
pub(in super::super) struct Turns<'c, 'a> {
    /// The choice around it where it may have no turn, and what its results are then.
    guard: Option<(Box<Opened<'c, 'a>>, Vec<V<'c, 'a>>)>,
    /// Its first block, and where it goes on; nothing where there is one turn.
    blocks: Option<[BlockRef<'c, 'a>; 2]>,
    index: V<'c, 'a>,
    high: V<'c, 'a>,
    step: V<'c, 'a>,
}

impl<'c: 'a, 'a> Builder<'c, 'a> {
    /// The bounds of a loop as numbers of 32 bits, where it counts no further.
    fn counted_by(&mut self, bounds: [V<'c, 'a>; 3]) -> [V<'c, 'a>; 3] {
        let [_, high, step] = bounds.map(|v| self.range(v));
        let (Some((_, high)), Some((_, step))) = (high, step) else { return bounds };
        if high.saturating_add(step) > 1 << 31 {
            return bounds;
        }
        let [low, high, step] = bounds.map(|v| self.short(v));
        match (low, high, step) {
            (Some(low), Some(high), Some(step)) => [low, high, step],
            _ => bounds,
        }
    }

    /// Opens `if condition`; its results are those of [`Builder::otherwise`] and [`Builder::close`].
    pub(in super::super) fn open_if(
        &mut self,
        condition: V<'c, 'a>,
        results: &[Type<'c>],
    ) -> Opened<'c, 'a> {
        let yes = self.block_after(self.block, &[]);
        let no = (!results.is_empty()).then(|| self.block_after(yes, &[]));
        let after = self.block_after(no.unwrap_or(yes), results);
        self.branch(condition, (yes, &[]), no.unwrap_or(after));
        self.block = yes;
        self.known.push(Table::default());
        Opened::Choice { no, after }
    }

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
            let turns = Turns { guard, blocks: None, index: low, high, step };
            self.known.push(Table::default());
            return (Opened::Loop(turns), low, carried.to_vec());
        }
        let [low, high, step] = self.counted_by([low, high, step]);
        let all: Vec<Type<'c>> = [&[low.r#type()], &types[..]].concat();
        let first = self.block_after(self.block, &all);
        let after = self.block_after(first, &[]);
        self.jump(first, &[&[low], carried].concat());
        self.block = first;
        self.known.push(Table::default());
        let given: Vec<V<'c, 'a>> = arguments(first);
        let index = given[0];
        let turns = Turns { guard, blocks: Some([first, after]), index, high, step };
        let index = match to {
            None => index,
            Some((_, below)) => {
                let range = (least(from), below - 1);
                match low.r#type() == self.int(32) {
                    true => self.widened(index, range),
                    false => {
                        self.keep_range(index, range);
                        index
                    }
                }
            }
        };
        (Opened::Loop(turns), index, given[1..].to_vec())
    }

    /// Ends the first branch with these results and begins the second.
    pub(in super::super) fn otherwise(
        &mut self,
        opened: &Opened<'c, 'a>,
        results: &[V<'c, 'a>],
    ) {
        let Opened::Choice { no: Some(no), after } = opened else {
            unreachable!("one branch has no results")
        };
        self.jump(*after, results);
        self.block = *no;
        *self.known.last_mut().expect("a block") = Table::default();
    }

    /// Ends what was opened, and gives its results.
    pub(in super::super) fn close(
        &mut self,
        opened: Opened<'c, 'a>,
        results: &[V<'c, 'a>],
    ) -> Vec<V<'c, 'a>> {
        match opened {
            Opened::Choice { after, .. } => {
                self.jump(after, results);
                self.block = after;
                self.known.pop();
                arguments(after)
            }
            Opened::Loop(turns) => self.close_loop(turns, results),
        }
    }

    fn close_loop(
        &mut self,
        turns: Turns<'c, 'a>,
        results: &[V<'c, 'a>],
    ) -> Vec<V<'c, 'a>> {
        if let Some([first, after]) = turns.blocks {
            let next = self.two("llvm.add", turns.index, turns.step);
            let more = self.compare_whole(CmpiPredicate::Slt, next, turns.high);
            self.branch(more, (first, &[&[next], results].concat()), after);
            self.block = after;
        }
        self.known.pop();
        let Some((guard, starts)) = turns.guard else { return results.to_vec() };
        if !starts.is_empty() {
            self.otherwise(&guard, results);
            return self.close(*guard, &starts);
        }
        self.close(*guard, &[])
    }

    /// A block behind another, with arguments of these types.
    fn block_after(&self, one: BlockRef<'c, 'a>, types: &[Type<'c>]) -> BlockRef<'c, 'a> {
        let all: Vec<_> = types.iter().map(|t| (*t, self.location)).collect();
        let region = one.parent_region().expect("a function");
        region.insert_block_after(one, Block::new(&all))
    }

    /// Ends the block.
    fn jump(&mut self, to: BlockRef<'c, 'a>, given: &[V<'c, 'a>]) {
        let op = OperationBuilder::new("llvm.br", self.location).add_successors(&[&to]);
        self.appended(op, given);
    }

    /// Ends the block by a choice, of which the second has no arguments.
    fn branch(
        &mut self,
        condition: V<'c, 'a>,
        (yes, given): (BlockRef<'c, 'a>, &[V<'c, 'a>]),
        no: BlockRef<'c, 'a>,
    ) {
        let sizes = [1, given.len() as i32, 0];
        let sizes = DenseI32ArrayAttribute::new(self.context, &sizes).into();
        let named = [(Identifier::new(self.context, "operandSegmentSizes"), sizes)];
        let op = OperationBuilder::new("llvm.cond_br", self.location)
            .add_successors(&[&yes, &no])
            .add_attributes(&named);
        self.appended(op, &[&[condition], given].concat());
    }
}

fn arguments<'c, 'a>(block: BlockRef<'c, 'a>) -> Vec<V<'c, 'a>> {
    let one = |n: usize| block.argument(n).expect("an argument").into();
    (0..block.argument_count()).map(one).collect()
}
