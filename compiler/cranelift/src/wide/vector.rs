//! The values of a map's program in vector and mask registers.
//!
//! What no inner loop changes is computed outside of it and keeps its register; everything else
//! lives from its computation to its last use. Where registers run out the attempt fails, and the
//! caller tries again with less kept.

use super::asm::{Asm, Memory, mask, zmm};
use super::emit::Emit;
use super::nest::{Along, LANES, Quantity, Reach};
use super::program::{Id, Op};
use iced_x86::{Code, Instruction, MemoryOperand, Register};
use nestor_ir::tensor::Fold;
use nestor_ir::ty::Elem;
use rustc_hash::FxHashMap;

/// The mask of a vector that is not whole.
pub(super) const TAIL: u8 = 7;

/// A value in a register.
#[derive(Clone, Copy)]
struct Held {
    register: u8,
    /// Uses still to come.
    uses: usize,
    /// Kept for inner loops.
    pinned: bool,
}

/// Registers and what they hold. A value is known by its node and, where it differs between the
/// vectors of one round, the vector's number.
pub(super) struct Registers {
    vectors: Vec<u8>,
    masks: Vec<u8>,
    held: FxHashMap<(Id, usize), Held>,
    expected: FxHashMap<(Id, usize), usize>,
    pub(super) failed: bool,
}

impl Default for Registers {
    fn default() -> Self {
        Self {
            vectors: (0..32).rev().collect(),
            masks: (1..TAIL).rev().collect(),
            held: FxHashMap::default(),
            expected: FxHashMap::default(),
            failed: false,
        }
    }
}

impl Registers {
    pub(super) fn vector(&mut self) -> u8 {
        self.vectors.pop().unwrap_or_else(|| {
            self.failed = true;
            0
        })
    }
    pub(super) fn free_vector(&mut self, n: u8) {
        self.vectors.push(n);
    }
    pub(super) fn mask(&mut self) -> u8 {
        self.masks.pop().unwrap_or_else(|| {
            self.failed = true;
            1
        })
    }
    pub(super) fn free_mask(&mut self, n: u8) {
        self.masks.push(n);
    }
}

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

/// `lane step + first` for all lanes.
fn ramp(step: i64, first: i64) -> Vec<u32> {
    (0..LANES).map(|n| (n * step + first) as i32 as u32).collect()
}

impl Emit<'_> {
    fn key(&self, id: Id, block: usize) -> (Id, usize) {
        (id, if self.varies[id as usize] { block } else { 0 })
    }

    /// Counts the uses of everything that `roots` need for these vectors.
    pub(super) fn expect(&mut self, roots: &[Id], blocks: usize) {
        let mut seen = FxHashMap::default();
        self.registers.expected.clear();
        for block in 0..blocks {
            let mut open: Vec<(Id, usize)> = Vec::new();
            for &root in roots {
                let key = self.key(root, block);
                *self.registers.expected.entry(key).or_default() += 1;
                open.push(key);
            }
            while let Some((id, block)) = open.pop() {
                let held = self.registers.held.contains_key(&(id, block));
                if held || seen.insert((id, block), ()).is_some() {
                    continue;
                }
                let node = self.program.nodes[id as usize];
                for &o in node.operands() {
                    // A value that is the same for all vectors is computed in the first one.
                    let key = self.key(o, block);
                    *self.registers.expected.entry(key).or_default() += 1;
                    open.push(key);
                }
            }
        }
    }

    /// Computes a value and keeps its register.
    pub(super) fn pin(&mut self, id: Id, block: usize, tail: Option<u8>) {
        let key = self.key(id, block);
        self.value(id, block, tail);
        if let Some(held) = self.registers.held.get_mut(&key) {
            held.pinned = true;
        }
    }
    /// Gives a kept register back.
    pub(super) fn unpin(&mut self, id: Id, block: usize) {
        let key = self.key(id, block);
        if let Some(held) = self.registers.held.remove(&key) {
            self.free(id, held.register);
        }
    }
    fn free(&mut self, id: Id, register: u8) {
        if self.program.nodes[id as usize].mask {
            self.registers.free_mask(register);
        } else {
            self.registers.free_vector(register);
        }
    }

    /// One use of a value is over.
    pub(super) fn used(&mut self, id: Id, block: usize) {
        let key = self.key(id, block);
        let Some(held) = self.registers.held.get_mut(&key) else { return };
        held.uses = held.uses.saturating_sub(1);
        let last = held.uses == 0 && !held.pinned;
        let register = held.register;
        if last {
            self.registers.held.remove(&key);
            self.free(id, register);
        }
    }
    fn is_last(&self, id: Id, block: usize) -> bool {
        let held = self.registers.held.get(&self.key(id, block));
        held.is_some_and(|h| h.uses == 1 && !h.pinned)
    }

    /// The register of a value, computed if it is not there; `tail` masks what is not.
    pub(super) fn value(&mut self, id: Id, block: usize, tail: Option<u8>) -> u8 {
        let key = self.key(id, block);
        if let Some(held) = self.registers.held.get(&key) {
            return held.register;
        }
        if self.registers.failed {
            return 1;
        }
        let node = self.program.nodes[id as usize];
        let operands: Vec<u8> =
            node.operands().iter().map(|&o| self.value(o, block, tail)).collect();
        let register = match node.op {
            Op::Load(n) => self.load(n, block, tail),
            Op::Bits(bits) => self.splat(bits),
            Op::Known(yes) => {
                let k = self.registers.mask();
                let code = if yes {
                    Code::VEX_Kxnorw_kr_kr_kr
                } else {
                    Code::VEX_Kxorw_kr_kr_kr
                };
                self.asm.three(code, mask(k), mask(k), mask(k));
                k
            }
            Op::Index(d, offset) => self.index(d, offset, block),
            op => self.operate(op, &node.operands()[..node.arity], &operands, block),
        };
        let uses = self.registers.expected.get(&key).copied().unwrap_or(0);
        self.registers.held.insert(key, Held { register, uses, pinned: false });
        register
    }

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
    fn clear(&mut self, z: u8) {
        let code = Code::EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32;
        self.asm.three(code, zmm(z), zmm(z), zmm(z));
    }

    fn operate(&mut self, op: Op, ids: &[Id], x: &[u8], block: usize) -> u8 {
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

    fn multiply_add(
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
    fn index(&mut self, d: usize, offset: usize, block: usize) -> u8 {
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

    /// The lanes of an access that are there, in a mask to be freed; nothing where all are.
    fn there(&mut self, reach: &Reach, block: usize, tail: Option<u8>) -> Option<u8> {
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
            let width = match limit.width {
                Quantity::Argument(n) => MemoryOperand::new(
                    Register::RDI,
                    Register::None,
                    1,
                    8 * n as i64,
                    1,
                    true,
                    Register::None,
                ),
                Quantity::Known(n) => {
                    let other = self.registers.vector();
                    let code = Code::EVEX_Vpbroadcastd_zmm_k1z_xmmm32;
                    self.asm.load_constant(code, zmm(other), &[n.max(0) as u32]);
                    let code = Code::EVEX_Vpcmpud_kr_k1_zmm_zmmm512b32_imm8;
                    let built =
                        Instruction::with4(code, mask(k), zmm(z), zmm(other), 1_u32);
                    self.asm.put_masked(built, under, false);
                    self.registers.free_vector(other);
                    self.registers.free_vector(z);
                    found = Some(k);
                    continue;
                }
            };
            let built = Instruction::with4(code, mask(k), zmm(z), width, 1_u32);
            self.asm.put_masked(built, under, false);
            self.registers.free_vector(z);
            found = Some(k);
        }
        found
    }

    fn load(&mut self, number: usize, block: usize, tail: Option<u8>) -> u8 {
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
                let z = if padded {
                    let z = self.splat(pad);
                    z
                } else {
                    self.registers.vector()
                };
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
    fn spent_mask(&mut self, under: Option<u8>) -> u8 {
        let k = self.registers.mask();
        match under {
            Some(from) => self.asm.two(Code::VEX_Kmovw_kr_km16, mask(k), mask(from)),
            None => {
                self.asm.three(Code::VEX_Kxnorw_kr_kr_kr, mask(k), mask(k), mask(k));
            }
        }
        k
    }

    fn gather(&mut self, z: u8, from: Memory, step: i64, under: Option<u8>) {
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
                let code = Code::EVEX_Vmovups_zmmm512_k1z_zmm;
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
