//! Every group of memories as one scan by tokens: feeds what its statements take, hands out what its reads
//! answer, and keeps the final states.

use super::acts::{Given, Part, Taken, acted};
use super::apart::Apart;
use super::body::Token;
use super::feeds::{Feeds, unmapped_layout};
use super::order::Group;
use super::past::WINDOW;
use super::states::{Carried, ELEMENT, Needs, Start, pends};
use super::stored::read_whole;
use super::ticks::{nothing_before, of_step, one_clock, stepped};
use super::whole::Handed;
use super::{Options, history, instance, memory_of};
use crate::build::{broadcast, broadcast_to, constant, scalar, uniform, zeros};
use crate::error::PassError;
use crate::vectorise::Mapped;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::level::{Memory, MemoryId, Program, Statement};
use nestor_ir::tensor::{Axes, Feed, Graph, NodeData, Op, Value, Yield};
use nestor_ir::ty::{Dims, Elem, Type};

/// The memories walked so far.
pub(super) struct Walked<'p> {
    program: &'p Program,
    weights: &'p [Value],
    options: Options,
    groups: Vec<Group>,
    answers: Vec<(Value, Mapped)>,
    finals: Vec<(String, Value)>,
    /// What states that are inputs start as, where nothing is handed over.
    starts: Vec<(String, Value)>,
    handed: Handed,
    /// Windows that states are made of.
    windows: Vec<Value>,
}

impl<'p> Walked<'p> {
    /// None yet.
    pub(super) fn new(
        program: &'p Program,
        weights: &'p [Value],
        options: Options,
        groups: Vec<Group>,
    ) -> Self {
        Self {
            program,
            weights,
            options,
            groups,
            answers: vec![],
            finals: vec![],
            starts: vec![],
            handed: Handed::new(options.resume),
            windows: vec![],
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
        if let Some(at) = self.groups.iter().position(|g| g.memories.contains(&id)) {
            let group = self.groups.swap_remove(at);
            let acts: Vec<NodeData> =
                group.nodes.iter().map(|&n| code.nodes[n].clone()).collect();
            let inside = |v: &Value| group.nodes.contains(&code.values[*v].node);
            let apart = !acts.iter().any(|n| n.operands.iter().any(inside));
            match &group.memories[..] {
                [one] if apart && self.program.memories[*one].weights.is_empty() => {
                    if self.program.memories[*one].once {
                        return Err(nothing_before(&self.program.memories[*one]));
                    }
                    self.look_back(g, *one, &acts, known)?;
                }
                _ => self.walk(g, code, &group, known)?,
            }
        }
        let of = |v: &Value| self.answers.iter().find(|(a, _)| a == v).map(|(_, m)| *m);
        node.results
            .iter()
            .map(|v| of(v).ok_or_else(|| PassError::bug("to_tensors", "no answer")))
            .collect()
    }

    /// What is handed over of streams that all of the past is asked of.
    pub(super) fn handed(&mut self) -> &mut Handed {
        &mut self.handed
    }

    /// Final states become outputs, these others among them.
    pub(super) fn finish(self, g: &mut Graph, others: Vec<(String, Value)>) {
        let handed = self.handed.finals();
        for (name, value) in self.finals.into_iter().chain(handed).chain(others) {
            g.output(name, value);
        }
        for (name, value) in self.starts {
            g.output(format!("start.{name}"), value);
        }
        for value in self.windows {
            g.output(WINDOW, value);
        }
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
                        let past = history::kept(g, memory, update, &operands, handed)?;
                        self.windows.extend(past.windows());
                        kept = Some(past);
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
                    let blocks = self.options.blocks;
                    let answer =
                        history::answer(g, memory, seen, &operands, handed, blocks)?;
                    self.answers.push((node.results[0], answer));
                }
            }
        }
        Ok(())
    }

    /// One walk of all memories of a group.
    fn walk(
        &mut self,
        g: &mut Graph,
        code: &Graph,
        group: &Group,
        known: &[Option<Mapped>],
    ) -> Result<(), PassError> {
        let program = self.program;
        let acts: Vec<NodeData> =
            group.nodes.iter().map(|&n| code.nodes[n].clone()).collect();
        let mut needs = Vec::new();
        for &id in &group.memories {
            let own = acts.iter().filter(|n| memory_of(program, n) == Some(id));
            needs.push(Needs::new(program, id, &own.cloned().collect::<Vec<_>>())?);
        }
        // The walk has the dimensions that all memories have; further ones stay in its body.
        let mut walks = needs[0].walks();
        for needs in &needs {
            let own = needs.walks();
            let same = walks.iter().zip(&own).take_while(|(a, b)| a == b).count();
            walks.truncate(same);
        }
        let further = |m: usize| -> Vec<Dim> { needs[m].walks()[walks.len()..].to_vec() };
        let carried: Vec<Vec<Carried>> = needs.iter().map(Needs::carried).collect();
        let place = |id| group.memories.iter().position(|m| *m == id).unwrap_or(0);
        let inside = |v: &Value| group.nodes.contains(&code.values[*v].node);
        one_clock(program, group, &acts)?;
        // What ticks once a sequence is a walk of one step.
        let Memory { every, once, .. } = self.program.memories[group.memories[0]];
        let time = if once { Dim::Fixed(1) } else { Dim::time(every) };
        let mut feeds = Feeds::new(&walks, time);
        // What the statements take, and what the code between them does to one instance.
        let mut taken: Vec<Taken> = Vec::new();
        for node in &acts {
            let whole: Vec<Option<Mapped>> =
                node.operands
                    .iter()
                    .map(|v| match inside(v) {
                        true => Ok(None),
                        false => one(*v, known)
                            .map(|m| Some(if once { stepped(g, m) } else { m })),
                    })
                    .collect::<Result<_, PassError>>()?;
            let Some(id) = memory_of(program, node) else {
                let shapes: Vec<usize> =
                    node.operands.iter().map(|v| code.ty(*v).rank()).collect();
                let between = instance::between(
                    node,
                    &shapes,
                    &whole.iter().map(Option::is_none).collect::<Vec<_>>(),
                    &walks[1..],
                )?;
                let fed = whole.iter().zip(&between.ranks).map(|(m, &rank)| {
                    let m = (*m)?;
                    match uniform(g, m.value) {
                        Some(value) if g.ty(m.value).elem == Elem::Real => {
                            let dims = &g.ty(m.value).dims;
                            let dims = dims[dims.len() - rank..].to_vec();
                            Some(Given::Number(value, dims))
                        }
                        _ => Some(Given::Value(feeds.operand(g, m, rank))),
                    }
                });
                let fed = fed.collect();
                taken.push(Taken { fed, windows: None, op: Some(between.op) });
                continue;
            };
            let ranks = self.ranks(needs[place(id)].memory, node);
            let lead = further(place(id));
            let fed: Vec<Option<Given>> = whole
                .iter()
                .zip(&ranks)
                .zip(&node.operands)
                .map(|((m, &rank), v)| {
                    let all = walks.len() - 1 + lead.len() + rank;
                    let more = if code.ty(*v).rank() == all { lead.len() } else { 0 };
                    Some(Given::Value(feeds.operand(g, (*m)?, more + rank)))
                })
                .collect();
            let windows = match self.window(node) {
                None => None,
                Some(n) => {
                    let mut windows = Vec::new();
                    for (m, &rank) in whole.iter().zip(&ranks) {
                        let m = m.filter(|_| lead.is_empty()).ok_or_else(|| {
                            PassError::limitation(
                                "L-own-window",
                                "a window of past answers in an objective",
                                "take the window over what does not depend on answers",
                            )
                        })?;
                        windows.push(feeds.window(g, m, rank, n));
                    }
                    Some((windows, n))
                }
            };
            taken.push(Taken { fed, windows, op: None });
        }
        let mut states: Vec<Vec<Value>> = Vec::new();
        for (m, (needs, carried)) in needs.iter().zip(&carried).enumerate() {
            let lead = further(m);
            let start = |c: &Carried| {
                let mut value = self.start(g, needs, c)?;
                if !lead.is_empty() && g.ty(value).rank() == c.dims.len() {
                    let dims: Dims = lead.iter().chain(&c.dims).copied().collect();
                    value = broadcast_to(g, value, &dims);
                }
                let layout = feeds.shared_layout(g, value, lead.len() + c.dims.len());
                Ok(feeds.add(g, Feed::Initial, layout, value))
            };
            states.push(carried.iter().map(start).collect::<Result<_, PassError>>()?);
        }
        let mut initial: Vec<Vec<Option<Value>>> = Vec::new();
        for (m, needs) in needs.iter().enumerate() {
            let weights = &needs.memory.weights;
            let lead = further(m).len();
            let mut start = |w: usize| {
                needs.takes_initial(w).then(|| {
                    let value = self.weights[weights[w].initial.index()];
                    let own = weights[w].dims.len();
                    let mapped = g.ty(value).rank() > own;
                    let rank = if mapped { lead + own } else { own };
                    let layout = unmapped_layout(g, value, rank);
                    feeds.add(g, Feed::Shared, layout, value)
                })
            };
            initial.push((0..weights.len()).map(&mut start).collect());
        }
        feeds.scan.body.input("valid", Type::bool([]));
        let mut position = feeds.scan.body.input("position", Type::real([]));
        let mut body = std::mem::take(&mut feeds.scan.body);
        if once {
            position = scalar(&mut body, 0.0);
        }
        let mut parts: Vec<Part<'_>> = Vec::new();
        for (m, (states, initial)) in states.into_iter().zip(initial).enumerate() {
            let (needs, carried) = (&needs[m], &carried[m][..]);
            let lead = further(m);
            if !lead.is_empty() {
                let apart = Apart::new(needs, carried, lead, (states, initial));
                parts.push(Part::Apart(apart));
                continue;
            }
            let given = (states, initial);
            let mut token = Token::new(body, needs, carried, given, position, true)?;
            body = std::mem::take(&mut token.g);
            parts.push(Part::Within(Box::new(token)));
        }
        let mut seen: Vec<Option<Value>> = vec![None; code.values.len()];
        let mut answers = Vec::new();
        for (node, taken) in acts.iter().zip(taken) {
            let mut operands = Vec::new();
            for (given, from) in taken.fed.into_iter().zip(&node.operands) {
                operands.push(match given {
                    Some(Given::Value(value)) => value,
                    Some(Given::Number(value, dims)) => constant(&mut body, value, &dims),
                    None => seen[from.index()].ok_or_else(|| {
                        PassError::bug("to_tensors", "an answer not known yet")
                    })?,
                });
            }
            if let Some(op) = taken.op {
                let results = body.add_many(op, &operands);
                for (&from, &to) in node.results.iter().zip(&results) {
                    seen[from.index()] = Some(to);
                    body.values[to].name.clone_from(&code.values[from].name);
                }
                continue;
            }
            let Some(id) = memory_of(program, node) else { continue };
            let answer = match &mut parts[place(id)] {
                Part::Within(token) => {
                    token.g = body;
                    let answer = acted(program, node, token, operands, taken.windows)?;
                    body = std::mem::take(&mut token.g);
                    answer
                }
                Part::Apart(apart) => {
                    let ranks = self.ranks(apart.needs.memory, node);
                    apart.act(
                        &mut body,
                        position,
                        (&operands, &ranks),
                        |token, given| acted(program, node, token, given, None),
                    )?
                }
            };
            if let (Some(answer), Some(&result)) = (answer, node.results.first()) {
                answers.push((result, answer));
                seen[result.index()] = Some(answer);
            }
        }
        for (carried, part) in carried.iter().zip(&parts) {
            let states = match part {
                Part::Within(token) => token.states(),
                Part::Apart(apart) => &apart.states,
            };
            for (c, &value) in carried.iter().zip(states) {
                body.output(c.name.clone(), value);
            }
        }
        drop(parts);
        for (k, &(_, value)) in answers.iter().enumerate() {
            let rank = body.ty(value).rank();
            body.output(format!("answer.{k}"), value);
            let layout = feeds.stream_layout(rank);
            feeds.scan.yields.push((Yield::Stream, layout));
        }
        feeds.scan.body = body;
        let Feeds { scan, operands, .. } = feeds;
        let results = g.add_many(Op::Scan { scan: Box::new(scan) }, &operands);
        let count: usize = carried.iter().map(Vec::len).sum();
        for ((result, _), &value) in answers.iter().zip(&results[count..]) {
            let value = if once { of_step(g, value) } else { value };
            self.answers.push((*result, Mapped::all(value)));
        }
        if once {
            return Ok(());
        }
        let mut rest = &results[..count];
        for (needs, carried) in needs.iter().zip(&carried) {
            let (own, others) = rest.split_at(carried.len());
            self.keep_states(g, needs, carried, own)?;
            rest = others;
        }
        Ok(())
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
            Statement::Minimize(m) if m.every > 1 && !pends(m) => Some(m.every),
            Statement::Minimize(m) => (m.window > 1).then_some(m.window),
            Statement::Update(_) => None,
        }
    }

    /// The value a state starts with.
    fn start(
        &mut self,
        g: &mut Graph,
        needs: &Needs<'_>,
        state: &Carried,
    ) -> Result<Value, PassError> {
        if needs.memory.once {
            return self.fresh(g, needs, state);
        }
        if self.options.open {
            let start = self.fresh(g, needs, state)?;
            self.starts.push((state.name.clone(), start));
        }
        if self.options.resume || self.options.open {
            let dims: Dims =
                needs.walks().into_iter().chain(state.dims.clone()).collect();
            return Ok(g.input(state.name.clone(), Type { elem: ELEMENT, dims }));
        }
        self.fresh(g, needs, state)
    }

    /// The value a state has where a sequence begins.
    fn fresh(
        &self,
        g: &mut Graph,
        needs: &Needs<'_>,
        state: &Carried,
    ) -> Result<Value, PassError> {
        let weight = |w: usize| self.weights[needs.memory.weights[w].initial.index()];
        Ok(match &state.start {
            Start::Weight(w) => weight(*w),
            Start::Values(graph) => g.inline(graph, &[])[0],
            Start::Learned(id) => self.weights[id.index()],
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

fn given(node: &NodeData, known: &[Option<Mapped>]) -> Result<Vec<Mapped>, PassError> {
    node.operands.iter().map(|v| one(*v, known)).collect()
}

fn one(v: Value, known: &[Option<Mapped>]) -> Result<Mapped, PassError> {
    known[v.index()]
        .ok_or_else(|| PassError::bug("to_tensors", "an operand not known yet"))
}
