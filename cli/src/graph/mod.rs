//! `graph`: the levels of a model, how often each acts, what it holds, and what flows between them.

mod dot;
mod group;
mod svg;

use crate::arguments::Choices;
use crate::explain::{instances, numbers};
use crate::fail::{Failure, Outcome};
use crate::progress::short;
use crate::spec::checked;
use nestor_compiler::Program;
use nestor_compiler::level::{Clock, FlowKind, Level, Statement};
use serde_json::json;
use std::path::PathBuf;

/// Levels that are alike (one memory in each of a model's blocks) as one.
struct Node {
    /// Its name; places in a list are left out where there are several.
    name: String,
    /// Memories of one layer that are drawn as one, by the last part of their names.
    members: Vec<String>,
    /// Whether those feed one another.
    mutual: bool,
    /// How many there are.
    count: usize,
    clock: Clock,
    memory: bool,
    online: bool,
    /// Numbers that it learns, or that a memory holds for each sequence.
    holds: usize,
    /// Numbers that its algorithm keeps beside them.
    states: usize,
}

/// What flows, between nodes.
struct Edge {
    from: usize,
    to: usize,
    kind: FlowKind,
}

/// Nodes from the fastest to the slowest, and the flows between them.
struct Drawing {
    title: String,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
}

/// `graph`.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct GraphArguments {
    /// The file.
    file: PathBuf,
    /// A model, layer or memory of it; the last one where left out.
    name: Option<String>,
    /// Draw them: a picture.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Draw them: a text for Graphviz.
    #[arg(long, value_name = "FILE")]
    dot: Option<PathBuf>,
    #[command(flatten)]
    choices: Choices,
}

/// Prints the levels, or draws them.
pub(crate) fn graph(a: &GraphArguments, as_json: bool) -> Outcome {
    let (name, svg, dot) = (a.name.as_deref(), a.svg.as_deref(), a.dot.as_deref());
    let program = checked(&a.file, name, &a.choices.set)?;
    let levels = drawing(&program);
    if as_json {
        anstream::println!("{}", report(&levels));
    }
    let drawing = group::grouped(levels);
    let pictures = [(svg, svg::draw(&drawing)), (dot, dot::draw(&drawing))];
    for (path, text) in pictures {
        let Some(path) = path else { continue };
        std::fs::write(path, text).map_err(|e| {
            Failure::data(format!("cannot write {}: {e}", path.display()))
        })?;
        if !as_json {
            anstream::println!("{}", path.display());
        }
    }
    if !as_json && svg.is_none() && dot.is_none() {
        print(&drawing);
    }
    Ok(())
}

/// The picture of a program's levels.
pub(crate) fn picture(program: &Program) -> String {
    svg::draw(&group::grouped(drawing(program)))
}

/// A path without the places in lists.
fn plain(path: &str) -> String {
    let mut out = String::new();
    let mut inside = false;
    for c in path.chars() {
        match c {
            '[' => inside = true,
            ']' => inside = false,
            c if !inside => out.push(c),
            _ => {}
        }
    }
    out
}

fn drawing(program: &Program) -> Drawing {
    let mut nodes: Vec<Node> = Vec::new();
    let mut place = Vec::new();
    for level in program.levels.node_weights() {
        let node = node(program, level);
        let same = nodes.iter().position(|n| {
            n.memory
                && node.memory
                && plain(&n.name) == plain(&node.name)
                && n.clock == node.clock
        });
        match same {
            Some(at) => {
                nodes[at].count += 1;
                nodes[at].name = plain(&node.name);
                place.push(at);
            }
            None => {
                place.push(nodes.len());
                nodes.push(node);
            }
        }
    }
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    order.sort_by_key(|&n| (nodes[n].clock, n));
    let rank = |n: usize| order.iter().position(|&o| o == n).unwrap_or(n);
    let mut edges: Vec<Edge> = Vec::new();
    for edge in program.levels.edge_indices() {
        let Some((from, to)) = program.levels.edge_endpoints(edge) else { continue };
        let (from, to) = (rank(place[from.index()]), rank(place[to.index()]));
        let kind = program.levels[edge].kind;
        let known = edges.iter().any(|e| (e.from, e.to, e.kind) == (from, to, kind));
        if from != to && !known {
            edges.push(Edge { from, to, kind });
        }
    }
    edges.sort_by_key(|e| (e.from, e.to, word(e.kind)));
    let mut sorted: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
    let nodes = order.iter().filter_map(|&n| sorted[n].take()).collect();
    Drawing { title: program.name.clone(), nodes, edges }
}

fn node(program: &Program, level: &Level) -> Node {
    let size = |dims: &nestor_compiler::ty::Dims| -> usize {
        dims.iter().filter_map(|d| d.fixed()).product()
    };
    let (holds, states) = match level.memory {
        Some(id) => {
            let memory = &program.memories[id];
            let targets = program.statements.values().flat_map(|s| match s {
                Statement::Minimize(m) if m.memory == id => &m.targets[..],
                Statement::Minimize(_) | Statement::Update(_) => &[],
            });
            let kept = targets.map(|t| {
                let retained = t.retention.iter().flat_map(|r| &r.states);
                let all = t.algorithm.states.iter().chain(retained);
                all.map(|s| size(&s.dims)).sum::<usize>()
            });
            let each = instances(memory);
            (each * numbers(memory), each * kept.sum::<usize>())
        }
        None => {
            let targets = level.objectives.iter().flat_map(|o| &o.targets);
            targets.fold((0, 0), |(holds, states), (id, algorithm, retention)| {
                let kept = retention.iter().flat_map(|r| &r.states);
                let all = algorithm.states.iter().chain(kept);
                let own: usize = all.map(|s| size(&s.dims)).sum();
                let weight = size(&program.weights[*id].dims);
                let window = match level.clock {
                    Clock::Steps(n) if n > 1 => weight,
                    Clock::Steps(_)
                    | Clock::Tokens(_)
                    | Clock::Sequence
                    | Clock::Once => 0,
                };
                (holds + weight, states + own + window)
            })
        }
    };
    Node {
        name: level.name.clone(),
        members: Vec::new(),
        mutual: false,
        count: 1,
        clock: level.clock,
        memory: level.memory.is_some(),
        online: level.online,
        holds,
        states,
    }
}

/// A clock in words.
fn every(clock: Clock) -> String {
    match clock {
        Clock::Tokens(1) => "every token".into(),
        Clock::Tokens(n) => format!("every {n} tokens"),
        Clock::Sequence => "every sequence".into(),
        Clock::Steps(1) => "every step".into(),
        Clock::Steps(n) => format!("every {n} steps"),
        Clock::Once => "once".into(),
    }
}

/// A flow in words.
fn word(kind: FlowKind) -> &'static str {
    match kind {
        FlowKind::Value => "values",
        FlowKind::Gradient => "gradient",
        FlowKind::InitialState => "initial state",
        FlowKind::Weights => "whole weights",
    }
}

impl Node {
    fn title(&self) -> String {
        let name = match &self.members[..] {
            [] => self.name.clone(),
            members => format!("{}.{{{}}}", self.name, members.join(", ")),
        };
        match self.count {
            1 => name,
            n => format!("{name} × {n}"),
        }
    }

    /// What it holds, in words.
    fn facts(&self) -> String {
        let number = |n: usize| short(n as f64);
        let all = |n: usize| number(n * self.count);
        let holds = all(self.holds);
        let memory = match self.members.len() {
            0 => "memory".to_owned(),
            n if self.mutual => format!("{n} memories that feed one another"),
            n => format!("{n} memories"),
        };
        match self.memory {
            true if self.holds == 0 => format!("{memory}: its past"),
            true if self.states == 0 => format!("{memory}: {holds} weights a sequence"),
            true => {
                format!(
                    "{memory}: {holds} weights, {} state a sequence",
                    all(self.states)
                )
            }
            false => format!("{holds} parameters, {} state", all(self.states)),
        }
    }
}

fn print(drawing: &Drawing) {
    anstream::println!("{}, the fastest level first", drawing.title);
    for node in &drawing.nodes {
        let online = if node.online && !node.memory { ", online" } else { "" };
        anstream::println!(
            "\n  {:<16} {}\n  {:<16} {}{online}",
            every(node.clock),
            node.title(),
            "",
            node.facts()
        );
        let at = drawing.nodes.iter().position(|n| std::ptr::eq(n, node));
        for edge in drawing.edges.iter().filter(|e| Some(e.from) == at) {
            let to = drawing.nodes[edge.to].title();
            anstream::println!("  {:<16} {} → {to}", "", word(edge.kind));
        }
    }
}

fn report(drawing: &Drawing) -> serde_json::Value {
    let nodes: Vec<_> = drawing
        .nodes
        .iter()
        .map(|n| {
            json!({ "name": n.name, "count": n.count, "clock": every(n.clock),
                    "memory": n.memory, "online": n.online, "holds": n.holds * n.count,
                    "states": n.states * n.count })
        })
        .collect();
    let edges: Vec<_> = drawing
        .edges
        .iter()
        .map(|e| json!({ "from": e.from, "to": e.to, "flow": word(e.kind) }))
        .collect();
    json!({ "model": drawing.title, "levels": nodes, "flows": edges })
}
