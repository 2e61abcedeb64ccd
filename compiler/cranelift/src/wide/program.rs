//! A map's program as operations of whole vectors, transcendentals written out.
//!
//! The transcendental functions are those of the block routines: their bodies are generic in what
//! a vector is, and here a vector is a [`Symbol`] that records what is done with it. So a routine
//! and the code made here round the same way, and there is one text of each function.
//!
//! # Contract of the unsafe code
//! Loads and stores of the trait are unsafe by declaration; a symbol's are never reached and say so.

use crate::routines::lanes::{Lanes, Maps, ROOT_HALF};
use crate::routines::{erf, exp, log};
use nestor_ir::entity::Entity;
use nestor_ir::tile::{Expr, ExprId, ScalarKind, ScalarOp};
use rustc_hash::FxHashMap;
use std::cell::RefCell;

/// A node of the program.
pub(super) type Id = u32;

/// What a node does. Operands are nodes; conditions are mask registers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Op {
    /// The element of a load.
    Load(usize),
    /// The same bits in all lanes.
    Bits(u32),
    /// A condition that is known.
    Known(bool),
    /// The index of a dimension plus an offset, as a real.
    Index(usize, usize),
    Add,
    Sub,
    Mul,
    Div,
    Min,
    Max,
    Sqrt,
    /// `a b + c`
    Fma,
    /// `a b - c`
    Fms,
    /// `c - a b`
    Fnma,
    Round,
    Floor,
    /// `a 2^b`
    Scale,
    AndBits,
    OrBits,
    XorBits,
    ShiftUp30,
    ShiftDown23,
    AddInt,
    SubInt,
    RealOfInt,
    RealOfMask,
    Less,
    LessEqual,
    Equal,
    LessInt,
    LessEqualInt,
    EqualInt,
    And,
    Or,
    Not,
    /// The two conditions agree.
    Same,
    /// `if a then b else c`
    Select,
    /// The same of conditions.
    SelectMask,
}

/// An operation with its operands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) struct Node {
    pub(super) op: Op,
    pub(super) operands: [Id; 3],
    /// How many operands count.
    pub(super) arity: usize,
    /// A condition.
    pub(super) mask: bool,
}

impl Node {
    pub(super) fn operands(&self) -> &[Id] {
        &self.operands[..self.arity]
    }
}

/// Nodes, operands before users, each once.
#[derive(Default)]
pub(super) struct Program {
    pub(super) nodes: Vec<Node>,
    known: FxHashMap<Node, Id>,
}

impl Program {
    fn add(&mut self, op: Op, operands: &[Id]) -> Id {
        let mut all = [0; 3];
        all[..operands.len()].copy_from_slice(operands);
        let mask = matches!(
            op,
            Op::Known(_)
                | Op::Less
                | Op::LessEqual
                | Op::Equal
                | Op::LessInt
                | Op::LessEqualInt
                | Op::EqualInt
                | Op::And
                | Op::Or
                | Op::Not
                | Op::Same
                | Op::SelectMask
        );
        self.intern(Node { op, operands: all, arity: operands.len(), mask })
    }
    fn intern(&mut self, node: Node) -> Id {
        if let Some(&id) = self.known.get(&node) {
            return id;
        }
        let id = Id::try_from(self.nodes.len()).expect("few nodes");
        self.nodes.push(node);
        self.known.insert(node, id);
        id
    }
    fn real(&mut self, x: f32) -> Id {
        self.add(Op::Bits(x.to_bits()), &[])
    }
}

/// The program of an expression and the nodes of its roots; nothing where it holds a function
/// that is not written out here.
pub(super) fn lowered(expr: &Expr, roots: &[ExprId]) -> Option<(Program, Vec<Id>)> {
    let mut uses = vec![0_usize; expr.scalars.len()];
    for r in roots {
        uses[r.index()] += 1;
    }
    for (id, scalar) in expr.scalars.iter().rev() {
        if uses[id.index()] > 0 {
            for o in &scalar.operands {
                uses[o.index()] += 1;
            }
        }
    }
    RECORD.with_borrow_mut(|record| *record = Program::default());
    let mut ids: Vec<Id> = vec![0; expr.scalars.len()];
    for (id, _) in expr.scalars.iter() {
        if uses[id.index()] > 0 {
            ids[id.index()] = scalar(expr, id, &ids, &uses)?;
        }
    }
    let program = RECORD.with_borrow_mut(std::mem::take);
    Some((program, roots.iter().map(|r| ids[r.index()]).collect()))
}

fn scalar(expr: &Expr, id: ExprId, ids: &[Id], uses: &[usize]) -> Option<Id> {
    let s = &expr.scalars[id];
    let x: Vec<Id> = s.operands.iter().map(|o| ids[o.index()]).collect();
    let kind = |n: usize| expr.scalars[s.operands[n]].kind;
    let put = |op: Op| record(op, &x);
    // A product with no other use joins the sum.
    let product = |n: usize| {
        let o = s.operands[n];
        let p = &expr.scalars[o];
        let single = p.op == ScalarOp::Mul && uses[o.index()] == 1;
        single.then(|| (ids[p.operands[0].index()], ids[p.operands[1].index()]))
    };
    Some(match s.op {
        ScalarOp::Load(n) => RECORD.with_borrow_mut(|p| {
            let (op, mask) = (Op::Load(n), s.kind == ScalarKind::Bool);
            p.intern(Node { op, operands: [0; 3], arity: 0, mask })
        }),
        ScalarOp::Constant(c) => match s.kind {
            ScalarKind::Real => put(Op::Bits((c as f32).to_bits())),
            ScalarKind::Int => put(Op::Bits(c as i32 as u32)),
            ScalarKind::Bool => put(Op::Known(c != 0.0)),
        },
        ScalarOp::Index(d, offset) => put(Op::Index(d, offset)),
        ScalarOp::Neg => {
            let sign = record(Op::Bits(0x8000_0000), &[]);
            record(Op::XorBits, &[x[0], sign])
        }
        ScalarOp::Abs => Symbol(x[0]).abs().0,
        ScalarOp::Sqrt => put(Op::Sqrt),
        ScalarOp::Floor => put(Op::Floor),
        ScalarOp::Sign => {
            let (v, zero) = (Symbol(x[0]), Symbol::splat(0.0));
            let rest = Symbol::select(v.less(zero), Symbol::splat(-1.0), v);
            Symbol::select(zero.less(v), Symbol::splat(1.0), rest).0
        }
        ScalarOp::Exp => exp::exp(Symbol(x[0])).0,
        ScalarOp::Log => log::log(Symbol(x[0])).0,
        ScalarOp::Tanh => exp::tanh(Symbol(x[0])).0,
        ScalarOp::Erf => erf::erf(Symbol(x[0])).0,
        ScalarOp::Sigmoid => exp::sigmoid(Symbol(x[0])).0,
        ScalarOp::Softplus => log::softplus(Symbol(x[0])).0,
        ScalarOp::Pow => {
            // Squares, the common case; other powers are computed in double precision.
            let two = Op::Bits(2.0_f32.to_bits());
            if RECORD.with_borrow(|p| p.nodes[x[1] as usize].op) != two {
                return None;
            }
            record(Op::Mul, &[x[0], x[0]])
        }
        ScalarOp::Sin | ScalarOp::Cos => return None,
        ScalarOp::Not => put(Op::Not),
        ScalarOp::Real => match kind(0) {
            ScalarKind::Real => x[0],
            ScalarKind::Int => put(Op::RealOfInt),
            ScalarKind::Bool => put(Op::RealOfMask),
        },
        ScalarOp::Add => match (product(0), product(1)) {
            (Some((a, b)), _) => record(Op::Fma, &[a, b, x[1]]),
            (None, Some((a, b))) => record(Op::Fma, &[a, b, x[0]]),
            (None, None) => put(Op::Add),
        },
        ScalarOp::Sub => match (product(0), product(1)) {
            (Some((a, b)), _) => record(Op::Fms, &[a, b, x[1]]),
            (None, Some((a, b))) => record(Op::Fnma, &[a, b, x[0]]),
            (None, None) => put(Op::Sub),
        },
        ScalarOp::Mul => put(Op::Mul),
        ScalarOp::Div => put(Op::Div),
        ScalarOp::Rem => {
            let q = record(Op::Div, &x);
            let q = record(Op::Floor, &[q]);
            let whole = record(Op::Mul, &[x[1], q]);
            record(Op::Sub, &[x[0], whole])
        }
        ScalarOp::Max => put(Op::Max),
        ScalarOp::Min => put(Op::Min),
        ScalarOp::Less => match kind(0) {
            ScalarKind::Real => put(Op::Less),
            ScalarKind::Int => put(Op::LessInt),
            ScalarKind::Bool => return None,
        },
        ScalarOp::LessEqual => match kind(0) {
            ScalarKind::Real => put(Op::LessEqual),
            ScalarKind::Int => put(Op::LessEqualInt),
            ScalarKind::Bool => return None,
        },
        ScalarOp::Equal => match kind(0) {
            ScalarKind::Real => put(Op::Equal),
            ScalarKind::Int => put(Op::EqualInt),
            ScalarKind::Bool => put(Op::Same),
        },
        ScalarOp::And => put(Op::And),
        ScalarOp::Or => put(Op::Or),
        ScalarOp::Select => match s.kind {
            ScalarKind::Bool => put(Op::SelectMask),
            ScalarKind::Real | ScalarKind::Int => put(Op::Select),
        },
    })
}

thread_local! {
    /// The program that symbols are recorded in.
    static RECORD: RefCell<Program> = RefCell::default();
}

fn record(op: Op, operands: &[Id]) -> Id {
    RECORD.with_borrow_mut(|p| p.add(op, operands))
}

/// A vector that is not computed but recorded.
#[derive(Clone, Copy)]
struct Symbol(Id);

/// A recorded condition.
#[derive(Clone, Copy)]
struct SymbolMask(Id);

fn of(op: Op, operands: &[Symbol]) -> Symbol {
    let ids: Vec<Id> = operands.iter().map(|s| s.0).collect();
    Symbol(record(op, &ids))
}

impl Symbol {
    fn bits(bits: u32) -> Self {
        of(Op::Bits(bits), &[])
    }
}

#[allow(
    unsafe_code,
    reason = "the trait's loads and stores are unsafe; a symbol has none"
)]
impl Lanes for Symbol {
    type Elem = f32;
    const N: usize = 16;
    const ACCUMULATORS: usize = 16;
    unsafe fn load(_: *const f32) -> Self {
        unreachable!("a recorded function reads no memory")
    }
    unsafe fn store(self, _: *mut f32) {
        unreachable!("a recorded function writes no memory")
    }
    unsafe fn load_first(_: *const f32, _: usize) -> Self {
        unreachable!("a recorded function reads no memory")
    }
    unsafe fn store_first(self, _: *mut f32, _: usize) {
        unreachable!("a recorded function writes no memory")
    }
    fn splat(x: f32) -> Self {
        Symbol(RECORD.with_borrow_mut(|p| p.real(x)))
    }
    fn add(self, b: Self) -> Self {
        of(Op::Add, &[self, b])
    }
    fn mul(self, b: Self) -> Self {
        of(Op::Mul, &[self, b])
    }
    fn fma(self, b: Self, c: Self) -> Self {
        of(Op::Fma, &[self, b, c])
    }
    fn fnma(self, b: Self, c: Self) -> Self {
        of(Op::Fnma, &[self, b, c])
    }
    fn max(self, b: Self) -> Self {
        of(Op::Max, &[self, b])
    }
}

impl Maps for Symbol {
    type Mask = SymbolMask;
    fn sub(self, b: Self) -> Self {
        of(Op::Sub, &[self, b])
    }
    fn div(self, b: Self) -> Self {
        of(Op::Div, &[self, b])
    }
    fn min(self, b: Self) -> Self {
        of(Op::Min, &[self, b])
    }
    fn round(self) -> Self {
        of(Op::Round, &[self])
    }
    fn scale(self, n: Self) -> Self {
        of(Op::Scale, &[self, n])
    }
    fn split(self) -> (Self, Self) {
        let root = Self::bits(ROOT_HALF);
        let x = of(Op::SubInt, &[self, root]);
        let e = of(Op::RealOfInt, &[of(Op::ShiftDown23, &[x])]);
        (e, of(Op::AddInt, &[x.and_bits(0x7f_ffff), root]))
    }
    fn less(self, b: Self) -> SymbolMask {
        SymbolMask(record(Op::Less, &[self.0, b.0]))
    }
    fn equal(self, b: Self) -> SymbolMask {
        SymbolMask(record(Op::Equal, &[self.0, b.0]))
    }
    fn select(mask: SymbolMask, yes: Self, no: Self) -> Self {
        Symbol(record(Op::Select, &[mask.0, yes.0, no.0]))
    }
    fn any(_: SymbolMask) -> bool {
        unreachable!("a recorded function does not branch")
    }
    fn and_bits(self, bits: u32) -> Self {
        of(Op::AndBits, &[self, Self::bits(bits)])
    }
    fn or(self, b: Self) -> Self {
        of(Op::OrBits, &[self, b])
    }
    fn xor(self, b: Self) -> Self {
        of(Op::XorBits, &[self, b])
    }
    fn shift_up_30(self) -> Self {
        of(Op::ShiftUp30, &[self])
    }
}
