//! The elaborator: walks definitions from an entry, binding names to values and emitting ops.
//!
//! Every graph under construction is a *frame*: the program's code, or one of the small graphs
//! over one instance of a memory. A tensor of the code that a small graph needs becomes an input
//! of it, and is remembered as captured.

use crate::definitions::{Definitions, Known, nearest};
use crate::value::{NamedDim, Number, Tensor, Value};
use indexmap::{IndexMap, IndexSet};
use nestor_grammar::ast::{Definition, Item, ItemKind};
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::dim::Dim;
use nestor_ir::entity::Arena;
use nestor_ir::level::clocks::Clocks;
use nestor_ir::level::{
    Clock, Input, Memory, MemoryId, Statement, StatementId, Weight, WeightId,
};
use nestor_ir::tensor::{Graph, Value as Node};
use nestor_ir::ty::Type;

/// What an input of a small graph is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Slot {
    /// A weight of the memory.
    Weight(usize),
    /// A value that an update kept.
    Kept(usize),
    /// An argument of a read.
    Argument(usize),
    /// An entry of the frame's group of captured tensors.
    Captured(usize),
    /// The gradient, or the state of a retention.
    First,
    /// The weights before the update.
    Previous,
    /// The weights the gradient was taken at, or the initial ones.
    Other,
    /// This update's number.
    Count,
    /// How many updates there will be.
    Total,
    /// The inputs of the weight's one product.
    Samples,
    /// The step.
    Step,
    /// A state.
    State(usize),
}

/// A graph under construction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frame {
    /// The graph.
    pub(crate) graph: Graph,
    /// What its inputs are.
    pub(crate) slots: Vec<Slot>,
    /// Captured tensors that are already inputs.
    seen: IndexMap<(usize, Node, usize), Tensor>,
    /// Which list of captured tensors it shares.
    pub(crate) group: usize,
    /// Leading dimensions of the memory, dropped from tensors whose first dimensions they are.
    pub(crate) drop: Vec<Dim>,
}

/// A name scope.
#[derive(Clone, Debug, Default)]
pub(crate) struct Env {
    /// Names bound here.
    pub(crate) names: IndexMap<String, Value>,
    /// The file whose names are seen beyond.
    pub(crate) file: usize,
    /// Parameters, inputs, weights and states, with where they are declared.
    pub(crate) declared: IndexMap<String, (crate::trail::Declared, Span)>,
    /// Names that the body binds more than once.
    pub(crate) rebound: IndexSet<String>,
    /// The binding whose expression is being evaluated.
    pub(crate) binding: Option<String>,
    /// The call that is the whole of that expression: its instance takes the binding's name.
    pub(crate) direct: Option<Span>,
    /// Parameters after `;` are scalars where no shape is written.
    pub(crate) scalar_flows: bool,
    /// The layer whose body this is.
    pub(crate) instance: Option<usize>,
    /// Rounds of the enclosing repeats.
    pub(crate) rounds: Vec<usize>,
    /// Values of `out`.
    pub(crate) outputs: Vec<(String, Value, Span)>,
}

/// A layer, memory or structure with its parameters.
#[derive(Clone, Debug)]
pub(crate) struct Instance<'a> {
    /// Its definition.
    pub(crate) definition: usize,
    /// Its path, each part with the definition it is an instance of.
    pub(crate) path: Vec<Part>,
    /// Its parameters.
    pub(crate) env: Env,
    /// Where it was made.
    pub(crate) span: Span,
    /// Its weights and inner instances by name, once made.
    pub(crate) members: IndexMap<String, Value>,
    /// What it is as a memory, once used as one.
    pub(crate) memory: Option<crate::memory::Made<'a>>,
    /// Whether something tries to write it.
    pub(crate) tried: bool,
    /// The instance whose weights it starts from.
    pub(crate) from: Option<usize>,
}

/// One part of a path.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Part {
    /// The name, `slow`.
    pub(crate) name: String,
    /// The rounds of repeats, `[2]`.
    pub(crate) rounds: Vec<usize>,
    /// The definition it is an instance of, `MLP`.
    pub(crate) definition: Option<String>,
}

/// A path as text.
pub(crate) fn path_text(path: &[Part]) -> String {
    let parts: Vec<String> = path
        .iter()
        .map(|p| p.rounds.iter().fold(p.name.clone(), |t, r| format!("{t}[{r}]")))
        .collect();
    parts.join(".")
}

/// A weight of the program with the parts of its path.
#[derive(Clone, Debug)]
pub(crate) struct KnownWeight {
    /// The path, its own name last.
    pub(crate) path: Vec<Part>,
    /// Where it is declared.
    pub(crate) declared: Span,
    /// The user's text that it comes from: its declaration, or the call that led to it.
    pub(crate) span: Span,
    /// The graph input that stands for it in the code.
    pub(crate) tensor: Option<Tensor>,
}

/// Everything under construction.
pub(crate) struct Elaborator<'a> {
    /// All definitions.
    pub(crate) table: &'a Definitions<'a>,
    /// Graphs; the first is the code.
    pub(crate) frames: Vec<Frame>,
    /// The graph that ops go to.
    pub(crate) frame: usize,
    /// Captured tensors by group.
    pub(crate) groups: Vec<Vec<Tensor>>,
    /// Streams.
    pub(crate) inputs: Vec<Input>,
    /// Weights.
    pub(crate) weights: Arena<WeightId, Weight>,
    /// What else is known of each weight, in the same order.
    pub(crate) known: Vec<KnownWeight>,
    /// Memories.
    pub(crate) memories: Arena<MemoryId, Memory>,
    /// Statements.
    pub(crate) statements: Arena<StatementId, Statement>,
    /// Instances.
    pub(crate) instances: Vec<Instance<'a>>,
    /// Instances by path.
    by_path: IndexMap<String, usize>,
    /// Instance names taken in each application under way.
    pub(crate) taken: Vec<IndexSet<String>>,
    /// The path of the instance whose body is being walked.
    pub(crate) path: Vec<Part>,
    /// Dimensions over which the layer at hand is mapped.
    pub(crate) lead: Vec<Dim>,
    /// Definitions being expanded, for cycles.
    pub(crate) open: Vec<usize>,
    /// How often what is at hand happens.
    pub(crate) clock: Clock,
    /// The block that it stands in.
    pub(crate) block: Option<Span>,
    /// The clocks of the code's values.
    pub(crate) clocks: Clocks,
    /// Layers under way that are mapped over a window in time.
    pub(crate) over_windows: Vec<Span>,
    /// The weight of a memory whose algorithm is being built.
    pub(crate) learns: Option<crate::deep::Learns>,
    /// While an objective over memories is built: the frame's weights of each instance.
    pub(crate) anchored: Vec<(usize, Vec<Tensor>)>,
    /// Levels written so far.
    pub(crate) levels: Vec<crate::level::Written<'a>>,
    /// Where things are said to be.
    pub(crate) trail: crate::trail::Trail,
    /// What was found.
    pub(crate) found: Vec<Diagnostic>,
}

impl<'a> Elaborator<'a> {
    /// Nothing yet.
    pub(crate) fn new(table: &'a Definitions<'a>) -> Self {
        Self {
            table,
            frames: vec![Frame::default()],
            frame: 0,
            groups: vec![Vec::new()],
            inputs: Vec::new(),
            weights: Arena::default(),
            known: Vec::new(),
            memories: Arena::default(),
            statements: Arena::default(),
            instances: Vec::new(),
            by_path: IndexMap::new(),
            taken: vec![IndexSet::new()],
            path: Vec::new(),
            lead: Vec::new(),
            open: Vec::new(),
            clock: Clock::Tokens(1),
            block: None,
            clocks: Clocks::default(),
            over_windows: Vec::new(),
            learns: None,
            anchored: Vec::new(),
            levels: Vec::new(),
            trail: crate::trail::Trail::default(),
            found: Vec::new(),
        }
    }

    /// The graph at hand.
    pub(crate) fn graph(&mut self) -> &mut Graph {
        &mut self.frames[self.frame].graph
    }

    /// Opens a small graph that shares a group of captured tensors.
    pub(crate) fn open_frame(&mut self, group: usize, drop: Vec<Dim>) -> usize {
        self.frames.push(Frame { group, drop, ..Frame::default() });
        self.frames.len() - 1
    }

    /// Adds an input to a frame.
    pub(crate) fn slot(
        &mut self,
        frame: usize,
        slot: Slot,
        name: &str,
        dims: Vec<NamedDim>,
    ) -> Tensor {
        let ty = Type::real(dims.iter().map(|d| d.size));
        let elem = ty.elem;
        let name = format!("{name}.{}", self.frames[frame].slots.len());
        let node = self.frames[frame].graph.input(name, ty);
        self.frames[frame].slots.push(slot);
        Tensor { frame, node, elem, lead: vec![], dims, strip: 0, window: None }
    }

    /// The tensor as the graph at hand sees it: itself, or an input for what is captured.
    pub(crate) fn local(&mut self, t: &Tensor) -> Tensor {
        if t.frame == self.frame {
            return t.clone();
        }
        let here = self.frame;
        let drop = &self.frames[here].drop;
        let first: Vec<Dim> = t.dims.iter().take(drop.len()).map(|d| d.size).collect();
        let strip = if t.strip == 0 && !drop.is_empty() && first == *drop {
            drop.len()
        } else {
            t.strip
        };
        if let Some(known) = self.frames[here].seen.get(&(t.frame, t.node, strip)) {
            return Tensor {
                dims: rename_like(&known.dims, &t.dims[strip..]),
                ..known.clone()
            };
        }
        let group = self.frames[here].group;
        let outer = Tensor { strip, ..t.clone() };
        let list = &mut self.groups[group];
        let same = list
            .iter()
            .position(|c| (c.frame, c.node, c.strip) == (t.frame, t.node, strip));
        let index = same.unwrap_or_else(|| {
            list.push(outer);
            list.len() - 1
        });
        let dims = t.dims[strip..].to_vec();
        let ty = Type { elem: t.elem, dims: dims.iter().map(|d| d.size).collect() };
        let node = self.frames[here].graph.input(format!("captured.{index}"), ty);
        self.frames[here].slots.push(Slot::Captured(index));
        // What a slower clock sees stays a window in the small graph; all of it is there.
        let seen = t.window.as_ref().filter(|w| w.clock && w.axis >= strip);
        let window = seen.map(|w| {
            let n = t.dims[w.axis].size.fixed().unwrap_or(0);
            let graph = &mut self.frames[here].graph;
            crate::window::all_there(graph, n, w.axis - strip)
        });
        let made = Tensor {
            frame: here,
            node,
            lead: vec![],
            dims,
            strip: 0,
            window,
            elem: t.elem,
        };
        self.frames[here].seen.insert((t.frame, t.node, strip), made.clone());
        made
    }

    /// The frame's graph with its inputs in the order asked for; inputs it lacks are added unused.
    pub(crate) fn close(
        &self,
        frame: usize,
        order: &[(Slot, Type)],
        outputs: &[(String, Node)],
    ) -> Graph {
        let from = &self.frames[frame];
        let mut graph = Graph::new();
        let mut arguments: Vec<Option<Node>> = vec![None; from.slots.len()];
        for (n, (slot, ty)) in order.iter().enumerate() {
            let input = graph.input(format!("x{n}"), ty.clone());
            for (i, s) in from.slots.iter().enumerate() {
                if s == slot {
                    arguments[i] = Some(input);
                }
            }
        }
        let arguments: Vec<Node> = arguments
            .into_iter()
            .map(|a| a.expect("every slot of a frame is asked for"))
            .collect();
        let map = graph.splice(&from.graph, &arguments);
        for (name, node) in outputs {
            graph.output(name.clone(), map[nestor_ir::entity::Entity::index(*node)]);
        }
        graph
    }

    /// Looks a name up.
    pub(crate) fn lookup(&mut self, env: &Env, name: &str, span: Span) -> Value {
        if let Some(value) = env.names.get(name) {
            return match value {
                Value::Number(n) => {
                    Value::Number(Number { name: Some(name.to_owned()), ..n.clone() })
                }
                other => self.seen(other.clone()),
            };
        }
        match self.table.find(env.file, name) {
            Some(Known::Definition(d)) => return Value::Definition(d),
            Some(Known::Constant(expr, file)) => {
                let mut scope = Env { file, ..Env::default() };
                return self.eval(&mut scope, expr);
            }
            None => {}
        }
        if let Some(value) = crate::builtin::word(self, name) {
            return value;
        }
        let mut all: Vec<&str> = env.names.keys().map(String::as_str).collect();
        all.extend(self.table.visible(env.file));
        for name in crate::builtin::names() {
            all.push(name);
        }
        let near = nearest(name, all.into_iter());
        let diagnostic =
            Diagnostic::error("N101", span, format!("nothing here is called `{name}`"));
        self.report(match near {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic,
        })
    }

    /// Makes an instance, or finds the one that an earlier use of the same layer made.
    pub(crate) fn instance(
        &mut self,
        definition: usize,
        env: Env,
        at: &Env,
        direct: bool,
        span: Span,
    ) -> usize {
        let own = self.table.entries[definition].definition.name.text.clone();
        let binding = at.binding.clone().filter(|b| !at.rebound.contains(b));
        let mut parts = match binding {
            Some(b) if direct => vec![(b, Some(own))],
            Some(b) => vec![(b, None), (own.clone(), Some(own))],
            None => vec![(own.clone(), Some(own))],
        };
        let rounds: String = at.rounds.iter().map(|r| format!("[{r}]")).collect();
        let key = |parts: &[(String, Option<String>)]| {
            let names: Vec<&str> = parts.iter().map(|p| p.0.as_str()).collect();
            names.join(".") + &rounds
        };
        let base = parts.last().map(|p| p.0.clone()).unwrap_or_default();
        let mut n = 1;
        while self.taken.last().is_some_and(|t| t.contains(&key(&parts))) {
            n += 1;
            if let Some(last) = parts.last_mut() {
                last.0 = format!("{base}_{n}");
            }
        }
        if let Some(taken) = self.taken.last_mut() {
            taken.insert(key(&parts));
        }
        let mut path = self.path.clone();
        let count = parts.len();
        for (i, (name, definition)) in parts.into_iter().enumerate() {
            let rounds = if i + 1 == count { at.rounds.clone() } else { vec![] };
            path.push(Part { name, rounds, definition });
        }
        let text = path_text(&path);
        if let Some(&known) = self.by_path.get(&text) {
            self.instances[known].env = env;
            return known;
        }
        let members = IndexMap::new();
        self.instances.push(Instance {
            definition,
            path,
            env,
            span,
            members,
            memory: None,
            tried: false,
            from: None,
        });
        self.by_path.insert(text, self.instances.len() - 1);
        self.instances.len() - 1
    }

    /// The definition of an instance.
    pub(crate) fn definition_of(&self, instance: usize) -> &'a Definition {
        self.table.entries[self.instances[instance].definition].definition
    }
}

/// Names of the second shape on the sizes of the first.
fn rename_like(dims: &[NamedDim], like: &[NamedDim]) -> Vec<NamedDim> {
    dims.iter()
        .zip(like)
        .map(|(d, l)| NamedDim {
            name: l.name.clone().or_else(|| d.name.clone()),
            size: d.size,
        })
        .collect()
}

/// Names that a body binds more than once, so that instances made in them are called by their
/// definition alone.
pub(crate) fn rebound(body: &[Item]) -> IndexSet<String> {
    fn walk(body: &[Item], seen: &mut IndexSet<String>, again: &mut IndexSet<String>) {
        for item in body {
            match &item.kind {
                ItemKind::Binding(b) => {
                    if let Some(name) = b.path.dotted()
                        && !seen.insert(name.clone())
                    {
                        again.insert(name);
                    }
                }
                ItemKind::Repeat(_, _, body) | ItemKind::ClockBlock(_, body) => {
                    walk(body, seen, again)
                }
                ItemKind::Input(names, ..) => {
                    seen.extend(names.iter().map(|n| n.text.clone()))
                }
                _ => {}
            }
        }
    }
    let (mut seen, mut again) = (IndexSet::new(), IndexSet::new());
    walk(body, &mut seen, &mut again);
    again
}
