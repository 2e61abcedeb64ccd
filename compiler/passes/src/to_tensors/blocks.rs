//! A memory that is a window of fixed length, read by blocks of tokens.
//!
//! ```text
//! before   K [B, T, w, ..] = window k;  y [B, T, ..] = read (K, q)           a window for every token
//! after    y = walk over blocks of C tokens:
//!              K [L, ..] = past, k;  past' = the last L - C of K             shared by the block's tokens
//!              y [C, ..] = read (K, q), each token the w entries that it sees
//! ```
//!
//! What the walk carries is only moved, so that all blocks can be read at once where that pays (`fission`).

use super::entries::Given;
use super::placed::placed;
use super::{LEAD, TIME};
use crate::build::{constant, sub, zeros};
use crate::error::PassError;
use crate::vectorise::{Mapped, lift, no_hook, vectorise_into};
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::infer::seen_by_body;
use nestor_ir::tensor::{Axis, Feed, Graph, Layout, Op, Scan, Stride, Value, Yield};
use nestor_ir::ty::{Dims, Type};

/// Tokens of a block.
pub(super) const BLOCK: usize = 32;
/// Entries from which a window is read by blocks: a block is as wide.
pub(super) const LEAST: usize = BLOCK / 2;

/// What a token looks at, as one graph: what an update makes of windows, and what a read makes of that.
pub(super) struct Look {
    graph: Graph,
    arguments: Vec<Argument>,
    size: usize,
}

/// What an input of it is.
enum Argument {
    /// The window over a stream.
    Window(Mapped),
    /// A value of this rank.
    Value(Mapped, usize),
}

/// An update as it was repeated over `[B, T, ..]`: its function, what stands for its values, and its operands.
pub(super) struct Repeated {
    pub(super) function: Graph,
    pub(super) values: Vec<Option<Mapped>>,
    pub(super) operands: Vec<Mapped>,
}

impl Look {
    /// Of an update and a read with its own operands; nothing where it has no windows of one fixed length, or short ones.
    pub(super) fn of(
        update: &Repeated,
        read: &Graph,
        operands: &[Mapped],
    ) -> Option<Self> {
        let function = &update.function;
        let mut size = None;
        let needed = behind_windows(function);
        let mut look = Self { graph: Graph::new(), arguments: Vec::new(), size: 0 };
        let mut map: Vec<Option<Value>> = vec![None; function.values.len()];
        for node in function.nodes.values() {
            if !node.results.iter().any(|v| needed[v.index()]) {
                continue;
            }
            let result = node.results[0];
            match &node.op {
                Op::Input { index, .. } => {
                    let operand = *update.operands.get(*index)?;
                    map[result.index()] = Some(look.value(function, result, operand));
                }
                Op::Recent { size: own } => {
                    let stream = update.values[node.operands[0].index()]?;
                    if size.replace(own.fixed()?).is_some_and(|s| Some(s) != size) {
                        return None;
                    }
                    let ty = function.ty(result).clone();
                    look.arguments.push(Argument::Window(stream));
                    map[result.index()] = Some(look.graph.input("window", ty));
                }
                op => {
                    let of = |v: &Value| map[v.index()];
                    let operands: Vec<Value> =
                        node.operands.iter().map(of).collect::<Option<_>>()?;
                    let results = look.graph.add_many(op.clone(), &operands);
                    for (&from, &to) in node.results.iter().zip(&results) {
                        map[from.index()] = Some(to);
                    }
                }
            }
        }
        look.size = size.filter(|n| *n >= LEAST)?;
        let kept = function.outputs.iter().map(|o| map[o.value.index()]);
        let mut arguments: Vec<Value> = kept.collect::<Option<_>>()?;
        for (input, operand) in read.inputs[arguments.len()..].iter().zip(operands) {
            arguments.push(look.value(read, input.value, *operand));
        }
        let map = look.graph.splice(read, &arguments);
        let answer = read.outputs.first()?;
        look.graph.output("answer", map[answer.value.index()]);
        Some(look)
    }

    fn value(&mut self, from: &Graph, v: Value, operand: Mapped) -> Value {
        let ty = from.ty(v).clone();
        self.arguments.push(Argument::Value(operand, ty.rank()));
        self.graph.input("x", ty)
    }

    /// The answers over `[B, T, map..]`, by blocks; nothing where windows serve as well.
    ///
    /// # Errors
    /// As the vectoriser.
    pub(super) fn answer(
        &self,
        g: &mut Graph,
        lead: &[Dim],
    ) -> Result<Option<Mapped>, PassError> {
        let range = ((self.size - 1).div_ceil(BLOCK) + 1) * BLOCK;
        let given: Vec<Given> = self.arguments.iter().map(Argument::given).collect();
        let Some(placed) = placed(&self.graph, &given, self.size, range) else {
            return Ok(None);
        };
        let own = (0..lead.len()).filter(|n| *n != TIME);
        let mut walk = Blocks {
            scan: Scan {
                map: own.map(|n| lead[n]).collect(),
                time: lead[TIME],
                stride: Stride::Chunk(BLOCK),
                reverse: false,
                feeds: vec![],
                yields: vec![],
                body: Graph::new(),
            },
            operands: vec![],
        };
        let mut arguments = Vec::new();
        for argument in &self.arguments {
            arguments.push(match argument {
                Argument::Window(stream) => {
                    let stream = lift(g, *stream, lead);
                    Mapped::shared(walk.range(g, stream, range - BLOCK))
                }
                Argument::Value(value, rank) => walk.fed(g, *value, *rank, lead),
            });
        }
        let rows = [Dim::Fixed(BLOCK)];
        let body = &mut walk.scan.body;
        body.input("valid", Type::bool(rows));
        let position = body.input("position", Type::real(rows));
        arguments.push(Mapped::all(ages(body, range)));
        arguments.push(Mapped::all(position));
        let found = vectorise_into(body, &placed, &arguments, &rows, None, &mut no_hook)?;
        let answer = lift(body, found[0], &rows);
        let own = body.ty(answer).rank() - 1;
        body.output("answer", answer);
        walk.scan.yields.push((Yield::Stream, streamed(lead.len(), own)));
        let Blocks { scan, operands } = walk;
        let results = g.add_many(Op::Scan { scan: Box::new(scan) }, &operands);
        Ok(results.last().map(|answer| Mapped::all(*answer)))
    }
}

impl Argument {
    fn given(&self) -> Given {
        match self {
            Argument::Window(_) => Given::Window,
            Argument::Value(value, _) if value.mapped => Given::Token,
            Argument::Value(..) => Given::Shared,
        }
    }
}

/// What outputs are made of, up to windows: what is before these is done for every token as it is.
fn behind_windows(function: &Graph) -> Vec<bool> {
    let mut needed = vec![false; function.values.len()];
    for output in &function.outputs {
        needed[output.value.index()] = true;
    }
    for node in function.nodes.values().collect::<Vec<_>>().into_iter().rev() {
        let wanted = node.results.iter().any(|v| needed[v.index()]);
        if wanted && !matches!(node.op, Op::Recent { .. }) {
            node.operands.iter().for_each(|v| needed[v.index()] = true);
        }
    }
    needed
}

/// A walk in the making.
struct Blocks {
    scan: Scan,
    operands: Vec<Value>,
}

impl Blocks {
    fn feed(
        &mut self,
        g: &Graph,
        (feed, layout): (Feed, Layout),
        operand: Value,
    ) -> Value {
        let seen = seen_by_body(&self.scan, feed, &layout, g.ty(operand));
        let name = format!("x{}", self.operands.len());
        self.scan.feeds.push((feed, layout));
        self.operands.push(operand);
        self.scan.body.input(name, seen)
    }

    /// A stream's tokens of this block and of the `before` tokens before it, which the walk carries along.
    fn range(&mut self, g: &mut Graph, stream: Value, before: usize) -> Value {
        let rank = g.ty(stream).rank();
        let lead = self.scan.map.len() + 1;
        let fed = (Feed::Stream, streamed(lead, rank - lead));
        let block = self.feed(g, fed, stream);
        let mut ty = self.scan.body.ty(block).clone();
        ty.dims[0] = Dim::Fixed(before);
        let none = zeros(g, &ty);
        let bodies = std::iter::repeat_n(Axis::Body, ty.rank());
        let past = self.feed(g, (Feed::Initial, bodies.collect()), none);
        let body = &mut self.scan.body;
        let range = body.add(Op::Concat { axis: 0 }, &[past, block]);
        let last = Op::Slice { axis: 0, start: BLOCK, size: before };
        let next = body.add(last, &[range]);
        body.output(format!("state.{}", body.outputs.len()), next);
        range
    }

    /// An operand, which may lack the memory's dimensions, of this rank in one instance.
    fn fed(&mut self, g: &mut Graph, m: Mapped, rank: usize, lead: &[Dim]) -> Mapped {
        let own = g.ty(m.value).rank() - rank;
        let bodies = std::iter::repeat_n(Axis::Body, rank);
        let (feed, layout): (Feed, Layout) = match (m.mapped, own) {
            (true, n) if n == lead.len() => (Feed::Stream, streamed(lead.len(), rank)),
            (true, _) => {
                let tokens = [Axis::Map(0), Axis::Time];
                (Feed::Stream, tokens.into_iter().chain(bodies).collect())
            }
            (false, n) => {
                let maps = (LEAD.len()..LEAD.len() + n).map(|n| Axis::Map(n - 1));
                (Feed::Shared, maps.chain(bodies).collect())
            }
        };
        let value = self.feed(g, (feed, layout), m.value);
        Mapped { value, mapped: m.mapped }
    }
}

/// The layout of a stream `[B, T, map.., own..]`, by the numbers of its leading and own axes.
fn streamed(lead: usize, own: usize) -> Layout {
    let maps = (0..lead).map(|n| match n {
        TIME => Axis::Time,
        0 => Axis::Map(0),
        n => Axis::Map(n - 1),
    });
    maps.chain(std::iter::repeat_n(Axis::Body, own)).collect()
}

/// How old every entry of the range is to every token of the block, which is its end.
fn ages(body: &mut Graph, range: usize) -> Value {
    let dims: Dims = [Dim::Fixed(BLOCK), Dim::Fixed(range)].into_iter().collect();
    let before = constant(body, (range - BLOCK) as f64, &dims);
    let row = body.add(Op::Iota { axis: 0, dims: dims.clone() }, &[]);
    let entry = body.add(Op::Iota { axis: 1, dims }, &[]);
    let place = body.add(Op::Add, &[before, row]);
    sub(body, place, entry)
}
