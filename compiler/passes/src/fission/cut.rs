//! What a part is given of what others compute, and what it computes again.

use super::cost::{Rates, own, size};
use nestor_ir::entity::Entity;
use nestor_ir::tensor::{Graph, NodeData, Op, Value};

/// Who computes a value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Where {
    /// It is there: what every part is fed, and the states of the walk.
    Fed,
    /// This part and no other.
    Here,
    /// Another, or this one again; how often each of its numbers is moved if it is handed over.
    Elsewhere(f64),
    /// Another, or this one instead: nobody else asks for it. How often each of its numbers is moved if it is handed over, and how many more
    /// numbers the other would have to be fed for it.
    Either(f64, f64),
}

/// A part's view of the body.
pub(super) struct Cut<'a> {
    pub(super) body: &'a Graph,
    pub(super) rates: &'a Rates,
    /// How much more than it costs handing over is feared.
    pub(super) feared: f64,
    pub(super) place: &'a dyn Fn(Value) -> Where,
}

/// What a part takes and computes.
struct Taken {
    costs: f64,
    /// The same as it was decided by.
    weighed: f64,
    handed: Vec<Value>,
    /// What it has then, by value.
    there: Vec<bool>,
}

impl Cut<'_> {
    /// Finds what is handed over so that the part can compute what is wanted of it; gives what that, and what is computed
    /// again, costs. Each value is weighed by itself, so that what several share is not seen: where the part would then be
    /// handed what nobody else computes, it is weighed with all that every part is fed at hand, too.
    pub(super) fn take(&self, wanted: &[Value], handed: &mut Vec<Value>) -> f64 {
        let mut best = self.settled(wanted, &vec![false; self.body.values.len()]);
        let alone = |v: &Value| matches!((self.place)(*v), Where::Either(..));
        if best.handed.iter().any(alone) {
            let fed: Vec<bool> =
                self.body.values.keys().map(|v| (self.place)(v) == Where::Fed).collect();
            let other = self.settled(wanted, &fed);
            if other.weighed < best.weighed {
                best = other;
            }
        }
        handed.extend(best.handed);
        best.costs
    }

    fn settled(&self, wanted: &[Value], said: &[bool]) -> Taken {
        let mut best = self.taken(wanted, said);
        // What turned out to be there anyway makes it cheap to compute from that, so long as this gains.
        loop {
            let next = self.taken(wanted, &best.there);
            if next.weighed >= best.weighed {
                return best;
            }
            best = next;
        }
    }

    /// From the last value to the first, each where it is needed: handing it over is weighed against computing it from its
    /// operands, which may themselves be handed over, be needed already, or be said to be there.
    fn taken(&self, wanted: &[Value], said: &[bool]) -> Taken {
        let least = self.least(said);
        let mut needed = vec![false; self.body.values.len()];
        wanted.iter().for_each(|v| needed[v.index()] = true);
        let (mut costs, mut weighed, mut handed) = (0.0, 0.0, Vec::new());
        for node in self.body.nodes.values().rev() {
            let asked: Vec<Value> =
                node.results.iter().copied().filter(|v| needed[v.index()]).collect();
            if asked.is_empty() {
                continue;
            }
            if (self.place)(node.results[0]) == Where::Fed {
                if let Op::Input { .. } = node.op {
                    weighed += size(self.body, node.results[0]);
                }
                continue;
            }
            let mut from: Vec<Value> = node.operands.to_vec();
            from.sort_unstable_by_key(|v| v.index());
            from.dedup();
            let there = |o: &Value| needed[o.index()] || said[o.index()];
            let behind = from.iter().filter(|o| !there(o));
            let behind: f64 = behind.map(|o| least[o.index()]).sum();
            let over: Option<f64> = asked.iter().map(|v| self.over(*v)).sum();
            let again = self.again(node);
            if let Some(over) = over
                && again.is_none_or(|again| self.feared * over < again + behind)
            {
                costs += over;
                weighed += self.feared * over;
                handed.extend(asked);
                continue;
            }
            if over.is_some() {
                costs += again.unwrap_or(0.0);
                weighed += again.unwrap_or(0.0);
            }
            from.iter().for_each(|o| needed[o.index()] = true);
        }
        Taken { costs, weighed, handed, there: needed }
    }

    /// What handing a value over costs, where it is computed elsewhere.
    fn over(&self, v: Value) -> Option<f64> {
        match (self.place)(v) {
            Where::Fed | Where::Here => None,
            Where::Elsewhere(times) => Some(times * size(self.body, v)),
            Where::Either(times, fed) => Some(times * size(self.body, v) + fed),
        }
    }

    /// What computing a node here costs beside what it costs once, its operands apart.
    fn again(&self, node: &NodeData) -> Option<f64> {
        match (&node.op, (self.place)(node.results[0])) {
            (Op::Input { .. }, _) => None,
            (_, Where::Either(..)) => Some(0.0),
            _ => own(self.body, node, self.rates),
        }
    }

    /// The least that each value costs by itself, where some are said to be there.
    fn least(&self, said: &[bool]) -> Vec<f64> {
        let mut least = vec![0.0_f64; self.body.values.len()];
        for node in self.body.nodes.values() {
            let behind: f64 = node.operands.iter().map(|o| least[o.index()]).sum();
            for &v in &node.results {
                let again = self.again(node).map(|own| own + behind);
                least[v.index()] = match ((self.place)(v), again) {
                    _ if said[v.index()] => 0.0,
                    (Where::Fed, _) => match node.op {
                        Op::Input { .. } => size(self.body, v),
                        _ => 0.0,
                    },
                    (Where::Here, again) => again.unwrap_or(0.0),
                    (Where::Elsewhere(_) | Where::Either(..), again) => {
                        let over = self.over(v).map(|over| self.feared * over);
                        let over = over.expect("it is computed elsewhere");
                        again.map_or(over, |again| again.min(over))
                    }
                };
            }
        }
        least
    }
}
