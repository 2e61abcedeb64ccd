//! Reads of memories: nodes of the code, and the read written out while an objective is built.

use crate::elaborate::{Elaborator, Env, Slot};
use crate::memory::Made;
use crate::value::{NamedDim, Tensor, Value, shape_text};
use nestor_grammar::ast::ItemKind;
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Graph, Op, Value as Node};
use nestor_ir::ty::Type;

impl<'a> Elaborator<'a> {
    /// `M.read(values)`: a node of the code, or the read written out while an objective is built.
    pub(crate) fn read_memory(
        &mut self,
        instance: usize,
        values: Vec<Value>,
        every: Option<usize>,
        span: Span,
    ) -> Value {
        if values.iter().any(|v| matches!(v, Value::Poison)) {
            return Value::Poison;
        }
        if let Some((_, weights)) =
            self.anchored.iter().find(|(i, _)| *i == instance).cloned()
        {
            return self.written_out(instance, &weights, values, span);
        }
        let mut tensors = Vec::new();
        for value in &values {
            let Some(t) = self.real(value, span) else { return Value::Poison };
            tensors.push(t);
        }
        let declared = self.argument_ranks(instance);
        for (t, rank) in tensors.iter().zip(&declared) {
            let strip = t.dims.len().saturating_sub(*rank);
            if self.no_window(t, strip, span).is_none() {
                return Value::Poison;
            }
        }
        let lead = tensors
            .iter()
            .zip(&declared)
            .map(|(t, rank)| t.dims[..t.dims.len().saturating_sub(*rank)].to_vec())
            .max_by_key(Vec::len)
            .unwrap_or_default();
        let lead = if lead.is_empty() { self.lead_of_gates(instance) } else { lead };
        let Some(mut made) = self.made(instance, &lead, span) else {
            return Value::Poison;
        };
        made.is_read = true;
        let updated =
            self.clauses(instance).iter().any(|i| matches!(i.kind, ItemKind::Update(..)));
        if updated && made.kept.is_empty() && self.failed() {
            // What its update keeps is not known, for a reason that was said.
            self.instances[instance].memory = Some(made);
            return Value::Poison;
        }
        if made.answer.is_none() {
            let skip: Vec<Vec<NamedDim>> = tensors
                .iter()
                .zip(&declared)
                .map(|(t, rank)| t.dims[t.dims.len().saturating_sub(*rank)..].to_vec())
                .collect();
            let Some(built) = self.build_read(&mut made, skip, span) else {
                return Value::Poison;
            };
            made.answer = Some(built);
        }
        self.instances[instance].memory = Some(made.clone());
        let memory = &self.memories[made.id];
        let first = memory.weights.len() + memory.kept.len();
        let wanted: Vec<Type> = memory.read.inputs[first..]
            .iter()
            .map(|i| memory.read.ty(i.value).clone())
            .collect();
        let map = memory.map.clone();
        for (t, wanted) in tensors.iter().zip(&wanted) {
            let own = &t.dims[t.dims.len().saturating_sub(wanted.rank())..];
            if own.iter().map(|d| d.size).ne(wanted.dims.iter().copied()) {
                let text = format!(
                    "the memory is read with {} where {wanted} is taken",
                    shape_text(&t.dims)
                );
                return self.report(Diagnostic::error("N201", span, text));
            }
        }
        let mut operands: Vec<Node> = tensors.iter().map(|t| t.node).collect();
        operands.extend(made.captured.iter().map(|t| t.node));
        let answer = made.answer.clone().unwrap_or_default();
        let dims = map.iter().copied().chain(answer.iter().map(|d| d.size)).collect();
        let ty = Type { elem: nestor_ir::ty::Elem::Real, dims };
        let node = self
            .graph()
            .add(Op::Read { memory: made.id, every, ty: ty.clone() }, &operands);
        let lead_now = self.lead.clone();
        let own: Vec<NamedDim> = map[lead_now.len()..]
            .iter()
            .enumerate()
            .map(|(i, d)| lead.get(i).cloned().unwrap_or(NamedDim::plain(*d)))
            .chain(self.outward(instance, &answer))
            .collect();
        let frame = self.frame;
        Value::Tensor(Tensor {
            frame,
            node,
            elem: ty.elem,
            lead: lead_now,
            dims: own,
            strip: 0,
            window: None,
        })
    }

    /// Dimensions of an answer under the names of who made the memory.
    pub(crate) fn outward(&self, instance: usize, dims: &[NamedDim]) -> Vec<NamedDim> {
        let params = &self.instances[instance].env.names;
        dims.iter()
            .map(|d| {
                let name = match d.name.as_ref().and_then(|n| params.get(n)) {
                    Some(Value::Number(n)) => n.name.clone(),
                    Some(_) | None => None,
                };
                NamedDim { name, size: d.size }
            })
            .collect()
    }

    /// Leading dimensions that the gates of a memory have.
    pub(crate) fn lead_of_gates(&self, instance: usize) -> Vec<NamedDim> {
        let gates = self.instances[instance].env.names.values().filter_map(|v| match v {
            Value::Tensor(t) => Some(t.dims[..t.strip].to_vec()),
            _ => None,
        });
        gates.max_by_key(Vec::len).unwrap_or_default()
    }

    pub(crate) fn argument_ranks(&self, instance: usize) -> Vec<usize> {
        let definition = self.definition_of(instance);
        let mut readers = definition.body.iter().filter_map(|i| match &i.kind {
            ItemKind::Reader(params, _) => Some(params),
            _ => None,
        });
        let of_structure = || {
            let call = self.clauses(instance).iter().find_map(|i| match &i.kind {
                ItemKind::Structure(call) => call.path.dotted(),
                _ => None,
            })?;
            let crate::definitions::Known::Definition(d) =
                self.table.find(self.instances[instance].env.file, &call)?
            else {
                return None;
            };
            self.table.entries[d].definition.body.iter().find_map(|i| match &i.kind {
                ItemKind::Reader(params, _) => Some(params),
                _ => None,
            })
        };
        let params = readers.next().or_else(of_structure);
        params.map_or(vec![], |p| {
            let rank = |p: &nestor_grammar::ast::Param| match &p.shape {
                Some(nestor_grammar::ast::Shape::Dims(all, _)) => all.len(),
                Some(_) => 0,
                None => 1,
            };
            p.all.iter().map(rank).collect()
        })
    }

    /// Builds the graph of a memory's read.
    pub(crate) fn build_read(
        &mut self,
        made: &mut Made<'a>,
        arguments: Vec<Vec<NamedDim>>,
        span: Span,
    ) -> Option<Vec<NamedDim>> {
        let group = self.groups.len();
        self.groups.push(Vec::new());
        let frame = self.open_frame(group, vec![]);
        let mut weights = Vec::new();
        for (i, (name, dims)) in made.weights.clone().into_iter().enumerate() {
            weights.push(self.slot(frame, Slot::Weight(i), &name, dims));
        }
        let before = std::mem::replace(&mut self.frame, frame);
        for (i, (name, t)) in made.kept.clone().into_iter().enumerate() {
            let mut slot = self.slot(frame, Slot::Kept(i), &name, t.dims.clone());
            // A kept window arrives with its conditions, as one more captured value.
            if let Some(window) = &t.window {
                let exists = self.kept_window(&t);
                slot.window = Some(crate::value::Window { exists, ..window.clone() });
            }
            let joined = match name.split_once('#') {
                None => (name, Value::Tensor(slot)),
                Some((whole, _)) => {
                    let mut all = match made.scope.names.get(whole) {
                        Some(Value::Pieces(all)) => all.clone(),
                        Some(_) | None => Vec::new(),
                    };
                    all.push(slot);
                    (whole.to_owned(), Value::Pieces(all))
                }
            };
            made.scope.names.insert(joined.0, joined.1);
        }
        let mut values = Vec::new();
        for (i, dims) in arguments.iter().enumerate() {
            values.push(Value::Tensor(self.slot(
                frame,
                Slot::Argument(i),
                "q",
                dims.clone(),
            )));
        }
        let value = self.within(span, |this| this.answer(made, &weights, values, span));
        self.frame = before;
        let Value::Tensor(t) = value else { return None };
        made.captured = self.groups[group].clone();
        let mut order: Vec<(Slot, Type)> = Vec::new();
        let real = |dims: &[NamedDim]| Type::real(dims.iter().map(|d| d.size));
        order.extend(
            made.weights.iter().enumerate().map(|(i, (_, d))| (Slot::Weight(i), real(d))),
        );
        let kept = made.kept.iter().enumerate();
        order.extend(kept.map(|(i, (_, t))| (Slot::Kept(i), real(&t.dims))));
        let own = arguments.iter().enumerate();
        order.extend(own.map(|(i, d)| (Slot::Argument(i), real(d))));
        order.extend(self.captured_types(&made.captured));
        self.memories[made.id].read =
            self.close(frame, &order, &[("answer".into(), t.node)]);
        Some(t.dims)
    }

    /// The conditions of a kept window, made anew in the graph at hand.
    pub(crate) fn kept_window(&mut self, t: &Tensor) -> Node {
        let window = t.window.as_ref().expect("asked of windows only");
        let (from, exists) = (&self.frames[t.frame].graph, window.exists);
        let mut only = Graph::new();
        // The conditions depend on nothing but the position: their graph has no inputs.
        let mut map: Vec<Option<Node>> = vec![None; from.values.len()];
        for node in from.nodes.values() {
            let operands: Option<Vec<Node>> =
                node.operands.iter().map(|v| map[v.index()]).collect();
            let (Some(operands), false) = (operands, matches!(node.op, Op::Input { .. }))
            else {
                continue;
            };
            if node.results.is_empty() {
                continue;
            }
            for (from, to) in
                node.results.iter().zip(only.add_many(node.op.clone(), &operands))
            {
                map[from.index()] = Some(to);
            }
        }
        let Some(found) = map[exists.index()] else { return exists };
        only.output("exists", found);
        self.graph().inline(&only, &[])[0]
    }

    pub(crate) fn captured_types(&self, captured: &[Tensor]) -> Vec<(Slot, Type)> {
        let of = |t: &Tensor| Type {
            elem: t.elem,
            dims: t.dims[t.strip..].iter().map(|d| d.size).collect(),
        };
        captured.iter().enumerate().map(|(i, t)| (Slot::Captured(i), of(t))).collect()
    }

    /// The expression of a read with these weights, in the graph at hand.
    pub(crate) fn answer(
        &mut self,
        made: &Made<'a>,
        weights: &[Tensor],
        values: Vec<Value>,
        span: Span,
    ) -> Value {
        let (params, expr) = made.reader;
        let mut scope = made.scope.clone();
        for (((name, _), dims), t) in made.weights.iter().zip(&made.inner).zip(weights) {
            let t = Tensor { dims: dims.clone(), ..t.clone() };
            scope.names.insert(name.clone(), Value::Tensor(t));
        }
        if params.all.len() != values.len() {
            let text = format!(
                "the memory is read with {} values, not {}",
                params.all.len(),
                values.len()
            );
            return self.report(Diagnostic::error("N102", span, text));
        }
        for (param, value) in params.all.iter().zip(values) {
            // The argument speaks the weights' names: its dimensions are renamed by what they meet.
            let value = match (value, &param.shape) {
                (Value::Tensor(t), None) => {
                    let dims = t.dims.iter().map(|d| NamedDim::plain(d.size)).collect();
                    Value::Tensor(Tensor { dims, ..t })
                }
                (Value::Tensor(t), Some(_)) => Value::Tensor(t),
                (other, _) => other,
            };
            scope.names.insert(param.name.text.clone(), value);
        }
        match self.eval(&mut scope, expr) {
            Value::Tensor(t) => {
                let dims = self.called(&made.scope, &t.dims);
                Value::Tensor(Tensor { dims, ..t })
            }
            other => other,
        }
    }

    /// Dimensions under the names that the arguments of a scope's parameters had.
    pub(crate) fn called(&self, scope: &Env, dims: &[NamedDim]) -> Vec<NamedDim> {
        let name = |d: &NamedDim| match d.name.as_ref().and_then(|n| scope.names.get(n)) {
            Some(Value::Number(n)) => n.name.clone().or_else(|| d.name.clone()),
            Some(_) | None => d.name.clone(),
        };
        dims.iter().map(|d| NamedDim { name: name(d), size: d.size }).collect()
    }

    /// The read written out on the weights of an objective.
    pub(crate) fn written_out(
        &mut self,
        instance: usize,
        weights: &[Tensor],
        values: Vec<Value>,
        span: Span,
    ) -> Value {
        let Some(made) = self.instances[instance].memory.clone() else {
            return Value::Poison;
        };
        let mut local = Vec::new();
        for value in values {
            let Some(t) = self.real(&value, span) else { return Value::Poison };
            local.push(Value::Tensor(t));
        }
        self.answer(&made, weights, local, span)
    }
}
