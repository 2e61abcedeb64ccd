//! Whole numbers of 32 bits where they suffice: a number of 64 is two registers, and takes two instructions wherever one of 32 takes one.
//!
//! All whole numbers are of 64 bits for those who build with them. Where it is known of operands and result that they fit in 32,
//! the operation is one of 32, and what it gives is widened; where only other such operations have read it, the function ends without that.

use super::{Builder, V, place};
use melior::dialect::arith::CmpiPredicate;
use melior::ir::ValueLike;
use melior::ir::operation::OperationResult;

/// What a number may be at least, and what it is below.
pub(in super::super) type Range = (i64, i64);

/// Operations that are done on 32 bits, and whether their operands are not to be negative.
const SHORT: [(&str, bool); 9] = [
    ("llvm.add", false),
    ("llvm.sub", false),
    ("llvm.mul", false),
    ("llvm.intr.smin", false),
    ("llvm.and", true),
    ("llvm.xor", true),
    ("llvm.udiv", true),
    ("llvm.urem", true),
    ("llvm.lshr", true),
];

fn fits((from, below): Range) -> bool {
    from >= i64::from(i32::MIN) && below <= 1 << 31
}

/// What a result may be, of what its operands may be; nothing where that is not known.
fn of_result(name: &str, a: Range, b: Range) -> Option<Range> {
    let (last_a, last_b) = (a.1 - 1, b.1 - 1);
    let positive = a.0 >= 0 && b.0 >= 0;
    Some(match name {
        "llvm.add" => (a.0.checked_add(b.0)?, last_a.checked_add(b.1)?),
        "llvm.sub" => (a.0.checked_sub(last_b)?, a.1.checked_sub(b.0)?),
        "llvm.mul" => {
            let corner = |x: i64, y: i64| x.checked_mul(y);
            let all = [
                corner(a.0, b.0)?,
                corner(a.0, last_b)?,
                corner(last_a, b.0)?,
                corner(last_a, last_b)?,
            ];
            (*all.iter().min()?, all.iter().max()?.checked_add(1)?)
        }
        "llvm.intr.smin" => (a.0.min(b.0), a.1.min(b.1)),
        "llvm.and" if positive => (0, a.1.min(b.1)),
        "llvm.xor" if positive => {
            (0, (a.1.max(b.1) as u64).checked_next_power_of_two()? as i64)
        }
        "llvm.urem" if positive && b.0 > 0 => (0, a.1.min(last_b)),
        // Nobody divides by zero: of no tokens no block runs.
        "llvm.udiv" if positive && last_b > 0 => (a.0 / last_b, last_a / b.0.max(1) + 1),
        "llvm.lshr" if positive && last_b < 63 => (a.0 >> last_b, (last_a >> b.0) + 1),
        _ => return None,
    })
}

impl<'c: 'a, 'a> Builder<'c, 'a> {
    /// The least a whole number may be, and what it is below, where that is known.
    pub(in super::super) fn range(&self, v: V<'c, 'a>) -> Option<Range> {
        self.ranges.get(&place(v)).copied()
    }

    /// Says what a whole number may be.
    pub(in super::super) fn keep_range(&mut self, v: V<'c, 'a>, range: Range) {
        self.ranges.insert(place(v), range);
    }

    /// Keeps what is known of a result.
    pub(super) fn ranged(&mut self, name: &str, [a, b]: [V<'c, 'a>; 2], made: V<'c, 'a>) {
        let range = match (name, self.range(a), self.range(b)) {
            (_, Some(a), Some(b)) => of_result(name, a, b),
            ("llvm.and", None, Some((by, below))) if by >= 0 => Some((0, below)),
            ("llvm.urem", None, Some((by, below))) if by > 0 => Some((0, below - 1)),
            _ => None,
        };
        if let Some(range) = range {
            self.keep_range(made, range);
        }
    }

    fn is_long(&self, v: V<'c, 'a>) -> bool {
        v.r#type() == self.int(64)
    }

    /// A number of 64 bits as one of 32, where it is known to fit.
    pub(super) fn short(&mut self, v: V<'c, 'a>) -> Option<V<'c, 'a>> {
        let range = self.range(v).filter(|r| self.is_long(v) && fits(*r))?;
        if let Some(short) = self.shorts.get(&place(v)) {
            return Some(*short);
        }
        if range.0 + 1 == range.1 {
            return Some(self.constant(32, range.0));
        }
        let word = self.int(32);
        let short = self.cast("llvm.trunc", v, word);
        self.keep_range(short, range);
        self.keep_zeros(short, v);
        Some(short)
    }

    /// A number of 32 bits as one of 64.
    pub(super) fn widened(&mut self, short: V<'c, 'a>, range: Range) -> V<'c, 'a> {
        let long = self.int(64);
        let how = if range.0 < 0 { "llvm.sext" } else { "llvm.zext" };
        let wide = self.cast(how, short, long);
        self.keep_range(short, range);
        self.keep_range(wide, range);
        self.keep_zeros(wide, short);
        if self.shorts.insert(place(wide), short).is_none() {
            let op = OperationResult::try_from(wide).expect("an operation's").owner();
            self.unread.insert(place(wide), op);
        }
        wide
    }

    /// An operation of two numbers of 64 bits, done on 32 where that suffices.
    pub(super) fn in_short(
        &mut self,
        name: &str,
        [a, b]: [V<'c, 'a>; 2],
    ) -> Option<V<'c, 'a>> {
        let (_, positive) = SHORT.iter().find(|(n, _)| *n == name)?;
        let ranges = [self.range(a)?, self.range(b)?];
        let result = of_result(name, ranges[0], ranges[1]).filter(|r| fits(*r))?;
        if *positive && ranges.iter().any(|(from, _)| *from < 0) {
            return None;
        }
        let (a, b) = (self.short(a)?, self.short(b)?);
        let short = self.two(name, a, b);
        Some(self.widened(short, result))
    }

    /// Both numbers as ones of 32 bits, where both fit.
    pub(super) fn both_short(
        &mut self,
        [a, b]: [V<'c, 'a>; 2],
    ) -> Option<[V<'c, 'a>; 2]> {
        if self.range(b).is_none_or(|r| !fits(r)) {
            return None;
        }
        Some([self.short(a)?, self.short(b)?])
    }

    /// As [`Builder::select`], of numbers of 64 bits that fit in 32.
    pub(super) fn select_short(
        &mut self,
        condition: V<'c, 'a>,
        all: [V<'c, 'a>; 2],
    ) -> Option<V<'c, 'a>> {
        let [a, b] = [self.range(all[0])?, self.range(all[1])?];
        let [x, y] = self.both_short(all)?;
        let short = self.select(condition, x, y);
        Some(self.widened(short, (a.0.min(b.0), a.1.max(b.1))))
    }

    /// As [`Builder::compare_whole`], of numbers of 64 bits that fit in 32.
    pub(super) fn compare_short(
        &mut self,
        how: CmpiPredicate,
        all: [V<'c, 'a>; 2],
    ) -> Option<V<'c, 'a>> {
        let [a, b] = self.both_short(all)?;
        Some(self.compare_whole(how, a, b))
    }

    /// A number whose origin is not seen.
    pub(in super::super) fn anew(&mut self, x: V<'c, 'a>) -> V<'c, 'a> {
        let Some(range) = self.range(x) else {
            return self.fixed("mov.u64 $0, $1;", "=l,l", &[x], x.r#type());
        };
        let made = match self.short(x) {
            Some(short) => {
                let word = self.int(32);
                let short = self.fixed("mov.u32 $0, $1;", "=r,r", &[short], word);
                return self.widened(short, range);
            }
            None => self.fixed("mov.u64 $0, $1;", "=l,l", &[x], x.r#type()),
        };
        self.keep_range(made, range);
        made
    }
}
