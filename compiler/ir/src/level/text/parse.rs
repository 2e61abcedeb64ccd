//! Text back to a level program.

use super::print::flow_name;
use crate::entity::{Arena, Entity};
use crate::level::{
    Algorithm, AlgorithmInput, Anchor, Clock, FastWeight, Flow, FlowKind, Initial, Input,
    Kept, Level, Memory, MemoryId, Minimize, OuterMinimize, Program, Reset, Retention,
    RetentionForm, RetentionInput, State, StateInitial, Statement, StatementId, Target,
    Update, Weight, WeightId,
};
use crate::tensor::text::read_graph as graph;
use crate::tensor::{Graph, Value};
use crate::text::{ParseError, Read, Reader};
use crate::ty::Dims;
use petgraph::graph::{DiGraph, NodeIndex};

/// Reads a program.
///
/// # Errors
/// Where the text is no program: the line, what was expected and what was found.
pub fn parse(text: &str) -> Result<Program, ParseError> {
    Reader::whole(text, |r| {
        r.need("program")?;
        let mut program = Program {
            name: r.string()?,
            inputs: vec![],
            weights: Arena::default(),
            memories: Arena::default(),
            statements: Arena::default(),
            code: Graph::new(),
            output_clocks: vec![],
            levels: DiGraph::new(),
        };
        r.need("{")?;
        while !r.eat("}") {
            part(r, &mut program)?;
        }
        Ok(program)
    })
}

fn part(r: &mut Reader, program: &mut Program) -> Read<()> {
    match r.next().as_str() {
        "in" => program.inputs.push(input(r)?),
        "weight" => {
            r.declared(WeightId::new(program.weights.len()))?;
            let _: WeightId = program.weights.push(weight(r)?);
        }
        "memory" => {
            r.declared(MemoryId::new(program.memories.len()))?;
            let _: MemoryId = program.memories.push(memory(r)?);
        }
        "statement" => {
            r.declared(StatementId::new(program.statements.len()))?;
            let _: StatementId = program.statements.push(statement(r)?);
        }
        "code" => program.code = graph(r)?,
        "outputs" => {
            r.need("at")?;
            program.output_clocks = r.some(clock)?;
        }
        "level" => {
            program.levels.add_node(level(r)?);
        }
        "flow" => {
            let from = node(r, &program.levels)?;
            r.need("->")?;
            let to = node(r, &program.levels)?;
            let all = [
                FlowKind::Value,
                FlowKind::Gradient,
                FlowKind::InitialState,
                FlowKind::Weights,
            ];
            let kind = r.one_of("a kind of flow", &all, flow_name)?;
            let what = r.string()?;
            program.levels.add_edge(from, to, Flow { kind, what });
        }
        other => return Err(format!("a part of a program expected, not `{other}`")),
    }
    Ok(())
}

fn node(r: &mut Reader, levels: &DiGraph<Level, Flow>) -> Read<NodeIndex> {
    let n = r.count()?;
    let known = n < levels.node_count();
    known.then(|| NodeIndex::new(n)).ok_or_else(|| format!("there is no level {n}"))
}

fn dims(r: &mut Reader) -> Read<Dims> {
    Ok(r.dims()?.into_iter().collect())
}

fn memory_id(r: &mut Reader) -> Read<MemoryId> {
    r.id("a memory, `m0`,", 'm')
}

fn weight_id(r: &mut Reader) -> Read<WeightId> {
    r.id("a weight, `w0`,", 'w')
}

fn input(r: &mut Reader) -> Read<Input> {
    let name = r.string()?;
    r.need(":")?;
    let ty = r.ty()?;
    let below = if r.eat("below") { Some(r.count()?) } else { None };
    r.need("at")?;
    Ok(Input { name, ty, below, clock: clock(r)? })
}

fn clock(r: &mut Reader) -> Read<Clock> {
    if r.eat("once") {
        return Ok(Clock::Once);
    }
    r.need("every")?;
    if r.eat("token") {
        return Ok(Clock::Tokens(1));
    }
    if r.eat("sequence") {
        return Ok(Clock::Sequence);
    }
    let n = r.count()?;
    match r.next().as_str() {
        "tokens" => Ok(Clock::Tokens(n)),
        "steps" => Ok(Clock::Steps(n)),
        other => Err(format!("`tokens` or `steps` expected, not `{other}`")),
    }
}

fn reset(r: &mut Reader) -> Read<Reset> {
    if r.eat("never") {
        return Ok(Reset::Never);
    }
    match clock(r)? {
        Clock::Tokens(n) => Ok(Reset::Tokens(n)),
        Clock::Sequence => Ok(Reset::Sequence),
        Clock::Steps(n) => Ok(Reset::Steps(n)),
        Clock::Once => Err("a reset by tokens or steps expected".to_owned()),
    }
}

fn weight(r: &mut Reader) -> Read<Weight> {
    let path = r.string()?;
    r.need("as")?;
    let short = r.string()?;
    r.need(":")?;
    let dims = dims(r)?;
    r.need("=")?;
    let fixed = r.eat("fixed");
    let memory = if r.eat("of") { Some(memory_id(r)?) } else { None };
    let initial = initial(r)?;
    Ok(Weight { path, short, dims, initial, fixed, memory })
}

fn initial(r: &mut Reader) -> Read<Initial> {
    Ok(match r.peek() {
        "graph" => Initial::Values(Box::new(graph(r)?)),
        "from" => {
            r.next();
            Initial::From(weight_id(r)?)
        }
        _ => {
            let word = r.next();
            r.need("(")?;
            let by = r.number()?;
            r.need(")")?;
            match word.as_str() {
                "normal" => Initial::Normal(by),
                "uniform" => Initial::Uniform(by),
                "orthogonal" => Initial::Orthogonal(by),
                other => return Err(format!("an initial value expected, not `{other}`")),
            }
        }
    })
}

fn memory(r: &mut Reader) -> Read<Memory> {
    let path = r.string()?;
    r.need("for each of")?;
    let map = dims(r)?;
    r.need("resets")?;
    let reset = reset(r)?;
    let read_at = if r.eat("reads") {
        r.need("at")?;
        Some(r.count()?)
    } else {
        None
    };
    let (mut every, mut once) = (1, false);
    if r.eat("ticks") {
        once = r.eat("once");
        if once {
            r.need("a sequence")?;
        } else {
            r.need("every")?;
            every = r.count()?;
            r.need("tokens")?;
        }
    }
    r.need("{")?;
    let (mut weights, mut kept) = (vec![], vec![]);
    while r.eat("weight") {
        let name = r.string()?;
        r.need("as")?;
        let short = r.string()?;
        r.need(":")?;
        let dims = dims(r)?;
        r.need("from")?;
        weights.push(FastWeight { name, short, dims, initial: weight_id(r)? });
    }
    while r.eat("keeps") {
        let name = r.string()?;
        r.need(":")?;
        kept.push(Kept { name, ty: r.ty()? });
    }
    r.need("read")?;
    let read = graph(r)?;
    r.need("}")?;
    Ok(Memory { path, map, weights, kept, read, read_at, reset, every, once })
}

fn statement(r: &mut Reader) -> Read<Statement> {
    if r.eat("updates") {
        let memory = memory_id(r)?;
        return Ok(Statement::Update(Update { memory, function: graph(r)? }));
    }
    r.need("minimises over")?;
    let memory = memory_id(r)?;
    r.need("at")?;
    let anchor = match r.next().as_str() {
        "previous" => Anchor::Previous,
        "kept" => Anchor::Kept,
        "anchor" => Anchor::Every(r.count()?),
        other => {
            return Err(format!(
                "`previous`, `kept` or `anchor` expected, not `{other}`"
            ));
        }
    };
    r.need(", every")?;
    let every = r.count()?;
    r.need("tokens , window")?;
    let window = r.count()?;
    let clip = clip(r)?;
    r.need("{")?;
    let (mut objectives, mut ages, mut targets) = (vec![], vec![], vec![]);
    while r.eat("objective") {
        let by_age = r.eat("by");
        if by_age {
            r.need("captured")?;
        }
        ages.push(if by_age { Some(r.count()?) } else { None });
        objectives.push(graph(r)?);
    }
    while r.eat("target") {
        r.need("of")?;
        let objective = r.count()?;
        r.need("{")?;
        let (algorithm, retention) = how(r)?;
        targets.push(Target { objective, algorithm, retention });
    }
    r.need("}")?;
    Ok(Statement::Minimize(Minimize {
        memory,
        every,
        anchor,
        window,
        objectives,
        ages,
        targets,
        clip,
    }))
}

fn clip(r: &mut Reader) -> Read<Option<f64>> {
    if r.eat("clip") { r.number().map(Some) } else { Ok(None) }
}

fn level(r: &mut Reader) -> Read<Level> {
    let name = r.string()?;
    r.need("at")?;
    let clock = clock(r)?;
    let reset = if r.eat("resets") { Some(reset(r)?) } else { None };
    let online = r.eat("online");
    let memory = if r.eat("is") { Some(memory_id(r)?) } else { None };
    r.need("{")?;
    let mut objectives = vec![];
    while r.eat("minimises") {
        let objective: Value = r.id("a value", '%')?;
        let clip = clip(r)?;
        r.need("{")?;
        let mut targets = vec![];
        while r.eat("weight") {
            let weight = weight_id(r)?;
            r.need("{")?;
            let (algorithm, retention) = how(r)?;
            targets.push((weight, algorithm, retention));
        }
        r.need("}")?;
        objectives.push(OuterMinimize { objective, targets, clip });
    }
    r.need("}")?;
    Ok(Level { name, clock, reset, online, memory, objectives })
}

/// An algorithm and what is kept, up to the closing brace.
fn how(r: &mut Reader) -> Read<(Algorithm, Option<Retention>)> {
    r.need("algorithm (")?;
    let inputs = r.list(")", algorithm_input)?;
    let algorithm = Algorithm { inputs, graph: graph(r)?, states: states(r)? };
    if r.eat("}") {
        return Ok((algorithm, None));
    }
    let word = r.next();
    r.need("(")?;
    let inputs = r.list(")", retention_input)?;
    let first = graph(r)?;
    let form = match word.as_str() {
        "keep" => {
            let read = if r.eat("read") { Some(graph(r)?) } else { None };
            RetentionForm::Keep { keep: first, read }
        }
        "next" => RetentionForm::Next { next: first },
        other => {
            return Err(format!("`keep` or `next` expected, not `{other}`"));
        }
    };
    let states = states(r)?;
    r.need("}")?;
    Ok((algorithm, Some(Retention { inputs, form, states })))
}

fn states(r: &mut Reader) -> Read<Vec<State>> {
    let mut out = vec![];
    while r.eat("state") {
        let name = r.string()?;
        r.need(":")?;
        let dims = dims(r)?;
        r.need("=")?;
        let initial = if r.eat("weights") {
            StateInitial::Weights
        } else if r.eat("as") {
            StateInitial::Learned(weight_id(r)?)
        } else if r.eat("drawn") {
            StateInitial::Drawn(initial(r)?)
        } else {
            StateInitial::Values(Box::new(graph(r)?))
        };
        out.push(State { name, dims, initial });
    }
    Ok(out)
}

fn algorithm_input(r: &mut Reader) -> Read<AlgorithmInput> {
    Ok(match r.next().as_str() {
        "gradient" => AlgorithmInput::Gradient,
        "weight" => AlgorithmInput::Weight,
        "anchor" => AlgorithmInput::Anchor,
        "count" => AlgorithmInput::Count,
        "total" => AlgorithmInput::Total,
        "samples" => AlgorithmInput::Samples,
        "state" => AlgorithmInput::State(r.count()?),
        "captured" => AlgorithmInput::Captured(r.count()?),
        other => return Err(format!("an input of an algorithm expected, not `{other}`")),
    })
}

fn retention_input(r: &mut Reader) -> Read<RetentionInput> {
    Ok(match r.next().as_str() {
        "stored" => RetentionInput::Stored,
        "step" => RetentionInput::Step,
        "previous" => RetentionInput::Previous,
        "initial" => RetentionInput::Initial,
        "state" => RetentionInput::State(r.count()?),
        "captured" => RetentionInput::Captured(r.count()?),
        other => return Err(format!("an input of a retention expected, not `{other}`")),
    })
}
