//! Every memory as one scan by tokens: feeds what its statements take, hands out what its reads
//! answer, and keeps the final states.

use super::body::{Sample, Token};
use super::states::{Carried, ELEMENT, Needs, Start};
use super::whole::Handed;
use super::{LEAD, Options, TIME, history, memory_of};
use crate::build::{broadcast, zeros};
use crate::error::PassError;
use crate::vectorise::{Mapped, lift, no_hook, vectorise_into};
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::level::{Memory, MemoryId, Program, RetentionInput, Statement};
use nestor_ir::tensor::infer::seen_by_body;
use nestor_ir::tensor::{
    Axes, Axis, Feed, Graph, Layout, NodeData, Op, Scan, Stride, Value, Yield,
};
use nestor_ir::ty::{Dims, Type};

/// The memories walked so far.
pub(super) struct Walked<'p> {
    program: &'p Program,
    weights: &'p [Value],
    options: Options,
    done: Vec<MemoryId>,
    answers: Vec<(Value, Mapped)>,
    finals: Vec<(String, Value)>,
    handed: Handed,
}

impl<'p> Walked<'p> {
    /// None yet.
    pub(super) fn new(
        program: &'p Program,
        weights: &'p [Value],
        options: Options,
    ) -> Self {
        Self {
            program,
            weights,
            options,
            done: vec![],
            answers: vec![],
            finals: vec![],
            handed: Handed::new(options.resume),
        }
    }

    /// What a read or write gives; the first one of a memory walks it whole.
    pub(super) fn results(
        &mut self,
        g: &mut Graph,
        code: &Graph,
        node: &NodeData,
        known: &[Option<Mapped>],
    ) -> Result<Vec<Mapped>, PassError> {
        let Some(id) = memory_of(self.program, node) else { return Ok(vec![]) };
        if !self.done.contains(&id) {
            self.done.push(id);
            let all = code.nodes.values();
            let acts: Vec<NodeData> =
                all.filter(|n| memory_of(self.program, n) == Some(id)).cloned().collect();
            if self.program.memories[id].weights.is_empty() {
                self.look_back(g, id, &acts, known)?;
            } else {
                self.walk(g, id, &acts, known)?;
            }
        }
        let of = |v: &Value| self.answers.iter().find(|(a, _)| a == v).map(|(_, m)| *m);
        node.results
            .iter()
            .map(|v| of(v).ok_or_else(|| PassError::bug("to_tensors", "no answer")))
            .collect()
    }

    /// Final states become outputs.
    pub(super) fn finish(self, g: &mut Graph) -> Result<(), PassError> {
        let handed = self.handed.finals();
        for (name, value) in self.finals.into_iter().chain(handed) {
            g.output(name, value);
        }
        Ok(())
    }

    fn look_back(
        &mut self,
        g: &mut Graph,
        id: MemoryId,
        acts: &[NodeData],
        known: &[Option<Mapped>],
    ) -> Result<(), PassError> {
        let memory = &self.program.memories[id];
        let mut kept: Option<history::Past> = None;
        for node in acts {
            let operands = given(node, known)?;
            match &node.op {
                Op::Write { statement } => match &self.program.statements[*statement] {
                    Statement::Update(update) => {
                        let handed = &self.handed;
                        kept = Some(history::kept(g, memory, update, &operands, handed)?);
                    }
                    Statement::Minimize(_) => {
                        return Err(PassError::bug(
                            "to_tensors",
                            "nothing to minimise over",
                        ));
                    }
                },
                _ => {
                    if kept.is_none() && !memory.kept.is_empty() {
                        return Err(PassError::limitation(
                            "L-kept-before",
                            format!("`{}` is read before it is written", memory.path),
                            "write it first",
                        ));
                    }
                    let none = history::Past::none();
                    let seen = kept.as_ref().unwrap_or(&none);
                    let handed = &mut self.handed;
                    let answer = history::answer(g, memory, seen, &operands, handed)?;
                    self.answers.push((node.results[0], answer));
                }
            }
        }
        Ok(())
    }

    fn walk(
        &mut self,
        g: &mut Graph,
        id: MemoryId,
        acts: &[NodeData],
        known: &[Option<Mapped>],
    ) -> Result<(), PassError> {
        let needs = Needs::new(self.program, id, acts)?;
        let memory = needs.memory;
        let carried = needs.carried();
        let mut feeds = Feeds::new(&needs);
        // What the statements take.
        let mut taken: Vec<(Vec<Value>, Option<(Vec<Value>, usize)>)> = Vec::new();
        for node in acts {
            let operands = given(node, known)?;
            let ranks = self.ranks(memory, node);
            let fed: Vec<Value> = operands
                .iter()
                .zip(&ranks)
                .map(|(&m, &rank)| feeds.operand(g, m, rank))
                .collect();
            let window = self.window(node);
            let windows = window.map(|n| {
                let fed = operands.iter().zip(&ranks);
                (fed.map(|(&m, &rank)| feeds.window(g, m, rank, n)).collect(), n)
            });
            taken.push((fed, windows));
        }
        let states: Vec<Value> = carried
            .iter()
            .map(|c| {
                let value = self.start(g, &needs, c)?;
                Ok(feeds.add(g, Feed::Initial, feeds.shared_layout(g, value, c), value))
            })
            .collect::<Result<_, PassError>>()?;
        let initial: Vec<Option<Value>> = (0..memory.weights.len())
            .map(|w| {
                needs.takes_initial(w).then(|| {
                    let value = self.weights[memory.weights[w].initial.index()];
                    let layout = unmapped_layout(g, value, memory.weights[w].dims.len());
                    feeds.add(g, Feed::Shared, layout, value)
                })
            })
            .collect();
        feeds.scan.body.input("valid", Type::bool([]));
        let position = feeds.scan.body.input("position", Type::real([]));
        let body = std::mem::take(&mut feeds.scan.body);
        let mut token = Token::new(body, &needs, &carried, states, initial, position)?;
        let mut answers = Vec::new();
        for (node, (fed, windows)) in acts.iter().zip(taken) {
            match &node.op {
                Op::Write { statement } => match &self.program.statements[*statement] {
                    Statement::Update(u) => token.update(u, &fed)?,
                    Statement::Minimize(m) => {
                        let samples = match windows {
                            Some((windows, n)) => token.window(&windows, n),
                            None => vec![Sample { captured: fed, there: None }],
                        };
                        token.minimize(m, &samples)?;
                    }
                },
                Op::Read { every, .. } => {
                    let answer = token.read(*every, &fed)?;
                    answers.push((node.results[0], answer));
                }
                _ => {}
            }
        }
        for (c, &value) in carried.iter().zip(token.states()) {
            let value = *(&value);
            feeds.outputs.push((c.name.clone(), value));
        }
        feeds.scan.body = token.g;
        for (name, value) in std::mem::take(&mut feeds.outputs) {
            feeds.scan.body.output(name, value);
        }
        for (k, &(_, value)) in answers.iter().enumerate() {
            let rank = feeds.scan.body.ty(value).rank();
            feeds.scan.body.output(format!("answer.{k}"), value);
            let layout = feeds.stream_layout(rank);
            feeds.scan.yields.push((Yield::Stream, layout));
        }
        let Feeds { scan, operands, .. } = feeds;
        let results = g.add_many(Op::Scan { scan: Box::new(scan) }, &operands);
        for ((result, _), &value) in answers.iter().zip(&results[carried.len()..]) {
            self.answers.push((*result, Mapped::all(value)));
        }
        self.keep_states(g, &needs, &carried, &results)
    }

    /// Ranks of a node's operands in one instance.
    fn ranks(&self, memory: &Memory, node: &NodeData) -> Vec<usize> {
        let of = |graph: &Graph, skip: usize| {
            graph.inputs[skip..].iter().map(|i| graph.ty(i.value).rank()).collect()
        };
        let weights = memory.weights.len();
        match &node.op {
            Op::Write { statement } => match &self.program.statements[*statement] {
                Statement::Minimize(m) => of(&m.objectives[0], weights),
                Statement::Update(u) => of(&u.function, weights),
            },
            _ => of(&memory.read, weights + memory.kept.len()),
        }
    }

    /// How many tokens the objective of a write is over, where that is more than one.
    fn window(&self, node: &NodeData) -> Option<usize> {
        let Op::Write { statement } = node.op else { return None };
        match &self.program.statements[statement] {
            Statement::Minimize(m) => (m.window > 1).then_some(m.window),
            Statement::Update(_) => None,
        }
    }

    /// The value a state starts with.
    fn start(
        &self,
        g: &mut Graph,
        needs: &Needs<'_>,
        state: &Carried,
    ) -> Result<Value, PassError> {
        if self.options.resume {
            let dims: Dims =
                needs.walks().into_iter().chain(state.dims.clone()).collect();
            return Ok(g.input(state.name.clone(), Type { elem: ELEMENT, dims }));
        }
        let weight = |w: usize| self.weights[needs.memory.weights[w].initial.index()];
        Ok(match &state.start {
            Start::Weight(w) => weight(*w),
            Start::Values(graph) => g.inline(graph, &[])[0],
            Start::Zero => zeros(g, &Type::real(state.dims.iter().copied())),
            Start::Read(w) => {
                let map = needs.memory.map.clone();
                let rank = needs.memory.weights[*w].dims.len();
                let initial = weight(*w);
                let mapped = g.ty(initial).rank() > rank || map.is_empty();
                let initial = Mapped { value: initial, mapped };
                read_whole(g, needs, *w, initial, initial, &map)?
            }
        })
    }

    /// Final states under their names; weights as they are read.
    fn keep_states(
        &mut self,
        g: &mut Graph,
        needs: &Needs<'_>,
        carried: &[Carried],
        results: &[Value],
    ) -> Result<(), PassError> {
        for (state, &value) in carried.iter().zip(results) {
            self.finals.push((state.name.clone(), value));
            let super::states::Role::Weight(w) = state.role else { continue };
            if needs.read_of(w).is_none() {
                continue;
            }
            let lead = needs.walks();
            let weight = &needs.memory.weights[w];
            let initial = self.weights[weight.initial.index()];
            let mut initial = Mapped::shared(initial);
            if g.ty(initial.value).rank() > weight.dims.len() {
                let dims: Dims = lead.iter().chain(&weight.dims).copied().collect();
                let axes: Axes = (1..dims.len()).collect();
                initial = Mapped::all(broadcast(g, initial.value, &dims, &axes));
            }
            let read = read_whole(g, needs, w, Mapped::all(value), initial, &lead)?;
            self.finals.push((format!("state.{}", weight.short), read));
        }
        Ok(())
    }
}

/// A weight read from what is stored of it, for all instances at once.
fn read_whole(
    g: &mut Graph,
    needs: &Needs<'_>,
    w: usize,
    stored: Mapped,
    initial: Mapped,
    lead: &[Dim],
) -> Result<Value, PassError> {
    let (Some(read), Some(retention)) = (needs.read_of(w), needs.retention(w)) else {
        return Err(PassError::bug("to_tensors", "nothing to read from"));
    };
    let ty = Type::real(needs.memory.weights[w].dims.iter().copied());
    let zero = Mapped::shared(zeros(g, &ty));
    let arguments: Vec<Mapped> = retention
        .inputs
        .iter()
        .map(|input| match input {
            RetentionInput::Stored | RetentionInput::Previous => stored,
            RetentionInput::Initial => initial,
            RetentionInput::Step
            | RetentionInput::State(_)
            | RetentionInput::Captured(_) => zero,
        })
        .collect();
    let found = vectorise_into(g, read, &arguments, lead, None, &mut no_hook)?;
    Ok(lift(g, found[0], lead))
}

fn given(node: &NodeData, known: &[Option<Mapped>]) -> Result<Vec<Mapped>, PassError> {
    node.operands
        .iter()
        .map(|v| {
            known[v.index()]
                .ok_or_else(|| PassError::bug("to_tensors", "an operand not known yet"))
        })
        .collect()
}

/// A scan being fed.
struct Feeds {
    scan: Scan,
    operands: Vec<Value>,
    known: Vec<(Value, Layout, Value)>,
    outputs: Vec<(String, Value)>,
}

impl Feeds {
    fn new(needs: &Needs<'_>) -> Self {
        Self {
            scan: Scan {
                map: needs.walks().into_iter().collect(),
                time: Dim::Time,
                stride: Stride::Token,
                reverse: false,
                feeds: vec![],
                yields: vec![],
                body: Graph::new(),
            },
            operands: vec![],
            known: vec![],
            outputs: vec![],
        }
    }

    fn add(&mut self, g: &Graph, feed: Feed, layout: Layout, value: Value) -> Value {
        let same = |(v, l, _): &&(Value, Layout, Value)| *v == value && *l == layout;
        if let (Some((_, _, seen)), true) =
            (self.known.iter().find(same), feed != Feed::Initial)
        {
            return *seen;
        }
        let ty = seen_by_body(&self.scan, feed, &layout, g.ty(value));
        let name = format!("x{}", self.operands.len());
        let seen = self.scan.body.input(name, ty);
        self.operands.push(value);
        self.scan.feeds.push((feed, layout.clone()));
        if feed != Feed::Initial {
            self.known.push((value, layout, seen));
        }
        seen
    }

    /// An operand of a statement, as one instance sees it.
    fn operand(&mut self, g: &Graph, m: Mapped, rank: usize) -> Value {
        if !m.mapped {
            return self.add(g, Feed::Shared, unmapped_layout(g, m.value, rank), m.value);
        }
        let maps = g.ty(m.value).rank() - LEAD.len() - rank;
        let layout = self.layout_of(maps, rank);
        self.add(g, Feed::Stream, layout, m.value)
    }

    /// The operand's last `size` values, newest first.
    fn window(&mut self, g: &mut Graph, m: Mapped, rank: usize, size: usize) -> Value {
        let value = lift(g, m, &LEAD);
        let window = g.add(Op::Window { axis: TIME, size: Dim::Fixed(size) }, &[value]);
        let maps = g.ty(value).rank() - LEAD.len() - rank;
        let mut layout = self.layout_of(maps, rank);
        layout.insert(TIME + 1, Axis::Body);
        self.add(g, Feed::Stream, layout, window)
    }

    fn layout_of(&self, maps: usize, rank: usize) -> Layout {
        let maps = (1..=maps).map(Axis::Map);
        [Axis::Map(0), Axis::Time]
            .into_iter()
            .chain(maps)
            .chain((0..rank).map(|_| Axis::Body))
            .collect()
    }

    fn stream_layout(&self, rank: usize) -> Layout {
        self.layout_of(self.scan.map.len() - 1, rank)
    }

    fn shared_layout(&self, g: &Graph, value: Value, state: &Carried) -> Layout {
        let rank = state.dims.len();
        if g.ty(value).rank() == self.scan.map.len() + rank {
            let maps = (0..self.scan.map.len()).map(Axis::Map);
            return maps.chain((0..rank).map(|_| Axis::Body)).collect();
        }
        unmapped_layout(g, value, rank)
    }
}

/// The memory's own dimensions, where the value has them, then the body's.
fn unmapped_layout(g: &Graph, value: Value, rank: usize) -> Layout {
    let maps = g.ty(value).rank() - rank;
    (1..=maps).map(Axis::Map).chain((0..rank).map(|_| Axis::Body)).collect()
}
