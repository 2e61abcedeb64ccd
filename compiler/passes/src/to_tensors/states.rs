//! What a memory carries from token to token, and how it starts.
//!
//! | name | what |
//! |---|---|
//! | `state.W` | the weights as they are read, where they are what is stored |
//! | `state.A.W` | what is stored, where a retention reads the weights from it |
//! | `state.S.W` | a state S of the algorithm or the retention |
//! | `state.anchor.W` | the weights as the last boundary of an anchor or a read left them |
//! | `state.pending.W` | the gradient of a window that is not complete; `state.pending.1.W` of the second minimisation |
//! | `state.count.W` | how many updates there were |
//! | `state.past.M.0` | earlier values that the memory's update looks back at |

use crate::error::PassError;
use crate::simplify::prune;
use nestor_ir::dim::Dim;
use nestor_ir::level::{
    AlgorithmInput, Anchor, Memory, MemoryId, Minimize, Program, Reset, Retention,
    RetentionForm, RetentionInput, State, StateInitial, Statement, Target, WeightId,
};
use nestor_ir::tensor::{Graph, NodeData, Op, Value};
use nestor_ir::ty::{Dims, Elem};
use smallvec::smallvec;

/// What a state is to its memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// Weight number `.0`, or what is stored of it.
    Weight(usize),
    /// State `.1` of the algorithm of weight `.0`.
    Algorithm(usize, usize),
    /// State `.1` of the retention of weight `.0`.
    Retention(usize, usize),
    /// Weight `.1` at the last boundary of `.0` tokens.
    Boundary(usize, usize),
    /// The gradient of weight `.1` so far in this window of minimisation number `.0`.
    Pending(usize, usize),
    /// The number of updates.
    Count,
    /// Earlier values in the window of look-back `.0` of the updates.
    Past(usize),
}

/// How a state starts, where it is not handed over.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Start {
    /// As weight `.0` starts.
    Weight(usize),
    /// As weight `.0` is read at its start.
    Read(usize),
    /// A graph without inputs.
    Values(Box<Graph>),
    /// As a weight of the program.
    Learned(WeightId),
    /// Zeros.
    Zero,
}

/// One state of a memory.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Carried {
    /// Its name, with `state.`.
    pub(super) name: String,
    /// What it is.
    pub(super) role: Role,
    /// Its shape in one instance.
    pub(super) dims: Dims,
    /// How it starts.
    pub(super) start: Start,
}

/// Whether gradients of a window wait for its last token. Those at kept weights cannot: what is kept
/// is known only then, so its tokens are looked back at.
pub(super) fn pends(m: &Minimize) -> bool {
    m.every > 1 && m.anchor != Anchor::Kept
}

/// What the statements of a memory ask for.
pub(super) struct Needs<'p> {
    /// The memory.
    pub(super) memory: &'p Memory,
    /// Its minimisations, in the order of the text; they share their states.
    pub(super) minimize: Vec<&'p Minimize>,
    /// Boundaries at which the weights are remembered.
    pub(super) periods: Vec<usize>,
    /// How each weight is read from what is stored, where these are two things: only what the
    /// answer is made of, since a definition's graphs are written down together.
    reads: Vec<Option<Graph>>,
    /// Windows that updates look back at, in the order of the text: size, and shape of an entry.
    windows: Vec<(usize, Dims)>,
}

impl<'p> Needs<'p> {
    /// Gathers them.
    ///
    /// # Errors
    /// Where statements ask for what is not supported together.
    pub(super) fn new(
        program: &'p Program,
        id: MemoryId,
        acts: &[NodeData],
    ) -> Result<Self, PassError> {
        let memory = &program.memories[id];
        let mut windows = Vec::new();
        let mut minimize: Vec<&Minimize> = Vec::new();
        let mut periods: Vec<usize> = Vec::new();
        for node in acts {
            match &node.op {
                Op::Read { every, .. } => periods.extend((*every).or(memory.read_at)),
                Op::Write { statement } => {
                    let m = match &program.statements[*statement] {
                        Statement::Minimize(m) => m,
                        Statement::Update(u) => {
                            windows.extend(looks(&u.function, &memory.path)?);
                            continue;
                        }
                    };
                    if minimize.first().is_some_and(|first| !share_states(first, m)) {
                        return Err(PassError::limitation(
                            "L-two-statements",
                            format!(
                                "minimisations over `{}` with different states",
                                memory.path
                            ),
                            "give them the same algorithm and retention",
                        ));
                    }
                    if minimize.iter().all(|other| !std::ptr::eq(*other, m)) {
                        minimize.push(m);
                    }
                    if let Anchor::Every(n) = m.anchor {
                        periods.push(n);
                    }
                }
                _ => {}
            }
        }
        periods.sort_unstable();
        periods.dedup();
        let form = |w: usize| minimize.first()?.targets[w].retention.as_ref();
        let read = |w: usize| match &form(w)?.form {
            RetentionForm::Keep { read, .. } => read.as_ref().map(prune),
            RetentionForm::Next { .. } => None,
        };
        let reads = (0..memory.weights.len()).map(read).collect();
        let needs = Self { memory, minimize, periods, reads, windows };
        for (number, m) in needs.minimize.iter().enumerate() {
            needs.possible(number, m)?;
        }
        Ok(needs)
    }

    fn possible(&self, number: usize, m: &Minimize) -> Result<(), PassError> {
        let path = &self.memory.path;
        let not = |code, what: String, help: &str| {
            Err(PassError::limitation(code, what, help.to_owned()))
        };
        // Gradients are taken as tokens come, the last of them after the minimisation before this
        // one has acted.
        let anchored = matches!(m.anchor, Anchor::Every(n) if n.is_multiple_of(m.every));
        if number > 0 && m.every > 1 && !anchored {
            return not(
                "L-two-windows",
                format!("a second window of `{path}`, whose gradient moves within it"),
                "take the gradient at every so many tokens, a multiple of the window",
            );
        }
        for (w, target) in m.targets.iter().enumerate() {
            let samples = target.algorithm.inputs.contains(&AlgorithmInput::Samples);
            if samples && (m.every > 1 || m.window > 1) {
                return not(
                    "L-samples",
                    format!("the samples of a window in the algorithm of `{path}`"),
                    "let the algorithm act at every token",
                );
            }
            let Some(retention) = &target.retention else { continue };
            let free = |i: &RetentionInput| {
                matches!(i, RetentionInput::Step | RetentionInput::Captured(_))
            };
            let reads = self.read_of(w).is_some_and(|read| {
                let mut given = retention.inputs.iter().zip(&read.inputs);
                given.any(|(input, at)| free(input) && uses(read, at.value))
            });
            if reads {
                return not(
                    "L-read-stream",
                    format!("`read` of the retention of `{path}` takes a stream"),
                    "read the weights from what is stored alone",
                );
            }
        }
        Ok(())
    }

    /// The retention of a weight.
    pub(super) fn retention(&self, w: usize) -> Option<&'p Retention> {
        self.minimize.first().and_then(|m| m.targets[w].retention.as_ref())
    }

    /// How a weight is read from what is stored, where these are two things.
    pub(super) fn read_of(&self, w: usize) -> Option<&Graph> {
        self.reads[w].as_ref()
    }

    /// After how many tokens all begins again, where it does within a sequence.
    pub(super) fn restarts(&self) -> Option<usize> {
        match self.memory.reset {
            Reset::Tokens(n) => Some(n),
            Reset::Sequence | Reset::Steps(_) | Reset::Never => None,
        }
    }

    /// Whether the initial weights are asked for.
    pub(super) fn takes_initial(&self, w: usize) -> bool {
        if self.restarts().is_some() {
            return true;
        }
        let asks = |r: &&Retention| r.inputs.contains(&RetentionInput::Initial);
        self.retention(w).as_ref().is_some_and(asks)
    }

    /// The place of a minimisation among those of its memory.
    pub(super) fn number(&self, m: &Minimize) -> usize {
        self.minimize.iter().position(|other| std::ptr::eq(*other, m)).unwrap_or(0)
    }

    /// All that is carried, in order.
    pub(super) fn carried(&self) -> Vec<Carried> {
        let mut out = Vec::new();
        for (w, weight) in self.memory.weights.iter().enumerate() {
            let short = &weight.short;
            let dual = self.read_of(w).is_some();
            let name =
                if dual { format!("state.A.{short}") } else { format!("state.{short}") };
            out.push(Carried {
                name,
                role: Role::Weight(w),
                dims: weight.dims.clone(),
                start: Start::Weight(w),
            });
            if let Some(m) = self.minimize.first() {
                let named = |s: &State, role| Carried {
                    name: format!("state.{}.{short}", s.name),
                    role,
                    dims: s.dims.clone(),
                    start: match &s.initial {
                        StateInitial::Values(graph) => Start::Values(graph.clone()),
                        StateInitial::Weights => Start::Weight(w),
                        StateInitial::Learned(id) => Start::Learned(*id),
                        // No algorithm of a memory has one.
                        StateInitial::Drawn(_) => Start::Zero,
                    },
                };
                let own = m.targets[w].algorithm.states.iter().enumerate();
                out.extend(own.map(|(k, s)| named(s, Role::Algorithm(w, k))));
                let own = self.retention(w).map(|r| &r.states[..]).unwrap_or_default();
                let own = own.iter().enumerate();
                out.extend(own.map(|(k, s)| named(s, Role::Retention(w, k))));
                let clocked = self.minimize.iter().enumerate().filter(|(_, m)| pends(m));
                out.extend(clocked.map(|(n, _)| Carried {
                    name: match n {
                        0 => format!("state.pending.{short}"),
                        n => format!("state.pending.{n}.{short}"),
                    },
                    role: Role::Pending(n, w),
                    dims: weight.dims.clone(),
                    start: Start::Zero,
                }));
            }
            for &period in &self.periods {
                let name = if self.periods.len() == 1 {
                    format!("state.anchor.{short}")
                } else {
                    format!("state.anchor.{period}.{short}")
                };
                out.push(Carried {
                    name,
                    role: Role::Boundary(period, w),
                    dims: weight.dims.clone(),
                    start: if dual { Start::Read(w) } else { Start::Weight(w) },
                });
            }
        }
        for (n, (size, dims)) in self.windows.iter().enumerate() {
            out.push(Carried {
                name: format!("state.past.{}.{n}", self.memory.path),
                role: Role::Past(n),
                dims: std::iter::once(Dim::Fixed(size - 1)).chain(dims.clone()).collect(),
                start: Start::Zero,
            });
        }
        if self.counts() {
            out.push(Carried {
                name: format!("state.count.{}", self.memory.weights[0].short),
                role: Role::Count,
                dims: smallvec![],
                start: Start::Zero,
            });
        }
        out
    }

    fn counts(&self) -> bool {
        let asks = |t: &Target| {
            let graph = &t.algorithm.graph;
            t.algorithm.inputs.iter().zip(&graph.inputs).any(|(input, at)| {
                matches!(input, AlgorithmInput::Count | AlgorithmInput::Total)
                    && uses(graph, at.value)
            })
        };
        self.minimize.iter().any(|m| m.targets.iter().any(asks))
    }

    /// The dimensions whose every index is an independent walk.
    pub(super) fn walks(&self) -> Dims {
        std::iter::once(Dim::Batch).chain(self.memory.map.iter().copied()).collect()
    }
}

/// The windows that an update looks back at.
fn looks(function: &Graph, path: &str) -> Result<Vec<(usize, Dims)>, PassError> {
    let mut out = Vec::new();
    for node in function.nodes.values() {
        let size = if let Op::Recent { size } = &node.op {
            size.fixed()
        } else if let Op::Block { size } = &node.op {
            Some(*size)
        } else {
            continue;
        };
        let size = size.ok_or_else(|| {
            PassError::limitation(
                "L-own-answer",
                format!("`{path}` keeps all of a past that depends on its own answers"),
                "give it a window of so many tokens",
            )
        })?;
        out.push((size, function.ty(node.operands[0]).dims.clone()));
    }
    Ok(out)
}

/// Whether anything is made of a value.
fn uses(graph: &Graph, value: Value) -> bool {
    graph.nodes.values().any(|n| n.operands.contains(&value))
        || graph.outputs.iter().any(|o| o.value == value)
}

/// Whether two minimisations carry the same states.
fn share_states(a: &Minimize, b: &Minimize) -> bool {
    let of = |m: &Minimize| -> Vec<Vec<State>> {
        let all = |t: &Target| {
            let own = t.retention.iter().flat_map(|r| &r.states);
            t.algorithm.states.iter().chain(own).cloned().collect()
        };
        m.targets.iter().map(all).collect()
    };
    a.every == b.every && pends(a) == pends(b) && of(a) == of(b)
}

/// What states are made of.
pub(super) const ELEMENT: Elem = Elem::Real;
