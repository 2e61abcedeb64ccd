//! Clocks of a body: blocks that tick more rarely, and where values of two clocks meet.
//!
//! What a block names and what changes faster is its window there, the oldest value first. What
//! changes more slowly keeps its clock until it meets something faster: there it holds its last value.

use crate::elaborate::{Elaborator, Env};
use crate::value::{NamedDim, Tensor, Value};
use crate::window::Clocked;
use nestor_grammar::ast::{self, Item};
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::level::Clock;
use nestor_ir::level::clocks::known_ahead;
use nestor_ir::tensor::{Graph, NodeData, Op, Value as Node};

/// What the code is once clocks meet.
pub(crate) struct Met {
    /// The code.
    pub(crate) code: Graph,
    /// What stands for each value of the code before.
    pub(crate) map: Vec<Node>,
    /// The clock of each value of the code before.
    pub(crate) clocks: Vec<Clock>,
}

impl<'a> Elaborator<'a> {
    /// `every N tokens { ... }` or `every sequence { ... }`.
    pub(crate) fn clock_block(
        &mut self,
        env: &mut Env,
        clock: &'a ast::Clock,
        body: &'a [Item],
        span: Span,
    ) {
        let inner = match (clock, self.clock) {
            (_, Clock::Sequence) => {
                let text = "nothing happens more rarely than once a sequence";
                let help = "put the block beside this one";
                self.report(Diagnostic::error("N301", span, text).help(help));
                return;
            }
            (ast::Clock::Sequence(_), _) => Clock::Sequence,
            (clock, outer) => {
                let Some(n) = self.tokens_of(env, clock) else { return };
                let outer = if let Clock::Tokens(m) = outer { m } else { 1 };
                Clock::Tokens(outer * n)
            }
        };
        let before = std::mem::replace(&mut self.clock, inner);
        let block = self.block.replace(span);
        self.body(env, body);
        self.clock = before;
        self.block = block;
    }

    /// How many tokens a tick has here; one where what is written happens once a sequence.
    pub(crate) fn ticks(&self) -> usize {
        if let Clock::Tokens(n) = self.clock { n } else { 1 }
    }

    /// The clock of a value of the code.
    pub(crate) fn clock_of(&mut self, node: Node) -> Clock {
        let graph = &self.frames[0].graph;
        self.clocks.of(graph, &self.inputs, &self.memories, node)
    }

    /// A value as the block at hand sees it: its window, where it changes faster.
    pub(crate) fn seen(&mut self, value: Value) -> Value {
        let Value::Tensor(t) = &value else { return value };
        if t.frame != 0 || self.clock == Clock::Tokens(1) {
            return value;
        }
        let (from, to) = (self.clock_of(t.node), self.clock);
        if from >= to {
            return value;
        }
        if let (Clock::Tokens(fast), Clock::Tokens(slow)) = (from, to)
            && slow % fast != 0
        {
            self.do_not_divide((from, t.node), (to, None));
            return Value::Poison;
        }
        let window = self.gathered(t, from, to, false);
        let seen = Value::Tensor(window);
        let span = self.origin(0, t.node).unwrap_or_default();
        self.comes_from(&seen, span);
        seen
    }

    /// The window of a value at a slower clock.
    pub(crate) fn gathered(
        &mut self,
        t: &Tensor,
        from: Clock,
        to: Clock,
        ahead: bool,
    ) -> Tensor {
        let size = match (from, to) {
            (Clock::Tokens(fast), Clock::Tokens(slow)) => Dim::Fixed(slow / fast),
            (Clock::Tokens(fast), _) => Dim::time(fast),
            _ => Dim::Fixed(1),
        };
        let before = std::mem::replace(&mut self.frame, 0);
        let graph = self.graph();
        let node = graph.add(Op::Gathered { every: to, size, ahead }, &[t.node]);
        // Mapped dimensions, and a memory's, stay in front of the window's.
        let first = t.lead.len() + t.strip;
        let rank = t.lead.len() + t.dims.len() + 1;
        let order = (1..=first).chain([0]).chain(first + 1..rank).collect();
        let node =
            if first > 0 { graph.add(Op::Transpose { order }, &[node]) } else { node };
        let mut window = crate::window::all_of(graph, size, t.strip);
        window.clock = false;
        let mut dims = t.dims.clone();
        dims.insert(t.strip, NamedDim::plain(size));
        self.frame = before;
        Tensor { node, dims, window: Some(window), ..t.clone() }
    }

    /// Refuses what looks at time where there is one tick only.
    pub(crate) fn within_sequence(&mut self, what: &str, span: Span) -> bool {
        if self.clock != Clock::Sequence || self.frame != 0 {
            return false;
        }
        let text =
            format!("{what} in what happens once a sequence cannot be compiled yet");
        let help = "use it at the clock of the tokens, and its result here";
        self.report(Diagnostic::limitation("L001", span, text).help(help));
        true
    }

    /// Refuses a memory that is used at two clocks.
    pub(crate) fn at_its_clock(&mut self, its: Clock, path: &str, span: Span) -> bool {
        let here = self.clock;
        if here == its {
            return true;
        }
        let said = |clock: Clock| match clock {
            Clock::Tokens(n) => format!("every {n} tokens"),
            _ => "once a sequence".to_owned(),
        };
        let text =
            format!("`{path}` ticks {} and is used here {}", said(its), said(here));
        let help = "write and read a memory in one block";
        self.report(Diagnostic::limitation("L001", span, text).help(help));
        false
    }

    /// The code with held values where a slower clock meets a faster one.
    pub(crate) fn meet(&mut self) -> Met {
        let from = self.frames[0].graph.clone();
        if let Some(last) = from.values.keys().last() {
            self.clock_of(last);
        }
        let clocks: Vec<Clock> = from.values.keys().map(|v| self.clock_of(v)).collect();
        let ahead = known_ahead(&from, &clocks);
        let mut code = Graph::new();
        let mut map: Vec<Node> = Vec::new();
        let mut held: Vec<(Node, Clock, Node)> = Vec::new();
        let early = self.late_streams(&from, &mut code);
        for node in from.nodes.values() {
            let clock = self.happens(node, &clocks);
            let mut operands = Vec::new();
            for &v in &node.operands {
                let own = clocks[v.index()];
                let mut value = map[v.index()];
                let moves = !matches!(node.op, Op::Gathered { .. });
                if moves && own != Clock::Once && own > clock {
                    self.may_meet((own, v), (clock, node), ahead[v.index()]);
                    let known = held.iter().find(|(h, c, _)| (*h, *c) == (v, clock));
                    value = match known {
                        Some((.., known)) => *known,
                        None => code.add(Op::Held { every: clock }, &[value]),
                    };
                    held.push((v, clock, value));
                }
                operands.push(value);
            }
            let results = match &node.op {
                Op::Input { index, ty } => {
                    let known = early.iter().find(|(i, _)| i == index);
                    let name = from.inputs[*index].name.clone();
                    let node = known
                        .map_or_else(|| code.input(name, ty.clone()), |(_, node)| *node);
                    [node].into_iter().collect()
                }
                op => code.add_many(op.clone(), &operands),
            };
            for (&old, &new) in node.results.iter().zip(&results) {
                debug_assert_eq!(old.index(), map.len());
                code.values[new].name.clone_from(&from.values[old].name);
                map.push(new);
            }
        }
        Met { code, map, clocks }
    }

    /// Inputs of the new code that stand for inputs of the old one by their number, made ahead of all else. Streams come
    /// before weights, as a program lists its inputs; those of a memory by itself are made once it is there, and
    /// its weights with it.
    fn late_streams(&self, from: &Graph, code: &mut Graph) -> Vec<(usize, Node)> {
        let count = from.inputs.len();
        let stream =
            |i: &usize| self.inputs.iter().any(|s| s.name == from.inputs[*i].name);
        let weight = (0..count).find(|i| !stream(i)).unwrap_or(count);
        if !(weight..count).any(|i| stream(&i)) {
            return vec![];
        }
        let mut one = |i: usize| {
            let input = &from.inputs[i];
            (i, code.input(input.name.clone(), from.ty(input.value).clone()))
        };
        (0..count).filter(stream).map(&mut one).collect()
    }

    /// The clock at which a node happens.
    fn happens(&self, node: &NodeData, clocks: &[Clock]) -> Clock {
        if let Op::Write { statement } = node.op {
            let memory = match &self.statements[statement] {
                nestor_ir::level::Statement::Minimize(m) => m.memory,
                nestor_ir::level::Statement::Update(u) => u.memory,
            };
            return self.memories[memory].clock();
        }
        node.results.first().map_or(Clock::Once, |v| clocks[v.index()])
    }

    /// Refuses clocks that do not divide, and what is known only when a sequence has ended.
    fn may_meet(&mut self, slow: (Clock, Node), fast: (Clock, &NodeData), ahead: bool) {
        let result = fast.1.results.first().copied();
        match (slow.0, fast.0) {
            (Clock::Tokens(n), Clock::Tokens(m)) if n % m != 0 => {
                self.do_not_divide(slow, (fast.0, result));
            }
            (Clock::Sequence, Clock::Tokens(_)) if !ahead => {
                let span = self.origin(0, slow.1).unwrap_or_default();
                let text =
                    "this is known only when the sequence has ended, and is used before";
                let help = "use it in a block `every sequence`, or take `whole(x)` of what is given from the start";
                let diagnostic = Diagnostic::error("N303", span, text).help(help);
                let at = result.and_then(|v| self.origin(0, v)).filter(|at| *at != span);
                self.report(match at {
                    Some(at) => diagnostic.label(at, "used here at every token"),
                    None => diagnostic,
                });
            }
            _ => {}
        }
    }

    fn do_not_divide(&mut self, a: (Clock, Node), b: (Clock, Option<Node>)) {
        let block = self.block.unwrap_or_default();
        let place = |this: &Self, v: Option<Node>| {
            v.and_then(|v| this.origin(0, v)).unwrap_or(block)
        };
        let one = |clock: Clock, span: Span| {
            let every = if let Clock::Tokens(n) = clock { n } else { 1 };
            let words = format!("every {every} tokens");
            Clocked { words, every, span, unit: "tokens" }
        };
        let first = one(a.0, place(self, Some(a.1)));
        let second = one(b.0, place(self, b.1));
        self.clocks_divide(&[first, second]);
    }
}
