//! A level program as text.

use crate::level::{
    Algorithm, AlgorithmInput, Anchor, Clock, FlowKind, Initial, Level, Memory, Minimize,
    Program, Reset, Retention, RetentionForm, RetentionInput, State, StateInitial,
    Statement, Weight,
};
use crate::tensor::Graph;
use crate::tile::text::number;
use crate::ty::Dims;
use petgraph::visit::EdgeRef;
use std::fmt::{self, Formatter, Result, Write};

impl fmt::Display for Program {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        writeln!(f, "program {:?} {{", self.name)?;
        for input in &self.inputs {
            let below = input.below.map_or(String::new(), |n| format!(" below {n}"));
            let clock = clock(input.clock);
            writeln!(f, "  in {:?}: {}{below} at {clock}", input.name, input.ty)?;
        }
        for (id, data) in self.weights.iter() {
            writeln!(f, "  weight {id} {}", indented(&weight(data)))?;
        }
        for (id, data) in self.memories.iter() {
            writeln!(f, "  memory {id} {}", indented(&memory(data)))?;
        }
        for (id, data) in self.statements.iter() {
            let text = match data {
                Statement::Update(u) => {
                    format!("updates {} {}", u.memory, graph(&u.function))
                }
                Statement::Minimize(m) => minimize(m),
            };
            writeln!(f, "  statement {id} {}", indented(&text))?;
        }
        writeln!(f, "  code {}", indented(&graph(&self.code)))?;
        if !self.output_clocks.is_empty() {
            let clocks: Vec<String> =
                self.output_clocks.iter().map(|c| clock(*c)).collect();
            writeln!(f, "  outputs at {}", clocks.join(", "))?;
        }
        for data in self.levels.node_weights() {
            writeln!(f, "  level {}", indented(&level(data)))?;
        }
        for edge in self.levels.edge_references() {
            let (from, to) = (edge.source().index(), edge.target().index());
            let flow = edge.weight();
            let kind = flow_name(flow.kind);
            writeln!(f, "  flow {from} -> {to} {kind} {:?}", flow.what)?;
        }
        writeln!(f, "}}")
    }
}

fn weight(data: &Weight) -> String {
    let fixed = if data.fixed { "fixed " } else { "" };
    let memory = data.memory.map_or(String::new(), |m| format!("of {m} "));
    let initial = initial(&data.initial);
    let (path, short, dims) = (&data.path, &data.short, dims(&data.dims));
    format!("{path:?} as {short:?}: {dims} = {fixed}{memory}{initial}")
}

fn initial(initial: &Initial) -> String {
    match initial {
        Initial::Normal(s) => format!("normal({})", number(*s)),
        Initial::Uniform(a) => format!("uniform({})", number(*a)),
        Initial::Orthogonal(g) => format!("orthogonal({})", number(*g)),
        Initial::Values(values) => graph(values),
        Initial::From(other) => format!("from {other}"),
    }
}

fn memory(data: &Memory) -> String {
    let mut out = format!(
        "{:?} for each of {} resets {}",
        data.path,
        dims(&data.map),
        reset(data.reset)
    );
    if let Some(n) = data.read_at {
        put(&mut out, format_args!(" reads at {n}"));
    }
    if data.every > 1 {
        put(&mut out, format_args!(" ticks every {} tokens", data.every));
    }
    if data.once {
        out.push_str(" ticks once a sequence");
    }
    out.push_str(" {\n");
    for w in &data.weights {
        let (name, short, dims) = (&w.name, &w.short, dims(&w.dims));
        put(
            &mut out,
            format_args!("  weight {name:?} as {short:?}: {dims} from {}\n", w.initial),
        );
    }
    for kept in &data.kept {
        put(&mut out, format_args!("  keeps {:?}: {}\n", kept.name, kept.ty));
    }
    put(&mut out, format_args!("  read {}\n}}", indented(&graph(&data.read))));
    out
}

fn minimize(m: &Minimize) -> String {
    let anchor = match m.anchor {
        Anchor::Previous => "previous".to_owned(),
        Anchor::Kept => "kept".to_owned(),
        Anchor::Every(n) => format!("anchor {n}"),
    };
    let clip = clip(m.clip);
    let mut out = format!(
        "minimises over {} at {anchor}, every {} tokens, window {}{clip} {{\n",
        m.memory, m.every, m.window
    );
    for (objective, by_age) in m.objectives.iter().zip(&m.ages) {
        let by_age = by_age.map_or(String::new(), |c| format!("by captured {c} "));
        let graph = indented(&graph(objective));
        put(&mut out, format_args!("  objective {by_age}{graph}\n"));
    }
    for target in &m.targets {
        let how = how(&target.algorithm, target.retention.as_ref());
        put(&mut out, format_args!("  target of {} {{\n", target.objective));
        put(&mut out, format_args!("    {}\n  }}\n", how.replace('\n', "\n    ")));
    }
    out.push('}');
    out
}

fn level(data: &Level) -> String {
    let mut out = format!("{:?} at {}", data.name, clock(data.clock));
    if let Some(at) = data.reset {
        put(&mut out, format_args!(" resets {}", reset(at)));
    }
    out.push_str(if data.online { " online" } else { "" });
    if let Some(memory) = data.memory {
        put(&mut out, format_args!(" is {memory}"));
    }
    out.push_str(" {\n");
    for objective in &data.objectives {
        let clip = clip(objective.clip);
        put(&mut out, format_args!("  minimises {}{clip} {{\n", objective.objective));
        for (weight, algorithm, retention) in &objective.targets {
            let how = how(algorithm, retention.as_ref()).replace('\n', "\n      ");
            put(&mut out, format_args!("    weight {weight} {{\n      {how}\n    }}\n"));
        }
        out.push_str("  }\n");
    }
    out.push('}');
    out
}

/// An algorithm and what is kept.
fn how(algorithm: &Algorithm, retention: Option<&Retention>) -> String {
    let inputs: Vec<String> =
        algorithm.inputs.iter().map(|i| algorithm_input(*i)).collect();
    let mut out =
        format!("algorithm ({}) {}", inputs.join(", "), graph(&algorithm.graph));
    states(&mut out, &algorithm.states);
    let Some(retention) = retention else { return out };
    let inputs: Vec<String> =
        retention.inputs.iter().map(|i| retention_input(*i)).collect();
    let (word, first, read) = match &retention.form {
        RetentionForm::Keep { keep, read } => ("keep", keep, read.as_ref()),
        RetentionForm::Next { next } => ("next", next, None),
    };
    put(&mut out, format_args!("\n{word} ({}) {}", inputs.join(", "), graph(first)));
    if let Some(read) = read {
        put(&mut out, format_args!("\nread {}", graph(read)));
    }
    states(&mut out, &retention.states);
    out
}

fn states(out: &mut String, all: &[State]) {
    for state in all {
        let initial = match &state.initial {
            StateInitial::Values(values) => graph(values),
            StateInitial::Weights => "weights".to_owned(),
            StateInitial::Learned(weight) => format!("as {weight}"),
            StateInitial::Drawn(drawn) => format!("drawn {}", initial(drawn)),
        };
        let dims = dims(&state.dims);
        put(out, format_args!("\nstate {:?}: {dims} = {initial}", state.name));
    }
}

fn clip(bound: Option<f64>) -> String {
    bound.map_or(String::new(), |bound| format!(" clip {}", number(bound)))
}

fn clock(clock: Clock) -> String {
    match clock {
        Clock::Tokens(1) => "every token".to_owned(),
        Clock::Tokens(n) => format!("every {n} tokens"),
        Clock::Sequence => "every sequence".to_owned(),
        Clock::Steps(n) => format!("every {n} steps"),
        Clock::Once => "once".to_owned(),
    }
}

fn reset(reset: Reset) -> String {
    match reset {
        Reset::Tokens(n) => format!("every {n} tokens"),
        Reset::Steps(n) => format!("every {n} steps"),
        Reset::Sequence => "every sequence".to_owned(),
        Reset::Never => "never".to_owned(),
    }
}

fn algorithm_input(input: AlgorithmInput) -> String {
    match input {
        AlgorithmInput::Gradient => "gradient".to_owned(),
        AlgorithmInput::Weight => "weight".to_owned(),
        AlgorithmInput::Anchor => "anchor".to_owned(),
        AlgorithmInput::Count => "count".to_owned(),
        AlgorithmInput::Total => "total".to_owned(),
        AlgorithmInput::Samples => "samples".to_owned(),
        AlgorithmInput::State(n) => format!("state {n}"),
        AlgorithmInput::Captured(n) => format!("captured {n}"),
    }
}

fn retention_input(input: RetentionInput) -> String {
    match input {
        RetentionInput::Stored => "stored".to_owned(),
        RetentionInput::Step => "step".to_owned(),
        RetentionInput::Previous => "previous".to_owned(),
        RetentionInput::Initial => "initial".to_owned(),
        RetentionInput::State(n) => format!("state {n}"),
        RetentionInput::Captured(n) => format!("captured {n}"),
    }
}

/// The name of a flow in text.
pub(super) fn flow_name(kind: FlowKind) -> &'static str {
    match kind {
        FlowKind::Value => "value",
        FlowKind::Gradient => "gradient",
        FlowKind::InitialState => "initial_state",
        FlowKind::Weights => "weights",
    }
}

fn dims(dims: &Dims) -> String {
    let all: Vec<String> = dims.iter().map(ToString::to_string).collect();
    format!("[{}]", all.join(", "))
}

fn graph(graph: &Graph) -> String {
    graph.to_string().trim_end().to_owned()
}

fn indented(text: &str) -> String {
    text.replace('\n', "\n  ")
}

fn put(out: &mut String, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("writing to a string does not fail");
}
