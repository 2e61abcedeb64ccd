//! Bits of whole numbers that are known to be zero, so that what is added to a number is known to change nothing else of it.

use super::short::Range;
use super::{Builder, V, place};

/// Bits that are zero in all numbers that are not negative and below one.
fn above(range: Option<Range>) -> u64 {
    let below = |n: i64| (n as u64).checked_next_power_of_two().map_or(0, |n| !(n - 1));
    match range {
        Some((n, end)) if n >= 0 && n + 1 == end => !(n as u64),
        Some((from, end)) if from >= 0 => below(end),
        _ => 0,
    }
}

/// The lowest bits of a number, so many.
fn low(count: u32) -> u64 {
    1_u64.checked_shl(count).map_or(u64::MAX, |n| n - 1)
}

/// Bits that are zero in a result, of what is zero in its operands; the second may be known.
fn of_result(name: &str, a: u64, b: u64, second: Option<u64>) -> u64 {
    // As many as both numbers have none of at their ends.
    let both = low(a.trailing_ones().min(b.trailing_ones()));
    match (name, second) {
        ("llvm.add" | "llvm.or" | "llvm.xor", _) if !a & !b == 0 => a & b,
        ("llvm.or" | "llvm.xor", _) => a & b,
        ("llvm.and", _) => a | b,
        ("llvm.add" | "llvm.sub", _) => both,
        ("llvm.mul", Some(by)) if by.is_power_of_two() => {
            let by = by.trailing_zeros();
            (a << by) | low(by)
        }
        ("llvm.mul", _) => low(a.trailing_ones().saturating_add(b.trailing_ones())),
        ("llvm.shl", Some(by)) if by < 64 => (a << by) | low(by as u32),
        ("llvm.lshr", Some(by)) if by < 64 => (a >> by) | !(u64::MAX >> by),
        ("llvm.udiv", Some(by)) if by.is_power_of_two() => {
            let by = by.trailing_zeros();
            (a >> by) | !(u64::MAX >> by)
        }
        ("llvm.urem", Some(by)) if by.is_power_of_two() => a | !(by - 1),
        _ => 0,
    }
}

impl<'c: 'a, 'a> Builder<'c, 'a> {
    /// Bits of a whole number that are known to be zero.
    pub(in super::super) fn zeros(&self, v: V<'c, 'a>) -> u64 {
        let kept = self.zeros.get(&place(v)).copied().unwrap_or(0);
        kept | above(self.range(v))
    }

    /// Keeps that a number has the zeros of another, which is the same with more bits or fewer.
    pub(super) fn keep_zeros(&mut self, of: V<'c, 'a>, from: V<'c, 'a>) {
        let zeros = self.zeros(from);
        // A negative number of 32 bits is widened with ones.
        if zeros != 0 && self.range(from).is_some_and(|r| r.0 >= 0) {
            self.zeros.insert(place(of), zeros);
        }
    }

    /// Keeps what is known of a result's bits.
    pub(super) fn zeroed(&mut self, name: &str, [a, b]: [V<'c, 'a>; 2], made: V<'c, 'a>) {
        let second = self.range(b).filter(|r| r.0 >= 0 && r.0 + 1 == r.1);
        let second = second.map(|r| r.0 as u64);
        let zeros = of_result(name, self.zeros(a), self.zeros(b), second);
        if zeros != 0 {
            self.zeros.insert(place(made), zeros);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{above, low, of_result};

    /// Every number that has the zeros said of it keeps those that are said of a result.
    #[test]
    fn zeros_of_results_are_zeros() {
        type Op = fn(u64, u64) -> u64;
        let all: [(&str, Op); 10] = [
            ("llvm.add", |a, b| a.wrapping_add(b)),
            ("llvm.sub", |a, b| a.wrapping_sub(b)),
            ("llvm.mul", |a, b| a.wrapping_mul(b)),
            ("llvm.and", |a, b| a & b),
            ("llvm.or", |a, b| a | b),
            ("llvm.xor", |a, b| a ^ b),
            ("llvm.shl", |a, b| a << b),
            ("llvm.lshr", |a, b| a >> b),
            ("llvm.udiv", |a, b| a / b),
            ("llvm.urem", |a, b| a % b),
        ];
        let mut said = 0;
        for (name, op) in all {
            for a in 0..64_u64 {
                for b in 1..40_u64 {
                    for more in [0, !(a | 21), !(a | 7), !63 ^ 1] {
                        // Zeros that hold of `a` and of others.
                        let zeros = more & !a;
                        let found = of_result(name, zeros, !b, Some(b));
                        assert_eq!(found & op(a, b), 0, "{name} {a} {b} {zeros:x}");
                        let unknown = of_result(name, zeros, !b & !0x20, None);
                        assert_eq!(unknown & op(a, b), 0, "{name} {a} {b} {zeros:x}");
                        said += (found | unknown).count_ones();
                    }
                }
            }
        }
        assert!(said > 0);
        assert_eq!((low(0), low(3), low(64)), (0, 7, u64::MAX));
        assert_eq!(above(Some((0, 8))), !7);
        assert_eq!(above(Some((5, 6))), !5);
        assert_eq!((above(Some((-1, 8))), above(None)), (0, 0));
    }
}
