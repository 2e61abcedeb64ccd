//! Memories: made at their first use, when their leading dimensions are known; read and written.

use crate::call::Given;
use crate::elaborate::{Elaborator, Env, Part, Slot, path_text};
use crate::trail::Declared;
use crate::value::{NamedDim, Tensor, Value, shape_text};
use nestor_grammar::ast::{Call, Clock, Item, ItemKind, Kind, Params, Reset, Shape};
use nestor_grammar::{Diagnostic, Span};
use nestor_ir::dim::Dim;
use nestor_ir::level::{self, FastWeight, Kept, Memory, MemoryId, Statement, Update};
use nestor_ir::tensor::{Graph, Op, Value as Node};
use nestor_ir::ty::Type;

/// A memory that has been made.
#[derive(Clone, Debug)]
pub(crate) struct Made<'a> {
    /// Which.
    pub(crate) id: MemoryId,
    /// Its weights' names and dimensions.
    pub(crate) weights: Vec<(String, Vec<NamedDim>)>,
    /// The same dimensions under the structure's own names.
    pub(crate) inner: Vec<Vec<NamedDim>>,
    /// The scope of its structure: parameters of the structure.
    pub(crate) scope: Env,
    /// Parameters and expression of its read.
    pub(crate) reader: (&'a Params, &'a nestor_grammar::ast::Expr),
    /// Tensors of the code that reads capture.
    pub(crate) captured: Vec<Tensor>,
    /// The read's graph and type, once it is built.
    pub(crate) answer: Option<Vec<NamedDim>>,
    /// Names and shapes of what an update keeps.
    pub(crate) kept: Vec<(String, Tensor)>,
    /// Whether anything writes it, and reads it.
    pub(crate) written: bool,
    /// Whether anything reads it.
    pub(crate) is_read: bool,
}

impl<'a> Elaborator<'a> {
    /// The clauses of a memory's body, empty for a structure used as a memory.
    pub(crate) fn clauses(&self, instance: usize) -> &'a [Item] {
        let definition = self.definition_of(instance);
        if definition.kind == Kind::Memory { &definition.body } else { &[] }
    }

    /// The memory of an instance whose leading dimensions are these.
    pub(crate) fn made(
        &mut self,
        instance: usize,
        lead: &[NamedDim],
        span: Span,
    ) -> Option<Made<'a>> {
        let map: Vec<Dim> =
            self.lead.iter().copied().chain(lead.iter().map(|d| d.size)).collect();
        if let Some(place) = self.over_windows.last().copied() {
            let text = "this layer holds a memory and is applied to a window: its rows are many tokens of one memory, never many memories";
            let help =
                "apply it at the clock of what it reads, or reduce the window first";
            self.report(Diagnostic::error("N302", place, text).help(help));
            return None;
        }
        let known = self.instances[instance].memory.as_ref().map(|m| m.id);
        let clock = known.map_or(self.clock, |id| self.memories[id].clock());
        let path = path_text(&self.instances[instance].path);
        if !self.at_its_clock(clock, &path, span) {
            return None;
        }
        if let Some(made) = &self.instances[instance].memory {
            let made = made.clone();
            let known = &self.memories[made.id].map;
            if known.as_slice() != map.as_slice() && !map.is_empty() {
                let path = path_text(&self.instances[instance].path);
                let text = format!(
                    "`{path}` is one memory for each of {known:?}, used here with {map:?}"
                );
                let help = "all writes, reads and gates of a memory have the same leading dimensions";
                self.report(Diagnostic::error("N204", span, text).help(help));
                return None;
            }
            return Some(made);
        }
        self.within(span, |this| this.make(instance, map, span))
    }

    fn make(&mut self, instance: usize, map: Vec<Dim>, span: Span) -> Option<Made<'a>> {
        let definition = self.definition_of(instance);
        let mut env = self.instances[instance].env.clone();
        let path = self.instances[instance].path.clone();
        let id = self.memories.push(Memory {
            path: path_text(&path),
            map: map.iter().copied().collect(),
            weights: vec![],
            kept: vec![],
            read: Graph::new(),
            read_at: None,
            reset: level::Reset::Sequence,
            every: self.ticks(),
            once: self.clock == level::Clock::Sequence,
        });
        let structure = self.clauses(instance).iter().find_map(|i| match &i.kind {
            ItemKind::Structure(call) => Some(call),
            _ => None,
        });
        let (mut scope, body) = match (definition.kind, structure) {
            (Kind::Structure, _) => (env.clone(), definition.body.as_slice()),
            (_, Some(call)) => {
                let (d, scope) = self.axis(&mut env, call, Kind::Structure, &[])?;
                (scope, self.table.entries[d].definition.body.as_slice())
            }
            (_, None) => (env.clone(), definition.body.as_slice()),
        };
        let mut weights = Vec::new();
        let mut inner = Vec::new();
        // Weights that a memory adds to its structure's are in the memory's own words.
        let beside = structure.is_some();
        for source in [body, definition.body.as_slice()] {
            let own = beside && std::ptr::eq(source, definition.body.as_slice());
            for item in source {
                let ItemKind::Weights(decls) = &item.kind else { continue };
                for decl in decls {
                    let Some(name) = decl.path.dotted() else { continue };
                    if weights.iter().any(|(n, _)| *n == name) {
                        continue;
                    }
                    let scope = if own { &mut env } else { &mut scope };
                    let dims = match &decl.shape {
                        Some(shape) => self.dims(scope, shape)?,
                        None => vec![],
                    };
                    let mut named = path.clone();
                    named.push(Part {
                        name: name.clone(),
                        rounds: vec![],
                        definition: None,
                    });
                    let initial =
                        self.weight(scope, decl, named, &dims, &map, Some(id))?;
                    self.memories[id].weights.push(FastWeight {
                        name: name.clone(),
                        short: name.clone(),
                        dims: dims.iter().map(|d| d.size).collect(),
                        initial,
                    });
                    let called =
                        if own { dims.clone() } else { self.called(scope, &dims) };
                    weights.push((name, called));
                    inner.push(dims);
                }
            }
            if std::ptr::eq(source, definition.body.as_slice()) {
                break;
            }
        }
        let reader = definition.body.iter().chain(body).find_map(|i| match &i.kind {
            ItemKind::Reader(params, value) => Some((params, value)),
            _ => None,
        });
        let Some(reader) = reader else {
            let text =
                format!("`{}` has no structure and no `read`", definition.name.text);
            self.report(Diagnostic::error("N102", span, text));
            return None;
        };
        if weights.is_empty() && self.within_sequence("a memory of its past alone", span)
        {
            return None;
        }
        self.timing(instance, id, &mut env);
        let own = beside
            && definition.body.iter().any(|i| matches!(i.kind, ItemKind::Reader(..)));
        let scope = if own { env.clone() } else { scope };
        let made = Made {
            id,
            weights,
            inner,
            scope,
            reader,
            captured: vec![],
            answer: None,
            kept: vec![],
            written: false,
            is_read: false,
        };
        self.instances[instance].memory = Some(made.clone());
        self.note_update(instance);
        self.instances[instance].memory.clone()
    }

    fn timing(&mut self, instance: usize, id: MemoryId, env: &mut Env) {
        self.memory_clocks(env, self.clauses(instance));
        for item in self.clauses(instance) {
            match &item.kind {
                ItemKind::ReadAt(clock) => {
                    self.memories[id].read_at = self.tokens_of(env, clock);
                }
                ItemKind::Reset(Reset::Never(_)) => {
                    self.memories[id].reset = level::Reset::Never
                }
                ItemKind::Reset(Reset::At(Clock::Sequence(_))) => {}
                ItemKind::Reset(Reset::At(clock)) => {
                    if let Some(n) = self.tokens_of(env, clock) {
                        self.memories[id].reset = level::Reset::Tokens(n);
                    }
                }
                _ => {}
            }
        }
    }

    /// The definition and scope of an axis: `decay(alpha)`; its arguments are read in `env`. Names that a role's shape
    /// gives to the dimensions of the weight, `G: [rows, cols]`, are sizes to the defaults of what follows.
    pub(crate) fn axis(
        &mut self,
        env: &mut Env,
        call: &'a Call,
        kind: Kind,
        weight: &[NamedDim],
    ) -> Option<(usize, Env)> {
        let name = call.path.dotted().unwrap_or_default();
        // A parameter may have the name of a library definition; here a definition is meant.
        let beyond = match self.table.find(env.file, &name) {
            Some(crate::definitions::Known::Definition(d)) => Some(d),
            Some(crate::definitions::Known::Constant(..)) | None => None,
        };
        let d = match (self.lookup(env, &name, call.path.span), beyond) {
            (Value::Definition(d), _) => d,
            (Value::Tensor(_) | Value::Number(_), Some(d)) => d,
            (value, _) => {
                if !matches!(value, Value::Poison) {
                    let text = format!(
                        "`{name}` is {}, not a {}",
                        value.describe(),
                        kind.word()
                    );
                    self.report(Diagnostic::error("N102", call.span, text));
                }
                return None;
            }
        };
        let definition = self.table.entries[d].definition;
        if definition.kind != kind {
            let text = format!(
                "`{name}` is a {}, not a {}",
                definition.kind.word(),
                kind.word()
            );
            self.report(Diagnostic::error("N102", call.span, text));
            return None;
        }
        let given = match &call.arguments {
            Some(arguments) => self.given(env, arguments),
            None => Given { all: vec![], semicolon: None, span: call.span },
        };
        let skip = self.roles(kind, &definition.params);
        let mut scope = self.scope_of(d);
        for param in &definition.params.all[..skip] {
            let Some(Shape::Dims(names, _)) = &param.shape else { continue };
            if matches!(param.name.text.as_str(), "Z" | "k" | "v") {
                continue;
            }
            for (dim, name) in weight.iter().zip(names) {
                let name = name.as_ref().and_then(crate::eval::dotted);
                if let (Some(name), Some(size)) = (name, dim.size.fixed()) {
                    let size = Value::Number(crate::value::Number::whole(size));
                    scope.names.insert(name, size);
                }
            }
        }
        if !self.bind(&mut scope, &definition.params, skip, given) {
            return None;
        }
        let statement = matches!(kind, Kind::Algorithm | Kind::Retention);
        if statement && !self.one_value_each(&scope, &definition.params, call) {
            return None;
        }
        self.complete(&scope, &definition.params, skip, false, call.span)
            .then_some((d, scope))
    }

    /// `M.write(values; gates)`.
    pub(crate) fn write_memory(&mut self, instance: usize, given: Given, span: Span) {
        self.instances[instance].tried = true;
        self.within(span, |this| this.write_given(instance, given, span));
    }

    fn write_given(&mut self, instance: usize, given: Given, span: Span) {
        let definition = self.definition_of(instance);
        let cut = given.semicolon.unwrap_or(given.all.len());
        let mut given = given;
        let gates = given.all.split_off(cut);
        if !gates.is_empty() {
            let mut env = self.instances[instance].env.clone();
            let skip = definition.params.semicolon.unwrap_or(definition.params.all.len());
            self.bind(
                &mut env,
                &definition.params,
                skip,
                Given { all: gates, semicolon: Some(0), span },
            );
            self.instances[instance].env = env;
        }
        let mut values = Vec::new();
        for (_, value) in &given.all {
            let Some(t) = self.real(value, span) else { return };
            values.push(t);
        }
        let env = self.instances[instance].env.clone();
        if !self.complete(&env, &definition.params, 0, false, span) {
            return;
        }
        let update = self.clauses(instance).iter().find_map(|i| match &i.kind {
            ItemKind::Update(params, body) => Some((params, body.as_slice())),
            _ => None,
        });
        let ranks: Vec<usize> = match update {
            Some((params, _)) => params
                .all
                .iter()
                .map(|p| match &p.shape {
                    Some(nestor_grammar::ast::Shape::Dims(all, _)) => all.len(),
                    Some(_) => 0,
                    None => 1,
                })
                .collect(),
            None => vec![1; values.len()],
        };
        if ranks.len() != values.len() {
            let text = format!(
                "the memory is written with {} values, not {}",
                ranks.len(),
                values.len()
            );
            self.report(Diagnostic::error("N102", span, text));
            return;
        }
        for (t, rank) in values.iter().zip(&ranks) {
            let strip = t.dims.len().saturating_sub(*rank);
            if self.no_window(t, strip, span).is_none() {
                return;
            }
        }
        let values: Vec<Tensor> = values
            .into_iter()
            .zip(&ranks)
            .map(|(t, rank)| {
                let strip = t.dims.len().saturating_sub(*rank);
                Tensor { strip, ..t }
            })
            .collect();
        let lead = values.iter().map(|t| t.dims[..t.strip].to_vec()).max_by_key(Vec::len);
        let lead = lead
            .filter(|l| !l.is_empty())
            .unwrap_or_else(|| self.lead_of_gates(instance));
        let gates = self.lead_of_gates(instance);
        let differ = !gates.is_empty()
            && gates.iter().map(|d| d.size).ne(lead.iter().map(|d| d.size));
        if differ {
            let text = format!(
                "gates lead with {}, the write with {}",
                shape_text(&gates),
                shape_text(&lead)
            );
            let help = "all writes, reads and gates of a memory have the same leading dimensions";
            self.report(Diagnostic::error("N204", span, text).help(help));
            return;
        }
        let Some(made) = self.made(instance, &lead, span) else { return };
        if let Some(memory) = &mut self.instances[instance].memory {
            memory.written = true;
        }
        match update {
            Some((params, body)) => {
                self.write_update(instance, &made, params, body, values, span)
            }
            None => self.write_minimize(instance, &made, values, span),
        }
    }

    /// Where a weight of a memory is declared.
    fn declaration(&self, instance: usize, name: &str) -> Option<Span> {
        let mut path = self.instances[instance].path.clone();
        path.push(Part { name: name.to_owned(), rounds: vec![], definition: None });
        self.known.iter().find(|k| k.path == path).map(|k| k.declared)
    }

    /// Finds out, before any read is built, what an update keeps.
    fn note_update(&mut self, instance: usize) {
        let has =
            self.clauses(instance).iter().any(|i| matches!(i.kind, ItemKind::Update(..)));
        if has && let Some(made) = &mut self.instances[instance].memory {
            made.kept.clear();
        }
    }

    fn write_update(
        &mut self,
        instance: usize,
        made: &Made<'a>,
        params: &'a Params,
        body: &'a [Item],
        values: Vec<Tensor>,
        span: Span,
    ) {
        let group = self.groups.len();
        self.groups.push(values.clone());
        let frame = self.open_frame(group, vec![]);
        let mut env = self.instances[instance].env.clone();
        for param in &params.all {
            let what = Declared::Parameter;
            self.declares(&mut env, &param.name.text, what, param.name.span);
        }
        for (i, (name, dims)) in made.weights.iter().enumerate() {
            let t = self.slot(frame, Slot::Weight(i), name, dims.clone());
            env.names.insert(name.clone(), Value::Tensor(t));
            let place = self.declaration(instance, name).unwrap_or(span);
            self.declares(&mut env, name, Declared::Fast, place);
        }
        let before = std::mem::replace(&mut self.frame, frame);
        for (param, t) in params.all.iter().zip(&values) {
            let mut local = self.local(t);
            for d in &mut local.dims {
                d.name = None;
            }
            env.names.insert(param.name.text.clone(), Value::Tensor(local));
        }
        let known: Vec<String> = env.names.keys().cloned().collect();
        self.body(&mut env, body);
        let mut outputs = Vec::new();
        for (name, dims) in &made.weights {
            let next =
                env.names.get(&format!("{name}'")).or(env.names.get(name)).cloned();
            let Some(t) = next.and_then(|v| self.real(&v, span)) else {
                self.frame = before;
                return;
            };
            if t.dims.iter().map(|d| d.size).ne(dims.iter().map(|d| d.size)) {
                let text = format!(
                    "`{name}'` is {}, the weight is {}",
                    shape_text(&t.dims),
                    shape_text(dims)
                );
                self.report(Diagnostic::error("N201", span, text));
            }
            outputs.push((format!("{name}'"), t.node));
        }
        let mut kept = Vec::new();
        for (name, value) in env.names.clone() {
            if known.contains(&name) || name.ends_with('\'') {
                continue;
            }
            match value {
                Value::Tensor(t) => {
                    let t = self.local(&t);
                    outputs.push((name.clone(), t.node));
                    kept.push((name, t));
                }
                // Each piece is kept by itself; `read` sees them together again.
                Value::Pieces(all) => {
                    for (i, t) in all.iter().enumerate() {
                        let t = self.local(t);
                        outputs.push((format!("{name}#{i}"), t.node));
                        kept.push((format!("{name}#{i}"), t));
                    }
                }
                _ => {}
            }
        }
        self.frame = before;
        if self.failed() {
            return;
        }
        self.memories[made.id].kept = kept
            .iter()
            .map(|(name, t)| Kept {
                name: name.clone(),
                ty: Type::real(t.dims.iter().map(|d| d.size)),
            })
            .collect();
        if let Some(memory) = &mut self.instances[instance].memory {
            memory.kept = kept;
        }
        let captured = self.groups[group].clone();
        let mut order: Vec<(Slot, Type)> = made
            .weights
            .iter()
            .enumerate()
            .map(|(i, (_, d))| (Slot::Weight(i), Type::real(d.iter().map(|d| d.size))))
            .collect();
        order.extend(self.captured_types(&captured));
        let function = self.close(frame, &order, &outputs);
        let update = Update { memory: made.id, function };
        let statement = self.statements.push(Statement::Update(update));
        let operands: Vec<Node> = captured.iter().map(|t| t.node).collect();
        self.graph().add_many(Op::Write { statement }, &operands);
    }
}
