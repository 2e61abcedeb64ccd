//! Loads and stores of a vector: neighbours, one element for all lanes, elements apart; under masks
//! where some are not there.

use super::asm::{Memory, mask, zmm};
use super::emit::Emit;
use super::nest::{Along, LANES, Quantity, Reach};
use iced_x86::{Code, Instruction, MemoryOperand, Register};
use nestor_ir::ty::Elem;

/// `lane step + first` for all lanes.
pub(super) fn ramp(step: i64, first: i64) -> Vec<u32> {
    (0..LANES).map(|n| (n * step + first) as i32 as u32).collect()
}

impl Emit<'_> {
    /// The lanes of an access that are there, in a mask to be freed; nothing where all are.
    pub(super) fn there(
        &mut self,
        reach: &Reach,
        block: usize,
        tail: Option<u8>,
    ) -> Option<u8> {
        let mut found: Option<u8> = None;
        for limit in &reach.limits {
            let z = self.registers.vector();
            self.splat_cursor(z, limit.cursor);
            if limit.step != 0 {
                let words = ramp(limit.step, LANES * block as i64 * limit.step);
                let code = Code::EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32;
                self.asm.with_constant(code, zmm(z), zmm(z), &words);
            }
            let under = found.or(tail);
            let k = match found {
                Some(k) => k,
                None => self.registers.mask(),
            };
            // Below zero is far above as a number without sign.
            let code = Code::EVEX_Vpcmpud_kr_k1_zmm_zmmm512b32_imm8;
            let below = match limit.width {
                Quantity::Argument(n) => {
                    let at = 8 * n as i64;
                    let (base, none) = (Register::RDI, Register::None);
                    let width = MemoryOperand::new(base, none, 1, at, 1, true, none);
                    Instruction::with4(code, mask(k), zmm(z), width, 1_u32)
                }
                Quantity::Known(n) => {
                    let other = self.registers.vector();
                    let load = Code::EVEX_Vpbroadcastd_zmm_k1z_xmmm32;
                    self.asm.load_constant(load, zmm(other), &[n.max(0) as u32]);
                    // Free again from here on, and not taken before the comparison.
                    self.registers.free_vector(other);
                    Instruction::with4(code, mask(k), zmm(z), zmm(other), 1_u32)
                }
            };
            self.asm.put_masked(below, under, false);
            self.registers.free_vector(z);
            found = Some(k);
        }
        found
    }

    pub(super) fn load(&mut self, number: usize, block: usize, tail: Option<u8>) -> u8 {
        let nest = self.nest;
        self.load_reach(&nest.loads[number], block, tail)
    }

    /// The elements of an access.
    pub(super) fn load_reach(
        &mut self,
        reach: &Reach,
        block: usize,
        tail: Option<u8>,
    ) -> u8 {
        let bounded = self.there(reach, block, tail);
        let under = bounded.or(if reach.along == Along::Same { None } else { tail });
        let padded = reach.pad != 0.0 && bounded.is_some();
        let from = self.element(reach, block);
        let register = match (reach.elem, reach.along) {
            (Elem::Bool, along) => {
                if padded || matches!(along, Along::Far(_)) {
                    self.registers.failed = true;
                }
                let z = self.registers.vector();
                if along == Along::Near {
                    let code = Code::EVEX_Vpmovzxbd_zmm_k1z_xmmm128;
                    let built = Instruction::with2(code, zmm(z), from.operand());
                    self.asm.put_masked(built, under, true);
                } else {
                    if bounded.is_some() {
                        self.registers.failed = true;
                    }
                    self.asm.load(Code::Movzx_r32_rm8, Register::EAX, from);
                    let code = Code::EVEX_Vpbroadcastd_zmm_k1z_r32;
                    self.asm.two(code, zmm(z), Register::EAX);
                }
                let k = self.registers.mask();
                let code = Code::EVEX_Vptestmd_kr_k1_zmm_zmmm512b32;
                self.asm.three(code, mask(k), zmm(z), zmm(z));
                self.registers.free_vector(z);
                k
            }
            (Elem::Real | Elem::Int, along) => {
                let pad = match reach.elem {
                    Elem::Int => reach.pad as i32 as u32,
                    Elem::Real | Elem::Bool => (reach.pad as f32).to_bits(),
                };
                let z = if padded { self.splat(pad) } else { self.registers.vector() };
                match along {
                    Along::Near | Along::Same => {
                        let code = if along == Along::Near {
                            Code::EVEX_Vmovups_zmm_k1z_zmmm512
                        } else {
                            Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32
                        };
                        let built = Instruction::with2(code, zmm(z), from.operand());
                        self.asm.put_masked(built, under, !padded && under.is_some());
                    }
                    Along::Far(step) => {
                        if !padded {
                            self.clear(z);
                        }
                        self.gather(z, from, step, under);
                    }
                }
                z
            }
        };
        if let Some(k) = bounded {
            self.registers.free_mask(k);
        }
        register
    }

    /// A copy of a mask, or of all lanes: gathers and scatters use theirs up.
    pub(super) fn spent_mask(&mut self, under: Option<u8>) -> u8 {
        let k = self.registers.mask();
        match under {
            Some(from) => self.asm.two(Code::VEX_Kmovw_kr_km16, mask(k), mask(from)),
            None => {
                self.asm.three(Code::VEX_Kxnorw_kr_kr_kr, mask(k), mask(k), mask(k));
            }
        }
        k
    }

    pub(super) fn gather(&mut self, z: u8, from: Memory, step: i64, under: Option<u8>) {
        let k = self.spent_mask(under);
        let index = self.registers.vector();
        let code = Code::EVEX_Vmovups_zmm_k1z_zmmm512;
        self.asm.load_constant(code, zmm(index), &ramp(step, 0));
        let code = Code::EVEX_Vgatherdps_zmm_k1_vm32z;
        let built = Instruction::with2(code, zmm(z), from.indexed(zmm(index)));
        self.asm.put_masked(built, Some(k), false);
        self.registers.free_vector(index);
        self.registers.free_mask(k);
    }

    /// Stores a register where an access goes.
    pub(super) fn store_register(
        &mut self,
        value: u8,
        reach: &Reach,
        block: usize,
        tail: Option<u8>,
    ) {
        let bounded = self.there(reach, block, tail);
        let under = bounded.or(tail);
        let to = self.element(reach, block);
        if reach.along == Along::Same
            && self.nest.extents[self.nest.lanes] != Quantity::Known(1)
        {
            self.registers.failed = true;
        }
        match (reach.elem, reach.along) {
            (Elem::Bool, _) => {
                let z = self.registers.vector();
                let one = self.registers.vector();
                let code = Code::EVEX_Vpbroadcastd_zmm_k1z_xmmm32;
                self.asm.load_constant(code, zmm(one), &[1]);
                let code = Code::EVEX_Vmovaps_zmm_k1z_zmmm512;
                let built = Instruction::with2(code, zmm(z), zmm(one));
                self.asm.put_masked(built, Some(value), true);
                let code = Code::EVEX_Vpmovdb_xmmm128_k1z_zmm;
                let built = Instruction::with2(code, to.operand(), zmm(z));
                self.asm.put_masked(built, under, false);
                self.registers.free_vector(one);
                self.registers.free_vector(z);
            }
            (Elem::Real | Elem::Int, Along::Near | Along::Same) => {
                let past = self.past_caches && reach.lines.is_some() && under.is_none();
                let code = match past {
                    true => Code::EVEX_Vmovntps_m512_zmm,
                    false => Code::EVEX_Vmovups_zmmm512_k1z_zmm,
                };
                let built = Instruction::with2(code, to.operand(), zmm(value));
                self.asm.put_masked(built, under, false);
            }
            (Elem::Real | Elem::Int, Along::Far(step)) => {
                let k = self.spent_mask(under);
                let index = self.registers.vector();
                let code = Code::EVEX_Vmovups_zmm_k1z_zmmm512;
                self.asm.load_constant(code, zmm(index), &ramp(step, 0));
                let code = Code::EVEX_Vscatterdps_vm32z_k1_zmm;
                let to = to.indexed(zmm(index));
                let built = Instruction::with2(code, to, zmm(value));
                self.asm.put_masked(built, Some(k), false);
                self.registers.free_vector(index);
                self.registers.free_mask(k);
            }
        }
        if let Some(k) = bounded {
            self.registers.free_mask(k);
        }
    }
}
