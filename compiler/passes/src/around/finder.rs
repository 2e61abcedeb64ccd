//! A region as it grows: from what a walk takes backwards, from what it gives onwards.

use super::points::{Points, Take};
use super::region::{Region, Regions};
use crate::tokenwise::Cheap;
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Feed, Fold, Graph, Node, NodeData, Op, Scan, Value, Yield};
use nestor_ir::ty::Dims;
use rustc_hash::{FxHashMap, FxHashSet};
use std::collections::BTreeMap;

/// How much of what stands around a walk is tried.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// What makes its streams.
    Before,
    /// Also what is made of what it gives.
    Behind,
    /// Also what is made of the same.
    Beside,
}

/// Fills in the region of a walk; gives the nodes that stand there alone, the walk among them.
pub(super) fn fill(
    graph: &Graph,
    cheap: &Cheap,
    found: &mut Regions,
    region: Region,
    reach: Reach,
) -> (Region, Vec<Node>) {
    let (members, fed) = (vec![region.scan], FxHashMap::default());
    let mut finder = Finder { graph, cheap, found, region, members, fed };
    finder.find(reach);
    (finder.region, finder.members)
}

/// A region as it grows.
struct Finder<'g> {
    graph: &'g Graph,
    cheap: &'g Cheap,
    found: &'g mut Regions,
    region: Region,
    /// The walk, and nodes that stand there alone.
    members: Vec<Node>,
    /// What steps are fed, as `rests` of a region.
    fed: FxHashMap<Value, Dims>,
}

/// Values that are asked for, with their axes behind those of the points; none where they must be fed otherwise.
type Asked = BTreeMap<Value, Option<Dims>>;

fn ask(asked: &mut Asked, v: Value, rest: Option<Dims>) {
    let entry = asked.entry(v).or_insert_with(|| rest.clone());
    if *entry != rest {
        *entry = None;
    }
}

/// How a node comes into a region.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Comes {
    Alone,
    AsCopy,
    Not,
}

impl<'g> Finder<'g> {
    fn find(&mut self, reach: Reach) {
        self.pull(self.streams());
        let (node, scan) = self.walk();
        for (v, (kind, layout)) in node.results.iter().zip(&scan.yields) {
            let rest = self.region.points.of_tokens(&self.graph.ty(*v).dims, layout);
            if let Some(rest) = rest.filter(|_| *kind == Yield::Stream) {
                self.region.rests.insert(*v, rest.into());
            }
        }
        if reach >= Reach::Behind {
            self.push();
        }
        if reach >= Reach::Beside {
            self.beside();
        }
        self.region.nodes.sort();
    }

    fn walk(&self) -> (&'g NodeData, &'g Scan) {
        let node = &self.graph.nodes[self.region.scan];
        match &node.op {
            Op::Scan { scan } => (node, scan),
            _ => unreachable!("regions are of walks"),
        }
    }

    /// What the walk takes of each token.
    fn streams(&self) -> Asked {
        let (node, scan) = self.walk();
        let mut out = Asked::new();
        for (v, (feed, layout)) in node.operands.iter().zip(&scan.feeds) {
            let rest = self.region.points.of_tokens(&self.graph.ty(*v).dims, layout);
            let rest = rest.filter(|_| *feed == Feed::Stream);
            ask(&mut out, *v, rest.map(Dims::from));
        }
        out
    }

    fn unit(&self) -> usize {
        self.found.all.len()
    }

    fn is_member(&self, id: Node) -> bool {
        self.found.of[id.index()] == Some(self.unit())
    }

    /// Nodes outside that the walk waits for, or that wait for it.
    fn reached(&self, ahead: bool) -> Vec<bool> {
        let mut out = vec![false; self.graph.nodes.len()];
        let mut open = self.members.clone();
        if !ahead {
            // What is copied is not waited for.
            open.extend(&self.region.nodes);
        }
        let own = |n: Node| self.is_member(n) || !ahead && self.is_held(n);
        while let Some(id) = open.pop() {
            let node = &self.graph.nodes[id];
            let next: Vec<Node> = if ahead {
                let users =
                    node.results.iter().flat_map(|v| &self.found.users.nodes[v.index()]);
                users.copied().collect()
            } else {
                node.operands.iter().map(|v| self.graph.values[*v].node).collect()
            };
            for n in next {
                // Others that have become one wait together.
                let all: Vec<Node> = match self.found.of[n.index()] {
                    _ if own(n) || out[n.index()] => continue,
                    Some(unit) => {
                        let of = |m: &Node| self.found.of[m.index()] == Some(unit);
                        self.graph.nodes.keys().filter(of).collect()
                    }
                    None => vec![n],
                };
                all.iter().for_each(|m| out[m.index()] = true);
                open.extend(all);
            }
        }
        out
    }

    /// Says which values a node of the region takes, and of what shape.
    fn ask(&self, id: Node, asked: &mut Asked) {
        let node = &self.graph.nodes[id];
        let Some(rest) = self.region.rests.get(&node.results[0]) else { return };
        let Some(local) = self.region.points.local(self.graph, node, rest) else {
            return;
        };
        for (v, take) in node.operands.iter().zip(local.takes) {
            let rest = match take {
                Take::Own(rest) => Some(rest),
                Take::Fed(..) => None,
            };
            ask(asked, *v, rest);
        }
    }

    /// Takes in what makes some values, from the last of their makers to the first. Nothing is said of a value's axes where it must be fed.
    fn pull(&mut self, mut asked: Asked) {
        // What the walk takes otherwise must be there before it.
        let otherwise = self.streams().into_iter().filter(|(_, rest)| rest.is_none());
        asked.extend(otherwise);
        while let Some((v, rest)) = asked.pop_last() {
            let (Some(rest), id) = (rest, self.graph.values[v].node) else { continue };
            let free = self.found.of[id.index()].is_none()
                && !self.region.rests.contains_key(&v);
            let node = &self.graph.nodes[id];
            if !free || self.region.points.local(self.graph, node, &rest).is_none() {
                continue;
            }
            match self.comes(v) {
                Comes::Not => continue,
                Comes::AsCopy => {}
                Comes::Alone => self.enter(id),
            }
            self.region.nodes.push(id);
            self.region.rests.insert(v, rest);
            self.ask(id, &mut asked);
        }
    }

    /// How the maker of a value comes in, whose users in the region are known. What others store anyway is given to them, if
    /// they do not come before; what they compute as they go is copied.
    fn comes(&self, v: Value) -> Comes {
        let users = &self.found.users;
        let mut outside = self.outside(v);
        let alone = outside.next().is_none() && !users.output[v.index()];
        // What is copied is not waited for any more.
        let late = || {
            let before = self.reached(false);
            !self.outside(v).any(|n| before[n.index()])
        };
        match (self.is_again(v), self.is_stored(v)) {
            _ if alone => Comes::Alone,
            (true, false) => Comes::AsCopy,
            _ if late() => Comes::Alone,
            _ => Comes::Not,
        }
    }

    /// Nodes that take a value and do not stand here alone: what is copied may stand elsewhere as well.
    fn outside(&self, v: Value) -> impl Iterator<Item = Node> {
        let users = self.found.users.nodes[v.index()].iter().copied();
        users.filter(|n| !self.is_member(*n))
    }

    /// Whether steps do a node, or a copy of it.
    fn is_held(&self, id: Node) -> bool {
        self.is_member(id) || self.region.nodes.contains(&id)
    }

    /// Whether anyone elsewhere takes a value as it is stored.
    fn is_stored(&self, v: Value) -> bool {
        self.found.users.output[v.index()] || self.outside(v).any(|n| self.stores(n, v))
    }

    /// Whether computing a value again costs no more than reading it.
    fn is_again(&self, v: Value) -> bool {
        let op = &self.graph.def(v).op;
        let repeats =
            matches!(op, Op::Broadcast { .. } | Op::Constant { .. } | Op::Iota { .. });
        repeats || self.cheap.is(v)
    }

    /// Whether a node takes a value as it is stored.
    fn stores(&self, id: Node, v: Value) -> bool {
        let node = &self.graph.nodes[id];
        match &node.op {
            // Walks whose steps can make it do so themselves.
            Op::Scan { scan } => !Points::of(scan).is_some_and(|points| {
                let dims = &self.graph.ty(v).dims;
                let fed = node.operands.iter().zip(&scan.feeds).filter(|(o, _)| **o == v);
                let mut fed = fed.map(|(_, fed)| fed);
                fed.all(|(feed, layout)| {
                    *feed == Feed::Stream && points.of_tokens(dims, layout).is_some()
                })
            }),
            _ => !self.found.users.is_inlined_by(self.graph, id),
        }
    }

    /// Takes in what is made of what the walk gives, and of what does not wait for it.
    fn push(&mut self) {
        let walk = self.region.scan;
        let mut behind: FxHashSet<Value> =
            self.graph.nodes[walk].results.iter().copied().collect();
        let pushed = self.gather(|_, node, _| {
            if !node.operands.iter().any(|v| behind.contains(v)) {
                return Comes::Not;
            }
            behind.extend(&node.results);
            Comes::Alone
        });
        self.trim(&pushed, true);
        self.pull_for(&pushed);
    }

    /// Takes in what is made of what steps have, where others store it: they read nothing more for it.
    fn beside(&mut self) {
        self.fed = self.taken();
        let beside = self.gather(|this, node, before| {
            let there = |v: &Value| this.known(*v).is_some();
            let few = |v: &Value| there(v) || this.is_few(*v, node);
            let reads = node.operands.iter().any(there) && node.operands.iter().all(few);
            match before {
                _ if !reads => Comes::Not,
                false => Comes::Alone,
                true if this.is_again(node.results[0]) => Comes::AsCopy,
                true => Comes::Not,
            }
        });
        self.trim(&beside, false);
        self.fed.clear();
        self.pull_for(&beside);
    }

    /// Takes in, in order, nodes that do not wait for the walk otherwise, and sums over all tokens that it does not wait for; of others it is
    /// asked how they come, and said whether the walk waits for them.
    fn gather(
        &mut self,
        mut comes: impl FnMut(&Self, &NodeData, bool) -> Comes,
    ) -> Vec<Node> {
        let (before, mut after) = (self.reached(false), self.reached(true));
        let mut found = Vec::new();
        for (id, node) in self.graph.nodes.iter() {
            let waits = |v: &Value| {
                let from = self.graph.values[*v].node;
                after[from.index()] && !self.is_held(from)
            };
            let free = self.found.of[id.index()].is_none() && !self.is_held(id);
            let before = before[id.index()];
            if !free || node.operands.iter().any(waits) {
                continue;
            }
            if !before && self.is_total(node) {
                self.region.totals.push(id);
                self.enter(id);
                after[id.index()] = false;
                continue;
            }
            let Some(rest) = self.made(node) else { continue };
            let how = comes(self, node, before);
            if how == Comes::Not {
                continue;
            }
            self.region.rests.insert(node.results[0], rest);
            self.region.nodes.push(id);
            found.push(id);
            if how == Comes::Alone {
                self.enter(id);
                after[id.index()] = false;
            }
        }
        found
    }

    /// A node stands here alone.
    fn enter(&mut self, id: Node) {
        self.found.of[id.index()] = Some(self.unit());
        self.members.push(id);
    }

    /// What the region's nodes take of what others make.
    fn pull_for(&mut self, nodes: &[Node]) {
        let mut taken = BTreeMap::new();
        nodes.iter().for_each(|id| self.ask(*id, &mut taken));
        self.pull(taken);
    }

    /// What steps are fed that has entries of their own: its axes behind those of the points.
    fn taken(&self) -> FxHashMap<Value, Dims> {
        let mut asked = self.streams();
        self.region.nodes.iter().for_each(|id| self.ask(*id, &mut asked));
        let fed = asked.into_iter().filter(|(v, _)| !self.region.rests.contains_key(v));
        fed.filter_map(|(v, rest)| Some((v, rest?))).collect()
    }

    /// The axes behind those of the points of a value that steps have.
    fn known(&self, v: Value) -> Option<&Dims> {
        self.region.rests.get(&v).or_else(|| self.fed.get(&v))
    }

    /// Whether reading a value costs little beside a node's result.
    fn is_few(&self, v: Value, node: &NodeData) -> bool {
        let (own, result) = (self.graph.ty(v), self.graph.ty(node.results[0]));
        let repeats =
            matches!(self.graph.def(v).op, Op::Broadcast { .. } | Op::Constant { .. });
        repeats || own.rank() < result.rank()
    }

    /// The axes of a node's result behind those of the points, if steps can make it of what they make.
    fn made(&self, node: &NodeData) -> Option<Dims> {
        let [result] = node.results[..] else { return None };
        let known = |v: &Value| self.known(*v);
        let first = node.operands.iter().find_map(known)?;
        let rest = match self.region.points.rest(&self.graph.ty(result).dims) {
            Some(rest) => rest.into(),
            None => first.clone(),
        };
        let local = self.region.points.local(self.graph, node, &rest)?;
        let fits = |(v, take): (&Value, &Take)| match known(v) {
            Some(rest) => *take == Take::Own(rest.clone()),
            None => true,
        };
        node.operands.iter().zip(&local.takes).all(fits).then_some(rest)
    }

    /// Whether a node sums what steps make over all tokens.
    fn is_total(&self, node: &NodeData) -> bool {
        let Op::Reduce { fold: Fold::Sum, axes } = &node.op else { return false };
        let v = node.operands[0];
        let as_it_is = self.region.points.rest(&self.graph.ty(v).dims);
        let fits = match self.region.rests.get(&v) {
            Some(rest) if as_it_is == Some(rest) => true,
            Some(_) => axes[..] == [1],
            None => false,
        };
        fits && axes.contains(&1) && !axes.contains(&0)
    }

    /// Without what others compute as they go of what the walk gives them `anyway`, or else of what they read; what others of the region take as well
    /// is a copy.
    fn trim(&mut self, nodes: &[Node], anyway: bool) {
        for &id in nodes.iter().rev() {
            let node = &self.graph.nodes[id];
            let v = node.results[0];
            let users = &self.found.users;
            let here = users.nodes[v.index()].iter().any(|n| self.is_held(*n));
            let given = |o: &&Value| self.region.rests.contains_key(*o);
            let asked = |o: &Value| {
                users.output[o.index()]
                    || self.outside(*o).any(|n| n != id && !self.is_held(n))
            };
            let there = !anyway || node.operands.iter().filter(given).all(asked);
            let folds = anyway && matches!(node.op, Op::Reduce { .. });
            let stored = self.is_stored(v);
            let elsewhere = self.outside(v).next().is_some() && !stored;
            if here && elsewhere && self.is_again(v) {
                self.leave(id);
            } else if !here && (!self.is_member(id) || !folds && there && !stored) {
                self.leave(id);
                self.region.nodes.retain(|n| *n != id);
                self.region.rests.remove(&v);
            }
        }
    }

    /// A node stands elsewhere as well.
    fn leave(&mut self, id: Node) {
        self.found.of[id.index()] = None;
        self.members.retain(|n| *n != id);
    }
}
