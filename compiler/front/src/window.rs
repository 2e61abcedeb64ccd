//! Values seen at a slower clock: what changes with every token is its window there.
//!
//! A statement that acts at the last of N tokens sees a gate as the N values it had. They are the
//! last N values, which all exist when it acts; they are held newest first, and whatever asks for
//! their order is given it.

use crate::elaborate::{Elaborator, Env};
use crate::layer::in_expr;
use crate::value::{NamedDim, Tensor, Value, Window, shape_text};
use nestor_grammar::ast::{Call, Clock, Item, ItemKind, Params, Reset};
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Graph, Op, Value as Node};
use nestor_ir::ty::{Elem, Type};

/// A clock as a clause of a memory or a level writes it.
pub(crate) struct Clocked {
    /// What it is the clock of, as a message says it.
    pub(crate) words: String,
    /// So many.
    pub(crate) every: usize,
    /// Where it stands.
    pub(crate) span: Span,
    /// `tokens` or `steps`.
    pub(crate) unit: &'static str,
}

impl<'a> Elaborator<'a> {
    /// The scope of a statement that acts every `n` tokens: what these calls name and what
    /// changes faster is a window in it.
    pub(crate) fn seen_every(&mut self, env: &Env, n: usize, calls: &[&'a Call]) -> Env {
        let mut slow = env.clone();
        if n == 1 {
            return slow;
        }
        for (name, value) in &env.names {
            let Value::Tensor(t) = value else { continue };
            let mut arguments =
                calls.iter().flat_map(|c| c.arguments.iter()).flat_map(|a| &a.all);
            if t.frame != 0 || !arguments.any(|a| in_expr(&a.value, name, env)) {
                continue;
            }
            if self.changes(t.node) {
                let window = self.clock_window(t, n);
                slow.names.insert(name.clone(), window);
            }
        }
        slow
    }

    /// Whether a value of the code changes with the tokens.
    fn changes(&self, node: Node) -> bool {
        let graph = &self.frames[0].graph;
        let mut open = vec![node];
        while let Some(v) = open.pop() {
            let node = graph.def(v);
            match &node.op {
                Op::Input { index, .. } => {
                    let name = &graph.inputs[*index].name;
                    if self.inputs.iter().any(|i| i.name == *name) {
                        return true;
                    }
                }
                Op::Read { .. } | Op::Position { .. } => return true,
                _ => open.extend(node.operands.iter().copied()),
            }
        }
        false
    }

    /// The last `n` values, after a memory's leading dimensions.
    fn clock_window(&mut self, t: &Tensor, n: usize) -> Value {
        let span = self.origin(t.frame, t.node).unwrap_or_default();
        if !t.lead.is_empty() {
            let text = "a window in a layer that is mapped cannot be compiled yet";
            return self.report(Diagnostic::limitation("L009", span, text));
        }
        let before = std::mem::replace(&mut self.frame, 0);
        let graph = self.graph();
        let rows = Dim::Fixed(n);
        let node = graph.add(Op::Recent { size: rows }, &[t.node]);
        let rank = t.dims.len() + 1;
        let order = (1..=t.strip).chain([0]).chain(t.strip + 1..rank).collect();
        let node = graph.add(Op::Transpose { order }, &[node]);
        let window = Some(all_there(graph, n, t.strip));
        let mut dims = t.dims.clone();
        dims.insert(t.strip, NamedDim::plain(rows));
        self.frame = before;
        let value = Value::Tensor(Tensor { node, dims, window, ..t.clone() });
        self.comes_from(&value, span);
        value
    }

    /// Refuses a window as an argument whose parameter is one value.
    pub(crate) fn one_value_each(
        &mut self,
        scope: &Env,
        params: &'a Params,
        call: &'a Call,
    ) -> bool {
        let mut good = true;
        for param in params.all.iter().filter(|p| p.shape.is_none()) {
            let Some(Value::Tensor(t)) = scope.names.get(&param.name.text) else {
                continue;
            };
            if !t.window.as_ref().is_some_and(|w| w.clock) {
                continue;
            }
            let own = &t.dims[t.strip..];
            let name = &param.name.text;
            let text = format!(
                "`{name}` of `{}` is one value, but what is given changes with every token: here it is its window {}",
                call.path.dotted().unwrap_or_default(),
                shape_text(own)
            );
            let help = "reduce it where it is given: `mean(x)` for the window's mean, `last(x)` for its last token";
            self.report(
                Diagnostic::error("N302", call.span, text)
                    .says("acts once a window")
                    .label(param.name.span, "one value")
                    .help(help),
            );
            good = false;
        }
        good
    }

    /// Refuses clauses of a memory whose clocks do not divide one another.
    pub(crate) fn memory_clocks(&mut self, env: &mut Env, items: &'a [Item]) {
        let mut written: Vec<Clocked> = Vec::new();
        for item in items {
            let (words, clock) = match &item.kind {
                ItemKind::UpdateEvery(clock) => ("update", clock),
                ItemKind::Gradient(nestor_grammar::ast::Anchor::Every(clock)) => {
                    ("gradient at", clock)
                }
                ItemKind::ReadAt(clock) => ("read at", clock),
                ItemKind::Reset(Reset::At(clock)) => ("reset", clock),
                _ => continue,
            };
            let Clock::Tokens(n, span) = clock else { continue };
            let value = self.eval(env, n);
            let Some(every) = self.whole(&value, *span).filter(|n| *n > 0) else {
                continue;
            };
            let words = format!("{words} every {every} tokens");
            written.push(Clocked { words, every, span: *span, unit: "tokens" });
        }
        self.clocks_divide(&written);
    }

    /// Refuses clocks where neither of two divides the other.
    pub(crate) fn clocks_divide(&mut self, written: &[Clocked]) {
        for (i, second) in written.iter().enumerate() {
            for first in &written[..i] {
                self.clocks_meet(first, second);
            }
        }
    }

    /// Refuses an anchor whose clock does not divide its level's, or the other way round.
    pub(crate) fn clocks_of_level(
        &mut self,
        env: &mut Env,
        level: &'a Clock,
        anchor: &'a Clock,
    ) {
        let mut written = Vec::new();
        for (words, clock) in [("level", level), ("gradient at", anchor)] {
            let Clock::Tokens(_, span) = clock else { return };
            let Some(every) = self.tokens_of(env, clock) else { return };
            let words = format!("{words} every {every} tokens");
            written.push(Clocked { words, every, span: *span, unit: "tokens" });
        }
        self.clocks_meet(&written[0], &written[1]);
    }

    fn clocks_meet(&mut self, first: &Clocked, second: &Clocked) {
        let (low, high) = (first.every.min(second.every), first.every.max(second.every));
        if high % low == 0 {
            return;
        }
        let near = (high + low / 2) / low * low;
        let unit = first.unit;
        let text = format!(
            "`{}` meets `{}`: neither clock divides the other",
            first.words, second.words
        );
        self.report(
            Diagnostic::error("N301", second.span, text)
                .says(format!("every {} {unit}", second.every))
                .label(first.span, format!("every {} {unit}", first.every))
                .help(format!(
                    "let one be a multiple of the other: `every {near} {unit}` instead of {high}"
                )),
        );
    }
}

/// The conditions of a window all of whose tokens are there.
pub(crate) fn all_there(graph: &mut Graph, n: usize, axis: usize) -> Window {
    all_of(graph, Dim::Fixed(n), axis)
}

/// The same of a number that may not be known.
pub(crate) fn all_of(graph: &mut Graph, n: Dim, axis: usize) -> Window {
    let ty = Type::bool([n]);
    let exists = graph.add(Op::Constant { value: 1.0, ty }, &[]);
    Window { axis, exists, zeroed: true, clock: true }
}

/// The rows of a clock's window from the oldest to the newest; any other tensor as it is.
pub(crate) fn in_order(graph: &mut Graph, t: &Tensor) -> Tensor {
    let Some(window) = t.window.as_ref().filter(|w| w.clock) else { return t.clone() };
    let rows = t.dims[window.axis].size;
    let n = rows.fixed().unwrap_or(0);
    let square: nestor_ir::ty::Dims = [rows, rows].into_iter().collect();
    let one =
        |graph: &mut Graph, axis| graph.add(Op::Iota { axis, dims: square.clone() }, &[]);
    let (i, j) = (one(graph, 0), one(graph, 1));
    let total = graph.add(Op::Add, &[i, j]);
    let last = Op::Constant {
        value: n as f64 - 1.0,
        ty: Type { elem: Elem::Real, dims: square.clone() },
    };
    let last = graph.add(last, &[]);
    let turned = graph.add(Op::Equal, &[total, last]);
    let turned = graph.add(Op::Real, &[turned]);
    // Summed away and put back where it was.
    let axis = t.lead.len() + window.axis;
    let rank = t.lead.len() + t.dims.len();
    let op = Op::Contract {
        batch: std::iter::empty().collect(),
        sum: [(axis, 0)].into_iter().collect(),
    };
    let node = graph.add(op, &[t.node, turned]);
    let order = (0..axis).chain([rank - 1]).chain(axis..rank - 1).collect();
    let node = graph.add(Op::Transpose { order }, &[node]);
    let window = Window { clock: false, ..window.clone() };
    Tensor { node, window: Some(window), ..t.clone() }
}
