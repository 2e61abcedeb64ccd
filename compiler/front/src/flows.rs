//! The level graph: memories inside, the model's levels outside, and what flows between them.
//!
//! A level gives a memory values where its weights reach what the memory is written or asked with,
//! and the memory's first state where it learns that; gradients come back along both. A memory
//! gives another one what it answers. A weight that starts from another's takes whole weights.

use crate::elaborate::Elaborator;
use nestor_ir::entity::Entity;
use nestor_ir::level::{Clock, Flow, FlowKind, Initial, Level, MemoryId, Statement};
use nestor_ir::tensor::{NodeData, Op, Value};
use petgraph::graph::{DiGraph, NodeIndex};

/// The levels with all flows.
pub(crate) fn graph_of(this: &Elaborator<'_>, outer: Vec<Level>) -> DiGraph<Level, Flow> {
    let none = || vec![None; this.weights.len()];
    let (mut owner, mut reader): (Vec<Option<usize>>, Vec<Option<usize>>) =
        (none(), none());
    for (n, level) in outer.iter().enumerate() {
        let reads = matches!(level.clock, Clock::Tokens(_));
        let claims = if reads { &mut reader } else { &mut owner };
        for (id, ..) in level.objectives.iter().flat_map(|o| &o.targets) {
            claims[id.index()] = Some(n);
        }
    }
    let mut graph: DiGraph<Level, Flow> = DiGraph::new();
    let outside: Vec<NodeIndex> = outer.into_iter().map(|l| graph.add_node(l)).collect();
    let inside: Vec<NodeIndex> = this
        .memories
        .iter()
        .map(|(id, memory)| {
            graph.add_node(Level {
                name: memory.path.clone(),
                clock: period(this, id),
                reset: Some(memory.reset),
                online: true,
                memory: Some(id),
                objectives: vec![],
            })
        })
        .collect();
    let mut add = |from: NodeIndex, to: NodeIndex, kind, what: &str| {
        if !graph.edges_connecting(from, to).any(|e| e.weight().kind == kind) {
            graph.add_edge(from, to, Flow { kind, what: what.into() });
        }
    };
    for (id, memory) in this.memories.iter() {
        for weight in &memory.weights {
            if let Some(n) = owner[weight.initial.index()] {
                let (from, to) = (outside[n], inside[id.index()]);
                add(from, to, FlowKind::InitialState, "initial values");
                add(to, from, FlowKind::Gradient, "gradient");
            }
        }
    }
    let code = &this.frames[0].graph;
    for (n, &from) in outside.iter().enumerate() {
        let mine = this.weights.iter().filter(|(id, _)| owner[id.index()] == Some(n));
        let sources: Vec<Value> =
            mine.filter_map(|(_, w)| code.find_input(&w.path)).collect();
        for m in reached(this, &sources) {
            add(from, inside[m.index()], FlowKind::Value, "values");
            add(inside[m.index()], from, FlowKind::Gradient, "gradient");
        }
    }
    for (id, _) in this.memories.iter() {
        let answers = code.nodes.values().filter(|n| reads(n) == Some(id));
        let sources: Vec<Value> =
            answers.flat_map(|n| n.results.iter().copied()).collect();
        for m in reached(this, &sources).into_iter().filter(|m| *m != id) {
            let (from, to) = (inside[id.index()], inside[m.index()]);
            add(from, to, FlowKind::Value, "answers");
            add(to, from, FlowKind::Gradient, "gradient");
        }
    }
    // A level that learns weights while reading starts from what a level outside has learned.
    for (inside, outer) in reader.iter().zip(&owner) {
        if let (Some(inside), Some(outer)) = (*inside, *outer) {
            let (from, to) = (outside[outer], outside[inside]);
            add(from, to, FlowKind::InitialState, "initial values");
            add(to, from, FlowKind::Gradient, "gradient");
        }
    }
    let owner: Vec<Option<usize>> =
        reader.iter().zip(&owner).map(|(inside, outer)| inside.or(*outer)).collect();
    for (id, weight) in this.weights.iter() {
        let Initial::From(source) = weight.initial else { continue };
        if let (Some(from), Some(to)) = (owner[source.index()], owner[id.index()])
            && from != to
        {
            add(outside[from], outside[to], FlowKind::Weights, "whole weights");
        }
    }
    graph
}

/// How often a memory is written.
fn period(this: &Elaborator<'_>, memory: MemoryId) -> Clock {
    let written = this.statements.values().filter_map(|s| match s {
        Statement::Minimize(m) => (m.memory == memory).then_some(m.every),
        Statement::Update(u) => (u.memory == memory).then_some(1),
    });
    let ticks = written.min().unwrap_or(1);
    match this.memories[memory].clock() {
        Clock::Tokens(every) => Clock::Tokens(ticks * every),
        rarely => rarely,
    }
}

fn reads(node: &NodeData) -> Option<MemoryId> {
    match node.op {
        Op::Read { memory, .. } => Some(memory),
        _ => None,
    }
}

/// The memories that are written or asked with what depends on these values, through no other
/// memory.
fn reached(this: &Elaborator<'_>, sources: &[Value]) -> Vec<MemoryId> {
    let code = &this.frames[0].graph;
    let mut known = vec![false; code.values.len()];
    sources.iter().for_each(|v| known[v.index()] = true);
    let mut out = Vec::new();
    for node in code.nodes.values() {
        if !node.operands.iter().any(|v| known[v.index()]) {
            continue;
        }
        let memory = match node.op {
            Op::Write { statement } => Some(match &this.statements[statement] {
                Statement::Minimize(m) => m.memory,
                Statement::Update(u) => u.memory,
            }),
            _ => reads(node),
        };
        match memory {
            Some(m) if out.contains(&m) => {}
            Some(m) => out.push(m),
            None => node.results.iter().for_each(|v| known[v.index()] = true),
        }
    }
    out.sort_unstable();
    out
}
