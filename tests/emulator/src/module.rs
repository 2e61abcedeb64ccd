//! A module of PTX, decoded: its kernels, their parameters, registers and instructions.

use crate::decode::{Decoder, decode};
use crate::table::{Binary, Ternary, Unary};
use crate::text::{Statement, operands, statements};
use thiserror::Error;

/// The number of a register.
pub(crate) type Reg = u32;

/// What was not understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {what}: `{text}`")]
pub struct ParseError {
    /// Where.
    pub line: usize,
    /// What it is about.
    pub what: String,
    /// The statement.
    pub text: String,
}

/// Where an address points.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Space {
    Global,
    Shared,
    /// Of any block of the cluster.
    Cluster,
    Param,
}

/// `[register + offset]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    pub(crate) base: Reg,
    pub(crate) offset: i64,
}

/// How a warp shuffles.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shuffle {
    Up,
    Down,
    Butterfly,
    Index,
}

/// What operands of a matrix product are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Product {
    /// m16n8k16, bfloat16.
    Brain,
    /// m16n8k8, tf32.
    Tensor,
}

/// What a whole warp does together.
#[derive(Clone, Debug)]
pub(crate) enum WarpOp {
    Shuffle {
        how: Shuffle,
        to: Reg,
        inside: Option<Reg>,
        from: Reg,
        by: Reg,
        clamp: Reg,
    },
    Product {
        what: Product,
        to: Vec<Reg>,
        a: Vec<Reg>,
        b: Vec<Reg>,
        c: Vec<Reg>,
    },
    LoadMatrix {
        to: Vec<Reg>,
        transposed: bool,
        at: Address,
    },
    StoreMatrix {
        from: Vec<Reg>,
        transposed: bool,
        at: Address,
    },
    /// Waits for all lanes.
    Together,
    Turn {
        to: Reg,
        from: Reg,
    },
    /// Chooses a lane.
    Elect {
        to: Reg,
        chosen: Reg,
    },
    Group(GroupOp),
}

/// What a warp does of the asynchronous products of its group of four.
#[derive(Clone, Debug)]
pub(crate) enum GroupOp {
    /// Before products: registers are as they should be.
    Fence,
    Product(GroupProduct),
    /// After products: they are a group of their own.
    Commit,
    /// For all groups but so many of the newest.
    Wait(u32),
}

/// `D = A B + D`: a warp has 16 of the 64 rows.
#[derive(Clone, Debug)]
pub(crate) struct GroupProduct {
    pub(crate) to: Vec<Reg>,
    pub(crate) a: Left,
    pub(crate) b: Matrix,
    /// Whether what was in D before is added.
    pub(crate) adds: Reg,
}

/// The left operand of a product of a group.
#[derive(Clone, Debug)]
pub(crate) enum Left {
    Registers(Vec<Reg>),
    Shared(Matrix),
}

/// A matrix in shared memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Matrix {
    pub(crate) descriptor: Reg,
    /// Whether what lies side by side are rows of A or columns of B, and not entries along the sum.
    pub(crate) turned: bool,
}

/// What a thread does of barriers that count bytes, and of copies of boxes that they count.
#[derive(Clone, Debug)]
pub(crate) enum BulkOp {
    /// Makes a barrier of so many arrivals.
    Make { at: Address, count: Reg },
    /// Makes the place of one that of anything again.
    Unmake { at: Address },
    /// Arrives, and announces bytes.
    Expect { at: Address, bytes: Reg },
    /// Says whether the phase of a parity has ended.
    Wait { done: Reg, at: Address, parity: Reg },
    /// Copies the box at a place of a tensor.
    Copy { to: Address, tensor: Reg, place: Vec<Reg>, barrier: Address },
}

/// What an instruction does.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Unary(Unary, Reg, Reg),
    Binary(Binary, Reg, [Reg; 2]),
    Ternary(Ternary, Reg, [Reg; 3]),
    /// A comparison, its result joined with a condition.
    Compare(Binary, Reg, [Reg; 2], Binary, Reg),
    /// Parts of so many bits to one register, and back.
    Pack(Reg, Vec<Reg>, u32),
    Unpack(Vec<Reg>, Reg, u32),
    Load {
        space: Space,
        bytes: usize,
        signed: bool,
        to: Vec<Reg>,
        at: Address,
    },
    Store {
        space: Space,
        bytes: usize,
        from: Vec<Reg>,
        at: Address,
    },
    Branch(usize),
    /// Goes on at a function, its parameters' registers set, until it returns.
    Call(usize, Vec<[Reg; 2]>),
    Return,
    Barrier,
    /// The first half of a barrier of all threads of a cluster, and the second.
    Arrive,
    Meet,
    Exit,
    Warp(WarpOp),
    /// An asynchronous copy; of fewer bytes where a register says so, zeros behind them.
    Copy {
        to: Address,
        from: Address,
        bytes: usize,
        given: Option<Reg>,
    },
    CopyCommit,
    /// For all groups but so many of the newest; for every copy, committed or not, where nothing is said.
    CopyWait(Option<usize>),
    Bulk(BulkOp),
    /// Makes what its thread has written visible to matrix products that read shared memory, and to copies of boxes.
    ProxyFence,
    Nothing,
}

/// An instruction.
#[derive(Clone, Debug)]
pub(crate) struct Instr {
    /// Done only where this register is not 0 (false: where it is 0).
    pub(crate) guard: Option<(Reg, bool)>,
    pub(crate) op: Op,
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// A kernel.
#[derive(Clone, Debug, Default)]
pub(crate) struct Kernel {
    pub(crate) name: String,
    /// Blocks of a cluster.
    pub(crate) cluster: u32,
    /// Bytes of each parameter, in order, and where it lies.
    pub(crate) params: Vec<(usize, usize)>,
    /// Where those lie that are tensors, behind all others.
    pub(crate) maps: Vec<usize>,
    pub(crate) code: Vec<Instr>,
    /// What registers hold when a thread starts.
    pub(crate) start: Vec<u64>,
    /// Registers of special names.
    pub(crate) specials: Vec<(Reg, String)>,
}

/// The base of shared memory: not zero, so that a forgotten address is out of bounds.
pub(crate) const SHARED: u64 = 1 << 16;

/// Where parameters begin among all addresses.
pub(crate) const PARAMS: u64 = 1 << 62;

/// A module of PTX.
#[derive(Clone, Debug)]
pub struct Module {
    pub(crate) kernels: Vec<Kernel>,
}

impl Module {
    /// Reads PTX.
    ///
    /// # Errors
    /// The first statement that is not of the subset.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut kernels = Vec::new();
        let mut functions = Vec::new();
        let mut shared: Vec<(String, u64)> = Vec::new();
        let mut used = 0;
        let mut all = statements(text).into_iter().peekable();
        while let Some(statement) = all.next() {
            match statement {
                Statement::Line(line, text) if text.contains(".shared") => {
                    let (name, bytes) = variable(&text)
                        .ok_or_else(|| error(line, "not a variable", &text))?;
                    // What has no size begins where sizes end.
                    shared.push((name, SHARED + used));
                    used += bytes.next_multiple_of(16);
                }
                Statement::Line(_, text)
                    if [".version", ".target", ".address_size"]
                        .iter()
                        .any(|d| text.starts_with(d)) => {}
                Statement::Open(line, head) if head.contains(".entry") => {
                    let body = body(&mut all);
                    kernels.push(kernel(line, &head, body, &shared, &functions)?);
                }
                Statement::Open(line, head) if head.starts_with(".func") => {
                    let wrong = || error(line, "not a function", &head);
                    let (name, params) = signature(&head, ".func").ok_or_else(wrong)?;
                    let (name, body) = (name.to_owned(), lines(body(&mut all)));
                    functions.push(Function { name, params, body });
                }
                Statement::Line(line, text) | Statement::Open(line, text) => {
                    return Err(error(line, "not of the subset", &text));
                }
                Statement::Label(name) => {
                    return Err(error(0, "a label outside of a kernel", &name));
                }
                Statement::Close => {}
            }
        }
        Ok(Self { kernels })
    }

    /// The kernels' names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.kernels.iter().map(|k| k.name.as_str())
    }
}

pub(crate) fn error(line: usize, what: &str, text: &str) -> ParseError {
    ParseError { line, what: what.to_owned(), text: text.to_owned() }
}

/// `.shared .align 16 .b8 name[64]`: its name and bytes.
fn variable(text: &str) -> Option<(String, u64)> {
    let last = text.split_whitespace().next_back()?;
    let (name, rest) = last.split_once('[').unwrap_or((last, "1]"));
    let count: u64 = match rest.trim_end_matches(']') {
        "" => 0,
        n => n.parse().ok()?,
    };
    let each = match text.split_whitespace().rfind(|w| w.starts_with(".b"))? {
        ".b8" => 1,
        ".b16" => 2,
        ".b32" => 4,
        ".b64" => 8,
        _ => return None,
    };
    Some((name.to_owned(), count * each))
}

/// What stands between the braces of a kernel or of a function.
fn body(all: &mut impl Iterator<Item = Statement>) -> Vec<Statement> {
    let mut depth = 1;
    let inside = |s: &Statement| {
        match s {
            Statement::Open(..) => depth += 1,
            Statement::Close => depth -= 1,
            Statement::Line(..) | Statement::Label(_) => {}
        }
        depth > 0
    };
    all.take_while(inside).collect()
}

/// The name behind a word, and the list of parameters.
fn signature<'t>(head: &'t str, word: &str) -> Option<(&'t str, Vec<String>)> {
    let (name, rest) = head.split(word).nth(1)?.split_once('(')?;
    let (list, _) = rest.rsplit_once(')')?;
    Some((name.trim(), operands(list)))
}

/// Instructions as text, with their lines, and which of them labels stand before.
#[derive(Clone, Debug, Default)]
struct Lines {
    lines: Vec<(usize, String)>,
    labels: Vec<(String, usize)>,
}

fn lines(body: Vec<Statement>) -> Lines {
    let mut out = Lines::default();
    for statement in body {
        match statement {
            // Registers, and what a call hands over.
            Statement::Line(_, text)
                if text.starts_with(".reg") || text.starts_with(".param") => {}
            Statement::Line(line, text) => out.lines.push((line, text)),
            Statement::Label(name) => out.labels.push((name, out.lines.len())),
            // Blocks of inline code and of calls.
            Statement::Open(..) | Statement::Close => {}
        }
    }
    out
}

/// A function that kernels call: whole numbers and addresses are its parameters, and it gives nothing back.
#[derive(Clone, Debug)]
struct Function {
    name: String,
    params: Vec<String>,
    body: Lines,
}

fn kernel(
    line: usize,
    head: &str,
    body: Vec<Statement>,
    shared: &[(String, u64)],
    functions: &[Function],
) -> Result<Kernel, ParseError> {
    let wrong = |what| error(line, what, head);
    let (name, params) =
        signature(head, ".entry").ok_or_else(|| wrong("no parameters"))?;
    let mut decoder = Decoder::default();
    for (name, address) in shared {
        decoder.symbols.insert(name.clone(), *address);
    }
    let cluster = blocks_of_cluster(head).ok_or_else(|| wrong("not a cluster"))?;
    let mut kernel = Kernel { name: name.to_owned(), cluster, ..Kernel::default() };
    let mut at = 0;
    for param in params {
        let words: Vec<&str> = param.split_whitespace().collect();
        if let [.., ".align", "64", ".b8", last] = words[..] {
            let name = last.strip_suffix("[128]").ok_or_else(|| wrong("no tensor"))?;
            at = usize::next_multiple_of(at, 64);
            decoder.symbols.insert(name.to_owned(), at as u64);
            kernel.maps.push(at);
            at += 128;
            continue;
        }
        let bytes = match words.get(1) {
            Some(&(".u64" | ".b64" | ".s64" | ".f64")) => 8,
            Some(&(".u32" | ".b32" | ".s32" | ".f32")) => 4,
            Some(&(".u8" | ".b8")) => 1,
            _ => return Err(wrong("a parameter of another type")),
        };
        at = usize::next_multiple_of(at, bytes);
        let name = words.last().expect("a word");
        decoder.symbols.insert((*name).to_owned(), at as u64);
        kernel.params.push((at, bytes));
        at += bytes;
    }
    // Functions that it calls lie behind the kernel's own code, with registers of their own: they call none.
    let body = lines(body);
    let mut from = body.lines.len();
    let called =
        |f: &&Function| body.lines.iter().any(|(_, text)| text.contains(&f.name));
    let functions: Vec<&Function> = functions.iter().filter(called).collect();
    for Function { name, params, body } in &functions {
        let names = params.iter().filter_map(|p| p.split_whitespace().next_back());
        let params = names.map(|p| (p.to_owned(), decoder.new_register())).collect();
        decoder.functions.insert(name.clone(), (from, params));
        from += body.lines.len();
    }
    code(&mut decoder, body, &mut kernel.code)?;
    for Function { name, body, .. } in functions {
        decoder.enter(name);
        code(&mut decoder, body.clone(), &mut kernel.code)?;
    }
    kernel.start = decoder.start;
    kernel.specials = decoder.specials;
    Ok(kernel)
}

/// What `.reqnctapercluster 4, 1, 1` says, one where nothing does; nothing where its blocks are not side by side.
fn blocks_of_cluster(head: &str) -> Option<u32> {
    let Some((_, said)) = head.split_once(".reqnctapercluster") else { return Some(1) };
    let said = said.split('.').next().unwrap_or(said);
    let sizes: Vec<u32> = said.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    match sizes[..] {
        [n] | [n, 1] | [n, 1, 1] if n > 0 => Some(n),
        _ => None,
    }
}

/// Appends the instructions of a body.
fn code(d: &mut Decoder, body: Lines, out: &mut Vec<Instr>) -> Result<(), ParseError> {
    let from = out.len();
    d.labels = body.labels.into_iter().map(|(name, at)| (name, from + at)).collect();
    for (line, text) in body.lines {
        out.push(decode(d, line, &text)?);
    }
    Ok(())
}
