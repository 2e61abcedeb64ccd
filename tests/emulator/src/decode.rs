//! One instruction: its text to what is done.

use crate::compare::compare;
use crate::convert::convert;
use crate::decode_bulk::{barrier_op, copy_op};
use crate::decode_group::group_op;
use crate::module::{
    Address, Instr, Op, PARAMS, ParseError, Product, Reg, Shuffle, Space, WarpOp, error,
};
use crate::table::{BINARY, TERNARY, UNARY, find};
use crate::text::operands;
use rustc_hash::FxHashMap;

/// What names stand for.
#[derive(Default)]
pub(crate) struct Decoder {
    registers: FxHashMap<String, Reg>,
    /// Addresses of variables and parameters.
    pub(crate) symbols: FxHashMap<String, u64>,
    /// Instructions that labels stand before.
    pub(crate) labels: FxHashMap<String, usize>,
    /// What registers hold when a thread starts: constants lie in registers of their own.
    pub(crate) start: Vec<u64>,
    pub(crate) specials: Vec<(Reg, String)>,
    /// By name: where a function begins, and its parameters with their registers.
    pub(crate) functions: FxHashMap<String, (usize, Vec<(String, Reg)>)>,
    /// The parameters of the function that is read.
    own: Option<Vec<(String, Reg)>>,
}

impl Decoder {
    /// From now on a function is read: names of registers are its own.
    pub(crate) fn enter(&mut self, function: &str) {
        self.registers.clear();
        self.own = self.functions.get(function).map(|(_, params)| params.clone());
    }

    /// A register without a name.
    pub(crate) fn new_register(&mut self) -> Reg {
        self.start.push(0);
        self.start.len() as Reg - 1
    }

    pub(crate) fn register(&mut self, name: &str) -> Reg {
        if let Some(found) = self.registers.get(name) {
            return *found;
        }
        let new = self.new_register();
        self.start[new as usize] = self.symbols.get(name).copied().unwrap_or(0);
        self.registers.insert(name.to_owned(), new);
        if name.starts_with("%tid")
            || name.starts_with("%ntid")
            || name.starts_with("%ctaid")
            || name.starts_with("%nctaid")
            || name == "%laneid"
            || name == "%warpid"
        {
            self.specials.push((new, name.to_owned()));
        }
        new
    }

    /// A register, a constant or an address.
    pub(crate) fn source(&mut self, text: &str) -> Option<Reg> {
        if text.starts_with('%') || self.symbols.contains_key(text) {
            return Some(self.register(text));
        }
        let value = constant(text)?;
        let name = format!("#{value}");
        let register = self.register(&name);
        self.start[register as usize] = value;
        Some(register)
    }

    pub(crate) fn sources(&mut self, text: &str) -> Option<Vec<Reg>> {
        let inside = text.strip_prefix('{').and_then(|t| t.strip_suffix('}'));
        operands(inside.unwrap_or(text)).iter().map(|t| self.source(t)).collect()
    }

    /// `[base + offset]`; a second coordinate is not of the subset.
    pub(crate) fn address(&mut self, text: &str) -> Option<Address> {
        let inside = text.strip_prefix('[')?.strip_suffix(']')?.trim();
        let (base, offset) = match inside.split_once('+') {
            Some((base, offset)) => (base.trim(), offset.trim().parse().ok()?),
            None => (inside, 0),
        };
        Some(Address { base: self.source(base)?, offset })
    }
}

fn constant(text: &str) -> Option<u64> {
    if let Some(hex) = text.strip_prefix("0f").or_else(|| text.strip_prefix("0F")) {
        return u64::from_str_radix(hex, 16).ok();
    }
    if let Some(hex) = text.strip_prefix("0d").or_else(|| text.strip_prefix("0D")) {
        return u64::from_str_radix(hex, 16).ok();
    }
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex.trim_end_matches('U'), 16).ok();
    }
    let whole = text.trim_end_matches('U');
    whole.parse::<i64>().map(|n| n as u64).or_else(|_| whole.parse()).ok()
}

/// One instruction.
pub(crate) fn decode(
    d: &mut Decoder,
    line: usize,
    text: &str,
) -> Result<Instr, ParseError> {
    let (guard, rest) = match text.strip_prefix('@') {
        None => (None, text),
        Some(guarded) => {
            let (condition, rest) = guarded
                .split_once(char::is_whitespace)
                .ok_or_else(|| error(line, "a guard alone", text))?;
            let name = condition.trim_start_matches('!');
            (Some((d.register(name), name.len() == condition.len())), rest.trim())
        }
    };
    let (name, list) = match rest.split_once(char::is_whitespace) {
        Some((name, list)) => (name, operands(list.trim())),
        None => (rest, Vec::new()),
    };
    let op = op(d, name, &list)
        .ok_or_else(|| error(line, "an instruction outside of the subset", text))?;
    Ok(Instr { guard, op, line, text: text.to_owned() })
}

fn op(d: &mut Decoder, name: &str, list: &[String]) -> Option<Op> {
    let at = |n: usize| list.get(n).map(String::as_str);
    let (head, tail) = name.split_once('.').unwrap_or((name, ""));
    match (head, list.len()) {
        ("ld" | "ldu", 2) => return load(d, tail, at(0)?, at(1)?),
        ("st", 2) => return store(d, tail, at(0)?, at(1)?),
        ("mov", 2) => return moved(d, tail, at(0)?, at(1)?),
        ("bra", 1) => return Some(Op::Branch(*d.labels.get(at(0)?)?)),
        ("ret", 0) if d.own.is_some() => return Some(Op::Return),
        ("ret" | "exit", 0) => return Some(Op::Exit),
        ("call", _) if tail == "uni" => return call(d, list),
        ("bar", 1) if tail == "warp.sync" => {
            let all = constant(at(0)?)? as u32 == u32::MAX;
            return all.then_some(Op::Warp(WarpOp::Together));
        }
        ("bar" | "barrier", _) => return barrier(tail, list),
        ("fence", 0) if ["proxy.async", "proxy.async.shared::cta"].contains(&tail) => {
            return Some(Op::ProxyFence);
        }
        ("membar" | "fence", 0) => return Some(Op::Nothing),
        ("setp", _) => return comparison(d, tail, list),
        ("shfl", 5) => return shuffle(d, tail, list),
        ("mma", 4) => return product(d, tail, list),
        ("wgmma", _) => {
            return Some(Op::Warp(WarpOp::Group(group_op(d, tail, list)?)));
        }
        ("ldmatrix", 2) => return matrices(d, tail, at(0)?, at(1)?, false),
        ("stmatrix", 2) => return matrices(d, tail, at(1)?, at(0)?, true),
        ("movmatrix", 2) if tail == "sync.aligned.m8n8.trans.b16" => {
            let (to, from) = (d.register(at(0)?), d.source(at(1)?)?);
            return Some(Op::Warp(WarpOp::Turn { to, from }));
        }
        // Which lane is not said by the book: the first one here.
        ("elect", 2) if tail == "sync" && constant(at(1)?)? as u32 == u32::MAX => {
            let (to, chosen) = at(0)?.split_once('|')?;
            let (to, chosen) = (d.register(to), d.register(chosen));
            return Some(Op::Warp(WarpOp::Elect { to, chosen }));
        }
        ("mapa", 3) if tail == "shared::cluster.u64" => {
            let from = [d.source(at(1)?)?, d.source(at(2)?)?];
            return Some(Op::Binary(crate::cluster::of_block, d.register(at(0)?), from));
        }
        ("mbarrier", _) => return Some(Op::Bulk(barrier_op(d, tail, list)?)),
        ("cp", _) => {
            if let Some(tail) = tail.strip_prefix("async.bulk.tensor.") {
                return Some(Op::Bulk(copy_op(d, tail, list)?));
            }
            return copy(d, tail, list);
        }
        ("cvta", 2) if tail == "param.u64" => {
            return Some(Op::Unary(
                |a| a + PARAMS,
                d.register(at(0)?),
                d.source(at(1)?)?,
            ));
        }
        // Global addresses are generic addresses here.
        ("cvta", 2) if tail == "to.global.u64" || tail == "global.u64" => {
            return Some(Op::Unary(|a| a, d.register(at(0)?), d.source(at(1)?)?));
        }
        ("cvt", 2) => {
            return Some(Op::Unary(
                convert(tail)?,
                d.register(at(0)?),
                d.source(at(1)?)?,
            ));
        }
        ("cvt", 3) if tail == "rn.bf16x2.f32" => {
            let join = |a: u64, b: u64| {
                let half = |x| u64::from(crate::convert::brain(crate::table::f32(x)));
                half(a) << 16 | half(b)
            };
            let from = [d.source(at(1)?)?, d.source(at(2)?)?];
            return Some(Op::Binary(join, d.register(at(0)?), from));
        }
        _ => {}
    }
    let to = d.register(at(0)?);
    Some(match list.len() {
        2 => Op::Unary(find(UNARY, name)?, to, d.source(at(1)?)?),
        3 => {
            let from = [d.source(at(1)?)?, d.source(at(2)?)?];
            Op::Binary(find(BINARY, name)?, to, from)
        }
        4 => {
            let from = [d.source(at(1)?)?, d.source(at(2)?)?, d.source(at(3)?)?];
            Op::Ternary(find(TERNARY, name)?, to, from)
        }
        _ => return None,
    })
}

/// Bytes of a type, and whether a load extends its sign.
fn width(ty: &str) -> Option<(usize, bool)> {
    Some(match ty {
        "u8" | "b8" => (1, false),
        "s8" => (1, true),
        "u16" | "b16" => (2, false),
        "s16" => (2, true),
        "u32" | "b32" | "f32" | "s32" => (4, false),
        "u64" | "b64" | "f64" | "s64" => (8, false),
        _ => return None,
    })
}

fn space(tail: &str) -> Option<Space> {
    let mut parts = tail.split('.');
    parts.find_map(|p| match p {
        "global" => Some(Space::Global),
        "shared" | "shared::cta" => Some(Space::Shared),
        "shared::cluster" => Some(Space::Cluster),
        "param" => Some(Space::Param),
        _ => None,
    })
}

/// What a name in brackets stands for without an offset.
fn named(text: &str) -> Option<&str> {
    text.strip_prefix('[')?.strip_suffix(']').map(str::trim)
}

/// `name, (a, b)`: what `a` and `b` hold goes to the function's registers.
fn call(d: &mut Decoder, list: &[String]) -> Option<Op> {
    let (name, given) = list.split_first()?;
    let (at, params) = d.functions.get(name)?.clone();
    let given = given.iter().map(|g| d.register(g.trim_matches(['(', ')'])));
    let given: Vec<Reg> = given.collect();
    let moved = params.iter().zip(&given).map(|((_, to), from)| [*to, *from]);
    (given.len() == params.len()).then(|| Op::Call(at, moved.collect()))
}

fn load(d: &mut Decoder, tail: &str, to: &str, from: &str) -> Option<Op> {
    let (bytes, signed) = width(tail.rsplit('.').next()?)?;
    // A function's parameters are registers.
    let param = |own: &Vec<(String, Reg)>| {
        own.iter().find(|(name, _)| Some(name.as_str()) == named(from)).map(|(_, r)| *r)
    };
    if let Some(from) = d.own.as_ref().and_then(param) {
        return Some(Op::Unary(|a| a, d.register(to), from));
    }
    let to = d.sources(to)?;
    Some(Op::Load { space: space(tail)?, bytes, signed, to, at: d.address(from)? })
}

fn store(d: &mut Decoder, tail: &str, to: &str, from: &str) -> Option<Op> {
    let (bytes, _) = width(tail.rsplit('.').next()?)?;
    let from = d.sources(from)?;
    // What a call hands over is a register of its name.
    if space(tail)? == Space::Param {
        return Some(Op::Unary(|a| a, d.register(named(to)?), from[0]));
    }
    Some(Op::Store { space: space(tail)?, bytes, from, at: d.address(to)? })
}

fn moved(d: &mut Decoder, tail: &str, to: &str, from: &str) -> Option<Op> {
    let bits = match tail {
        "b64" | "u64" => 64,
        _ => 32,
    };
    if from.starts_with('{') {
        let parts = d.sources(from)?;
        let each = bits / parts.len() as u32;
        return Some(Op::Pack(d.register(to), parts, each));
    }
    if let Some(inside) = to.strip_prefix('{').and_then(|t| t.strip_suffix('}')) {
        // What goes to `_` goes nowhere, as to a register that nobody reads.
        let parts: Vec<Reg> = operands(inside).iter().map(|t| d.register(t)).collect();
        let each = bits / parts.len() as u32;
        return Some(Op::Unpack(parts, d.source(from)?, each));
    }
    let narrow: fn(u64) -> u64 = match tail {
        "b64" | "u64" | "s64" | "f64" => |a| a,
        "pred" => |a| u64::from(a != 0),
        "b16" | "u16" | "s16" => |a| a & 0xffff,
        "b32" | "u32" | "s32" | "f32" => |a| a & 0xffff_ffff,
        _ => return None,
    };
    Some(Op::Unary(narrow, d.register(to), d.source(from)?))
}

/// All threads of the block, or of the cluster; barriers of a warp order nothing that is checked here. Who comes to a cluster's barrier is taken to
/// wait at once: what is done between the two halves of one is not ordered by it, which [`crate::cluster`] sees to.
fn barrier(tail: &str, list: &[String]) -> Option<Op> {
    match (tail, list) {
        ("cluster.arrive.aligned", []) => Some(Op::Arrive),
        ("cluster.wait.aligned", []) => Some(Op::Meet),
        ("sync" | "sync.aligned" | "cta.sync" | "cta.sync.aligned", [n]) if n == "0" => {
            Some(Op::Barrier)
        }
        _ => None,
    }
}

fn comparison(d: &mut Decoder, tail: &str, list: &[String]) -> Option<Op> {
    let parts: Vec<&str> = tail.split('.').collect();
    let to = d.register(list.first()?);
    let from = [d.source(list.get(1)?)?, d.source(list.get(2)?)?];
    match (parts.as_slice(), list.get(3)) {
        ([relation, ty], None) => Some(Op::Binary(compare(relation, ty)?, to, from)),
        ([relation, join, ty], Some(with)) => {
            let join = find(BINARY, &format!("{join}.pred"))?;
            let with = d.source(with)?;
            Some(Op::Compare(compare(relation, ty)?, to, from, join, with))
        }
        _ => None,
    }
}

fn shuffle(d: &mut Decoder, tail: &str, list: &[String]) -> Option<Op> {
    let how = match tail {
        "sync.up.b32" => Shuffle::Up,
        "sync.down.b32" => Shuffle::Down,
        "sync.bfly.b32" => Shuffle::Butterfly,
        "sync.idx.b32" => Shuffle::Index,
        _ => return None,
    };
    // Only whole warps.
    if constant(list.get(4)?)? as u32 != u32::MAX {
        return None;
    }
    let (to, inside) = match list[0].split_once('|') {
        Some((to, inside)) => (to, Some(d.register(inside))),
        None => (list[0].as_str(), None),
    };
    let to = d.register(to);
    let (from, by, clamp) =
        (d.source(&list[1])?, d.source(&list[2])?, d.source(&list[3])?);
    Some(Op::Warp(WarpOp::Shuffle { how, to, inside, from, by, clamp }))
}

fn product(d: &mut Decoder, tail: &str, list: &[String]) -> Option<Op> {
    let what = match tail {
        "sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32" => Product::Brain,
        "sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32" => Product::Tensor,
        _ => return None,
    };
    let parts: Vec<Vec<Reg>> =
        list.iter().map(|t| d.sources(t)).collect::<Option<_>>()?;
    let [to, a, b, c]: [Vec<Reg>; 4] = parts.try_into().ok()?;
    let right = to.len() == 4 && a.len() == 4 && b.len() == 2 && c.len() == 4;
    right.then_some(Op::Warp(WarpOp::Product { what, to, a, b, c }))
}

/// Loads or stores several 8 x 8 matrices, a register for each.
fn matrices(
    d: &mut Decoder,
    tail: &str,
    registers: &str,
    at: &str,
    stores: bool,
) -> Option<Op> {
    let (transposed, count) = match tail.strip_prefix("sync.aligned.m8n8.")? {
        "x1.shared.b16" => (false, 1),
        "x2.shared.b16" => (false, 2),
        "x4.shared.b16" => (false, 4),
        "x1.trans.shared.b16" => (true, 1),
        "x2.trans.shared.b16" => (true, 2),
        "x4.trans.shared.b16" => (true, 4),
        _ => return None,
    };
    let (all, at) = (d.sources(registers)?, d.address(at)?);
    let right = all.len() == count;
    right.then_some(Op::Warp(match stores {
        false => WarpOp::LoadMatrix { to: all, transposed, at },
        true => WarpOp::StoreMatrix { from: all, transposed, at },
    }))
}

fn copy(d: &mut Decoder, tail: &str, list: &[String]) -> Option<Op> {
    match (tail, list) {
        ("async.commit_group", []) => Some(Op::CopyCommit),
        ("async.wait_all", []) => Some(Op::CopyWait(None)),
        ("async.wait_group", [n]) => Some(Op::CopyWait(Some(n.parse().ok()?))),
        ("async.ca.shared.global" | "async.cg.shared.global", [to, from, bytes]) => {
            let bytes = constant(bytes)? as usize;
            let allowed = match tail {
                "async.cg.shared.global" => bytes == 16,
                _ => [4, 8, 16].contains(&bytes),
            };
            copied(d, [to, from], bytes, None).filter(|_| allowed)
        }
        (
            "async.ca.shared.global" | "async.cg.shared.global",
            [to, from, bytes, given],
        ) => {
            let bytes = constant(bytes)? as usize;
            let allowed = match tail {
                "async.cg.shared.global" => bytes == 16,
                _ => [4, 8, 16].contains(&bytes),
            };
            let given = d.source(given)?;
            copied(d, [to, from], bytes, Some(given)).filter(|_| allowed)
        }
        _ => None,
    }
}

fn copied(
    d: &mut Decoder,
    [to, from]: [&String; 2],
    bytes: usize,
    given: Option<Reg>,
) -> Option<Op> {
    Some(Op::Copy { to: d.address(to)?, from: d.address(from)?, bytes, given })
}
