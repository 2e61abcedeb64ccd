//! Penalties: the argmin of `<W - W_prev, -U> + penalty(W)` in closed form, element by element.
//!
//! A penalty is a sum of terms over the elements of W; each is found to be one of
//!
//! ```text
//! a/2 w^2 + b w      quadratics of anything affine in w, and affine terms
//! c |w - m|          absolute values, all with one centre m
//! e w log w          entropies and divergences
//! ```
//!
//! where a, b, c, e and m may be any values that do not depend on W. With u the step's element:
//!
//! ```text
//! e = 0:           w = m + soft((u - b) - a m, c) / a,   soft(z, c) = sign(z) max(|z| - c, 0)
//! a = c = 0:       w = exp((u - b) / e - 1)              a `read` that divides by the sum makes it softmax
//! ```

use crate::elaborate::{Elaborator, Slot};
use crate::emit;
use crate::value::{NamedDim, Tensor, Value, shape_text};
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Fold, Graph, NodeData, Op, Value as Node};
use nestor_ir::ty::Elem;

/// Coefficients of an element's terms; nothing stands for zero.
#[derive(Clone, Debug, Default)]
struct Terms {
    square: Option<Tensor>,
    linear: Option<Tensor>,
    size: Option<(Tensor, Option<Tensor>, Node)>,
    entropy: Option<(Tensor, Node)>,
}

/// A term that stands in the way, and why.
struct Obstacle {
    node: Node,
    why: &'static str,
}

/// Terms being collected in one frame.
struct Collector<'g> {
    graph: &'g mut Graph,
    frame: usize,
    dims: &'g [NamedDim],
    /// Which values depend on W.
    depends: Vec<bool>,
    /// W itself.
    weight: Vec<Node>,
    terms: Terms,
}

/// `p w + q`.
struct Line {
    slope: Tensor,
    offset: Option<Tensor>,
}

impl<'a> Elaborator<'a> {
    /// The next weights that a penalty stands for.
    pub(crate) fn least(
        &mut self,
        frame: usize,
        penalty: &Value,
        dims: &[NamedDim],
        span: Span,
    ) -> Option<Tensor> {
        let t = self.real(penalty, span)?;
        if !t.dims.is_empty() {
            let text = format!("the penalty is {}, not one number", shape_text(&t.dims));
            let help = "sum it over the elements: `penalty sum(...)`";
            self.report(Diagnostic::error("N505", span, text).help(help));
            return None;
        }
        let next = self.argmin(frame, &t, dims, span)?;
        self.like(&next, dims, span)
    }

    fn argmin(
        &mut self,
        frame: usize,
        penalty: &Tensor,
        dims: &[NamedDim],
        span: Span,
    ) -> Option<Tensor> {
        let step = self.slot_of(frame, Slot::Step, "U", dims);
        let inputs = self.frames[frame].slots.iter().enumerate();
        let weight: Vec<Node> = inputs
            .filter(|(_, s)| **s == Slot::First)
            .map(|(i, _)| self.frames[frame].graph.inputs[i].value)
            .collect();
        let graph = &mut self.frames[frame].graph;
        let mut depends = vec![false; graph.values.len()];
        for node in graph.nodes.values() {
            let any = node.operands.iter().any(|o| depends[o.index()]);
            for r in &node.results {
                depends[r.index()] = any || weight.contains(r);
            }
        }
        let terms = Terms::default();
        let mut all = Collector { graph, frame, dims, depends, weight, terms };
        let one = all.constant(1.0);
        let solved = all
            .collect(penalty.node, &one, false)
            .and_then(|()| all.solve(&step, penalty));
        match solved {
            Ok(next) => Some(next),
            Err(obstacle) => {
                self.no_argmin(frame, &obstacle, span);
                None
            }
        }
    }

    fn no_argmin(&mut self, frame: usize, obstacle: &Obstacle, span: Span) {
        let text = format!("the penalty has no argmin in closed form: {}", obstacle.why);
        let help = "a penalty is a sum over elements of squares, absolute values or `W * log(W)`; or write the result: `W' = ...`, `keep` and `read`";
        let place = self.origin(frame, obstacle.node).unwrap_or(span);
        let mut diagnostic = Diagnostic::error("N504", place, text).help(help);
        diagnostic = diagnostic.says("this term");
        if place.file != span.file || place.end <= span.start || span.end <= place.start {
            diagnostic = diagnostic.label(span, "in this penalty");
        }
        self.report(diagnostic);
    }

    /// A slot of the frame, added where it is not there yet.
    fn slot_of(
        &mut self,
        frame: usize,
        slot: Slot,
        name: &str,
        dims: &[NamedDim],
    ) -> Tensor {
        let at = self.frames[frame].slots.iter().position(|s| *s == slot);
        let Some(at) = at else { return self.slot(frame, slot, name, dims.to_vec()) };
        let node = self.frames[frame].graph.inputs[at].value;
        let (elem, lead, window) = (Elem::Real, vec![], None);
        Tensor { frame, node, elem, lead, dims: dims.to_vec(), strip: 0, window }
    }
}

impl Collector<'_> {
    fn constant(&mut self, value: f64) -> Tensor {
        emit::constant(self.graph, self.frame, value, Elem::Real)
    }
    /// A value of the graph that does not depend on W, scalar or of W's shape.
    fn known(&self, node: Node) -> Tensor {
        let rank = self.graph.ty(node).rank();
        let dims = if rank == 0 { vec![] } else { self.dims.to_vec() };
        let (elem, lead, window) = (Elem::Real, vec![], None);
        Tensor { frame: self.frame, node, elem, lead, dims, strip: 0, window }
    }
    fn two(&mut self, op: Op, a: &Tensor, b: &Tensor) -> Tensor {
        match emit::fit(self.graph, a, b) {
            Ok((a, b)) => emit::binary(self.graph, op, &a, &b),
            // Coefficients are scalars or of W's shape, which always fit.
            Err(_) => a.clone(),
        }
    }
    fn add(&mut self, to: Option<Tensor>, more: &Tensor) -> Option<Tensor> {
        Some(match to {
            None => more.clone(),
            Some(to) => self.two(Op::Add, &to, more),
        })
    }
    fn moves(&self, node: Node) -> bool {
        self.depends.get(node.index()).copied().unwrap_or(false)
    }
    fn def(&self, node: Node) -> NodeData {
        self.graph.def(node).clone()
    }
    fn is(&self, node: Node, value: f64) -> bool {
        let def = self.graph.def(node);
        match &def.op {
            Op::Constant { value: v, .. } => *v == value,
            Op::Broadcast { .. } => self.is(def.operands[0], value),
            _ => false,
        }
    }

    /// Terms of a value, times `scale`; `inside` the sum over elements or still outside.
    fn collect(
        &mut self,
        node: Node,
        scale: &Tensor,
        inside: bool,
    ) -> Result<(), Obstacle> {
        if !self.moves(node) {
            return Ok(());
        }
        let def = self.def(node);
        let operand = |n: usize| def.operands[n];
        match &def.op {
            Op::Add => {
                self.collect(operand(0), scale, inside)?;
                self.collect(operand(1), scale, inside)
            }
            Op::Sub => {
                self.collect(operand(0), scale, inside)?;
                let minus = emit::unary(self.graph, Op::Neg, scale);
                self.collect(operand(1), &minus, inside)
            }
            Op::Neg => {
                let minus = emit::unary(self.graph, Op::Neg, scale);
                self.collect(operand(0), &minus, inside)
            }
            Op::Mul if !self.moves(operand(0)) || !self.moves(operand(1)) => {
                let (fixed, moving) = self.apart(operand(0), operand(1));
                let scale = self.two(Op::Mul, scale, &fixed);
                self.collect(moving, &scale, inside)
            }
            Op::Div if !self.moves(operand(1)) => {
                let by = self.known(operand(1));
                let scale = self.two(Op::Div, scale, &by);
                self.collect(operand(0), &scale, inside)
            }
            Op::Reduce { fold: Fold::Sum, .. } if !inside => {
                let all = self.graph.ty(operand(0)).rank() == self.dims.len()
                    && self.graph.ty(node).rank() == 0;
                if all {
                    return self.collect(operand(0), scale, true);
                }
                Err(self.obstacle(node))
            }
            // `norm(x)^2` is the sum of squares.
            Op::Pow if !inside && self.is(operand(1), 2.0) => {
                let root = self.def(operand(0));
                match root.op {
                    Op::Sqrt => self.collect(root.operands[0], scale, false),
                    _ => Err(self.obstacle(node)),
                }
            }
            _ if inside => self.element(node, &def, scale),
            _ => Err(self.obstacle(node)),
        }
    }

    fn apart(&self, a: Node, b: Node) -> (Tensor, Node) {
        if self.moves(a) { (self.known(b), a) } else { (self.known(a), b) }
    }

    /// One element's term that is no sum.
    fn element(
        &mut self,
        node: Node,
        def: &NodeData,
        scale: &Tensor,
    ) -> Result<(), Obstacle> {
        match &def.op {
            Op::Pow if self.is(def.operands[1], 2.0) => {
                let line = self.line(def.operands[0])?;
                self.square(&line, &line, scale);
                Ok(())
            }
            Op::Mul => self.product(node, def, scale),
            Op::Abs => {
                let line = self.line(def.operands[0])?;
                self.size(node, &line, scale)
            }
            _ => {
                let line = self.line(node)?;
                let slope = self.two(Op::Mul, scale, &line.slope);
                self.terms.linear = {
                    let linear = self.terms.linear.take();
                    self.add(linear, &slope)
                };
                Ok(())
            }
        }
    }

    /// `scale (p w + q) (r w + s)`.
    fn square(&mut self, a: &Line, b: &Line, scale: &Tensor) {
        let two = self.constant(2.0);
        let slopes = self.two(Op::Mul, &a.slope, &b.slope);
        let slopes = self.two(Op::Mul, &slopes, &two);
        let square = self.two(Op::Mul, scale, &slopes);
        let before = self.terms.square.take();
        self.terms.square = self.add(before, &square);
        for (line, other) in [(a, b), (b, a)] {
            let Some(offset) = &other.offset else { continue };
            let mixed = self.two(Op::Mul, &line.slope, offset);
            let mixed = self.two(Op::Mul, scale, &mixed);
            let before = self.terms.linear.take();
            self.terms.linear = self.add(before, &mixed);
        }
    }

    /// `scale |p w + q|` as `c |w - m|`.
    fn size(&mut self, node: Node, line: &Line, scale: &Tensor) -> Result<(), Obstacle> {
        let steep = emit::unary(self.graph, Op::Abs, &line.slope);
        let mut size = self.two(Op::Mul, scale, &steep);
        let centre = line.offset.as_ref().map(|q| {
            let minus = emit::unary(self.graph, Op::Neg, q);
            self.two(Op::Div, &minus, &line.slope)
        });
        if let Some((known, other, _)) = self.terms.size.take() {
            if centre.is_some() || other.is_some() {
                let why = "absolute values with two centres are minimised between them, piece by piece";
                return Err(Obstacle { node, why });
            }
            size = self.two(Op::Add, &known, &size);
        }
        self.terms.size = Some((size, centre, node));
        Ok(())
    }

    /// Products of two factors that both depend on w: squares and entropies.
    fn product(
        &mut self,
        node: Node,
        def: &NodeData,
        scale: &Tensor,
    ) -> Result<(), Obstacle> {
        let (a, b) = (def.operands[0], def.operands[1]);
        if let (Ok(x), Ok(y)) = (self.line(a), self.line(b)) {
            self.square(&x, &y, scale);
            return Ok(());
        }
        for (plain, logs) in [(a, b), (b, a)] {
            let Ok(line) = self.line(plain) else { continue };
            if line.offset.is_none() && self.logarithm(logs).is_some() {
                let scale = self.two(Op::Mul, scale, &line.slope);
                return self.entropy(node, logs, &scale);
            }
        }
        Err(self.obstacle(node))
    }

    /// What a value is as `log(p w)` plus what does not depend on w: (p, the rest).
    fn logarithm(&mut self, node: Node) -> Option<(Tensor, Option<Tensor>)> {
        let def = self.def(node);
        match &def.op {
            Op::Log => {
                let line = self.line(def.operands[0]).ok()?;
                line.offset.is_none().then_some((line.slope, None))
            }
            Op::Add | Op::Sub if !self.moves(def.operands[1]) => {
                let (slope, rest) = self.logarithm(def.operands[0])?;
                let more = self.known(def.operands[1]);
                let more = if def.op == Op::Sub {
                    emit::unary(self.graph, Op::Neg, &more)
                } else {
                    more
                };
                Some((slope, self.add(rest, &more)))
            }
            _ => None,
        }
    }

    /// `scale w log(p w)` is `scale w log w + scale log(p) w`.
    fn entropy(
        &mut self,
        node: Node,
        logs: Node,
        scale: &Tensor,
    ) -> Result<(), Obstacle> {
        let Some((slope, rest)) = self.logarithm(logs) else {
            return Err(self.obstacle(node));
        };
        let mut moved = emit::unary(self.graph, Op::Log, &slope);
        if let Some(rest) = rest {
            moved = self.two(Op::Add, &moved, &rest);
        }
        let moved = self.two(Op::Mul, scale, &moved);
        let before = self.terms.linear.take();
        self.terms.linear = self.add(before, &moved);
        let before = self.terms.entropy.take().map(|e| e.0);
        self.terms.entropy = self.add(before, scale).map(|e| (e, node));
        Ok(())
    }

    /// A value as `p w + q`.
    fn line(&mut self, node: Node) -> Result<Line, Obstacle> {
        if self.weight.contains(&node) {
            return Ok(Line { slope: self.constant(1.0), offset: None });
        }
        let def = self.def(node);
        let n = |i: usize| def.operands[i];
        match &def.op {
            Op::Neg => {
                let a = self.line(n(0))?;
                let minus = self.constant(-1.0);
                Ok(self.times(&a, &minus))
            }
            Op::Add | Op::Sub => {
                let sign = if def.op == Op::Sub { -1.0 } else { 1.0 };
                let sign = self.constant(sign);
                match (self.moves(n(0)), self.moves(n(1))) {
                    (true, true) => {
                        let (a, b) = (self.line(n(0))?, self.line(n(1))?);
                        let b = self.times(&b, &sign);
                        let slope = self.two(Op::Add, &a.slope, &b.slope);
                        let offset = match &b.offset {
                            Some(q) => self.add(a.offset, q),
                            None => a.offset,
                        };
                        Ok(Line { slope, offset })
                    }
                    (true, false) => {
                        let a = self.line(n(0))?;
                        let q = self.known(n(1));
                        let q = self.two(Op::Mul, &sign, &q);
                        Ok(Line { offset: self.add(a.offset, &q), slope: a.slope })
                    }
                    (false, _) => {
                        let b = self.line(n(1))?;
                        let b = self.times(&b, &sign);
                        let q = self.known(n(0));
                        Ok(Line { offset: self.add(b.offset, &q), slope: b.slope })
                    }
                }
            }
            Op::Mul if !self.moves(n(0)) || !self.moves(n(1)) => {
                let (fixed, moving) = self.apart(n(0), n(1));
                let line = self.line(moving)?;
                Ok(self.times(&line, &fixed))
            }
            Op::Div if !self.moves(n(1)) => {
                let line = self.line(n(0))?;
                let one = self.constant(1.0);
                let by = self.known(n(1));
                let by = self.two(Op::Div, &one, &by);
                Ok(self.times(&line, &by))
            }
            _ => Err(self.obstacle(node)),
        }
    }

    fn times(&mut self, line: &Line, by: &Tensor) -> Line {
        let slope = self.two(Op::Mul, &line.slope, by);
        let offset = line.offset.as_ref().map(|q| self.two(Op::Mul, q, by));
        Line { slope, offset }
    }

    /// What a node is that stands in the way.
    fn obstacle(&self, node: Node) -> Obstacle {
        let why = match self.graph.def(node).op {
            Op::Reduce { .. } | Op::Contract { .. } | Op::Sqrt => {
                "it ties elements of the weights together, and is not a sum over them"
            }
            Op::Select | Op::Max | Op::Min => "its minimum is found piece by piece",
            _ => "no equation for its minimum is known",
        };
        Obstacle { node, why }
    }

    /// The weights where the slope is zero.
    fn solve(&mut self, step: &Tensor, penalty: &Tensor) -> Result<Tensor, Obstacle> {
        let terms = std::mem::take(&mut self.terms);
        let force = match &terms.linear {
            Some(b) => self.two(Op::Sub, step, b),
            None => step.clone(),
        };
        match (terms.square, terms.size, terms.entropy) {
            (None, None, Some((e, _))) => {
                let ratio = self.two(Op::Div, &force, &e);
                let one = self.constant(1.0);
                let exponent = self.two(Op::Sub, &ratio, &one);
                Ok(emit::unary(self.graph, Op::Exp, &exponent))
            }
            (_, _, Some((_, node))) => {
                let why = "`W * log(W)` beside squares or absolute values gives no equation that can be solved for W";
                Err(Obstacle { node, why })
            }
            (Some(a), None, None) => Ok(self.two(Op::Div, &force, &a)),
            (Some(a), Some((c, centre, _)), None) => {
                let off = match &centre {
                    Some(m) => {
                        let at = self.two(Op::Mul, &a, m);
                        self.two(Op::Sub, &force, &at)
                    }
                    None => force,
                };
                let size = emit::unary(self.graph, Op::Abs, &off);
                let over = self.two(Op::Sub, &size, &c);
                let zero = self.constant(0.0);
                let over = self.two(Op::Max, &over, &zero);
                let sign = emit::unary(self.graph, Op::Sign, &off);
                let soft = self.two(Op::Mul, &sign, &over);
                let moved = self.two(Op::Div, &soft, &a);
                Ok(match &centre {
                    Some(m) => self.two(Op::Add, &moved, m),
                    None => moved,
                })
            }
            (None, size, None) => {
                let node = size.map_or(penalty.node, |s| s.2);
                let why =
                    "without a square or an entropy it does not hold the weights back";
                Err(Obstacle { node, why })
            }
        }
    }
}
