//! Operations of vectors and masks.

use super::asm::{Asm, mask, zmm};
use super::emit::Emit;
use super::memory::ramp;
use super::nest::LANES;
use super::program::{Id, Op};
use iced_x86::{Code, Instruction, Register};
use nestor_ir::tensor::Fold;

/// The code of an operation of two vectors.
fn binary(op: Op) -> Option<Code> {
    Some(match op {
        Op::Add => Code::EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er,
        Op::Sub => Code::EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er,
        Op::Mul => Code::EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er,
        Op::Div => Code::EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er,
        Op::Min => Code::EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae,
        Op::Max => Code::EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae,
        Op::Scale => Code::EVEX_Vscalefps_zmm_k1z_zmm_zmmm512b32_er,
        Op::AndBits => Code::EVEX_Vandps_zmm_k1z_zmm_zmmm512b32,
        Op::OrBits => Code::EVEX_Vorps_zmm_k1z_zmm_zmmm512b32,
        Op::XorBits => Code::EVEX_Vxorps_zmm_k1z_zmm_zmmm512b32,
        Op::AddInt => Code::EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32,
        Op::SubInt => Code::EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32,
        _ => return None,
    })
}

/// The codes of a product and a sum, result over the third and over the first operand.
fn fused(op: Op) -> Option<(Code, Code)> {
    Some(match op {
        Op::Fma => (
            Code::EVEX_Vfmadd231ps_zmm_k1z_zmm_zmmm512b32_er,
            Code::EVEX_Vfmadd213ps_zmm_k1z_zmm_zmmm512b32_er,
        ),
        Op::Fms => (
            Code::EVEX_Vfmsub231ps_zmm_k1z_zmm_zmmm512b32_er,
            Code::EVEX_Vfmsub213ps_zmm_k1z_zmm_zmmm512b32_er,
        ),
        Op::Fnma => (
            Code::EVEX_Vfnmadd231ps_zmm_k1z_zmm_zmmm512b32_er,
            Code::EVEX_Vfnmadd213ps_zmm_k1z_zmm_zmmm512b32_er,
        ),
        _ => return None,
    })
}

/// The code and predicate of a comparison.
fn comparison(op: Op) -> Option<(Code, u32)> {
    let real = Code::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae;
    let int = Code::EVEX_Vpcmpd_kr_k1_zmm_zmmm512b32_imm8;
    Some(match op {
        // Ordered and quiet, as the routines compare.
        Op::Less => (real, 0x11),
        Op::LessEqual => (real, 0x12),
        Op::Equal => (real, 0x00),
        Op::EqualInt => (int, 0),
        Op::LessInt => (int, 1),
        Op::LessEqualInt => (int, 2),
        _ => return None,
    })
}

impl Emit<'_> {
    pub(super) fn splat(&mut self, bits: u32) -> u8 {
        let z = self.registers.vector();
        if bits == 0 {
            self.clear(z);
        } else {
            let code = Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32;
            self.asm.load_constant(code, zmm(z), &[bits]);
        }
        z
    }
    pub(super) fn clear(&mut self, z: u8) {
        let code = Code::EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32;
        self.asm.three(code, zmm(z), zmm(z), zmm(z));
    }

    pub(super) fn operate(&mut self, op: Op, ids: &[Id], x: &[u8], block: usize) -> u8 {
        if let Some((onto_third, onto_first)) = fused(op) {
            return self.multiply_add((onto_third, onto_first), ids, x, block);
        }
        for &id in ids {
            self.used(id, block);
        }
        if let Some(code) = binary(op) {
            let z = self.registers.vector();
            self.asm.three(code, zmm(z), zmm(x[0]), zmm(x[1]));
            return z;
        }
        if let Some((code, predicate)) = comparison(op) {
            let k = self.registers.mask();
            let (a, b) = (zmm(x[0]), zmm(x[1]));
            self.asm.put(Instruction::with4(code, mask(k), a, b, predicate));
            return k;
        }
        let of_masks = match op {
            Op::And => Some(Code::VEX_Kandw_kr_kr_kr),
            Op::Or => Some(Code::VEX_Korw_kr_kr_kr),
            Op::Same => Some(Code::VEX_Kxnorw_kr_kr_kr),
            _ => None,
        };
        if let Some(code) = of_masks {
            let k = self.registers.mask();
            self.asm.three(code, mask(k), mask(x[0]), mask(x[1]));
            return k;
        }
        let with_number = match op {
            Op::Round => Some((Code::EVEX_Vrndscaleps_zmm_k1z_zmmm512b32_imm8_sae, 8)),
            Op::Floor => Some((Code::EVEX_Vrndscaleps_zmm_k1z_zmmm512b32_imm8_sae, 9)),
            Op::ShiftUp30 => Some((Code::EVEX_Vpslld_zmm_k1z_zmmm512b32_imm8, 30)),
            Op::ShiftDown23 => Some((Code::EVEX_Vpsrad_zmm_k1z_zmmm512b32_imm8, 23)),
            _ => None,
        };
        if let Some((code, number)) = with_number {
            let z = self.registers.vector();
            self.asm.put(Instruction::with3(code, zmm(z), zmm(x[0]), number));
            return z;
        }
        match op {
            Op::Sqrt => {
                let z = self.registers.vector();
                let code = Code::EVEX_Vsqrtps_zmm_k1z_zmmm512b32_er;
                self.asm.two(code, zmm(z), zmm(x[0]));
                z
            }
            Op::RealOfInt => {
                let z = self.registers.vector();
                let code = Code::EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er;
                self.asm.two(code, zmm(z), zmm(x[0]));
                z
            }
            Op::RealOfMask => {
                let z = self.registers.vector();
                let label = 1.0_f32.to_bits();
                self.asm.load_constant_masked(zmm(z), label, x[0]);
                z
            }
            Op::Select => {
                let z = self.registers.vector();
                let code = Code::EVEX_Vblendmps_zmm_k1z_zmm_zmmm512b32;
                let built = Instruction::with3(code, zmm(z), zmm(x[2]), zmm(x[1]));
                self.asm.put_masked(built, Some(x[0]), false);
                z
            }
            Op::Not => {
                let k = self.registers.mask();
                self.asm.two(Code::VEX_Knotw_kr_kr, mask(k), mask(x[0]));
                k
            }
            Op::SelectMask => {
                // c ^ (a & (b ^ c))
                let k = self.registers.mask();
                let xor = Code::VEX_Kxorw_kr_kr_kr;
                let kept = self.registers.mask();
                self.asm.three(xor, mask(kept), mask(x[1]), mask(x[2]));
                let and = Code::VEX_Kandw_kr_kr_kr;
                self.asm.three(and, mask(kept), mask(kept), mask(x[0]));
                self.asm.three(xor, mask(k), mask(kept), mask(x[2]));
                self.registers.free_mask(kept);
                k
            }
            other => unreachable!("{other:?} has a case of its own"),
        }
    }

    pub(super) fn multiply_add(
        &mut self,
        (onto_third, onto_first): (Code, Code),
        ids: &[Id],
        x: &[u8],
        block: usize,
    ) -> u8 {
        // The result takes the register of an operand that nothing needs any more.
        let last = |e: &Self, n: usize| {
            let once = ids.iter().filter(|&&id| id == ids[n]).count() == 1;
            once && e.is_last(ids[n], block)
        };
        let (a, b, c) = (zmm(x[0]), zmm(x[1]), zmm(x[2]));
        let taken = if last(self, 2) {
            self.asm.three(onto_third, c, a, b);
            Some(2)
        } else if last(self, 0) {
            self.asm.three(onto_first, a, b, c);
            Some(0)
        } else if last(self, 1) {
            self.asm.three(onto_first, b, a, c);
            Some(1)
        } else {
            None
        };
        let Some(taken) = taken else {
            let z = self.registers.vector();
            self.asm.two(Code::EVEX_Vmovaps_zmm_k1z_zmmm512, zmm(z), c);
            self.asm.three(onto_third, zmm(z), a, b);
            for &id in ids {
                self.used(id, block);
            }
            return z;
        };
        for (n, &id) in ids.iter().enumerate() {
            if n == taken {
                let key = self.key(id, block);
                self.registers.held.remove(&key);
            } else {
                self.used(id, block);
            }
        }
        x[taken]
    }

    /// The index of a dimension, as a real.
    pub(super) fn index(&mut self, d: usize, offset: usize, block: usize) -> u8 {
        let found = self.nest.indices.iter().find(|(e, o, _)| *e == d && *o == offset);
        let cursor = found.expect("a cursor for every index").2;
        let z = self.registers.vector();
        self.splat_cursor(z, cursor);
        if d == self.nest.lanes {
            let words = ramp(1, LANES * block as i64);
            let code = Code::EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32;
            self.asm.with_constant(code, zmm(z), zmm(z), &words);
        }
        self.asm.two(Code::EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er, zmm(z), zmm(z));
        z
    }

    /// `a <- fold(a, v)` in the lanes of a mask.
    pub(super) fn fold(&mut self, fold: Fold, a: u8, v: u8, under: Option<u8>) {
        let (a, v) = (zmm(a), zmm(v));
        let predicate = match fold {
            Fold::Sum => {
                let code = Code::EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er;
                self.asm.put_masked(Instruction::with3(code, a, a, v), under, false);
                return;
            }
            // Not less or equal, not greater or equal: also where one is NaN.
            Fold::Max => 0x16_u32,
            Fold::Min => 0x19,
        };
        let k = self.registers.mask();
        let code = Code::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae;
        let better = Instruction::with4(code, mask(k), v, a, predicate);
        self.asm.put_masked(better, under, false);
        // A NaN that is there stays.
        let number = Instruction::with4(code, mask(k), a, a, 0x07_u32);
        self.asm.put_masked(number, Some(k), false);
        let code = Code::EVEX_Vmovaps_zmm_k1z_zmmm512;
        self.asm.put_masked(Instruction::with2(code, a, v), Some(k), false);
        self.registers.free_mask(k);
    }

    /// Folds the lanes of a register, in one order; all lanes then hold the result.
    pub(super) fn fold_lanes(&mut self, fold: Fold, a: u8) {
        let t = self.registers.vector();
        let far = Code::EVEX_Vshuff32x4_zmm_k1z_zmm_zmmm512b32_imm8;
        let near = Code::EVEX_Vshufps_zmm_k1z_zmm_zmmm512b32_imm8;
        for (code, order) in [(far, 0x4e_u32), (far, 0xb1), (near, 0x4e), (near, 0xb1)] {
            self.asm.put(Instruction::with4(code, zmm(t), zmm(a), zmm(a), order));
            self.fold(fold, a, t, None);
        }
        self.registers.free_vector(t);
    }
}

impl Asm {
    /// The same bits in the lanes of a mask, zero in the others.
    fn load_constant_masked(&mut self, to: Register, bits: u32, under: u8) {
        self.load_constant(Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32, to, &[bits]);
        self.mask_last(under);
    }
}
