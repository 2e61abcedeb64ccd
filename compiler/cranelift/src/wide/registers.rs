//! The values of a map's program in vector and mask registers.
//!
//! What no inner loop changes is computed outside of it and keeps its register; everything else
//! lives from its computation to its last use. Where registers run out the attempt fails, and the
//! caller tries again with less kept.

use super::asm::mask;
use super::emit::Emit;
use super::program::{Id, Op};
use iced_x86::Code;
use rustc_hash::FxHashMap;

/// The mask of a vector that is not whole.
pub(super) const TAIL: u8 = 7;

/// A value in a register.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) register: u8,
    /// Uses still to come.
    pub(super) uses: usize,
    /// Kept for inner loops.
    pub(super) pinned: bool,
}

/// Registers and what they hold. A value is known by its node and, where it differs between the
/// vectors of one round, the vector's number.
pub(super) struct Registers {
    vectors: Vec<u8>,
    masks: Vec<u8>,
    pub(super) held: FxHashMap<(Id, usize), Held>,
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

impl Emit<'_> {
    pub(super) fn key(&self, id: Id, block: usize) -> (Id, usize) {
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
    pub(super) fn free(&mut self, id: Id, register: u8) {
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
    pub(super) fn is_last(&self, id: Id, block: usize) -> bool {
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
}
