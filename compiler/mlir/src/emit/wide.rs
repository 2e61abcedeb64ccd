//! Operands of products brought to room sixteen bytes at a time.
//!
//! Room has an operand's lines as memory has them: along its terms, or along the rows of the result, and then registers are
//! loaded turned. A thread loads all its parts before it stores the first one, so that it waits for memory once. Its lines are
//! a multiple of eight apart: their parts of room are exchanged alike.

use super::Emit;
use super::build::V;
use super::number::Num;
use super::operands::{DEPTH, Operand, PART, ROW, SIDE, is_one};
use crate::target::Products;
use melior::ir::{Type, ValueLike};
use nestor_ir::tile::Shape;

/// Numbers of one load, of float32 and of bfloat16.
const WIDE: i64 = 4;
const NARROW: i64 = 8;

/// How an operand's lines are brought.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Lines {
    /// They lie along the rows of the result; each is a term.
    pub(super) turned: bool,
    /// How many, and loads of each.
    count: i64,
    loads: i64,
    /// Numbers of a load.
    wide: i64,
}

/// The lines of an operand, where all of its loads are whole and begin at a multiple of sixteen bytes.
pub(super) fn lines(
    x: &Operand<'_>,
    terms: i64,
    threads: u32,
    narrow: bool,
) -> Option<Lines> {
    let wide = if narrow { NARROW } else { WIDE };
    let (along, across) = x.strides();
    let turned = match (is_one(along), is_one(across)) {
        (true, _) => false,
        (false, true) => true,
        (false, false) => return None,
    };
    let apart = if turned { along } else { across };
    let fits = x.extent % x.rows == 0
        && terms % DEPTH == 0
        && (terms < SIDE || terms % SIDE == 0)
        && x.matrix.origin.is_multiple_of(wide)
        && apart.is_multiple_of(wide);
    let terms = terms.min(SIDE);
    let (count, numbers) = if turned { (terms, x.rows) } else { (x.rows, terms) };
    let loads = numbers / wide;
    let threads = i64::from(threads);
    let shared = (count * loads) % threads == 0 && threads % (8 * loads) == 0;
    (fits && shared).then_some(Lines { turned, count, loads, wide })
}

impl<'c: 'a, 'a> Emit<'c, 'a, '_> {
    /// Brings up to sixty-four terms of an operand's rows to room.
    pub(super) fn bring_lines(
        &mut self,
        x: &Operand<'_>,
        lines: Lines,
        [row, term]: [Num<'c, 'a>; 2],
        shape: Shape,
    ) {
        let thread = Num::Run(self.thread);
        let loads = Num::Known(lines.loads);
        let (line, load) = (self.div(thread, loads), self.rem(thread, loads));
        let within = self.mul(load, Num::Known(lines.wide));
        let apart = i64::from(self.about.threads) / lines.loads;
        let (float, word) = (self.b.float(), self.b.int(32));
        let narrow = lines.wide == NARROW;
        let part = Type::vector(&[4], if narrow { word } else { float });
        let mut brought = Vec::new();
        for turn in 0..lines.count / apart {
            let line = self.add(line, Num::Known(turn * apart));
            let (at, l) = match lines.turned {
                false => (self.add(row, line), self.add(term, within)),
                true => (self.add(row, within), self.add(term, line)),
            };
            let [down, right] = if x.right { [l, at] } else { [at, l] };
            let entry = self.entry(x.matrix, down, right);
            let (from, _) = self.address(x.matrix.place, entry);
            brought.push((at, l, self.b.load(from, part)));
        }
        if narrow {
            let to = self.part_of_room(x.at, line, load);
            for (turn, (at, l, loaded)) in brought.into_iter().enumerate() {
                let loaded = self.masked(loaded, [at, l], lines.turned, shape);
                let to = self.add(to, Num::Known(turn as i64 * apart * ROW));
                let to = self.at_room(to);
                self.b.store(loaded, to);
            }
            return;
        }
        let (which, rest) =
            (self.div(load, Num::Known(2)), self.rem(load, Num::Known(2)));
        let to = self.part_of_room(x.at, line, which);
        let rest = self.mul(rest, Num::Known(PART / 2));
        let to = self.add(to, rest);
        let pair = Type::vector(&[2], word);
        for (turn, (at, l, loaded)) in brought.into_iter().enumerate() {
            let numbers: Vec<V<'c, 'a>> = (0..WIDE)
                .map(|n| {
                    let place = self.b.constant(32, n);
                    let number =
                        self.b.made("llvm.extractelement", &[loaded, place], float, &[]);
                    let (at, l) = match lines.turned {
                        false => (at, self.add(l, Num::Known(n))),
                        true => (self.add(at, Num::Known(n)), l),
                    };
                    let zero = match shape {
                        Shape::Full | Shape::OutputLower => return number,
                        Shape::LeftLower => self.less(at, l),
                        Shape::LeftUpper => self.less(l, at),
                    };
                    let nothing = self.b.real(0.0);
                    self.b.select(zero, nothing, number)
                })
                .collect();
            let words =
                [0, 2].map(|n| self.rounded(Products::Brain, &numbers[n..n + 2])[0]);
            let mut both = self.b.made("llvm.mlir.undef", &[], pair, &[]);
            for (n, word) in words.into_iter().enumerate() {
                let place = self.b.constant(32, n as i64);
                let operands = [both, word, place];
                both = self.b.made("llvm.insertelement", &operands, pair, &[]);
            }
            let to = self.add(to, Num::Known(turn as i64 * apart * ROW));
            let to = self.at_room(to);
            self.b.store(both, to);
        }
    }
    /// Eight numbers of bfloat16, zeros where a matrix has none: from a row and a term on, along either.
    fn masked(
        &mut self,
        loaded: V<'c, 'a>,
        [at, l]: [Num<'c, 'a>; 2],
        along_rows: bool,
        shape: Shape,
    ) -> V<'c, 'a> {
        if matches!(shape, Shape::Full | Shape::OutputLower) {
            return loaded;
        }
        let word = self.b.int(32);
        let mut out = loaded;
        for pair in 0..NARROW / 2 {
            let mut mask = self.b.constant(32, 0);
            for half in 0..2 {
                let n = Num::Known(2 * pair + half);
                let (at, l) = match along_rows {
                    false => (at, self.add(l, n)),
                    true => (self.add(at, n), l),
                };
                let zero = match shape {
                    Shape::LeftUpper => self.less(l, at),
                    Shape::Full | Shape::OutputLower | Shape::LeftLower => {
                        self.less(at, l)
                    }
                };
                let bits = self.b.constant(32, 0xffff << (16 * half));
                let none = self.b.constant(32, 0);
                let kept = self.b.select(zero, none, bits);
                mask = self.b.two("llvm.or", mask, kept);
            }
            let place = self.b.constant(32, pair);
            let found = self.b.made("llvm.extractelement", &[loaded, place], word, &[]);
            let kept = self.b.two("llvm.and", found, mask);
            let ty = loaded.r#type();
            out = self.b.made("llvm.insertelement", &[out, kept, place], ty, &[]);
        }
        out
    }
}
