//! Objectives of a memory's clauses: a bias of what the memory answers, as a small graph.

use crate::elaborate::{Elaborator, Env};
use crate::emit;
use crate::memory::Made;
use crate::value::{Tensor, Value, shape_text};
use nestor_grammar::ast::{self, BiasChoice, ItemKind, Kind};
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::dim::Dim;
use nestor_ir::tensor::{Fold, Graph, Value as Node};

impl<'a> Elaborator<'a> {
    #[expect(clippy::too_many_arguments, reason = "what an objective is made of")]
    /// The objective of one token for a bias: its frame, its value, and what weighs a window's tokens
    /// by age.
    pub(crate) fn objective(
        &mut self,
        instance: usize,
        made: &Made<'a>,
        env: &mut Env,
        bias: &'a BiasChoice,
        group: usize,
        values: &[Tensor],
        window: usize,
    ) -> Option<(usize, Node, Option<usize>)> {
        let span = bias.call.span;
        let (frame, weights) = self.anchored_frame(made, group, vec![]);
        let before = std::mem::replace(&mut self.frame, frame);
        let (d, mut scope) = match self.axis(env, &bias.call, Kind::Bias, &[]) {
            Some(pair) => pair,
            None => {
                self.frame = before;
                return None;
            }
        };
        let definition = self.table.entries[d].definition;
        let roles = self.roles(Kind::Bias, &definition.params);
        let key = Value::Tensor(values[0].clone());
        let prediction = self.written_out(instance, &weights, vec![key], span);
        scope
            .names
            .insert(definition.params.all[0].name.text.clone(), prediction.clone());
        if roles == 2 {
            let Some(target) = values.get(1) else {
                let text = format!(
                    "`{}` has a target: write `M.write(k, v)`",
                    definition.name.text
                );
                self.report(Diagnostic::error("N102", span, text));
                self.frame = before;
                return None;
            };
            let mut local = self.local(target);
            // The target speaks the prediction's names.
            if let Value::Tensor(p) = &prediction {
                if p.dims.len() != local.dims.len()
                    || p.dims.iter().zip(&local.dims).any(|(a, b)| a.size != b.size)
                {
                    let text = format!(
                        "the memory answers {} but its target is {}",
                        shape_text(&p.dims),
                        shape_text(&local.dims)
                    );
                    self.report(Diagnostic::error("N201", span, text));
                    self.frame = before;
                    return None;
                }
                local.dims.clone_from(&p.dims);
            }
            scope
                .names
                .insert(definition.params.all[1].name.text.clone(), Value::Tensor(local));
        }
        let mut value = match definition.body.first().map(|i| &i.kind) {
            Some(ItemKind::Output(_, expr)) => {
                self.within(bias.call.span, |this| this.eval(&mut scope, expr))
            }
            _ => Value::Poison,
        };
        let mut by_age = None;
        match &bias.weighted {
            Some(weighted) if window > 1 => {
                by_age = self.ages(env, weighted, frame, window);
            }
            Some(weighted) => {
                let factor = self.eval(env, weighted);
                // A window of one token has one age.
                let one = matches!(&factor, Value::Tensor(t)
                    if t.dims[t.strip..].iter().map(|d| d.size).eq([Dim::Fixed(1)]));
                value = self.binary(ast::BinaryOp::Mul, factor, value, weighted.span);
                if let (true, Some(t)) = (one, self.real(&value, span)) {
                    let sum =
                        emit::reduce(self.graph(), Fold::Sum, &t, &[t.dims.len() - 1]);
                    value = Value::Tensor(sum);
                }
            }
            None => {}
        }
        let t = self.real(&value, span);
        self.frame = before;
        let t = t?;
        let help = "sum it: `bias mine(y, v) = sum(...)`";
        if !self.one_number(&t, bias.call.span, help) {
            return None;
        }
        let reaches = depends(&self.frames[frame].graph, t.node, &weights);
        if !reaches {
            let text =
                format!("`{}` does not depend on its prediction", definition.name.text);
            let diagnostic = Diagnostic::error("N502", bias.call.span, text);
            self.report(
                diagnostic
                    .label(definition.name.span, "defined here")
                    .help("nothing would be learned"),
            );
            return None;
        }
        let only = |n: &str| {
            bias.on.as_ref().and_then(ast::Path::dotted).is_none_or(|on| on == n)
        };
        let names = self.weight_names(instance, &made.weights, &weights);
        let mine = made.weights.iter().zip(names).filter(|((n, _), _)| only(n));
        let mine: Vec<(String, Tensor)> = mine.map(|(_, named)| named).collect();
        self.differentiable(frame, t.node, &mine, bias.call.span)
            .then_some((frame, t.node, by_age))
    }

    /// Whether an objective is one number; says where it is a window or has a shape.
    pub(crate) fn one_number(&mut self, t: &Tensor, span: Span, help: &str) -> bool {
        if t.dims.is_empty() {
            return true;
        }
        if t.window.is_some() {
            self.window_needs_reducing(&shape_text(&t.dims), span);
            return false;
        }
        let text = format!("the objective is {}, not one number", shape_text(&t.dims));
        let mut diagnostic = Diagnostic::error("N505", span, text).help(help);
        if let Some(at) = self.origin(t.frame, t.node).filter(|at| *at != span) {
            diagnostic = diagnostic.label(at, format!("{} here", shape_text(&t.dims)));
        }
        self.report(diagnostic);
        false
    }

    /// The captured value of the present token that weighs a window's tokens, one number or one
    /// for each age.
    fn ages(
        &mut self,
        env: &mut Env,
        weighted: &'a ast::Expr,
        frame: usize,
        window: usize,
    ) -> Option<usize> {
        let before = std::mem::replace(&mut self.frame, 0);
        let value = self.eval(env, weighted);
        let t = self.real(&value, weighted.span);
        self.frame = before;
        let t = t?;
        let own: Vec<Dim> = t.dims[t.strip..].iter().map(|d| d.size).collect();
        if !own.is_empty() && own != [Dim::Fixed(window)] {
            let text = format!(
                "the tokens of a window of {window} are weighted by {}",
                shape_text(&t.dims[t.strip..])
            );
            let help = format!("one number, or one for each age: `[{window}]`");
            self.report(Diagnostic::error("N201", weighted.span, text).help(help));
            return None;
        }
        self.local(&t);
        let group = &self.groups[self.frames[frame].group];
        group
            .iter()
            .position(|c| (c.frame, c.node, c.strip) == (t.frame, t.node, t.strip))
    }
}

/// Whether a value depends on one of these tensors.
fn depends(graph: &Graph, node: Node, on: &[Tensor]) -> bool {
    let mut open = vec![node];
    while let Some(v) = open.pop() {
        if on.iter().any(|t| t.node == v) {
            return true;
        }
        open.extend(graph.def(v).operands.iter().copied());
    }
    false
}
