//! A walk: one point of the grid for every index of its mapped dimensions, a loop over its steps.

use super::bug;
use super::elementwise::scalar_op;
use super::frame::{Frame, place_of};
use super::in_place::old_first;
use super::lately::{last_steps, lately};
use super::lower::{Known, Lower};
use super::steps::{along, moved, steps};
use super::store::Touch;
use super::view::{Home, View};
use crate::autodiff::body_inputs;
use crate::error::PassError;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::infer::steps_of;
use nestor_ir::tensor::{Feed, NodeData, Op, Reach, Scan, Stride, Value, Yield};
use nestor_ir::tile::{Affine, Monomial, Part, Stmt};

impl Lower<'_> {
    pub(super) fn walk(&mut self, node: &NodeData, scan: &Scan) -> Result<(), PassError> {
        let mut operands = Vec::new();
        for (&v, (feed, layout)) in node.operands.iter().zip(&scan.feeds) {
            operands.push(match feed {
                Feed::Mask | Feed::Reach(_) => None,
                Feed::Shared if self.is_position(v) => None,
                _ => {
                    let (v, late) = self.source(v, scan, (*feed, layout));
                    let view = self.settled(v)?;
                    // The rows of an open chunk end before a walk within it does.
                    let open = self.nested && view.limit.is_some();
                    let name = self.name(v);
                    Some((if open { self.copied(&view, &name)? } else { view }, late))
                }
            });
        }
        let mask = self.mask(node, scan)?;
        let reach = self.reach(node, scan)?;
        // What another walk within the same step goes on with stays where the last step leaves it.
        let inputs = body_inputs(scan);
        let states: Vec<usize> = scan.states().collect();
        let stays = |l: &Self, k: usize| {
            let read =
                |v: Value| scan.body.nodes.values().any(|n| n.operands.contains(&v));
            let state = states.get(k).and_then(|s| inputs[*s]);
            l.goes_on(node.results[k]) && scan.map.is_empty() && state.is_some_and(read)
        };
        let mut results: Vec<Option<View>> = Vec::new();
        for (k, &v) in node.results.iter().enumerate() {
            let room = self.used(v) && !stays(self, k);
            results.push(room.then(|| self.room_as_used(v)));
        }
        let mut frame =
            if self.nested { std::mem::take(&mut self.frame) } else { Frame::default() };
        let before = std::mem::take(&mut frame.body);
        let mut maps = Vec::new();
        for dim in &scan.map {
            let index = frame.index();
            maps.push((index, *dim));
        }
        let at: Vec<Affine> = maps.iter().map(|(i, dim)| place_of(*i, *dim)).collect();
        let (step_index, steps) = steps(scan, &mut frame, reach);
        let session = std::mem::take(&mut self.session);
        let mut body = Lower::new(&scan.body, true, frame, session);
        body.order = old_first(scan);
        // What the body sees.
        let mut carried: Vec<Option<View>> = Vec::new();
        for (k, (feed, layout)) in scan.feeds.iter().enumerate() {
            let Some(input) = inputs[k] else { continue };
            if *feed == Feed::Shared {
                let at = scan.body.inputs.iter().position(|i| i.value == input);
                body.shared.extend(at);
            }
            let Some((view, late)) = &operands[k] else {
                body.known[input.index()]
                    .clone_from(&self.known[node.operands[k].index()]);
                continue;
            };
            let seen = match feed {
                Feed::Mask | Feed::Reach(_) => continue,
                Feed::Shared => along(view, layout, &at, None, &steps),
                Feed::Stream => {
                    moved(along(view, layout, &at, Some(*feed), &steps), *late)
                }
                Feed::Step => along(view, layout, &at, Some(*feed), &steps),
                Feed::Initial => {
                    let from = along(view, layout, &at, None, &steps);
                    if !body.used(input) {
                        // No step reads it: it begins where it will be handed over.
                        if let Some(to) = &results[carried.len()] {
                            body.copy(&from, &at.iter().fold(to.clone(), |v, i| v.at(i)));
                        }
                        carried.push(None);
                        continue;
                    }
                    let tile = match self.left_there(node.operands[k], view) {
                        true if scan.map.is_empty() => view.clone(),
                        _ => {
                            let ty = scan.body.ty(input).clone();
                            let name = format!("state{}", carried.len());
                            let tile = body.frame.tile(&name, &ty);
                            body.copy(&from, &tile);
                            tile
                        }
                    };
                    let next = scan.body.outputs[carried.len()].value;
                    body.next_in[next.index()] = Some(tile.clone());
                    carried.push(Some(tile.clone()));
                    tile
                }
            };
            body.known[input.index()] = Some(Known::At(seen));
        }
        let rest = &scan.body.inputs[scan.body.inputs.len() - 2..];
        body.known[rest[0].value.index()] = Some(Known::Valid {
            offset: steps.token.clone(),
            high: steps.high.clone(),
            may: steps.may,
        });
        body.valid = Some((rest[0].value, steps.token.clone(), steps.high.clone()));
        body.known[rest[1].value.index()] =
            Some(Known::Position { offset: steps.position.clone() });
        // Rows that are skipped yield zeros.
        if mask.is_some() {
            if !scan.map.is_empty() {
                return Err(PassError::limitation(
                    "L-no-kernel",
                    "a walk over several instances that skips tokens",
                    "run it with the interpreter",
                ));
            }
            for view in results[states.len()..].iter().flatten() {
                body.fill(view, 0.0);
            }
        }
        body.states = states.len();
        body.invariants(steps.partial)?;
        let prologue = std::mem::take(&mut body.frame.body);
        body.load_streams(scan, &inputs)?;
        // What a step found is stored before anything changes.
        let found = |y: &usize| {
            let value = scan.body.outputs[states.len() + y].value;
            inputs.contains(&Some(value))
        };
        let (first, last): (Vec<usize>, Vec<usize>) =
            (0..scan.yields.len()).partition(found);
        let put = |body: &mut Lower<'_>, y: usize| -> Result<(), PassError> {
            let (kind, layout) = &scan.yields[y];
            let Some(view) = &results[states.len() + y] else { return Ok(()) };
            let feed = if *kind == Yield::Stream { Feed::Stream } else { Feed::Step };
            let to = along(view, layout, &at, Some(feed), &steps);
            body.stored[states.len() + y] = true;
            body.store(scan.body.outputs[states.len() + y].value, &to)
        };
        for y in first {
            put(&mut body, y)?;
        }
        body.nodes(|_| true)?;
        for y in last {
            put(&mut body, y)?;
        }
        let extent = steps_of(scan).map_err(bug)?;
        for (k, to) in results[..states.len()].iter().enumerate() {
            if let (Some(to), None) = (to, &carried[k]) {
                let to = at.iter().fold(to.clone(), |v, i| v.at(i));
                // Under a mask any step may be the last one: each writes over the one before.
                let masked = mask.is_some();
                body.store_last(scan.body.outputs[k].value, &to, |step| {
                    if masked {
                        return step;
                    }
                    let last = if scan.reverse {
                        Affine::number(0)
                    } else {
                        Affine::from(Monomial::dim(extent)).plus(&Affine::number(-1))
                    };
                    vec![Stmt::When {
                        value: steps.index.clone(),
                        high: last.clone().plus(&Affine::number(1)),
                        low: last,
                        body: step,
                    }]
                })?;
            }
        }
        body.carry(&carried)?;
        let step = std::mem::take(&mut body.frame.body);
        for (k, tile) in carried.iter().enumerate() {
            if stays(self, k) {
                results[k] = tile.clone().filter(|_| self.used(node.results[k]));
            } else if let (Some(view), Some(tile)) = (&results[k], tile) {
                let to = at.iter().fold(view.clone(), |v, i| v.at(i));
                body.copy(tile, &to);
            }
        }
        let epilogue = std::mem::take(&mut body.frame.body);
        let masked = mask.is_some();
        let few = lately(scan).filter(|_| mask.is_none() && !self.nested);
        let step = match mask {
            None => match few.zip(steps.chunk) {
                Some(few) => last_steps(step, few, (&steps.index, extent)),
                None => step,
            },
            Some((offset, high)) => vec![Stmt::When {
                value: offset.plus(&steps.index),
                low: Affine::number(0),
                high,
                body: step,
            }],
        };
        // Steps that hand nothing on are points of the grid.
        let apart = !self.nested && states.is_empty() && steps.chunk.is_some() && !masked;
        let part = match reach {
            None => Some(Part::All),
            Some((Reach::Before, around)) => Some(Part::Before(around)),
            Some((Reach::At, _)) => None,
            Some((Reach::After, around)) => Some(Part::After(around)),
        };
        let step = match part {
            Some(Part::All) if apart => {
                maps.push((step_index, extent));
                step
            }
            Some(part) => {
                let (index, reverse) = (step_index, scan.reverse);
                vec![Stmt::Loop { index, extent, part, reverse, body: step }]
            }
            None => step,
        };
        let mut all: Vec<Stmt> =
            prologue.into_iter().chain(step).chain(epilogue).collect();
        let Lower { mut frame, session, .. } = body;
        self.session = session;
        frame.body = before;
        if self.nested {
            for (index, extent) in maps.into_iter().rev() {
                all = vec![Stmt::Loop {
                    index,
                    extent,
                    part: Part::All,
                    reverse: false,
                    body: all,
                }];
            }
            frame.body.extend(all);
            self.frame = frame;
        } else {
            frame.grid = maps;
            frame.body = all;
            self.frame = frame;
            self.end("walk");
        }
        for (&v, view) in node.results.iter().zip(results) {
            self.known[v.index()] = view.map(Known::At);
        }
        Ok(())
    }

    /// Whether nobody takes what a walk within a step ends with but another one, which begins with it.
    fn goes_on(&self, v: Value) -> bool {
        let user = self.user[v.index()].map(|n| &self.graph.nodes[n]);
        let Some(NodeData { op: Op::Scan { scan }, operands, .. }) = user else {
            return false;
        };
        let at = operands.iter().position(|o| *o == v);
        self.nested && at.is_some_and(|k| scan.feeds[k].0 == Feed::Initial)
    }

    /// Whether that is what a walk begins with.
    fn left_there(&self, v: Value, view: &View) -> bool {
        let of_walk = matches!(self.graph.def(v).op, Op::Scan { .. });
        let is_tile = matches!(view.home, Home::Tile(_)) && view.is_whole();
        of_walk && self.goes_on(v) && !self.fixed[v.index()] && is_tile
    }

    /// Room for a result: of the shape that its only user gives it, where that is another.
    fn room_as_used(&mut self, v: Value) -> View {
        let ty = self.graph.ty(v).clone();
        let user = self.user[v.index()].map(|n| &self.graph.nodes[n]);
        if let Some(NodeData { op: Op::Reshape { dims }, .. }) = user {
            let shape = nestor_ir::ty::Type { elem: ty.elem, dims: dims.clone() };
            let room = self.room(&self.name(v), &shape);
            if let Some(view) = room.reshaped(&ty.dims) {
                return view;
            }
        }
        self.room(&self.name(v), &ty)
    }

    /// Computes before the first step what no step changes.
    fn invariants(&mut self, partial: bool) -> Result<(), PassError> {
        let graph = self.graph;
        let mut varies = vec![false; graph.values.len()];
        for (n, input) in graph.inputs.iter().enumerate() {
            let shared = self.shared.contains(&n);
            let valid = n + 2 == graph.inputs.len();
            varies[input.value.index()] = !shared && (partial || !valid);
        }
        let mut kept = Vec::new();
        for node in graph.nodes.values() {
            let moved = node.operands.iter().any(|o| varies[o.index()])
                || matches!(node.op, Op::Input { .. } | Op::Position { .. });
            for &v in &node.results {
                varies[v.index()] |= moved && !matches!(node.op, Op::Input { .. });
            }
            if moved {
                let fixed = node.operands.iter().filter(|o| !varies[o.index()]);
                kept.extend(fixed.copied());
            }
        }
        self.nodes(|n| n.results.iter().all(|v| !varies[v.index()]))?;
        self.fixed = varies.iter().map(|v| !v).collect();
        for v in kept {
            if self.worth_keeping(v) {
                self.settled(v)?;
            }
        }
        Ok(())
    }

    /// Loads the chunk's part of streams that are read more than once.
    fn load_streams(
        &mut self,
        scan: &Scan,
        inputs: &[Option<Value>],
    ) -> Result<(), PassError> {
        if scan.stride == Stride::Token {
            return Ok(());
        }
        for ((feed, _), input) in scan.feeds.iter().zip(inputs) {
            let Some(v) = input.filter(|_| *feed == Feed::Stream) else { continue };
            if !self.read_often(v) {
                continue;
            }
            let Some(Known::At(view)) = self.known[v.index()].clone() else { continue };
            let name = self.name(v);
            let tile = self.copied(&view, &name)?;
            self.known[v.index()] = Some(Known::At(tile));
        }
        Ok(())
    }

    /// The next states into the tiles of the states.
    ///
    /// States are taken in an order in which each may be overwritten where it lies, because no
    /// other one still waits for what stands there; what goes round in a circle is moved out of
    /// the way.
    fn carry(&mut self, carried: &[Option<View>]) -> Result<(), PassError> {
        let value = |l: &Self, k: usize| l.graph.outputs[k].value;
        let mut next: Vec<Option<View>> = vec![None; carried.len()];
        let mut open: Vec<(usize, View)> = Vec::new();
        for (k, tile) in carried.iter().enumerate() {
            // A state that was stored where it lies is done.
            if tile.is_some() && self.view_of(value(self, k)) == *tile {
                continue;
            }
            open.extend(tile.clone().map(|tile| (k, tile)));
        }
        while !open.is_empty() {
            let free = open.iter().position(|(k, tile)| {
                let (v, home) = (value(self, *k), tile.home);
                let waits = |(j, _): &(usize, View)| {
                    j != k && self.touches(value(self, *j), home, false) != Touch::Not
                };
                let moved = |view: &View| view.home == home;
                self.known[v.index()].is_none()
                    && self.view_of(v).is_none()
                    && self.touches(v, home, true) != Touch::Elsewhere
                    && !open.iter().any(waits)
                    && !next.iter().flatten().any(moved)
            });
            let (k, tile) = open.remove(free.unwrap_or(0));
            let v = value(self, k);
            if free.is_some() {
                self.store(v, &tile)?;
            } else {
                next[k] = Some(self.settled(v)?);
            }
        }
        let mut moves = Vec::new();
        for (tile, view) in carried.iter().zip(next) {
            let (Some(tile), Some(mut view)) = (tile, view) else { continue };
            // What lies where another state is about to be written is moved out of the way.
            let among = carried.iter().flatten().any(|c| c.home == view.home);
            if among && view != *tile {
                view = self.copied(&view, "next")?;
            }
            moves.push((tile, view));
        }
        for (tile, view) in moves {
            if view != *tile {
                self.copy(&view, tile);
            }
        }
        Ok(())
    }

    /// What a state that no step reads ends as: stored when a step may be the last one.
    fn store_last(
        &mut self,
        v: Value,
        to: &View,
        at_last: impl FnOnce(Vec<Stmt>) -> Vec<Stmt>,
    ) -> Result<(), PassError> {
        let constant = match &self.graph.def(v).op {
            Op::Constant { value, .. } => Some(*value),
            _ => None,
        };
        let alone = constant.is_none() && self.made_alone(v);
        if alone {
            self.prepare(v, true)?;
        }
        let from = match (constant, alone) {
            (None, false) => Some(self.settled(v)?),
            (Some(_), _) | (_, true) => None,
        };
        let before = std::mem::take(&mut self.frame.body);
        match (from, constant) {
            (Some(from), _) => self.copy(&from, to),
            (None, Some(number)) => self.fill(to, number),
            (None, None) => self.store(v, to)?,
        }
        let inner = std::mem::replace(&mut self.frame.body, before);
        self.frame.body.extend(at_last(inner));
        Ok(())
    }

    /// Whether nothing but the last step needs a value, nor what a map of it computes on its way.
    fn made_alone(&self, v: Value) -> bool {
        let mut others = Vec::new();
        self.on_the_way(v, &mut others);
        self.uses[v.index()] == 1
            && self.known[v.index()].is_none()
            && self.view_of(v).is_none()
            && scalar_op(&self.graph.def(v).op).is_some()
            && !self.is_sum_of_products(v)
            && others.is_empty()
    }

    /// Which steps are walked at all: row `step` of the enclosing chunk is a token.
    fn mask(
        &self,
        node: &NodeData,
        scan: &Scan,
    ) -> Result<Option<(Affine, Affine)>, PassError> {
        let mut found = None;
        for (v, (feed, _)) in node.operands.iter().zip(&scan.feeds) {
            if *feed != Feed::Mask {
                continue;
            }
            found = match &self.valid {
                Some((valid, offset, high)) if valid == v => {
                    Some((offset.clone(), high.clone()))
                }
                Some(_) | None => {
                    return Err(PassError::limitation(
                        "L-no-kernel",
                        "a walk that skips tokens by a computed condition",
                        "run it with the interpreter",
                    ));
                }
            };
        }
        Ok(found)
    }
}
