//! Instructions of AVX-512 in a list, with labels and a pool of constants, and their bytes.
//!
//! The encoder is `iced-x86`; nothing here knows what the instructions are for.

use iced_x86::{
    BlockEncoder, BlockEncoderOptions, Code, Instruction, InstructionBlock,
    MemoryOperand, Register,
};
use rustc_hash::FxHashMap;

/// A place in the code.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Label(usize);

/// Where a memory operand lies: a register and a displacement.
#[derive(Clone, Copy)]
pub(super) struct Memory {
    pub(super) base: Register,
    pub(super) displacement: i64,
}

/// Vector register `n`.
pub(super) fn zmm(n: u8) -> Register {
    Register::ZMM0 + u32::from(n)
}
/// Mask register `n`.
pub(super) fn mask(n: u8) -> Register {
    Register::K0 + u32::from(n)
}

/// Code being written.
#[derive(Default)]
pub(super) struct Asm {
    code: Vec<Instruction>,
    /// Where labels stand, by number.
    labels: Vec<Option<usize>>,
    /// Instructions that refer to a label.
    jumps: Vec<(usize, Label)>,
    /// Constants, by their words.
    pool: Vec<(Vec<u32>, Label)>,
    seen: FxHashMap<Vec<u32>, Label>,
}

impl Asm {
    pub(super) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }
    /// A label stands before the next instruction.
    pub(super) fn here(&mut self, label: Label) {
        self.labels[label.0] = Some(self.code.len());
    }
    /// The place of a constant of these words.
    pub(super) fn constant(&mut self, words: &[u32]) -> Label {
        if let Some(&label) = self.seen.get(words) {
            return label;
        }
        let label = self.label();
        self.seen.insert(words.to_vec(), label);
        self.pool.push((words.to_vec(), label));
        label
    }

    /// Adds an instruction that was built well.
    pub(super) fn put(&mut self, built: Result<Instruction, iced_x86::IcedError>) {
        self.code.push(built.expect("operands of the instruction's kind"));
    }
    /// Adds it under a mask; what is masked off becomes zero or stays.
    pub(super) fn put_masked(
        &mut self,
        built: Result<Instruction, iced_x86::IcedError>,
        under: Option<u8>,
        zero: bool,
    ) {
        let mut i = built.expect("operands of the instruction's kind");
        if let Some(k) = under {
            i.set_op_mask(mask(k));
            i.set_zeroing_masking(zero);
        }
        self.code.push(i);
    }
    /// Puts the last instruction under a mask; what is masked off becomes zero.
    pub(super) fn mask_last(&mut self, under: u8) {
        if let Some(last) = self.code.last_mut() {
            last.set_op_mask(mask(under));
            last.set_zeroing_masking(true);
        }
    }
    pub(super) fn jump(&mut self, code: Code, to: Label) {
        self.jumps.push((self.code.len(), to));
        self.put(Instruction::with_branch(code, 0));
    }

    /// `to <- op a, b`
    pub(super) fn three(&mut self, code: Code, to: Register, a: Register, b: Register) {
        self.put(Instruction::with3(code, to, a, b));
    }
    /// `to <- op a`
    pub(super) fn two(&mut self, code: Code, to: Register, a: Register) {
        self.put(Instruction::with2(code, to, a));
    }
    /// `to <- [memory]`
    pub(super) fn load(&mut self, code: Code, to: Register, from: Memory) {
        self.put(Instruction::with2(code, to, from.operand()));
    }
    /// `[memory] <- from`
    pub(super) fn store(&mut self, code: Code, to: Memory, from: Register) {
        self.put(Instruction::with2(code, to.operand(), from));
    }
    /// `to <- [constant]`
    pub(super) fn load_constant(&mut self, code: Code, to: Register, words: &[u32]) {
        let label = self.constant(words);
        self.jumps.push((self.code.len(), label));
        self.put(Instruction::with2(code, to, at_label()));
    }
    /// `to <- op a, [constant]`
    pub(super) fn with_constant(
        &mut self,
        code: Code,
        to: Register,
        a: Register,
        words: &[u32],
    ) {
        let label = self.constant(words);
        self.jumps.push((self.code.len(), label));
        self.put(Instruction::with3(code, to, a, at_label()));
    }

    /// The bytes; constants follow the code. Nothing where the encoder refuses.
    pub(super) fn bytes(mut self) -> Option<Vec<u8>> {
        for (words, label) in std::mem::take(&mut self.pool) {
            self.here(label);
            for four in words.chunks(4) {
                self.put(Instruction::with_declare_dword(four));
            }
        }
        let address = |n: usize| 16 * (n as u64 + 1);
        for (n, i) in self.code.iter_mut().enumerate() {
            i.set_ip(address(n));
        }
        for &(n, label) in &self.jumps {
            let to = address(self.labels[label.0].expect("every label stands somewhere"));
            let i = &mut self.code[n];
            if i.memory_base() == Register::RIP {
                i.set_memory_displacement64(to);
            } else {
                i.set_near_branch64(to);
            }
        }
        let block = InstructionBlock::new(&self.code, 0);
        let encoded = BlockEncoder::encode(64, block, BlockEncoderOptions::NONE).ok()?;
        Some(encoded.code_buffer)
    }
}

impl Memory {
    pub(super) fn moved(self, by: i64) -> Self {
        Self { displacement: self.displacement + by, ..self }
    }
    pub(super) fn operand(self) -> MemoryOperand {
        MemoryOperand::with_base_displ(self.base, self.displacement)
    }
    /// With an index of 32 bits a lane, in bytes.
    pub(super) fn indexed(self, index: Register) -> MemoryOperand {
        MemoryOperand::with_base_index_scale_displ_size(
            self.base,
            index,
            1,
            self.displacement,
            1,
        )
    }
}

fn at_label() -> MemoryOperand {
    MemoryOperand::with_base_displ_size(Register::RIP, 16, 8)
}
