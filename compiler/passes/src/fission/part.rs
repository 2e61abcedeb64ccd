//! One part of a walk: its body with what others have computed fed, once a step.

use crate::autodiff::body_inputs;
use crate::build::every_step;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Feed, Graph, Layout, Op, Scan, Value, Yield};
use nestor_ir::ty::Type;

/// What a part is given and what it gives, as values of the whole body.
pub(super) struct Part {
    /// With the tensors that hold them for every step.
    pub(super) given: Vec<(Value, Value)>,
    pub(super) yields: Vec<(Value, Yield, Layout)>,
}

impl Part {
    /// Adds the part to the graph around the walk: a walk of its own, with the states or without; what of it is not
    /// needed is left out later. Gives its results.
    pub(super) fn add(
        &mut self,
        g: &mut Graph,
        scan: &Scan,
        operands: &[Value],
        states: bool,
    ) -> Vec<Value> {
        if self.yields.is_empty() && !states {
            return vec![];
        }
        let (part, operands) = self.scan(g, scan, operands, states);
        g.add_many(Op::Scan { scan: Box::new(part) }, &operands).to_vec()
    }

    /// The same as a walk and its operands.
    pub(super) fn scan(
        &self,
        g: &Graph,
        scan: &Scan,
        operands: &[Value],
        states: bool,
    ) -> (Scan, Vec<Value>) {
        let mut out =
            Scan { feeds: vec![], yields: vec![], body: Graph::new(), ..scan.clone() };
        let (mut fed, mut arguments) = (Vec::new(), Vec::new());
        let inputs = body_inputs(scan);
        let name = |v: Value| {
            let named = scan.body.inputs.iter().find(|i| i.value == v);
            named.map_or_else(String::new, |n| n.name.clone())
        };
        for (((feed, layout), input), operand) in
            scan.feeds.iter().zip(&inputs).zip(operands)
        {
            let Some(input) = *input else { continue };
            let ty = scan.body.ty(input).clone();
            if *feed == Feed::Initial && !states {
                // Nothing asks for it, or it is given.
                arguments.push(out.body.add(Op::Constant { value: 0.0, ty }, &[]));
                continue;
            }
            arguments.push(out.body.input(name(input), ty));
            out.feeds.push((*feed, layout.clone()));
            fed.push(*operand);
        }
        let mut known: Vec<Option<Value>> = vec![None; scan.body.values.len()];
        for (n, (value, held)) in self.given.iter().enumerate() {
            let ty = Type { elem: g.ty(*held).elem, ..scan.body.ty(*value).clone() };
            out.feeds.push((Feed::Step, every_step(scan, ty.rank())));
            known[value.index()] = Some(out.body.input(format!("given{n}"), ty));
            fed.push(*held);
        }
        for rest in &scan.body.inputs[arguments.len()..] {
            let ty = scan.body.ty(rest.value).clone();
            arguments.push(out.body.input(rest.name.clone(), ty));
        }
        copy(&scan.body, &arguments, &mut known, &mut out.body);
        let at = |v: Value| known[v.index()].expect("a value of the body");
        if states {
            for output in &scan.body.outputs[..scan.states().count()] {
                out.body.output(output.name.clone(), at(output.value));
            }
        }
        for (n, (value, kind, layout)) in self.yields.iter().enumerate() {
            out.yields.push((*kind, layout.clone()));
            out.body.output(format!("y{n}"), at(*value));
        }
        (out, fed)
    }
}

/// Copies a body, its inputs replaced, what is known already taken as it is.
pub(crate) fn copy(
    from: &Graph,
    arguments: &[Value],
    known: &mut [Option<Value>],
    to: &mut Graph,
) {
    for node in from.nodes.values() {
        if node.results.iter().all(|v| known[v.index()].is_some())
            && !node.results.is_empty()
        {
            continue;
        }
        if let Op::Input { index, .. } = node.op {
            known[node.results[0].index()] = Some(arguments[index]);
            continue;
        }
        let operands: Vec<Value> = node
            .operands
            .iter()
            .map(|o| known[o.index()].expect("operands first"))
            .collect();
        let results = to.add_many(node.op.clone(), &operands);
        for (&v, &made) in node.results.iter().zip(&results) {
            if known[v.index()].is_none() {
                known[v.index()] = Some(made);
                to.values[made].name.clone_from(&from.values[v].name);
            }
        }
    }
}
