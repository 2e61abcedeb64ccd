//! Which folds of pairs are one walk, and which wait for others.
//!
//! A fold is of the stage behind the last of those that its pairs are made of. Folds of the same pairs along the same axis are one walk
//! where none waits for another, an early one as late as what waits for it lets it be.

use super::cone::{Cone, Role};
use super::running::is_scaled;
use super::sinks::{Sink, sinks};
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Graph, Node, Value};
use std::collections::BTreeSet;

/// Folds that are one walk.
pub(super) struct Group {
    /// In the graph's order.
    pub(super) sinks: Vec<Sink>,
    /// What their pairs are made of.
    pub(super) cone: Cone,
    /// The one, if any, that is the largest so far while others are summed.
    pub(super) largest: Option<Node>,
    stage: usize,
}

impl Group {
    fn of(sink: Sink, stage: usize) -> Self {
        let cone = sink.cone.clone();
        Self { sinks: vec![sink], cone, largest: None, stage }
    }

    /// The values that it takes.
    pub(super) fn takes(&self) -> Vec<Value> {
        self.cone.leaves.iter().copied().collect()
    }

    /// With another fold of the same pairs; nothing where they differ.
    fn with(&self, graph: &Graph, sink: &Sink) -> Option<Cone> {
        let first = &self.sinks[0];
        let alike = first.time == sink.time && first.maps == sink.maps;
        let shared = sink.cone.products(graph).any(|v| self.cone.roles.contains_key(&v));
        if !alike || !shared {
            return None;
        }
        let mut cone = self.cone.clone();
        for (v, roles) in &sink.cone.roles {
            if cone.roles.insert(*v, roles.clone()).is_some_and(|known| known != *roles) {
                return None;
            }
        }
        cone.leaves.extend(&sink.cone.leaves);
        Some(cone)
    }

    fn add(&mut self, sink: Sink, cone: Cone) {
        self.cone = cone;
        self.sinks.push(sink);
        self.sinks.sort_by_key(|s| s.node);
    }
}

/// How far a graph's values are behind which folds.
struct Behind {
    /// Stages that are done before a value is there.
    stages: Vec<usize>,
    /// Folds that it is made of, by their numbers.
    folds: Vec<BTreeSet<usize>>,
}

/// The stages of folds, and the walks of those that go along with a largest value.
struct Staged {
    stage: Vec<usize>,
    behind: Behind,
    running: Vec<Group>,
    /// Which folds those have.
    taken: Vec<bool>,
}

/// The walks of a graph's folds of pairs, of which none sums more numbers of a token than that if it need not.
pub(super) fn groups(graph: &Graph, sums: usize) -> Vec<Group> {
    let all = sinks(graph);
    if all.is_empty() {
        return vec![];
    }
    let staged = staged(graph, &all);
    let before = waited_for(&all, &staged);
    let Staged { stage, running: mut groups, taken, .. } = staged;
    let mut rest: Vec<usize> = (0..all.len()).filter(|n| !taken[*n]).collect();
    rest.sort_by_key(|&n| std::cmp::Reverse(stage[n]));
    for n in rest {
        let fits = |g: &Group| {
            let own = g.sinks.iter().chain([&all[n]]).map(|s| s.numbers(graph));
            g.largest.is_none()
                && stage[n] <= g.stage
                && g.stage < before[n]
                && own.sum::<usize>() <= sums
        };
        let found = groups.iter_mut().filter(|g| fits(g));
        let mut found =
            found.filter_map(|g| g.with(graph, &all[n]).map(|cone| (g, cone)));
        match found.next() {
            Some((group, cone)) => group.add(all[n].clone(), cone),
            None => groups.push(Group::of(all[n].clone(), stage[n])),
        }
    }
    groups
}

/// Each fold is of the stage behind the last one that it is made of, or of that of the largest value that it goes along with.
fn staged(graph: &Graph, all: &[Sink]) -> Staged {
    let mut number = vec![None; graph.nodes.len()];
    all.iter().enumerate().for_each(|(n, s)| number[s.node.index()] = Some(n));
    let mut out = Staged {
        stage: vec![0; all.len()],
        behind: Behind {
            stages: vec![0; graph.values.len()],
            folds: vec![BTreeSet::new(); graph.values.len()],
        },
        running: vec![],
        taken: vec![false; all.len()],
    };
    for (id, node) in graph.nodes.iter() {
        let Behind { stages, folds } = &out.behind;
        let last = node.operands.iter().map(|v| stages[v.index()]).max();
        let mut last = last.unwrap_or(0);
        let mut own = BTreeSet::new();
        node.operands.iter().for_each(|v| own.extend(&folds[v.index()]));
        if let Some(n) = number[id.index()] {
            let largest = scaled_by(graph, all, n, &own, &out.behind);
            let along = largest
                .filter(|m| join(graph, all, &mut out.running, (*m, n), out.stage[*m]));
            if let Some(m) = along {
                last = out.stage[m];
                (out.taken[n], out.taken[m]) = (true, true);
            }
            out.stage[n] = last;
            last += 1;
            own.insert(n);
        }
        for v in &node.results {
            out.behind.stages[v.index()] = last;
            out.behind.folds[v.index()].clone_from(&own);
        }
    }
    out
}

/// The first stage that waits for each fold.
fn waited_for(all: &[Sink], staged: &Staged) -> Vec<usize> {
    let Staged { stage, behind, .. } = staged;
    let mut before = vec![usize::MAX; all.len()];
    for (n, sink) in all.iter().enumerate() {
        for leaf in &sink.cone.leaves {
            for &fold in &behind.folds[leaf.index()] {
                if stage[fold] < stage[n] {
                    before[fold] = before[fold].min(stage[n]);
                }
            }
        }
    }
    before
}

/// The largest value by which a fold's pairs are scaled, if it waits for nothing else of that stage.
fn scaled_by(
    graph: &Graph,
    all: &[Sink],
    n: usize,
    folds: &BTreeSet<usize>,
    behind: &Behind,
) -> Option<usize> {
    let sink = &all[n];
    if sink.is_largest(graph) {
        return None;
    }
    let mut found = folds.iter().copied().filter(|&m| {
        let value = all[m].value(graph);
        let stage = behind.stages[value.index()];
        let others = sink.cone.leaves.iter().filter(|leaf| **leaf != value);
        let kept = sink.cone.roles.get(&value);
        all[m].is_largest(graph)
            && sink.cone.leaves.contains(&value)
            && kept.is_some_and(|roles| !roles.contains(&Role::Summed))
            && others.map(|leaf| behind.stages[leaf.index()]).all(|s| s < stage)
            && is_scaled(graph, &sink.cone, value, sink.pairs)
    });
    found.next()
}

/// Adds a fold to the walk of the largest value that it is scaled by; whether that is possible.
fn join(
    graph: &Graph,
    all: &[Sink],
    running: &mut Vec<Group>,
    (largest, n): (usize, usize),
    stage: usize,
) -> bool {
    let node = all[largest].node;
    let at = running.iter().position(|g| g.largest == Some(node)).unwrap_or_else(|| {
        let group = Group::of(all[largest].clone(), stage);
        running.push(Group { largest: Some(node), ..group });
        running.len() - 1
    });
    let value = all[largest].value(graph);
    let Some(mut cone) = running[at].with(graph, &all[n]) else {
        if running[at].sinks.len() == 1 {
            running.remove(at);
        }
        return false;
    };
    // It is computed there.
    cone.leaves.remove(&value);
    running[at].add(all[n].clone(), cone);
    true
}
