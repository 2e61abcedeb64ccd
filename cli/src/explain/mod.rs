//! `explain`: what the compiler made of a spec.

mod equation;
mod latex;
mod memory;
mod terms;

use crate::arguments::Choices;
use crate::doctor::threads;
use crate::fail::{Failure, Outcome};
use crate::spec::checked;
use crate::tuned::{self, TunedArguments};
use equation::Writer;
use nestor_compiler::level::Memory;
use nestor_compiler::native::{Machine, scheduled};
use nestor_compiler::pipeline::{self, Purpose, derived, forward};
use nestor_compiler::predict::parameters;
use nestor_compiler::tensor::{Feed, Graph, Op, Scan};
use nestor_compiler::time::{RATES, seconds};
use nestor_compiler::{Choice, FormOptions, Precision, Program};
use nestor_runtime::Sizes;
use serde_json::json;
use std::path::Path;

/// How it is said.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For papers: the updates alone.
    Latex,
}

/// Says the derived update of every memory and the form chosen for it, with reasons.
pub(crate) fn explain(
    file: &Path,
    name: Option<&str>,
    asked: &TunedArguments,
    choices: &Choices,
    way: Way,
) -> Outcome {
    let program = checked(file, name, &choices.set)?;
    let measured = tuned::entries(asked, Machine::Cpu(Precision::F32))?;
    let found: Vec<_> = measured.iter().filter_map(|e| e.best.clone()).collect();
    let forms = FormOptions { tuned: tuned::read(&found), ..FormOptions::default() };
    let purpose = Purpose { resume: false, forms };
    let lowered = forward(&program, purpose).map_err(|e| Failure::pass(&e))?;
    let updates = updates(&program)?;
    if way == Way::Latex {
        for update in &updates {
            anstream::println!(
                "% {}\n{}",
                update.walks.join(", "),
                latex::aligned(&update.text)
            );
        }
        return Ok(());
    }
    let seconds = predicted(&lowered.graph)?;
    let both = with_gradients(&program, purpose)?;
    if way == Way::Json {
        let memories: Vec<_> = program
            .memories
            .iter()
            .map(|(id, m)| {
                let rows: Vec<_> = memory::coordinates(&program, id)
                    .into_iter()
                    .map(|(axis, equations)| json!({ "axis": axis, "equations": equations }))
                    .collect();
                json!({ "path": m.path, "coordinates": rows, "weights": weights(m), "instances": instances(m),
                        "numbers": numbers(m), "state_bytes": state_bytes(m) })
            })
            .collect();
        let forms: Vec<_> = lowered.choices.iter().map(form).collect();
        let updates: Vec<_> =
            updates.iter().map(|u| json!({ "walks": u.walks, "text": u.text })).collect();
        anstream::println!(
            "{}",
            json!({ "entry": program.name, "parameters": parameters(&program),
                    "memories": memories, "forms": forms, "updates": updates,
                    "tokens": TOKENS, "threads": threads(), "predicted_seconds": seconds,
                    "predicted_seconds_with_gradients": both })
        );
        return Ok(());
    }
    anstream::println!("{}  {} parameters", program.name, parameters(&program));
    let token = |seconds: f64| format!("{:.2} us", 1e6 * seconds / TOKENS as f64);
    anstream::println!(
        "predicted  {} a token on the CPU, {} with all gradients: one sequence of {TOKENS} tokens, {} threads",
        token(seconds),
        both.map_or_else(|| "not known".to_owned(), token),
        threads()
    );
    let mut said: Vec<(Vec<memory::Row>, &str)> = Vec::new();
    for (id, memory) in program.memories.iter() {
        let weights = weights(memory);
        anstream::println!("\nmemory {}", memory.path);
        let rows = memory::coordinates(&program, id);
        if let Some((_, path)) = said.iter().find(|(known, _)| *known == rows) {
            anstream::println!("  as {path}");
            continue;
        }
        let what =
            if weights.is_empty() { "its past".to_owned() } else { weights.join(", ") };
        anstream::println!("  {:<11}{what}", "keeps");
        if !weights.is_empty() {
            anstream::println!(
                "  {:<11}{} KiB a sequence: {} instances of {} numbers",
                "state",
                state_bytes(memory).div_ceil(1024),
                instances(memory),
                numbers(memory)
            );
        }
        for (axis, equations) in &rows {
            for (n, line) in equations.iter().enumerate() {
                anstream::println!("  {:<11}{line}", if n == 0 { axis } else { "" });
            }
        }
        said.push((rows, &memory.path));
    }
    if !program.memories.is_empty() {
        anstream::println!(
            "\nx1, x2, ... are what a memory is written with, in order (gates last); q1, ... what \
             it is asked"
        );
    }
    if lowered.choices.is_empty() {
        anstream::println!("\nno walk: all tokens at once");
    } else {
        anstream::println!("\nforms");
    }
    for choice in &lowered.choices {
        anstream::println!("  {}", choice.walk);
        anstream::println!(
            "    form      {}, chunk {}; exact",
            choice.form.name(),
            choice.chunk
        );
        let by = measured.iter().find(|e| choice.tuned && e.walk == choice.key);
        if let Some(entry) = by {
            anstream::println!("    tuned     {}", tuned::said(entry, choice));
        }
        anstream::println!("    class     {}", class(choice));
        anstream::println!(
            "    work      {} operations and {} bytes a token of one sequence",
            choice.work.flops,
            choice.work.bytes
        );
        anstream::println!(
            "    depth     {} in a row for each of T / {} steps",
            choice.work.depth,
            choice.chunk
        );
        for (form, why) in &choice.reasons {
            anstream::println!("    rejected  {}: {why}", form.name());
        }
    }
    if !updates.is_empty() {
        anstream::println!("\nthe update of a token, derived");
    }
    for update in &updates {
        let (first, rest) =
            update.walks.split_first().map_or(("", &[][..]), |(f, r)| (f.as_str(), r));
        let more = match rest.len() {
            0 => String::new(),
            n => format!(", and {n} more that are alike"),
        };
        anstream::println!("\n{first}{more}\n{}", update.text);
    }
    Ok(())
}

/// One token of a walk, and the walks that it is the same for.
struct UpdateText {
    walks: Vec<String>,
    text: String,
}

/// The derived walks; those that differ in their names alone are said once.
fn updates(program: &Program) -> Result<Vec<UpdateText>, Failure> {
    let derived = derived(program, false).map_err(|e| Failure::pass(&e))?;
    let mut out: Vec<(String, UpdateText)> = Vec::new();
    for node in derived.nodes.values() {
        let Op::Scan { scan } = &node.op else { continue };
        let states = scan.body.outputs.iter().map(|o| o.name.as_str());
        let states: Vec<&str> = states.filter(|n| n.starts_with("state.")).collect();
        if states.iter().all(|n| n.starts_with("state.past")) {
            // What a window looks back at: there is nothing to derive.
            continue;
        }
        let text = token(scan, &states);
        let walk = states.join(" ");
        match out.iter_mut().find(|(a, _)| *a == text) {
            Some((_, known)) => known.walks.push(walk),
            None => out.push((text.clone(), UpdateText { walks: vec![walk], text })),
        }
    }
    Ok(out.into_iter().map(|(_, update)| update).collect())
}

/// The derived updates of a model's memories, a line each.
pub(crate) fn update_lines(program: &Program) -> Result<Vec<String>, Failure> {
    let updates = updates(program)?;
    let lines = updates.iter().flat_map(|u| u.text.lines());
    Ok(lines.map(|l| l.trim().to_owned()).collect())
}

/// One token of a walk as equations: streams by number, states by the last part of their names.
fn token(scan: &Scan, states: &[&str]) -> String {
    let short = |n: &&str| n.rsplit('.').next().unwrap_or(n).to_owned();
    let named: Vec<String> = states
        .iter()
        .map(|n| {
            let path = n.trim_start_matches("state.");
            // `S.W1` is a state of the algorithm of `W1`; a path is a path.
            let of = path.split_once('.').filter(|(kind, _)| {
                ["A", "S", "anchor", "pending", "count"].contains(kind)
            });
            of.map_or(short(n), |(kind, _)| format!("{kind}({})", short(n)))
        })
        .collect();
    let mut initial = named.iter();
    let mut streams = 0;
    let mut inputs: Vec<String> = Vec::new();
    for (feed, _) in &scan.feeds {
        inputs.push(match feed {
            Feed::Initial => initial.next().cloned().unwrap_or_else(|| "state".into()),
            Feed::Shared | Feed::Stream | Feed::Step | Feed::Mask | Feed::Reach(_) => {
                streams += 1;
                format!("x{streams}")
            }
        });
    }
    let rest = scan.body.inputs.iter().skip(inputs.len()).map(|i| i.name.clone());
    inputs.extend(rest.collect::<Vec<_>>());
    let mut writer = Writer::new(&scan.body, inputs);
    let mut ahead = named.iter();
    for output in &scan.body.outputs {
        let name = match output.name.starts_with("state.") {
            true => ahead.next().map_or_else(|| "state′".into(), |n| format!("{n}′")),
            false => output.name.clone(),
        };
        writer.equation(&name, output.value);
    }
    writer.lines().iter().map(|l| format!("  {l}\n")).collect()
}

/// The class of a walk, and how many states it advances together where these are several.
fn class(choice: &Choice) -> String {
    match choice.structure.map_or(0, |s| s.coupled) {
        0 | 1 => choice.class().to_owned(),
        n => format!("{}, n = {n}", choice.class()),
    }
}

/// Tokens of the call whose time is predicted.
const TOKENS: usize = 1024;

/// Seconds of a call of a graph on all threads of this machine.
fn predicted(graph: &Graph) -> Result<f64, Failure> {
    let (plan, kernels) = scheduled(graph).map_err(Failure::native)?;
    let sizes = Sizes { batch: 1, time: TOKENS, start: 0 };
    Ok(seconds(&plan, &kernels, &sizes, threads(), &RATES))
}

/// The same with the gradients of all inputs and weights; nothing where something has none.
fn with_gradients(program: &Program, purpose: Purpose) -> Result<Option<f64>, Failure> {
    let outputs: Vec<&str> =
        program.code.outputs.iter().map(|o| o.name.as_str()).collect();
    let both = pipeline::with_gradients(program, purpose, &outputs).ok();
    both.map(|both| predicted(&both.graph)).transpose()
}

fn form(choice: &Choice) -> serde_json::Value {
    let rejected: Vec<_> = choice
        .reasons
        .iter()
        .map(|(form, why)| json!({ "form": form.name(), "why": why }))
        .collect();
    json!({ "walk": choice.walk, "form": choice.form.name(), "chunk": choice.chunk, "tuned": choice.tuned,
            "exact": true, "class": choice.class(), "coupled": choice.structure.map_or(0, |s| s.coupled),
            "flops": choice.work.flops, "bytes": choice.work.bytes, "depth": choice.work.depth,
            "tokens_a_step": choice.chunk, "rejected": rejected })
}

fn weights(memory: &Memory) -> Vec<String> {
    let one = |w: &nestor_compiler::level::FastWeight| {
        let dims: Vec<String> = w.dims.iter().map(ToString::to_string).collect();
        format!("{} [{}]", w.name, dims.join(", "))
    };
    memory.weights.iter().map(one).collect()
}

pub(crate) fn instances(memory: &Memory) -> usize {
    memory.map.iter().filter_map(|d| d.fixed()).product()
}

pub(crate) fn numbers(memory: &Memory) -> usize {
    let size = |w: &nestor_compiler::level::FastWeight| {
        w.dims.iter().filter_map(|d| d.fixed()).product::<usize>()
    };
    memory.weights.iter().map(size).sum()
}

/// Bytes of the weights in float32, for one sequence.
fn state_bytes(memory: &Memory) -> usize {
    4 * instances(memory) * numbers(memory)
}
