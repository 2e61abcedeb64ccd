//! Sums and products of elements: numbers in front, signs between terms, the same twice counted.
//!
//! ```text
//! x − −2 (1 y)      x + 2 y
//! a b + a b         2 a b
//! ```

#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "an op that is neither a sum nor a product is one factor"
)]

use super::equation::{Bond, Text, Writer};
use nestor_compiler::tensor::{Op, Value};

impl Writer<'_> {
    /// Whether it is short enough to be written again at every use: a leaf, a token of a window, or a
    /// number times one.
    fn light(&self, value: Value) -> bool {
        let value = self.behind(value);
        let node = self.graph.def(value);
        match node.op {
            Op::Mul => {
                let [a, b] = [node.operands[0], node.operands[1]];
                let number = |v| self.constant(v).is_some();
                (number(a) && self.light(b)) || (number(b) && self.light(a))
            }
            Op::Neg | Op::Slice { axis: 0, size: 1, .. } => self.light(node.operands[0]),
            _ => node.operands.is_empty() || self.constant(value).is_some(),
        }
    }

    /// Whether it is one sign to what uses it: a leaf, or a letter of its own.
    pub(super) fn named(&self, value: Value) -> bool {
        let at = nestor_compiler::index_of(value);
        self.letters.contains_key(&at) || (self.uses[at] > 1 && !self.light(value))
    }

    /// Whether it holds where a row's number is its column's.
    pub(super) fn is_identity(&self, value: Value) -> bool {
        let node = self.graph.def(self.behind(value));
        let count =
            |v: &Value| matches!(self.graph.def(self.behind(*v)).op, Op::Iota { .. });
        matches!(node.op, Op::Equal) && node.operands.iter().all(count)
    }

    /// The number that it is, whatever goes in.
    fn constant(&self, value: Value) -> Option<f64> {
        let node = self.graph.def(self.behind(value));
        let of = |n: usize| self.constant(node.operands[n]);
        match node.op {
            Op::Constant { value, .. } => Some(value),
            Op::Neg => Some(-of(0)?),
            Op::Abs => Some(of(0)?.abs()),
            Op::Mul => Some(of(0)? * of(1)?),
            Op::Add => Some(of(0)? + of(1)?),
            Op::Sub => Some(of(0)? - of(1)?),
            _ => None,
        }
    }

    /// The number and the other factors of a product of elements.
    fn factors(&self, value: Value, number: &mut f64, others: &mut Vec<Value>) {
        let value = self.behind(value);
        let node = self.graph.def(value);
        if let Some(constant) = self.constant(value) {
            *number *= constant;
            return;
        }
        match node.op {
            _ if self.named(value) => others.push(value),
            Op::Mul => {
                node.operands.iter().for_each(|&v| self.factors(v, number, others));
            }
            Op::Neg => {
                *number = -*number;
                self.factors(node.operands[0], number, others);
            }
            _ => others.push(value),
        }
    }

    /// Whether a term is subtracted, and what of it is left then.
    fn signed(&mut self, value: Value) -> (bool, Text) {
        let value = self.behind(value);
        if self.named(value) { (false, self.text(value)) } else { self.term(value) }
    }

    pub(super) fn term(&mut self, value: Value) -> (bool, Text) {
        let node = self.graph.def(value);
        if self.constant(value).is_some() || matches!(node.op, Op::Mul | Op::Neg) {
            let negative = matches!(node.op, Op::Neg);
            let (mut factor, mut others) =
                (if negative { -1.0 } else { 1.0 }, Vec::new());
            match self.constant(value) {
                Some(constant) => factor = constant,
                None => node
                    .operands
                    .iter()
                    .for_each(|&v| self.factors(v, &mut factor, &mut others)),
            }
            let size = factor.abs();
            let (negative, leaves) = (factor < 0.0, others.is_empty() || size != 1.0);
            let mut parts: Vec<String> = Vec::new();
            parts.extend(leaves.then(|| number(size)));
            if let ([one], true) = (&others[..], parts.is_empty()) {
                return (negative, self.text(*one));
            }
            for other in others {
                let (text, bond) = self.text(other);
                let next = within((text.clone(), bond), Bond::Sign);
                match parts.last_mut().filter(|last| **last == next) {
                    Some(last) => {
                        *last = format!("{}²", within((text, bond), Bond::Whole))
                    }
                    None => parts.push(next),
                }
            }
            let bond = if parts.len() == 1 { Bond::Whole } else { Bond::Product };
            return (negative, (parts.join(" "), bond));
        }
        if matches!(node.op, Op::Div) {
            let [a, b] = [node.operands[0], node.operands[1]];
            let (negative, a) = self.signed(a);
            if self.constant(b) == Some(1.0) {
                return (negative, a);
            }
            let (over, b) = (within(a, Bond::Product), self.at(b, Bond::Power));
            return (negative, (format!("{over} / {b}"), Bond::Product));
        }
        if let Op::Add | Op::Sub = node.op {
            let [a, b] = [node.operands[0], node.operands[1]];
            let less = matches!(node.op, Op::Sub);
            return self.sum(a, b, less);
        }
        (false, self.own(value))
    }

    /// A sum or a difference; the same twice is one term.
    fn sum(&mut self, a: Value, b: Value, less: bool) -> (bool, Text) {
        let (first, a) = self.signed(a);
        let (second, b) = self.signed(b);
        let second = second != less;
        if a == b && first == second && a.1 > Bond::Sum {
            let counted = a.0.starts_with(char::is_numeric);
            let a = if counted { format!("({})", a.0) } else { within(a, Bond::Product) };
            return (first, (format!("2 {a}"), Bond::Product));
        }
        let (first, a, second, b) =
            if first && !second { (second, b, first, a) } else { (first, a, second, b) };
        let a = if first { negated(a).0 } else { within(a, Bond::Sum) };
        let (sign, b) = match second {
            true => ("−", within(b, Bond::Product)),
            false => ("+", within(b, Bond::Sum)),
        };
        (false, (format!("{a} {sign} {b}"), Bond::Sum))
    }
}

/// A text in parentheses where it holds together less tightly than asked.
pub(super) fn within((text, bond): Text, least: Bond) -> String {
    if bond < least { format!("({text})") } else { text }
}

pub(super) fn negated(text: Text) -> Text {
    (format!("−{}", within(text, Bond::Product)), Bond::Product)
}

/// A number without its sign.
fn number(size: f64) -> String {
    match size {
        0.5 => "½".into(),
        f64::INFINITY => "∞".into(),
        size => size.to_string(),
    }
}
