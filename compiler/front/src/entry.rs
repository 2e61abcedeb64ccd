//! Elaborates one entry: a model, a layer, or a memory with streams made for it.

use crate::call::Given;
use crate::clocks::Met;
use crate::definitions::Definitions;
use crate::elaborate::{Elaborator, Env, Instance, rebound};
use crate::flows::graph_of;
use crate::value::{NamedDim, Number, Tensor, Value};
use indexmap::IndexMap;
use nestor_grammar::ast::{ItemKind, Kind, Params};
use nestor_grammar::{Diagnostic, Severity, Span};
use nestor_ir::entity::Entity;
use nestor_ir::level::{Clock, Input, Program, loss_name};
use nestor_ir::tensor::Value as Node;
use nestor_ir::ty::{Elem, Type};

/// A compile-time parameter set from outside.
#[derive(Clone, PartialEq, Debug)]
pub struct Setting {
    /// The parameter.
    pub name: String,
    /// Its value.
    pub value: SettingValue,
}

/// What a parameter is set to.
#[derive(Clone, PartialEq, Debug)]
pub enum SettingValue {
    /// A number.
    Number(f64),
    /// A definition, by its name.
    Name(String),
    /// Several definitions.
    Names(Vec<String>),
}

impl std::str::FromStr for SettingValue {
    type Err = String;

    /// `64`, `Name` or `[Name, Name]`.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let name = |t: &str| {
            let first = t.chars().next().is_some_and(char::is_alphabetic);
            let good = first && t.chars().all(|c| c.is_alphanumeric() || c == '_');
            good.then(|| t.to_owned())
                .ok_or_else(|| format!("`{t}` is neither a number nor a name"))
        };
        if let Some(list) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            let all = list.split(',').map(|t| name(t.trim()));
            return Ok(Self::Names(all.collect::<Result<_, _>>()?));
        }
        match text.parse() {
            Ok(number) => Ok(Self::Number(number)),
            Err(_) => name(text).map(Self::Name),
        }
    }
}

/// A program, where nothing stands in its way, and everything found on the way to it.
#[derive(Debug)]
pub struct Elaborated {
    /// The program.
    pub program: Option<Program>,
    /// Errors, limitations and warnings, in source order.
    pub diagnostics: Vec<Diagnostic>,
}

/// Elaborates the definition of this name.
pub fn elaborate(
    table: &Definitions<'_>,
    name: &str,
    settings: &[Setting],
) -> Elaborated {
    let mut this = Elaborator::new(table);
    let program = go(&mut this, name, settings);
    let mut diagnostics = std::mem::take(&mut this.found);
    diagnostics.sort_by_key(Diagnostic::span);
    let good = diagnostics.iter().all(|d| d.severity == Severity::Warning);
    Elaborated { program: program.filter(|_| good), diagnostics }
}

fn go<'a>(
    this: &mut Elaborator<'a>,
    name: &str,
    settings: &[Setting],
) -> Option<Program> {
    let Some(d) = this.table.entry(name) else {
        let own = this.table.of_users();
        let own: Vec<&str> = own.iter().map(|(n, _)| n.as_str()).collect();
        let diagnostic =
            Diagnostic::nowhere("N101", format!("no definition is called `{name}`"));
        this.report(match crate::definitions::nearest(name, own.iter().copied()) {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None if own.is_empty() => diagnostic,
            None => diagnostic.help(format!("the file defines {}", own.join(", "))),
        });
        return None;
    };
    let definition = this.table.entries[d].definition;
    let scope = Env { file: this.table.entries[d].file, ..Env::default() };
    let mut named = |name: &String| this.lookup(&scope, name, definition.name.span);
    let settings: Vec<(String, Value)> = settings
        .iter()
        .map(|s| {
            let value = match &s.value {
                SettingValue::Number(value) => {
                    let whole = value.fract() == 0.0;
                    Value::Number(Number { value: *value, whole, name: None })
                }
                SettingValue::Name(name) => named(name),
                SettingValue::Names(names) => {
                    Value::List(names.iter().map(&mut named).collect())
                }
            };
            (s.name.clone(), value)
        })
        .collect();
    let outputs = match definition.kind {
        Kind::Layer | Kind::Model => layer_entry(this, d, &settings)?,
        Kind::Memory => memory_entry(this, d, &settings)?,
        kind => {
            let span = definition.name.span;
            let text = format!("a {} is not run by itself", kind.word());
            this.report(
                Diagnostic::error("N102", span, text)
                    .help("name a memory, layer or model"),
            );
            return None;
        }
    };
    this.started_from();
    let levels = this.settle(definition.kind == Kind::Model);
    let objectives: Vec<Node> =
        levels.iter().flat_map(|l| &l.objectives).map(|o| o.objective).collect();
    this.conditions_stand_alone();
    this.causal(&outputs, &objectives);
    let mut outputs: Vec<(String, Tensor)> =
        outputs.into_iter().map(|(name, t, _)| (name, t)).collect();
    unread(this);
    if this.failed() {
        return None;
    }
    this.shorten();
    for (name, node) in losses(&objectives) {
        if outputs.iter().any(|(n, _)| *n == name) {
            continue;
        }
        let t = Tensor {
            node,
            frame: 0,
            elem: Elem::Real,
            lead: vec![],
            dims: vec![],
            strip: 0,
            window: None,
        };
        outputs.push((name, t));
    }
    let Met { mut code, map, clocks } = this.meet();
    if this.failed() {
        return None;
    }
    for (name, t) in &outputs {
        code.output(name.clone(), map[t.node.index()]);
    }
    let clock = |(_, t): &(String, Tensor)| match clocks[t.node.index()] {
        Clock::Once => Clock::Tokens(1),
        clock => clock,
    };
    let output_clocks = outputs.iter().map(clock).collect();
    let mut levels = graph_of(this, levels);
    for objective in levels.node_weights_mut().flat_map(|l| &mut l.objectives) {
        objective.objective = map[objective.objective.index()];
    }
    Some(Program {
        name: definition.name.text.clone(),
        inputs: this.inputs.clone(),
        weights: this.weights.clone(),
        memories: this.memories.clone(),
        statements: this.statements.clone(),
        output_clocks,
        code,
        levels,
    })
}

/// The objectives of all statements of the outer levels, each once, by the name of its output.
fn losses(objectives: &[Node]) -> Vec<(String, Node)> {
    let first = |(k, node): &(usize, &Node)| !objectives[..*k].contains(node);
    let all = objectives.iter().enumerate().filter(first);
    all.map(|(k, node)| (loss_name(k), *node)).collect()
}

/// Outputs with where they are given out.
type Outputs = Vec<(String, Tensor, Span)>;

/// A model or layer with its streams.
fn layer_entry<'a>(
    this: &mut Elaborator<'a>,
    d: usize,
    settings: &[(String, Value)],
) -> Option<Outputs> {
    let definition = this.table.entries[d].definition;
    let mut env = this.entry_scope(d, settings)?;
    env.rebound = rebound(&definition.body);
    this.circular_from(&definition.body);
    this.instances.push(Instance {
        definition: d,
        path: vec![],
        env: env.clone(),
        span: definition.name.span,
        members: IndexMap::new(),
        memory: None,
        tried: false,
        from: None,
    });
    this.streams(&mut env, &definition.body);
    env.instance = Some(0);
    this.open.push(d);
    this.body(&mut env, &definition.body);
    this.open.pop();
    let mut out: Outputs = Vec::new();
    for (name, value, span) in std::mem::take(&mut env.outputs) {
        if let Some(t) = this.tensor(&value, span) {
            out.push((name, t, span));
        }
    }
    if out.is_empty()
        && let Some(Value::Tensor(t)) = env.names.get("logits")
    {
        let span = this.origin(t.frame, t.node).unwrap_or(definition.name.span);
        out.push(("logits".into(), t.clone(), span));
    }
    Some(out)
}

/// A memory: its write, then its read, with streams for all that they take.
fn memory_entry<'a>(
    this: &mut Elaborator<'a>,
    d: usize,
    settings: &[(String, Value)],
) -> Option<Outputs> {
    let definition = this.table.entries[d].definition;
    let span = definition.name.span;
    let mut given: Vec<(String, Value)> = settings.to_vec();
    let cut = definition.params.semicolon.unwrap_or(definition.params.all.len());
    for param in &definition.params.all[..cut] {
        let known = given.iter().any(|(n, _)| *n == param.name.text);
        if !known && param.default.is_none() {
            given.push((param.name.text.clone(), Value::Number(Number::whole(8))));
        }
    }
    let mut env = this.scope_of(d);
    let all = given.into_iter().map(|(n, v)| (Some(n), v)).collect();
    this.bind(&mut env, &definition.params, 0, Given { all, semicolon: None, span });
    for param in &definition.params.all[cut..] {
        if env.names.contains_key(&param.name.text) {
            continue;
        }
        let dims = match &param.shape {
            Some(shape) => this.dims(&mut env, shape)?,
            None => vec![],
        };
        let t = stream(this, &param.name.text, dims);
        env.names.insert(param.name.text.clone(), Value::Tensor(t));
    }
    let at = Env { binding: Some("M".into()), ..Env::default() };
    let instance = this.instance(d, env.clone(), &at, true, span);
    let update = definition.body.iter().find_map(|i| match &i.kind {
        ItemKind::Update(params, _) => Some(params),
        _ => None,
    });
    let made = this.made(instance, &[], span)?;
    let mut values = Vec::new();
    match update {
        Some(params) => {
            for (name, dims) in taken(this, &mut env, params, &made.weights) {
                values.push((None, Value::Tensor(stream(this, &name, dims))));
            }
        }
        None => {
            let first = made
                .weights
                .first()
                .map_or(vec![], |(_, d)| d[..1.min(d.len())].to_vec());
            let last = made
                .weights
                .last()
                .map_or(vec![], |(_, d)| d[d.len().saturating_sub(1)..].to_vec());
            let key = stream(this, "k", first);
            let value = stream(this, "v", last);
            values = vec![(None, Value::Tensor(key)), (None, Value::Tensor(value))];
        }
    }
    this.write_memory(instance, Given { all: values, semicolon: None, span }, span);
    let made = this.instances[instance].memory.clone()?;
    let reads = taken(this, &mut env, made.reader.0, &made.weights);
    let arguments: Vec<Value> = reads
        .into_iter()
        .map(|(name, dims)| Value::Tensor(stream(this, &name, dims)))
        .collect();
    match this.read_memory(instance, arguments, None, span) {
        Value::Tensor(t) => Some(vec![("y".into(), t, span)]),
        _ => None,
    }
}

/// Streams that parameters of a memory's update or read stand for: a value `v` is as wide as the
/// memory's answers, every other vector as its keys.
fn taken<'a>(
    this: &mut Elaborator<'a>,
    env: &mut Env,
    params: &'a Params,
    weights: &[(String, Vec<NamedDim>)],
) -> Vec<(String, Vec<NamedDim>)> {
    let numbers: Vec<NamedDim> = env
        .names
        .values()
        .filter_map(|v| match v {
            Value::Number(n) if n.whole => Some(NamedDim {
                name: None,
                size: nestor_ir::dim::Dim::Fixed(n.value as usize),
            }),
            _ => None,
        })
        .collect();
    let key = weights.first().and_then(|(_, d)| d.first()).or(numbers.first()).cloned();
    let answer = weights
        .last()
        .and_then(|(_, d)| d.last())
        .or(numbers.get(1))
        .or(numbers.first())
        .cloned();
    params
        .all
        .iter()
        .map(|p| {
            let dims = match &p.shape {
                Some(shape) => this.dims(env, shape).unwrap_or_default(),
                None if p.name.text == "v" => answer.iter().cloned().collect(),
                None => key.iter().cloned().collect(),
            };
            (p.name.text.clone(), dims)
        })
        .collect()
}

fn stream(this: &mut Elaborator<'_>, name: &str, dims: Vec<NamedDim>) -> Tensor {
    let ty = Type::real(dims.iter().map(|d| d.size));
    let node = this.frames[0].graph.input(name, ty.clone());
    this.inputs.push(Input {
        name: name.into(),
        ty,
        below: None,
        clock: Clock::Tokens(1),
    });
    Tensor {
        frame: 0,
        node,
        elem: Elem::Real,
        lead: vec![],
        dims,
        strip: 0,
        window: None,
    }
}

/// Memories that only one side uses.
fn unread(this: &mut Elaborator<'_>) {
    let mut found = Vec::new();
    for instance in &this.instances {
        let Some(memory) = &instance.memory else { continue };
        let path = crate::elaborate::path_text(&instance.path);
        if memory.is_read && !memory.written && !instance.tried {
            let text = format!("`{path}` is read but nothing writes it");
            let help = format!("write it: `{path}.write(k, v)`");
            found.push(Diagnostic::error("N501", instance.span, text).help(help));
        }
        if memory.written && !memory.is_read {
            let text = format!("`{path}` is written but never read");
            let help = format!("read it: `y = {path}.read(q)`, or take it out");
            found.push(Diagnostic::warning("W703", instance.span, text).help(help));
        }
    }
    for diagnostic in found {
        this.report(diagnostic);
    }
}
