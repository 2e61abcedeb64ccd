//! Registers of two numbers of bfloat16: taken apart, and found again where both are put together as they were.

use super::{Builder, V, place};

impl<'c: 'a, 'a> Builder<'c, 'a> {
    /// Both numbers of a register, the lower first.
    pub(in super::super) fn apart(&mut self, register: V<'c, 'a>) -> [V<'c, 'a>; 2] {
        let (float, by) = (self.float(), self.constant(32, 16));
        let upper = self.constant(32, 0xffff_0000);
        let first = self.two("llvm.shl", register, by);
        let second = self.two("llvm.and", register, upper);
        let both = [first, second].map(|bits| self.cast("llvm.bitcast", bits, float));
        for (n, half) in both.iter().enumerate() {
            self.halves.insert(place(*half), (register, n));
        }
        both
    }

    /// The register that two numbers are the halves of, in this order.
    pub(in super::super) fn whole(&self, two: [V<'c, 'a>; 2]) -> Option<V<'c, 'a>> {
        let [(first, 0), (second, 1)] =
            [self.halves.get(&place(two[0]))?, self.halves.get(&place(two[1]))?]
        else {
            return None;
        };
        (first == second).then_some(*first)
    }
}
