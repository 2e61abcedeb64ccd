//! What stays outside of the windows: values that depend on no weight that is learned while reading, and what
//! the windows' states start as.

use super::act::Values;
use super::nest::{Known, Nest, ROWS, bug, handed, seen};
use crate::build::{broadcast_to, zeros};
use crate::error::PassError;
use nestor_ir::dim::Dim;
use nestor_ir::entity::Entity;
use nestor_ir::level::{Initial, WeightId};
use nestor_ir::tensor::{Graph, NodeData, Op, Value};
use nestor_ir::ty::{Dims, Type};

impl Nest<'_> {
    /// What does not depend on the weights, value by value.
    pub(super) fn outside(
        &self,
        open: &Graph,
        g: &mut Graph,
    ) -> Result<Vec<Option<Value>>, PassError> {
        let inside = &self.code.inside;
        let mut map: Vec<Option<Value>> = vec![None; open.values.len()];
        let own = self.initial_paths();
        for input in &open.inputs {
            let state = input.name.starts_with("state.");
            let asked = match inside[input.value.index()] {
                true => own.iter().any(|(_, from)| *from == input.name),
                false => !state || self.resume,
            };
            if asked {
                let ty = open.ty(input.value).clone();
                map[input.value.index()] = Some(g.input(input.name.clone(), ty));
            }
        }
        let copy = |g: &mut Graph, map: &mut Vec<Option<Value>>, node: &NodeData| {
            let operands: Option<Vec<Value>> =
                node.operands.iter().map(|v| map[v.index()]).collect();
            let Some(operands) = operands else { return };
            if matches!(node.op, Op::Input { .. })
                || map[node.results[0].index()].is_some()
            {
                return;
            }
            let results = g.add_many(node.op.clone(), &operands);
            for (&from, &to) in node.results.iter().zip(&results) {
                map[from.index()] = Some(to);
                g.values[to].name.clone_from(&open.values[from].name);
            }
        };
        // What states start as depends on weights alone.
        for output in open.outputs.iter().filter(|o| o.name.starts_with("start.")) {
            let mut needed = vec![false; open.values.len()];
            needed[output.value.index()] = true;
            for node in open.nodes.values().rev() {
                if node.results.iter().any(|v| needed[v.index()]) {
                    node.operands.iter().for_each(|v| needed[v.index()] = true);
                }
            }
            for node in open.nodes.values() {
                if node.results.iter().any(|v| needed[v.index()] && !inside[v.index()]) {
                    copy(g, &mut map, node);
                }
            }
            let name = output.name.trim_start_matches("start.");
            let Some(input) = open.find_input(name) else { continue };
            if !self.resume
                && !inside[input.index()]
                && let Some(start) = map[output.value.index()]
            {
                let dims = open.ty(input).dims.clone();
                map[input.index()] = Some(broadcast_to(g, start, &dims));
            }
        }
        for node in open.nodes.values() {
            if !node.results.iter().any(|v| inside[v.index()]) {
                copy(g, &mut map, node);
            }
        }
        Ok(map)
    }

    /// The weights that levels hold.
    fn held(&self) -> impl Iterator<Item = WeightId> + '_ {
        let all = self.clocks.iter().flat_map(|(_, all)| all);
        let all = all.flat_map(|(r, _)| &r.level.objectives).flat_map(|o| &o.targets);
        all.map(|t| t.0)
    }

    /// The weight that another one starts from, where it has no value of its own.
    fn before(&self, id: WeightId) -> Option<WeightId> {
        match self.program.weights[id].initial {
            Initial::From(other) if self.held().any(|h| h == id) => Some(other),
            _ => None,
        }
    }

    /// Every weight that a level holds or starts from, with the path of what it is learned to start as:
    /// the end of a chain of `from`.
    fn initial_paths(&self) -> Vec<(String, String)> {
        let mut out: Vec<(String, String)> = Vec::new();
        for id in self.held() {
            let chain: Vec<WeightId> =
                std::iter::successors(Some(id), |id| self.before(*id)).collect();
            let path = |id: &WeightId| self.program.weights[*id].path.clone();
            let from = chain.last().map(path).unwrap_or_default();
            for id in &chain {
                if out.iter().all(|(known, _)| *known != path(id)) {
                    out.push((path(id), from.clone()));
                }
            }
        }
        out
    }

    pub(super) fn initial(&self, g: &Graph) -> Result<Vec<(String, Value)>, PassError> {
        let one = |(path, from): (String, String)| {
            let value = g.find_input(&from);
            value.map(|v| (path, v)).ok_or_else(|| bug("a weight that nothing gives"))
        };
        self.initial_paths().into_iter().map(one).collect()
    }

    /// What is carried, as it starts: handed over, or as it begins.
    pub(super) fn start(
        &self,
        open: &Graph,
        g: &mut Graph,
        at: &dyn Fn(Value) -> Result<Value, PassError>,
        known: &mut Known,
    ) -> Result<(), PassError> {
        let batched = |ty: &Type| {
            let dims =
                std::iter::once(Dim::Batch).chain(ty.dims.iter().copied()).collect();
            Type { elem: ty.elem, dims }
        };
        let mut initial = Values::default();
        known.initial.iter().for_each(|(path, v)| initial.set(path, *v));
        for h in self.clocks.iter().flat_map(|(_, all)| all).flat_map(|(_, held)| held) {
            let value = match self.resume {
                true => g.input(handed(&h.name), batched(&h.ty)),
                false => h.start(g, self.program, &Values::default(), &initial)?,
            };
            known.now.set(&h.name, value);
        }
        for name in &self.code.states {
            let input =
                open.find_input(name).ok_or_else(|| bug("a state without input"))?;
            let ty = open.ty(input).clone();
            let value = match self.resume {
                true => g.input(handed(name), ty),
                false => {
                    let start = open.find_output(&format!("start.{name}"));
                    let start = at(start.ok_or_else(|| bug("a state without start"))?)?;
                    let dims: Dims = ty.dims[1..].iter().copied().collect();
                    match g.ty(start).rank() < dims.len() {
                        true => broadcast_to(g, start, &dims),
                        false => start,
                    }
                }
            };
            known.now.set(name, value);
        }
        let window = Dim::Fixed(self.clocks[0].0);
        let mut rows = vec![(ROWS.to_owned(), Type::real([]))];
        for (k, &v) in known.streams.iter().enumerate() {
            let ty = g.ty(v);
            let own = ty.dims.iter().copied().filter(|d| d.fixed().is_some());
            let dims = std::iter::once(window).chain(own).collect();
            rows.push((seen(k), Type { elem: ty.elem, dims }));
        }
        for (name, ty) in rows {
            let value = match self.resume {
                true => g.input(handed(&name), batched(&ty)),
                false => zeros(g, &ty),
            };
            known.now.set(&name, value);
        }
        Ok(())
    }
}
