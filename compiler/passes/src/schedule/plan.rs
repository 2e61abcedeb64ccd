//! The plan being built: tensors, launches, kernels; kernels that are the same are kept once.

use super::frame::Frame;
use super::lower::{Known, Lower};
use super::store::Touch;
use super::view::{Home, View};
use crate::error::PassError;
use nestor_ir::entity::Entity;
use nestor_ir::plan::{KernelId, Launch, Plan, Role, Tensor, TensorData};
use nestor_ir::tensor::graph::Named;
use nestor_ir::tensor::{Graph, Op, Value};
use nestor_ir::tile::{BufferParam, Kernel, TileData};
use nestor_ir::ty::Type;

/// What a whole program becomes.
#[derive(Default)]
pub(super) struct Session {
    pub(super) plan: Plan,
    pub(super) kernels: Vec<Kernel>,
}

impl Session {
    /// A tensor that lives between launches.
    pub(super) fn temporary(&mut self, name: &str, ty: &Type) -> Tensor {
        self.tensor(name, ty, Role::Temporary)
    }

    fn tensor(&mut self, name: &str, ty: &Type, role: Role) -> Tensor {
        self.plan.tensors.push(TensorData {
            name: name.to_owned(),
            ty: ty.clone(),
            role,
            narrow: false,
            life: (0, 0),
            slot: None,
        })
    }

    /// Launches a kernel that was built.
    pub(super) fn launch(&mut self, frame: Frame, name: &str) {
        let (mut kernel, buffers) = frame.finish(name.to_owned());
        let known = self.kernels.iter().position(|k| same_but_names(k, &kernel));
        let at = known.unwrap_or_else(|| {
            kernel.name = format!("{name}.{}", self.kernels.len());
            self.kernels.push(kernel);
            self.kernels.len() - 1
        });
        let kernel = KernelId::new(at);
        self.plan.launches.push(Launch::Kernel { kernel, buffers });
    }
}

/// Whether kernels do the same: names of buffers and tiles are for people.
fn same_but_names(a: &Kernel, b: &Kernel) -> bool {
    let Kernel { name: _, buffers, tiles, indices, grid, body } = a;
    let alike = |x: &BufferParam, y: &BufferParam| {
        let BufferParam { name: _, elem, dims, usage } = x;
        (elem, dims, usage) == (&y.elem, &y.dims, &y.usage)
    };
    let same_tiles = |x: &TileData, y: &TileData| {
        let TileData { name: _, elem, dims } = x;
        (elem, dims) == (&y.elem, &y.dims)
    };
    (indices, grid) == (&b.indices, &b.grid)
        && buffers.len() == b.buffers.len()
        && tiles.len() == b.tiles.len()
        && buffers.values().zip(b.buffers.values()).all(|(x, y)| alike(x, y))
        && tiles.values().zip(b.tiles.values()).all(|(x, y)| same_tiles(x, y))
        && *body == b.body
}

/// The plan of a graph.
pub(super) fn planned(graph: &Graph) -> Result<(Plan, Vec<Kernel>), PassError> {
    let mut session = Session::default();
    let mut inputs = Vec::new();
    for input in &graph.inputs {
        let ty = graph.ty(input.value);
        let replaced = graph.outputs.iter().find(|o| replaces(graph, input, o));
        let role = match replaced {
            Some(output) => {
                Role::InPlace { input: input.name.clone(), output: output.name.clone() }
            }
            None => Role::Input(input.name.clone()),
        };
        // What nothing asks for need not be given.
        let asked = replaced.is_some() || used(graph, input.value);
        inputs.push(asked.then(|| session.tensor(&input.name, ty, role)));
    }
    let mut lower = Lower::new(graph, false, Frame::default(), session);
    for (input, tensor) in graph.inputs.iter().zip(&inputs) {
        let Some(tensor) = *tensor else { continue };
        let ty = graph.ty(input.value);
        let view = View::whole(Home::Tensor(tensor), ty.elem, &ty.dims);
        lower.known[input.value.index()] = Some(Known::At(view));
    }
    for output in &graph.outputs {
        let place = graph.inputs.iter().position(|i| replaces(graph, i, output));
        let Some((place, tensor)) = place.and_then(|p| Some((p, inputs[p]?))) else {
            continue;
        };
        let (value, view) = as_made(graph, output.value, tensor);
        let input = graph.inputs[place].value;
        lower.target[value.index()] = Some((view, input));
    }
    numbers_first(&mut lower)?;
    lower.nodes(|_| true)?;
    hand_over(&mut lower, &inputs)?;
    let Session { mut plan, kernels } = lower.session;
    lives(&mut plan);
    Ok((plan, kernels))
}

/// Outputs of one number that stand before the first that replaces an input are known before
/// anything is replaced: whoever looks at them may still leave everything as it was.
fn numbers_first(lower: &mut Lower<'_>) -> Result<(), PassError> {
    let graph = lower.graph;
    let stays = |o: &&Named| !graph.inputs.iter().any(|i| replaces(graph, i, o));
    let numbers: Vec<Value> = graph
        .outputs
        .iter()
        .take_while(stays)
        .filter(|o| graph.ty(o.value).rank() == 0)
        .map(|o| o.value)
        .collect();
    if graph.outputs.iter().all(|o| stays(&o)) {
        return Ok(());
    }
    let mut needed = vec![false; graph.values.len()];
    numbers.iter().for_each(|v| needed[v.index()] = true);
    for node in graph.nodes.values().rev() {
        if node.results.iter().any(|v| needed[v.index()]) {
            node.operands.iter().for_each(|v| needed[v.index()] = true);
        }
    }
    lower.nodes(|node| node.results.iter().any(|v| needed[v.index()]))?;
    for v in numbers {
        lower.settled(v)?;
    }
    Ok(())
}

/// The value that an output is another shape of, and the output's tensor as a view of that value's shape.
fn as_made(graph: &Graph, mut v: Value, tensor: Tensor) -> (Value, View) {
    let ty = graph.ty(v);
    let mut view = View::whole(Home::Tensor(tensor), ty.elem, &ty.dims);
    while let Op::Reshape { .. } = graph.def(v).op {
        let from = graph.def(v).operands[0];
        let Some(other) = view.reshaped(&graph.ty(from).dims) else { break };
        (v, view) = (from, other);
    }
    (v, view)
}

/// Whether an output is what an input is next: of its name, and no longer than it.
fn replaces(graph: &Graph, input: &Named, output: &Named) -> bool {
    input.name == output.name && graph.ty(input.value) == graph.ty(output.value)
}

/// What replaces an input when nothing else needs the old value.
struct Late {
    output: Value,
    /// The same as it is made, and where it goes in that shape.
    made: Value,
    view: View,
    to: Tensor,
}

/// Outputs to where the caller finds them; what replaces an input is written when nothing else
/// needs the old value.
fn hand_over(lower: &mut Lower<'_>, inputs: &[Option<Tensor>]) -> Result<(), PassError> {
    let graph = lower.graph;
    let mut copies = Vec::new();
    let mut late = Vec::new();
    for output in &graph.outputs {
        let place = graph.inputs.iter().position(|i| replaces(graph, i, output));
        let target = place.and_then(|place| inputs[place]);
        if let Some(to) = target
            && lower.view_of(output.value).is_none()
        {
            let (made, view) = as_made(graph, output.value, to);
            late.push(Late { output: output.value, made, view, to });
            continue;
        }
        let mut found = stored_whole(lower, output.value)?;
        if let Some(to) = target {
            let kept = matches!(
                lower.session.plan.tensors[found].role,
                Role::InPlace { .. } | Role::Input(_)
            );
            if found != to && kept {
                found = copy_of(lower, found, Role::Temporary);
            }
            if found != to {
                copies.push((found, to));
            }
            continue;
        }
        let data = &mut lower.session.plan.tensors[found];
        match &mut data.role {
            Role::Temporary => data.role = Role::Output(vec![output.name.clone()]),
            Role::Output(names) => names.push(output.name.clone()),
            Role::Input(_) | Role::InPlace { .. } => {
                copy_of(lower, found, Role::Output(vec![output.name.clone()]));
            }
        }
    }
    // What another update computes on its way is stored by that one's map.
    let mut carried: Vec<Value> = Vec::new();
    for late in &late {
        lower.on_the_way(late.made, &mut carried);
    }
    late.sort_by_key(|late| carried.contains(&late.made));
    for (n, Late { output, made, view, to }) in late.iter().enumerate() {
        let waits = |l: &Late| lower.touches(l.made, view.home, false) != Touch::Not;
        let waited = late[n + 1..].iter().any(waits);
        let own = lower.touches(*made, view.home, true) != Touch::Elsewhere;
        if own && !waited && lower.known[made.index()].is_none() {
            lower.store(*made, view)?;
            lower.known[made.index()] = Some(Known::At(view.clone()));
        } else {
            let found = stored_whole(lower, *output)?;
            if found != *to {
                copies.push((found, *to));
            }
        }
    }
    for (from, to) in copies {
        lower.session.plan.launches.push(Launch::Copy { from, to });
    }
    Ok(())
}

/// A copy of a tensor as it is now.
fn copy_of(lower: &mut Lower<'_>, from: Tensor, role: Role) -> Tensor {
    let data = &lower.session.plan.tensors[from];
    let (name, ty) = (data.name.clone(), data.ty.clone());
    let to = lower.session.tensor(&name, &ty, role);
    lower.session.plan.launches.push(Launch::Copy { from, to });
    to
}

fn used(graph: &Graph, v: Value) -> bool {
    graph.nodes.values().any(|n| n.operands.contains(&v))
        || graph.outputs.iter().any(|o| o.value == v)
}

/// The tensor that holds a value and nothing else.
fn stored_whole(lower: &mut Lower<'_>, v: Value) -> Result<Tensor, PassError> {
    let mut view = lower.settled(v)?;
    if !view.is_whole() {
        view = lower.copied(&view, "output")?;
    }
    match view.home {
        // The same elements under another shape are another tensor to the world.
        Home::Tensor(tensor)
            if lower.session.plan.tensors[tensor].ty == *lower.graph.ty(v) =>
        {
            Ok(tensor)
        }
        Home::Tensor(_) | Home::Tile(_) => {
            let copy = lower.copied(&view, "output")?;
            match copy.home {
                Home::Tensor(tensor) => Ok(tensor),
                Home::Tile(_) => Err(super::bug("an output in scratch")),
            }
        }
    }
}

/// First and last launch of every tensor.
fn lives(plan: &mut Plan) {
    let mut life: Vec<Option<(usize, usize)>> = vec![None; plan.tensors.len()];
    for (n, launch) in plan.launches.iter().enumerate() {
        let mut touch = |t: Tensor| {
            let slot = &mut life[t.index()];
            *slot = Some((slot.map_or(n, |l| l.0), n));
        };
        match launch {
            Launch::Kernel { buffers, .. } => buffers.iter().copied().for_each(touch),
            Launch::Dense(d) => {
                touch(d.left.tensor);
                touch(d.right.tensor);
                touch(d.out.tensor);
            }
            Launch::Zero(t) => touch(*t),
            Launch::Copy { from, to } => {
                touch(*from);
                touch(*to);
            }
        }
    }
    for (t, life) in plan.tensors.keys().collect::<Vec<_>>().into_iter().zip(life) {
        plan.tensors[t].life = life.unwrap_or((0, 0));
    }
}
