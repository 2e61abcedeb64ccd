//! A small graph as people write it: `½ Σ (x1 W − x2)²`.
//!
//! Moves of elements that only fit shapes together (broadcasts, reshapes) are left out; what is
//! used more than once gets a letter of its own, in front of what uses it. Sums and products: `terms.rs`.

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "an op without a notation of its own is written as a function of its operands"
)]

use super::terms::{negated, within};
use nestor_compiler::tensor::{Axes, Fold, Graph, Op, Value};
use std::collections::BTreeMap;

/// How tightly a text holds together.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Bond {
    Choice,
    Sum,
    Product,
    Sign,
    Power,
    Whole,
}

pub(super) type Text = (String, Bond);

/// A graph with names for its inputs.
pub(super) struct Writer<'g> {
    pub(super) graph: &'g Graph,
    inputs: Vec<String>,
    pub(super) uses: Vec<usize>,
    pub(super) letters: BTreeMap<usize, String>,
    lines: Vec<String>,
}

impl<'g> Writer<'g> {
    /// A writer of this graph, whose inputs are called so, in order.
    pub(super) fn new(graph: &'g Graph, inputs: Vec<String>) -> Self {
        let mut writer = Self {
            graph,
            inputs,
            uses: vec![0; graph.values.len()],
            letters: BTreeMap::new(),
            lines: vec![],
        };
        for output in &graph.outputs {
            writer.count(output.value);
        }
        writer
    }

    /// `name = ...`, after the lines of what it shares with others.
    pub(super) fn equation(&mut self, name: &str, value: Value) {
        let (text, _) = self.text(value);
        self.lines.push(format!("{name} = {text}"));
    }

    /// All lines so far.
    pub(super) fn lines(self) -> Vec<String> {
        self.lines
    }

    /// The value behind moves that say nothing.
    pub(super) fn behind(&self, mut value: Value) -> Value {
        loop {
            let node = self.graph.def(value);
            match &node.op {
                Op::Broadcast { .. } | Op::Reshape { .. } | Op::Stop | Op::Anchor => {
                    value = node.operands[0];
                }
                _ => return value,
            }
        }
    }

    fn count(&mut self, value: Value) {
        let value = self.behind(value);
        let at = nestor_compiler::index_of(value);
        self.uses[at] += 1;
        if self.uses[at] == 1 {
            for &operand in &self.graph.def(value).operands {
                self.count(operand);
            }
        }
    }

    pub(super) fn text(&mut self, value: Value) -> Text {
        let value = self.behind(value);
        let at = nestor_compiler::index_of(value);
        if let Some(letter) = self.letters.get(&at) {
            return (letter.clone(), Bond::Whole);
        }
        let own = self.own(value);
        if !self.named(value) {
            return own;
        }
        let letter = format!("t{}", self.letters.len() + 1);
        self.lines.push(format!("{letter} = {}", own.0));
        self.letters.insert(at, letter.clone());
        (letter, Bond::Whole)
    }

    pub(super) fn own(&mut self, value: Value) -> Text {
        let node = self.graph.def(value);
        let operands = node.operands.clone();
        let whole = |text: String| (text, Bond::Whole);
        match &node.op {
            Op::Input { index, .. } => {
                let known = self.inputs.get(*index).cloned();
                whole(known.unwrap_or_else(|| self.graph.inputs[*index].name.clone()))
            }
            Op::Constant { .. } | Op::Add | Op::Sub | Op::Mul | Op::Neg | Op::Div => {
                let (negative, term) = self.term(value);
                if negative { negated(term) } else { term }
            }
            Op::Pow => {
                let base = self.at(operands[0], Bond::Whole);
                match self.at(operands[1], Bond::Whole).as_str() {
                    "2" => (format!("{base}²"), Bond::Power),
                    "3" => (format!("{base}³"), Bond::Power),
                    power => (format!("{base}^{power}"), Bond::Power),
                }
            }
            Op::Abs => whole(format!("|{}|", self.text(operands[0]).0)),
            Op::Sqrt => (format!("√{}", self.at(operands[0], Bond::Whole)), Bond::Sign),
            Op::Reduce { fold: Fold::Sum, .. } => {
                (format!("Σ {}", self.at(operands[0], Bond::Sign)), Bond::Sign)
            }
            Op::Select => {
                let [c, a, b] = [0, 1, 2].map(|n| self.text(operands[n]).0);
                (format!("if {c} then {a} else {b}"), Bond::Choice)
            }
            Op::Equal => self.infix(&operands, " = ", Bond::Choice, Bond::Sum),
            Op::Rem => self.infix(&operands, " mod ", Bond::Product, Bond::Sign),
            // A token of a window, or one of several weights under one name.
            Op::Slice { axis: 0, start, size: 1 } => {
                let of = self.at(operands[0], Bond::Whole);
                whole(format!("{of}[{start}]"))
            }
            Op::Less => self.infix(&operands, " < ", Bond::Choice, Bond::Sum),
            Op::LessEqual => self.infix(&operands, " ≤ ", Bond::Choice, Bond::Sum),
            Op::Transpose { order } if order == &Axes::from(&[1, 0][..]) => {
                (format!("{}ᵀ", self.at(operands[0], Bond::Whole)), Bond::Power)
            }
            Op::Contract { batch, sum } => {
                let ranks = [0, 1].map(|n| self.graph.ty(operands[n]).rank());
                let [a, b] = [0, 1].map(|n| self.at(operands[n], Bond::Sign));
                let turned = |text: String, on: bool| {
                    if on { format!("{text}ᵀ") } else { text }
                };
                match (&batch[..], &sum[..]) {
                    ([], []) => (format!("{a} ⊗ {b}"), Bond::Product),
                    ([], [_]) if ranks == [1, 1] => (format!("{a}·{b}"), Bond::Product),
                    ([], [(left, right)]) if ranks[0] <= 2 && ranks[1] <= 2 => {
                        let a = turned(a, ranks[0] == 2 && *left == 0);
                        let b = turned(b, ranks[1] == 2 && *right == 1);
                        (format!("{a} {b}"), Bond::Product)
                    }
                    _ => whole(format!("contract({a}, {b})")),
                }
            }
            Op::Real if self.is_identity(operands[0]) => whole("I".into()),
            op => {
                let name = op.info().name;
                let name = match op {
                    Op::Reduce { fold, .. } => format!("{fold:?}").to_lowercase(),
                    _ => name.to_owned(),
                };
                let all: Vec<String> = operands.iter().map(|&v| self.text(v).0).collect();
                whole(format!("{name}({})", all.join(", ")))
            }
        }
    }

    /// A text in parentheses where it holds together less tightly than asked.
    pub(super) fn at(&mut self, value: Value, least: Bond) -> String {
        within(self.text(value), least)
    }

    fn infix(&mut self, operands: &[Value], sign: &str, bond: Bond, right: Bond) -> Text {
        let a = self.at(operands[0], bond);
        let b = self.at(operands[1], right);
        (format!("{a}{sign}{b}"), bond)
    }
}
