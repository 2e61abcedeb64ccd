//! The loops of a nest: plain ones, and the one that goes along vectors.

use super::emit::{Emit, Part};
use super::nest::{LANES, LINE, Quantity, Reach, Target};
use super::program::Id;
use super::registers::TAIL;
use iced_x86::{Code, Instruction, Register};

/// Elements of a tensor that no cache would hold until somebody reads it.
const BEYOND_CACHES: i32 = 4 << 20;

impl Emit<'_> {
    /// The loops; twice, where stores may pass the caches by, for large tensors on whole lines and for others.
    ///
    /// A line that is written through a cache is read before, and drives out what the kernel still needs.
    pub(super) fn all_loops(&mut self) {
        let whole = Part { blocks: 1, tail: false };
        let nest = self.nest;
        let stores = nest.targets.iter().filter_map(|t| match t {
            Target::Store(reach) => Some((reach, reach.lines?)),
            Target::Fold { .. } => None,
        });
        let stores: Vec<(&Reach, Quantity)> = stores.collect();
        if stores.is_empty() {
            return self.level(0, whole);
        }
        let (plain, end) = (self.asm.label(), self.asm.label());
        for (reach, size) in stores {
            self.move_to(Register::RAX, nest.cursors[reach.cursor].start);
            let line = i32::try_from(LINE - 1).expect("a small number");
            self.asm.put(Instruction::with2(Code::Test_rm64_imm32, Register::RAX, line));
            self.asm.jump(Code::Jne_rel32_64, plain);
            self.move_to(Register::RAX, size);
            let many = BEYOND_CACHES;
            self.asm.put(Instruction::with2(Code::Cmp_rm64_imm32, Register::RAX, many));
            self.asm.jump(Code::Jl_rel32_64, plain);
        }
        self.past_caches = true;
        self.level(0, whole);
        self.past_caches = false;
        // What others read after this kernel must have arrived.
        self.asm.put(Ok(Instruction::with(Code::Sfence)));
        self.asm.jump(Code::Jmp_rel32_64, end);
        self.asm.here(plain);
        self.level(0, whole);
        self.asm.here(end);
    }

    /// Everything inside of loop `p - 1`.
    pub(super) fn level(&mut self, p: usize, part: Part) {
        let leaf = self.loops();
        if p == leaf {
            return self.leaf(part);
        }
        let kept: Vec<Id> = (0..self.program.nodes.len())
            .filter(|&id| self.kept[id] && self.depth[id] == p)
            .map(|id| id as Id)
            .collect();
        self.expect(&kept, part.blocks);
        for block in 0..part.blocks {
            let tail = (part.tail && block + 1 == part.blocks).then_some(TAIL);
            for &id in &kept {
                if block == 0 || self.varies[id as usize] {
                    self.pin(id, block, tail);
                }
            }
        }
        self.begin_folds(p, part);
        let d = self.nest.order[p];
        if d == self.nest.lanes {
            self.lanes_loop(p);
        } else {
            self.plain_loop(p, d, part);
        }
        self.end_folds(p, part);
        for block in 0..part.blocks {
            for &id in &kept {
                if block == 0 || self.varies[id as usize] {
                    self.unpin(id, block);
                }
            }
        }
    }

    pub(super) fn plain_loop(&mut self, p: usize, d: usize, part: Part) {
        let extent = self.nest.extents[d];
        if extent == Quantity::Known(1) {
            return self.level(p + 1, part);
        }
        let counter = self.counters[p];
        let (top, end) = (self.asm.label(), self.asm.label());
        self.set(counter, extent);
        if let Quantity::Argument(_) = extent {
            self.compare(counter, 0);
            self.asm.jump(Code::Jle_rel32_64, end);
        }
        self.asm.here(top);
        self.level(p + 1, part);
        self.advance(d, 1);
        self.add(counter, -1);
        self.asm.jump(Code::Jne_rel32_64, top);
        if p > 0 {
            self.back(d, extent);
        }
        self.asm.here(end);
    }

    pub(super) fn lanes_loop(&mut self, p: usize) {
        let d = self.nest.lanes;
        match self.nest.extents[d] {
            Quantity::Known(n) => self.known_lanes(p, d, n),
            Quantity::Argument(_) => self.counted_lanes(p, d),
        }
    }

    /// Vectors of one round, at most.
    pub(super) fn most_blocks(&self) -> usize {
        match self.nest.extents[self.nest.lanes] {
            Quantity::Known(n) => {
                let vectors = usize::try_from((n + LANES - 1) / LANES).unwrap_or(1);
                if vectors <= self.unroll + self.unroll / 2 {
                    vectors
                } else {
                    self.unroll
                }
            }
            Quantity::Argument(_) => self.unroll,
        }
    }

    pub(super) fn known_lanes(&mut self, p: usize, d: usize, n: i64) {
        let round = self.most_blocks();
        let each = round as i64 * LANES;
        let mut left = n;
        if n > each {
            let rounds = n / each;
            left = n % each;
            let counter = self.counters[p];
            let top = self.asm.label();
            self.set(counter, Quantity::Known(rounds));
            self.asm.here(top);
            self.level(p + 1, Part { blocks: round, tail: false });
            self.advance(d, each);
            self.add(counter, -1);
            self.asm.jump(Code::Jne_rel32_64, top);
        }
        if left > 0 {
            let rest = left % LANES;
            if rest != 0 {
                let mask = (1_i32 << rest) - 1;
                self.asm.put(Instruction::with2(
                    Code::Mov_r32_imm32,
                    Register::EAX,
                    mask,
                ));
                self.asm.two(Code::VEX_Kmovw_kr_r32, Register::K7, Register::EAX);
            }
            let blocks = usize::try_from((left + LANES - 1) / LANES).unwrap_or(1);
            self.level(p + 1, Part { blocks, tail: rest != 0 });
        }
        if p > 0 && n > each {
            self.back(d, Quantity::Known(n / each * each));
        }
    }

    pub(super) fn counted_lanes(&mut self, p: usize, d: usize) {
        let extent = self.nest.extents[d];
        let left = self.counters[p];
        self.set(left, extent);
        let mut rounds = vec![self.unroll];
        if self.unroll > 1 {
            rounds.push(1);
        }
        for round in rounds {
            let each = round as i64 * LANES;
            let (top, done) = (self.asm.label(), self.asm.label());
            self.asm.here(top);
            self.compare(left, each);
            self.asm.jump(Code::Jl_rel32_64, done);
            self.level(p + 1, Part { blocks: round, tail: false });
            self.advance(d, each);
            self.add(left, -each);
            self.asm.jump(Code::Jmp_rel32_64, top);
            self.asm.here(done);
        }
        let end = self.asm.label();
        self.compare(left, 0);
        self.asm.jump(Code::Jle_rel32_64, end);
        self.get(Register::RCX, left);
        self.asm.put(Instruction::with2(Code::Mov_r32_imm32, Register::EAX, -1));
        let code = Code::VEX_Bzhi_r32_rm32_r32;
        self.asm.three(code, Register::EAX, Register::EAX, Register::ECX);
        self.asm.two(Code::VEX_Kmovw_kr_r32, Register::K7, Register::EAX);
        self.level(p + 1, Part { blocks: 1, tail: true });
        self.asm.here(end);
        if p > 0 {
            // As many steps as were taken: the extent less what is left.
            for c in 0..self.nest.cursors.len() {
                match self.nest.cursors[c].steps[d] {
                    Quantity::Known(0) => {}
                    Quantity::Known(s) => {
                        self.move_to(Register::RAX, extent);
                        self.get(Register::RCX, left);
                        let (a, b) = (Register::RAX, Register::RCX);
                        self.asm.two(Code::Sub_r64_rm64, a, b);
                        let Ok(s) = i32::try_from(s) else {
                            self.registers.failed = true;
                            continue;
                        };
                        let code = Code::Imul_r64_rm64_imm32;
                        self.asm.put(Instruction::with3(code, a, a, s));
                        self.add_register(self.cursors[c], a, true);
                    }
                    Quantity::Argument(_) => self.registers.failed = true,
                }
            }
        }
    }
}
