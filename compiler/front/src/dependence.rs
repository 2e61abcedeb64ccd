//! What depends on what: gradients that never reach their target, outputs that know the future.

use crate::elaborate::{Elaborator, path_text};
use crate::value::Tensor;
use indexmap::{IndexMap, IndexSet};
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::entity::Entity;
use nestor_ir::level::{Clock, MemoryId, Statement, WeightId};
use nestor_ir::tensor::{Graph, NodeData, Op, Value as Node};
use nestor_ir::ty::Elem;

/// Why, and what to do.
type Why = (&'static str, &'static str);

/// Why no gradient passes from an op to an operand; nothing where it does.
fn blocks(graph: &Graph, node: &NodeData, operand: usize) -> Option<Why> {
    let condition = (
        "a condition is a constant to every gradient",
        "let a branch of the `if` depend on the weights, or use a smooth switch: `sigmoid(a * x)`",
    );
    match &node.op {
        Op::Sign => Some((
            "the slope of `sign` is zero everywhere",
            "use a function with a slope: `tanh(a * x)`",
        )),
        Op::Floor => Some((
            "the slope of a rounded value is zero everywhere",
            "leave the rounding out of the objective",
        )),
        Op::Stop => Some((
            "`stop` lets no gradient pass",
            "take the `stop` out, or leave what stands in it out of the target",
        )),
        Op::Less | Op::LessEqual | Op::Equal | Op::And | Op::Or | Op::Not => {
            Some(condition)
        }
        Op::Select if operand == 0 => Some(condition),
        Op::When if operand == 1 => Some(condition),
        Op::Gather if operand == 1 => {
            Some(("an index has no slope", "choose rows by weights: `softmax(x) @ rows`"))
        }
        _ if graph.ty(node.operands[operand]).elem != Elem::Real => Some(condition),
        _ => None,
    }
}

/// All values that a value depends on, with the first op on the way that lets no gradient
/// pass; nothing for those that a gradient reaches.
struct Reached {
    by_gradient: IndexSet<Node>,
    blocked: IndexMap<Node, (Node, Why)>,
}

/// Walks back from a value; `more` are operands beyond an op's own.
fn reached(graph: &Graph, from: Node, more: &dyn Fn(&NodeData) -> Vec<Node>) -> Reached {
    let mut by_gradient = IndexSet::new();
    let mut blocked: IndexMap<Node, (Node, Why)> = IndexMap::new();
    let (mut open, mut cut) = (vec![from], Vec::new());
    while let Some(v) = open.pop() {
        if !by_gradient.insert(v) {
            continue;
        }
        let node = graph.def(v);
        for (n, &operand) in node.operands.iter().enumerate() {
            match blocks(graph, node, n) {
                Some(why) => cut.push((operand, (v, why))),
                None => open.push(operand),
            }
        }
        open.extend(more(node));
    }
    while let Some((v, why)) = cut.pop() {
        if blocked.contains_key(&v) {
            continue;
        }
        blocked.insert(v, why);
        let node = graph.def(v);
        cut.extend(node.operands.iter().chain(&more(node)).map(|o| (*o, why)));
    }
    Reached { by_gradient, blocked }
}

/// What stands between an objective and a weight.
enum Gap {
    /// The objective does not depend on it at all.
    Nothing,
    /// An op lets no gradient pass.
    Op(Node, Why),
}

impl Reached {
    fn gap(&self, target: Node) -> Option<Gap> {
        if self.by_gradient.contains(&target) {
            return None;
        }
        Some(match self.blocked.get(&target) {
            Some((node, why)) => Gap::Op(*node, *why),
            None => Gap::Nothing,
        })
    }
}

impl<'a> Elaborator<'a> {
    /// Whether an objective over a memory is differentiable in each of these weights, given by
    /// name; says where it is not.
    pub(crate) fn differentiable(
        &mut self,
        frame: usize,
        objective: Node,
        weights: &[(String, Tensor)],
        span: Span,
    ) -> bool {
        let found = reached(&self.frames[frame].graph, objective, &|_| vec![]);
        let gaps: Vec<(String, Gap)> = weights
            .iter()
            .filter_map(|(name, t)| Some((name.clone(), found.gap(t.node)?)))
            .collect();
        self.not_differentiable(frame, &gaps, span);
        gaps.is_empty()
    }

    /// Says of the first target what stands in the way, and of which others.
    fn not_differentiable(&mut self, frame: usize, gaps: &[(String, Gap)], span: Span) {
        let Some((name, gap)) = gaps.first() else { return };
        let mut diagnostic = match gap {
            Gap::Nothing => {
                let text = format!("the objective does not depend on `{name}`");
                let help = format!(
                    "read what `{name}` is part of in the objective, or leave it out of the target"
                );
                Diagnostic::error("N503", span, text).help(help)
            }
            Gap::Op(node, (why, help)) => {
                let text = format!("the objective has no gradient in `{name}`: {why}");
                let diagnostic = Diagnostic::error("N503", span, text).help(*help);
                match self.origin(frame, *node) {
                    Some(at) if at != span => {
                        diagnostic.label(at, "no gradient passes here")
                    }
                    Some(_) | None => diagnostic.says("no gradient passes here"),
                }
            }
        };
        for (name, gap) in &gaps[1..] {
            diagnostic = diagnostic.note(match gap {
                Gap::Nothing => format!("it does not depend on `{name}` either"),
                Gap::Op(_, (why, _)) => format!("nor has it one in `{name}`: {why}"),
            });
        }
        self.report(diagnostic);
    }

    /// The same for an outer level's objective and the weights it claims.
    pub(crate) fn reaches_weights(
        &mut self,
        objective: Node,
        ids: &[WeightId],
        span: Span,
    ) {
        let writes = self.writes();
        let more = |node: &NodeData| beyond(node, &writes);
        let graph = &self.frames[0].graph;
        let found = reached(graph, objective, &more);
        let reads = |v: Node, m: MemoryId| matches!(graph.def(v).op, Op::Read { memory, .. } if memory == m);
        let mut gaps = Vec::new();
        for &id in ids {
            let gap = match (&self.known[id.index()].tensor, self.weights[id].memory) {
                (Some(t), _) => found.gap(t.node),
                (None, Some(m)) if found.by_gradient.iter().any(|v| reads(*v, m)) => None,
                (None, Some(m)) => {
                    let mut blocked = found.blocked.iter();
                    let first = blocked.find(|(v, _)| reads(**v, m));
                    let first = first.map(|(_, (node, why))| Gap::Op(*node, *why));
                    Some(first.unwrap_or(Gap::Nothing))
                }
                (None, None) => None,
            };
            if let Some(gap) = gap {
                gaps.push((self.weights[id].path.clone(), gap));
            }
        }
        self.not_differentiable(0, &gaps, span);
    }

    /// What each memory is written with.
    fn writes(&self) -> IndexMap<MemoryId, Vec<Node>> {
        let mut out: IndexMap<MemoryId, Vec<Node>> = IndexMap::new();
        for node in self.frames[0].graph.nodes.values() {
            let Op::Write { statement } = node.op else { continue };
            let memory = match &self.statements[statement] {
                Statement::Minimize(m) => m.memory,
                Statement::Update(u) => u.memory,
            };
            out.entry(memory).or_default().extend(node.operands.iter().copied());
        }
        out
    }

    /// Refuses what is made of a value that exists only `when` a condition holds: where the others
    /// are there and this one is not, nothing says what the whole is.
    pub(crate) fn conditions_stand_alone(&mut self) {
        let graph = &self.frames[0].graph;
        let part = |v: &Node| graph.def(*v).op == Op::When;
        let found =
            graph.nodes.values().find_map(|n| n.operands.iter().copied().find(part));
        let Some(node) = found else { return };
        let Some(span) = self.origin(0, node) else { return };
        let text = "what exists only `when` a condition holds is part of something else";
        let help = "put the condition on the whole, `loss = a + b when c`, or say what stands in its place: `loss = (if c then a else 0) + b`";
        self.report(Diagnostic::error("N506", span, text).help(help));
    }

    /// Refuses outputs that depend on what comes later; objectives may.
    pub(crate) fn causal(&mut self, outputs: &[(String, Tensor, Span)], also: &[Node]) {
        let writes = self.writes();
        let mut found = Vec::new();
        for (name, t, span) in outputs {
            let clock = self.clock_of(t.node);
            if also.contains(&t.node) {
                continue;
            }
            let graph = &self.frames[0].graph;
            let mut seen = IndexSet::new();
            let mut open = vec![t.node];
            while let Some(v) = open.pop() {
                if !seen.insert(v) {
                    continue;
                }
                let node = graph.def(v);
                if let Op::Next { by } = node.op {
                    let what = if by == 1 { "the next token" } else { "tokens to come" };
                    let help = "`next` may appear only in what objectives need: keep it out of what is given out";
                    found.push((name.clone(), *span, (what, help), self.origin(0, v)));
                    break;
                }
                if let Op::Gathered { ahead: true, .. } = node.op
                    && matches!(clock, Clock::Tokens(_))
                {
                    let what = "the whole sequence";
                    let help = "give it out once a sequence, in a block `every sequence`";
                    found.push((name.clone(), *span, (what, help), self.origin(0, v)));
                    break;
                }
                open.extend(node.operands.iter().chain(&beyond(node, &writes)));
            }
        }
        for (name, span, (tokens, help), at) in found {
            let text = format!("the output `{name}` depends on {tokens}");
            let diagnostic = Diagnostic::error("N303", span, text)
                .says("given out before that is known")
                .help(help);
            self.report(match at {
                Some(at) => diagnostic.label(at, "the future is looked at here"),
                None => diagnostic,
            });
        }
    }

    /// Names and weights of a memory, for messages: `M.W1`.
    pub(crate) fn weight_names(
        &self,
        instance: usize,
        names: &[(String, Vec<crate::value::NamedDim>)],
        tensors: &[Tensor],
    ) -> Vec<(String, Tensor)> {
        let path = path_text(&self.instances[instance].path);
        let named = names.iter().zip(tensors);
        named.map(|((n, _), t)| (format!("{path}.{n}"), t.clone())).collect()
    }
}

/// What a read depends on beyond its operands: what its memory is written with.
fn beyond(node: &NodeData, writes: &IndexMap<MemoryId, Vec<Node>>) -> Vec<Node> {
    match node.op {
        Op::Read { memory, .. } => writes.get(&memory).cloned().unwrap_or_default(),
        _ => Vec::new(),
    }
}
