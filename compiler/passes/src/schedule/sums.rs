//! Sums with products in them: what is no product is stored, the products are added where it lies.
//!
//! ```text
//! before   t = product a, b;  u = product c, d;  y = map t + u + x      three tiles written, two read
//! after    y = map x;  y += product a, b;  y += product c, d
//! ```

use super::expression::Program;
use super::frame::access;
use super::lower::Lower;
use super::view::View;
use crate::error::PassError;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{NodeData, Op, Value};
use nestor_ir::tile::{ExprId, ScalarOp, Sink};

/// The terms of a sum with their signs, products with their factors.
#[derive(Default)]
struct Terms {
    products: Vec<(f64, Value)>,
    others: Vec<(f64, Value)>,
}

impl Lower<'_> {
    fn only_user(&self, v: Value) -> Option<&NodeData> {
        self.user[v.index()].map(|n| &self.graph.nodes[n])
    }

    /// The sum of which a value is only a term, a product perhaps times a number.
    fn above(&self, v: Value) -> Option<Value> {
        let mut user = self.only_user(v)?;
        if self.scaled(user).is_some_and(|(_, product)| product == v) {
            user = self.only_user(user.results[0])?;
        }
        matches!(user.op, Op::Add | Op::Sub).then(|| user.results[0])
    }

    /// The number and the product, where a node is one times the other and nothing else takes the product.
    fn scaled(&self, node: &NodeData) -> Option<(f64, Value)> {
        let (Op::Mul, &[a, b]) = (&node.op, &node.operands[..]) else { return None };
        [(a, b), (b, a)].into_iter().find_map(|(product, factor)| {
            let Op::Constant { value, .. } = self.graph.def(factor).op else {
                return None;
            };
            let multiplied = match &self.graph.def(product).op {
                Op::Contract { sum, .. } => !sum.is_empty(),
                _ => false,
            };
            (multiplied && self.uses[product.index()] == 1).then_some((value, product))
        })
    }

    /// Whether a sum is a part of another that nothing else takes.
    pub(super) fn is_term_of(&self, v: Value, sum: Value) -> bool {
        let mut at = v;
        while let Some(next) = self.above(at) {
            if next == sum {
                return true;
            }
            at = next;
        }
        false
    }

    /// Whether a product is better added to the sum that takes it than stored alone: where the sum
    /// takes others, and in a walk, where maps cost more, where a product or a state takes the sum.
    pub(super) fn joins_sum(&self, v: Value) -> bool {
        let Some(mut root) = self.above(v) else { return false };
        while let Some(next) = self.above(root) {
            root = next;
        }
        let multiplied = self.only_user(root).is_some_and(|n| {
            let matrix = matches!(&n.op, Op::Contract { sum, .. } if !sum.is_empty());
            matrix || matches!(n.op, Op::SolveUnitLower { .. })
        });
        let near = self.nested && (multiplied || self.is_state(root));
        near || self.products(root) > 1
    }

    fn products(&self, v: Value) -> usize {
        let node = self.graph.def(v);
        match &node.op {
            Op::Add | Op::Sub => node
                .operands
                .iter()
                .filter(|o| self.uses[o.index()] == 1)
                .map(|&o| self.products(o))
                .sum(),
            Op::Contract { sum, .. } => usize::from(!sum.is_empty()),
            _ => usize::from(self.scaled(node).is_some()),
        }
    }

    /// Whether a value is handed to the next step and taken by nothing else.
    pub(super) fn is_state(&self, v: Value) -> bool {
        let outputs = self.graph.outputs.iter().take(self.states);
        self.uses[v.index()] == 1 && outputs.into_iter().any(|o| o.value == v)
    }

    /// Whether a value is a whole sum with products that wait for it.
    pub(super) fn is_sum_of_products(&self, v: Value) -> bool {
        matches!(self.graph.def(v).op, Op::Add | Op::Sub)
            && self.known[v.index()].is_none()
            && self.above(v).is_none()
            && !self.terms(v).products.is_empty()
    }

    fn terms(&self, v: Value) -> Terms {
        let mut terms = Terms::default();
        let mut open = vec![(1.0, v)];
        while let Some((sign, at)) = open.pop() {
            let node = self.graph.def(at);
            let inner = at == v || self.uses[at.index()] == 1;
            let free = inner && self.known[at.index()].is_none();
            let scaled =
                self.scaled(node).filter(|(_, p)| free && self.deferred[p.index()]);
            if let Some((factor, product)) = scaled {
                terms.products.push((sign * factor, product));
                continue;
            }
            let minus = match node.op {
                Op::Add => 1.0,
                Op::Sub => -1.0,
                _ if self.deferred[at.index()] => {
                    terms.products.push((sign, at));
                    continue;
                }
                _ => {
                    terms.others.push((sign, at));
                    continue;
                }
            };
            if free {
                open.push((sign * minus, node.operands[1]));
                open.push((sign, node.operands[0]));
            } else {
                terms.others.push((sign, at));
            }
        }
        terms
    }

    /// Stores a sum of products.
    pub(super) fn store_sum(&mut self, v: Value, to: &View) -> Result<(), PassError> {
        if !to.is_whole() {
            let (name, ty) = (self.name(v), self.graph.ty(v).clone());
            let tile = self.room(&name, &ty);
            self.store_sum(v, &tile)?;
            self.copy(&tile, to);
            return Ok(());
        }
        let terms = self.terms(v);
        for (_, other) in &terms.others {
            self.prepare(*other, true)?;
        }
        if !terms.others.is_empty() {
            self.store_others(v, &terms.others, to)?;
        }
        let mut accumulate = !terms.others.is_empty();
        for (sign, product) in terms.products {
            self.deferred[product.index()] = false;
            let node = self.graph.def(product);
            self.product(node, to, sign, accumulate)?;
            accumulate = true;
        }
        Ok(())
    }

    fn store_others(
        &mut self,
        v: Value,
        others: &[(f64, Value)],
        to: &View,
    ) -> Result<(), PassError> {
        let name = self.name(v);
        self.begin();
        let dims = self.graph.ty(v).dims.clone();
        let (coords, space) = self.spread(&dims);
        let mut p = Program::new(space.len()).over(&dims, &coords);
        let mut total: Option<ExprId> = None;
        for &(sign, other) in others {
            let term = self.scalar(&mut p, other, &coords)?;
            total = Some(match (total, sign < 0.0) {
                (None, false) => term,
                (None, true) => p.real(ScalarOp::Neg, &[term]),
                (Some(sum), false) => p.real(ScalarOp::Add, &[sum, term]),
                (Some(sum), true) => p.real(ScalarOp::Sub, &[sum, term]),
            });
        }
        let Some(total) = total else { return Ok(()) };
        let place = self.place(to.home, true);
        let sink = Sink::Store(access(to, place, &coords, space.len()));
        let sinks = self.with_extras(&mut p, &coords, space.len(), (v, total, sink));
        self.map(space, p, sinks);
        self.end(&name);
        Ok(())
    }
}
