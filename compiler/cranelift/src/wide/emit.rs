//! The loops of a nest around its vectors.

use super::asm::{Asm, Memory, zmm};
use super::nest::{Along, LANES, Nest, Quantity, Reach, Target};
use super::program::{Id, Op, Program};
use super::vector::{Registers, TAIL};
use iced_x86::{Code, Instruction, Register};
use nestor_ir::tensor::Fold;
use nestor_ir::ty::Elem;

/// How much is kept in registers across inner loops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Keep {
    /// All that no inner loop changes.
    All,
    /// That, but constants are loaded where they are used.
    NoConstants,
    /// Nothing.
    Nothing,
}

/// Where a whole number lives.
#[derive(Clone, Copy)]
enum Home {
    Register(Register),
    /// A word of the frame.
    Frame(i64),
}

/// Vectors of one round.
#[derive(Clone, Copy)]
struct Part {
    blocks: usize,
    /// The last one is not whole; its mask is in the tail's register.
    tail: bool,
}

/// A map being written.
pub(super) struct Emit<'m> {
    pub(super) asm: Asm,
    pub(super) nest: &'m Nest,
    pub(super) program: &'m Program,
    pub(super) registers: Registers,
    /// Nodes that differ between vectors of a round.
    pub(super) varies: Vec<bool>,
    roots: &'m [Id],
    /// The innermost loop that a node depends on, counted from one.
    depth: Vec<usize>,
    /// Nodes that are computed outside of inner loops and kept.
    kept: Vec<bool>,
    cursors: Vec<Home>,
    /// Counters, one for each loop.
    counters: Vec<Home>,
    /// Accumulators of each target, one a vector.
    sums: Vec<Vec<u8>>,
    unroll: usize,
}

/// Registers for cursors and counters; others have fixed parts: the arguments, and two for scratch.
const WORDS: [Register; 12] = [
    Register::RDX,
    Register::RSI,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::R11,
    Register::RBX,
    Register::RBP,
    Register::R12,
    Register::R13,
    Register::R14,
    Register::R15,
];
/// How many of them a function may use as it likes.
const FREE: usize = 6;

/// The code of a nest; nothing where registers do not suffice or an access cannot be done.
pub(super) fn code(
    nest: &Nest,
    program: &Program,
    roots: &[Id],
    keep: Keep,
    unroll: usize,
) -> Option<Vec<u8>> {
    let mut e = Emit {
        asm: Asm::default(),
        nest,
        program,
        registers: Registers::default(),
        varies: Vec::new(),
        roots,
        depth: Vec::new(),
        kept: Vec::new(),
        cursors: Vec::new(),
        counters: Vec::new(),
        sums: vec![Vec::new(); nest.targets.len()],
        unroll,
    };
    e.place_nodes(keep);
    let (saved, frame) = e.place_words();
    for &r in &saved {
        e.asm.put(Instruction::with1(Code::Push_r64, r));
    }
    e.stack(Code::Sub_rm64_imm32, frame);
    e.start_cursors();
    e.level(0, Part { blocks: 1, tail: false });
    e.stack(Code::Add_rm64_imm32, frame);
    for &r in saved.iter().rev() {
        e.asm.put(Instruction::with1(Code::Pop_r64, r));
    }
    e.asm.put(Ok(Instruction::with(Code::VEX_Vzeroupper)));
    e.asm.put(Ok(Instruction::with(Code::Retnq)));
    if e.registers.failed {
        return None;
    }
    e.asm.bytes()
}

impl Emit<'_> {
    fn loops(&self) -> usize {
        self.nest.order.len()
    }

    /// What each node depends on, and which are kept.
    fn place_nodes(&mut self, keep: Keep) {
        let n = self.program.nodes.len();
        self.varies = vec![false; n];
        self.depth = vec![0; n];
        self.kept = vec![false; n];
        for (id, node) in self.program.nodes.iter().enumerate() {
            let (mut varies, mut depth) = (false, 0);
            match node.op {
                Op::Load(l) => {
                    let reach = &self.nest.loads[l];
                    depth = self.nest.depth(reach.cursor);
                    varies = reach.along != Along::Same;
                    for limit in &reach.limits {
                        depth = depth.max(self.nest.depth(limit.cursor));
                        varies |= limit.step != 0;
                    }
                }
                Op::Index(d, _) => {
                    depth = self.nest.position(d) + 1;
                    varies = d == self.nest.lanes;
                }
                _ => {}
            }
            for &o in node.operands() {
                depth = depth.max(self.depth[o as usize]);
                varies |= self.varies[o as usize];
            }
            self.depth[id] = depth;
            self.varies[id] = varies;
        }
        if keep == Keep::Nothing {
            return;
        }
        // Kept is what something deeper, or a target, asks for.
        let leaf = self.loops();
        for (id, node) in self.program.nodes.iter().enumerate() {
            for &o in node.operands() {
                self.kept[o as usize] |= self.depth[o as usize] < self.depth[id];
            }
        }
        for &r in self.roots {
            self.kept[r as usize] = true;
        }
        for (id, node) in self.program.nodes.iter().enumerate() {
            let constant = matches!(node.op, Op::Bits(_) | Op::Known(_));
            self.kept[id] &= self.depth[id] < leaf;
            self.kept[id] &= !(constant && keep == Keep::NoConstants);
        }
    }

    /// Registers and words of the frame for cursors and counters; registers to save, and the
    /// frame's bytes.
    fn place_words(&mut self) -> (Vec<Register>, i64) {
        let count = self.nest.cursors.len();
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by_key(|&c| std::cmp::Reverse(self.nest.depth(c)));
        let mut free = WORDS.iter();
        let mut frame = 0;
        let mut home = |free: &mut std::slice::Iter<'_, Register>| match free.next() {
            Some(&r) => Home::Register(r),
            None => {
                frame += 8;
                Home::Frame(frame - 8)
            }
        };
        self.cursors = vec![Home::Frame(0); count];
        for c in order {
            self.cursors[c] = home(&mut free);
        }
        let loops = self.loops();
        self.counters = vec![Home::Frame(0); loops];
        for p in (0..loops).rev() {
            self.counters[p] = home(&mut free);
        }
        let used = WORDS.len() - free.len();
        (WORDS[FREE.min(used)..used].to_vec(), frame)
    }

    fn stack(&mut self, code: Code, frame: i64) {
        if frame > 0 {
            let bytes = i32::try_from(frame).expect("a small frame");
            self.asm.put(Instruction::with2(code, Register::RSP, bytes));
        }
    }
    fn word(&self, home: Home) -> Memory {
        match home {
            Home::Frame(at) => Memory { base: Register::RSP, displacement: at },
            Home::Register(_) => unreachable!("a register is no memory"),
        }
    }
    fn argument(n: usize) -> Memory {
        Memory { base: Register::RDI, displacement: 8 * n as i64 }
    }

    /// `to <- quantity`
    fn move_to(&mut self, to: Register, from: Quantity) {
        match from {
            Quantity::Known(n) => {
                self.asm.put(Instruction::with2(Code::Mov_r64_imm64, to, n));
            }
            Quantity::Argument(n) => {
                self.asm.load(Code::Mov_r64_rm64, to, Self::argument(n));
            }
        }
    }
    /// `home <- quantity`
    fn set(&mut self, home: Home, from: Quantity) {
        match home {
            Home::Register(r) => self.move_to(r, from),
            Home::Frame(_) => {
                self.move_to(Register::RAX, from);
                let to = self.word(home);
                self.asm.store(Code::Mov_rm64_r64, to, Register::RAX);
            }
        }
    }
    /// `to <- home`
    fn get(&mut self, to: Register, home: Home) {
        match home {
            Home::Register(r) => self.asm.two(Code::Mov_r64_rm64, to, r),
            Home::Frame(_) => {
                let from = self.word(home);
                self.asm.load(Code::Mov_r64_rm64, to, from);
            }
        }
    }
    /// `home += n`
    fn add(&mut self, home: Home, n: i64) {
        let Ok(small) = i32::try_from(n) else {
            self.move_to(Register::RAX, Quantity::Known(n));
            return self.add_register(home, Register::RAX, false);
        };
        match (home, small) {
            (_, 0) => {}
            (Home::Register(r), n) => {
                self.asm.put(Instruction::with2(Code::Add_rm64_imm32, r, n));
            }
            (Home::Frame(_), n) => {
                let to = self.word(home).operand();
                self.asm.put(Instruction::with2(Code::Add_rm64_imm32, to, n));
            }
        }
    }
    /// `home += register`, or `-=`
    fn add_register(&mut self, home: Home, from: Register, minus: bool) {
        let code = if minus { Code::Sub_rm64_r64 } else { Code::Add_rm64_r64 };
        match home {
            Home::Register(r) => self.asm.two(code, r, from),
            Home::Frame(_) => {
                let to = self.word(home);
                self.asm.store(code, to, from);
            }
        }
    }
    fn compare(&mut self, home: Home, n: i64) {
        let n = i32::try_from(n).expect("a small number");
        match home {
            Home::Register(r) => {
                self.asm.put(Instruction::with2(Code::Cmp_rm64_imm32, r, n));
            }
            Home::Frame(_) => {
                let to = self.word(home).operand();
                self.asm.put(Instruction::with2(Code::Cmp_rm64_imm32, to, n));
            }
        }
    }

    fn start_cursors(&mut self) {
        for c in 0..self.nest.cursors.len() {
            self.set(self.cursors[c], self.nest.cursors[c].start);
        }
    }

    /// All cursors go `times` steps of dimension `d`.
    fn advance(&mut self, d: usize, times: i64) {
        for c in 0..self.nest.cursors.len() {
            match self.nest.cursors[c].steps[d] {
                Quantity::Known(s) => self.add(self.cursors[c], s * times),
                Quantity::Argument(_) => {
                    self.step_argument(c, d, Quantity::Known(times), false);
                }
            }
        }
    }
    /// All cursors go back by as many steps of dimension `d`.
    fn back(&mut self, d: usize, times: Quantity) {
        for c in 0..self.nest.cursors.len() {
            match (self.nest.cursors[c].steps[d], times) {
                (Quantity::Known(0), _) => {}
                (Quantity::Known(s), Quantity::Known(n)) => {
                    self.add(self.cursors[c], -s * n);
                }
                _ => self.step_argument(c, d, times, true),
            }
        }
    }
    fn step_argument(&mut self, c: usize, d: usize, times: Quantity, minus: bool) {
        self.move_to(Register::RAX, times);
        match self.nest.cursors[c].steps[d] {
            Quantity::Known(s) => match i32::try_from(s) {
                Ok(s) => self.asm.put(Instruction::with3(
                    Code::Imul_r64_rm64_imm32,
                    Register::RAX,
                    Register::RAX,
                    s,
                )),
                Err(_) => self.registers.failed = true,
            },
            Quantity::Argument(n) => {
                let by = Self::argument(n);
                self.asm.load(Code::Imul_r64_rm64, Register::RAX, by);
            }
        }
        self.add_register(self.cursors[c], Register::RAX, minus);
    }

    /// The element of an access that the first lane of a vector names.
    pub(super) fn element(&mut self, reach: &Reach, block: usize) -> Memory {
        let base = match self.cursors[reach.cursor] {
            Home::Register(r) => r,
            home @ Home::Frame(_) => {
                self.get(Register::RAX, home);
                Register::RAX
            }
        };
        let size = match reach.elem {
            Elem::Real | Elem::Int => 4,
            Elem::Bool => 1,
        };
        let step = match reach.along {
            Along::Same => 0,
            Along::Near => size,
            Along::Far(step) => step,
        };
        Memory { base, displacement: 0 }.moved(block as i64 * LANES * step)
    }

    /// A cursor as a whole number in all lanes.
    pub(super) fn splat_cursor(&mut self, z: u8, cursor: usize) {
        match self.cursors[cursor] {
            Home::Register(r) => {
                let low = Register::EAX + (r as u32 - Register::RAX as u32);
                let code = Code::EVEX_Vpbroadcastd_zmm_k1z_r32;
                self.asm.two(code, zmm(z), low);
            }
            home @ Home::Frame(_) => {
                let from = self.word(home);
                self.asm.load(Code::EVEX_Vpbroadcastd_zmm_k1z_xmmm32, zmm(z), from);
            }
        }
    }

    /// Everything inside of loop `p - 1`.
    fn level(&mut self, p: usize, part: Part) {
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

    fn plain_loop(&mut self, p: usize, d: usize, part: Part) {
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

    fn lanes_loop(&mut self, p: usize) {
        let d = self.nest.lanes;
        match self.nest.extents[d] {
            Quantity::Known(n) => self.known_lanes(p, d, n),
            Quantity::Argument(_) => self.counted_lanes(p, d),
        }
    }

    /// Vectors of one round, at most.
    fn most_blocks(&self) -> usize {
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

    fn known_lanes(&mut self, p: usize, d: usize, n: i64) {
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

    fn counted_lanes(&mut self, p: usize, d: usize) {
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

    /// Computes the targets of these vectors.
    fn leaf(&mut self, part: Part) {
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
    fn lanes_folded(&self, target: usize) -> bool {
        match &self.nest.targets[target] {
            Target::Store(_) => false,
            Target::Fold { begin, .. } => self.nest.position(self.nest.lanes) >= *begin,
        }
    }

    fn begin_folds(&mut self, p: usize, part: Part) {
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

    fn end_folds(&mut self, p: usize, part: Part) {
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
