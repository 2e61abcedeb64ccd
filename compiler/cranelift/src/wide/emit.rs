//! The function of a map: what it keeps in which registers, then its loops (`loops`), the whole
//! numbers they move (`words`), its values (`vector`, `memory`) and targets (`targets`).

use super::asm::Asm;
use super::nest::{Along, Nest};
use super::program::{Id, Op, Program};
use super::registers::Registers;
use iced_x86::{Code, Instruction, Register};

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
pub(super) enum Home {
    Register(Register),
    /// A word of the frame.
    Frame(i64),
}

/// Vectors of one round.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) blocks: usize,
    /// The last one is not whole; its mask is in the tail's register.
    pub(super) tail: bool,
}

/// A map being written.
pub(super) struct Emit<'m> {
    pub(super) asm: Asm,
    pub(super) nest: &'m Nest,
    pub(super) program: &'m Program,
    pub(super) registers: Registers,
    /// Nodes that differ between vectors of a round.
    pub(super) varies: Vec<bool>,
    pub(super) roots: &'m [Id],
    /// The innermost loop that a node depends on, counted from one.
    pub(super) depth: Vec<usize>,
    /// Nodes that are computed outside of inner loops and kept.
    pub(super) kept: Vec<bool>,
    pub(super) cursors: Vec<Home>,
    /// Counters, one for each loop.
    pub(super) counters: Vec<Home>,
    /// Accumulators of each target, one a vector.
    pub(super) sums: Vec<Vec<u8>>,
    pub(super) unroll: usize,
    /// Stores of tensors larger than caches pass them by.
    pub(super) past_caches: bool,
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
        past_caches: false,
    };
    e.place_nodes(keep);
    let (saved, frame) = e.place_words();
    for &r in &saved {
        e.asm.put(Instruction::with1(Code::Push_r64, r));
    }
    e.stack(Code::Sub_rm64_imm32, frame);
    e.start_cursors();
    e.all_loops();
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
    pub(super) fn loops(&self) -> usize {
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
}
