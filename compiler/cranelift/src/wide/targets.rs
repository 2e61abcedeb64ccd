//! Inside all loops: values go to their targets, folds into accumulators that outer loops empty.

use super::asm::zmm;
use super::emit::{Emit, Part};
use super::nest::Target;
use super::registers::TAIL;
use iced_x86::{Code, Register};
use nestor_ir::tensor::Fold;

impl Emit<'_> {
    /// Computes the targets of these vectors.
    pub(super) fn leaf(&mut self, part: Part) {
        let roots = self.roots;
        self.expect(roots, part.blocks);
        for block in 0..part.blocks {
            let tail = (part.tail && block + 1 == part.blocks).then_some(TAIL);
            // All values come before all stores: a place may be read and written.
            let values: Vec<u8> =
                roots.iter().map(|&r| self.value(r, block, tail)).collect();
            for (n, (&root, value)) in roots.iter().zip(values).enumerate() {
                match &self.nest.targets[n] {
                    Target::Store(reach) => {
                        self.store_register(value, reach, block, tail);
                    }
                    Target::Fold { fold, .. } => {
                        let folded = self.lanes_folded(n);
                        let under = if folded { tail } else { None };
                        let Some(&sum) = self.sums[n].get(block) else {
                            self.registers.failed = true;
                            return;
                        };
                        self.fold(*fold, sum, value, under);
                    }
                }
                self.used(root, block);
            }
        }
    }

    /// Whether a target's fold goes over the lanes.
    pub(super) fn lanes_folded(&self, target: usize) -> bool {
        match &self.nest.targets[target] {
            Target::Store(_) => false,
            Target::Fold { begin, .. } => self.nest.position(self.nest.lanes) >= *begin,
        }
    }

    pub(super) fn begin_folds(&mut self, p: usize, part: Part) {
        for n in 0..self.nest.targets.len() {
            let Target::Fold { fold, begin, .. } = &self.nest.targets[n] else {
                continue;
            };
            if *begin != p {
                continue;
            }
            let nothing = match fold {
                Fold::Sum => 0.0,
                Fold::Max => f32::NEG_INFINITY,
                Fold::Min => f32::INFINITY,
            };
            let count =
                if self.lanes_folded(n) { self.most_blocks() } else { part.blocks };
            self.sums[n] = (0..count).map(|_| self.splat(nothing.to_bits())).collect();
        }
    }

    pub(super) fn end_folds(&mut self, p: usize, part: Part) {
        for n in 0..self.nest.targets.len() {
            let Target::Fold { fold, begin, to, accumulate } = &self.nest.targets[n]
            else {
                continue;
            };
            if *begin != p {
                continue;
            }
            let sums = std::mem::take(&mut self.sums[n]);
            if self.lanes_folded(n) {
                let mut left = sums.clone();
                while left.len() > 1 {
                    let half = left.len().div_ceil(2);
                    for i in half..left.len() {
                        self.fold(*fold, left[i - half], left[i], None);
                    }
                    left.truncate(half);
                }
                self.fold_lanes(*fold, left[0]);
                let to = self.element(to, 0);
                if *accumulate {
                    let t = self.registers.vector();
                    self.asm.load(Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32, zmm(t), to);
                    self.fold(*fold, left[0], t, None);
                    self.registers.free_vector(t);
                }
                let low = Register::XMM0 + u32::from(left[0]);
                self.asm.store(Code::EVEX_Vmovss_m32_k1_xmm, to, low);
            } else {
                for (block, &sum) in sums.iter().enumerate() {
                    let tail = (part.tail && block + 1 == part.blocks).then_some(TAIL);
                    if *accumulate {
                        let old = self.load_reach(to, block, tail);
                        self.fold(*fold, sum, old, None);
                        self.registers.free_vector(old);
                    }
                    self.store_register(sum, to, block, tail);
                }
            }
            for sum in sums {
                self.registers.free_vector(sum);
            }
        }
    }
}
