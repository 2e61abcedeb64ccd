//! Whole numbers of a nest: cursors, counters and arguments, in registers and in the frame.

use super::asm::{Memory, zmm};
use super::emit::{Emit, Home};
use super::nest::{Along, LANES, Quantity, Reach};
use iced_x86::{Code, Instruction, Register};

impl Emit<'_> {
    pub(super) fn stack(&mut self, code: Code, frame: i64) {
        if frame > 0 {
            let bytes = i32::try_from(frame).expect("a small frame");
            self.asm.put(Instruction::with2(code, Register::RSP, bytes));
        }
    }
    pub(super) fn word(&self, home: Home) -> Memory {
        match home {
            Home::Frame(at) => Memory { base: Register::RSP, displacement: at },
            Home::Register(_) => unreachable!("a register is no memory"),
        }
    }
    pub(super) fn argument(n: usize) -> Memory {
        Memory { base: Register::RDI, displacement: 8 * n as i64 }
    }

    /// `to <- quantity`
    pub(super) fn move_to(&mut self, to: Register, from: Quantity) {
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
    pub(super) fn set(&mut self, home: Home, from: Quantity) {
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
    pub(super) fn get(&mut self, to: Register, home: Home) {
        match home {
            Home::Register(r) => self.asm.two(Code::Mov_r64_rm64, to, r),
            Home::Frame(_) => {
                let from = self.word(home);
                self.asm.load(Code::Mov_r64_rm64, to, from);
            }
        }
    }
    /// `home += n`
    pub(super) fn add(&mut self, home: Home, n: i64) {
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
    pub(super) fn add_register(&mut self, home: Home, from: Register, minus: bool) {
        let code = if minus { Code::Sub_rm64_r64 } else { Code::Add_rm64_r64 };
        match home {
            Home::Register(r) => self.asm.two(code, r, from),
            Home::Frame(_) => {
                let to = self.word(home);
                self.asm.store(code, to, from);
            }
        }
    }
    pub(super) fn compare(&mut self, home: Home, n: i64) {
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

    pub(super) fn start_cursors(&mut self) {
        for c in 0..self.nest.cursors.len() {
            self.set(self.cursors[c], self.nest.cursors[c].start);
        }
    }

    /// All cursors go `times` steps of dimension `d`.
    pub(super) fn advance(&mut self, d: usize, times: i64) {
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
    pub(super) fn back(&mut self, d: usize, times: Quantity) {
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
    pub(super) fn step_argument(
        &mut self,
        c: usize,
        d: usize,
        times: Quantity,
        minus: bool,
    ) {
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
        let size = super::nest::bytes(reach.elem);
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
}
