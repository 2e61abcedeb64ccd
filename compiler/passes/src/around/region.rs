//! Which nodes around a walk are computed in it.

use super::finder::{Reach, fill};
use super::points::Points;
use super::walk::buffers;
use crate::tokenwise::{Cheap, Users, by_tokens};
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Graph, Node, Op, Value};
use nestor_ir::ty::Dims;
use rustc_hash::FxHashMap;

/// Buffers of a kernel beyond which their addresses would not stay in registers: with 29 the assembler has no room in some.
const MOST_BUFFERS: usize = 28;

/// A walk and what is computed in it.
pub(super) struct Region {
    pub(super) scan: Node,
    pub(super) points: Points,
    /// Nodes that steps do, in order: those that stand nowhere else, and copies.
    pub(super) nodes: Vec<Node>,
    /// Sums over all tokens of what steps make.
    pub(super) totals: Vec<Node>,
    /// The axes behind those of the points, of all values that steps make.
    pub(super) rests: FxHashMap<Value, Dims>,
}

/// All regions of a graph.
pub(super) struct Regions {
    pub(super) all: Vec<Region>,
    /// The region of a node that stands there alone, and of walks.
    pub(super) of: Vec<Option<usize>>,
    pub(super) users: Users,
}

impl Regions {
    pub(super) fn of(graph: &Graph) -> Self {
        let users = Users::of(graph);
        let of = vec![None; graph.nodes.len()];
        let mut found = Self { all: vec![], of, users };
        let mut cheap = None;
        for (id, node) in graph.nodes.iter() {
            let Op::Scan { scan } = &node.op else { continue };
            if Points::of(scan).is_none() {
                continue;
            }
            let cheap = cheap.get_or_insert_with(|| Cheap::of(graph, &by_tokens(graph)));
            let reaches = [Reach::Beside, Reach::Behind, Reach::Before];
            let region =
                reaches.iter().find_map(|to| found.region(graph, cheap, id, *to));
            found.all.extend(region);
        }
        found
    }

    /// The region of a walk, whose members are known from then on; nothing where there is none, or it touches too much.
    fn region(
        &mut self,
        graph: &Graph,
        cheap: &Cheap,
        id: Node,
        reach: Reach,
    ) -> Option<Region> {
        let Op::Scan { scan } = &graph.nodes[id].op else { return None };
        let region = Region {
            scan: id,
            points: Points::of(scan)?,
            nodes: vec![],
            totals: vec![],
            rests: FxHashMap::default(),
        };
        self.of[id.index()] = Some(self.all.len());
        let (region, members) = fill(graph, cheap, self, region, reach);
        let empty = region.nodes.is_empty() && region.totals.is_empty();
        if empty || buffers(graph, &region, self) > MOST_BUFFERS {
            members.iter().for_each(|id| self.of[id.index()] = None);
            return None;
        }
        Some(region)
    }

    /// Whether the world or nodes of other places take a value.
    pub(super) fn is_asked(&self, v: Value, unit: usize) -> bool {
        let outside = |n: &Node| self.of[n.index()] != Some(unit);
        self.users.output[v.index()] || self.users.nodes[v.index()].iter().any(outside)
    }

    /// The region of a walk.
    pub(super) fn number(&self, region: &Region) -> usize {
        self.of[region.scan.index()].expect("a walk is of its region")
    }
}
