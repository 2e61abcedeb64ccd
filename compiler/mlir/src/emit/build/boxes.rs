//! Instructions of boxes that hardware copies, and of the barriers that count their bytes.

use super::{Builder, V};

impl<'c: 'a, 'a> Builder<'c, 'a> {
    /// A barrier whose phases one thread arrives at, and the bytes that it announces.
    pub(in crate::emit) fn make_counter(&mut self, at: V<'c, 'a>) {
        self.told("mbarrier.init.shared::cta.b64 [$0], 1;", "l,~{memory}", &[at]);
    }

    /// Arrives at a barrier, and announces bytes.
    pub(in crate::emit) fn expect_bytes(&mut self, at: V<'c, 'a>, bytes: i64) {
        let expect =
            format!("mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], {bytes};");
        self.told(&expect, "l,~{memory}", &[at]);
    }

    /// Waits for the end of a barrier's phase of a parity.
    pub(in crate::emit) fn wait_for_bytes(&mut self, at: V<'c, 'a>, parity: V<'c, 'a>) {
        let word = self.int(32);
        let parity = self.cast("llvm.trunc", parity, word);
        let wait = "{\n\t.reg .pred %done${:uid};\n$$wait${:uid}:\n\t\
            mbarrier.try_wait.parity.shared::cta.b64 %done${:uid}, [$0], $1;\n\t\
            @!%done${:uid} bra $$wait${:uid};\n\t}";
        self.told(wait, "l,r,~{memory}", &[at, parity]);
    }

    /// Begins to copy the box of a map that begins at a row and so many steps further on.
    pub(in crate::emit) fn begin_box(
        &mut self,
        to: V<'c, 'a>,
        map: V<'c, 'a>,
        place: [V<'c, 'a>; 2],
        counter: V<'c, 'a>,
    ) {
        let word = self.int(32);
        let [row, steps] = place.map(|n| self.cast("llvm.trunc", n, word));
        let copy = "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes \
            [$0], [$1, {$2, $3, $2, $4}], [$5];";
        let zero = self.constant(32, 0);
        self.told(copy, "l,l,r,r,r,l,~{memory}", &[to, map, zero, row, steps, counter]);
    }

    /// An instruction without a result that stays where it is.
    pub(super) fn told(
        &mut self,
        instruction: &str,
        registers: &str,
        operands: &[V<'c, 'a>],
    ) {
        let attributes = self.inline(instruction, registers);
        self.op("llvm.inline_asm", operands, &[], &attributes);
    }
}
