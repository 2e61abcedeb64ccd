//! `explain`: what the compiler made of a spec.

use crate::arguments::Choices;
use crate::fail::{Failure, Outcome, settings, tell};
use nestor_compiler::level::Memory;
use nestor_compiler::pipeline::{Purpose, derived, forward};
use nestor_compiler::tensor::Op;
use nestor_compiler::{Choice, FormOptions, Program, check, source};
use serde_json::json;
use std::path::Path;

/// Says the derived update of every memory and the form chosen for it, with reasons.
pub(crate) fn explain(
    file: &Path,
    name: Option<&str>,
    choices: &Choices,
    as_json: bool,
) -> Outcome {
    let settings = settings(&choices.set)?;
    let loaded = source::load(&[file.to_owned()]).map_err(Failure::data)?;
    let program = match check::program(&loaded, name, &settings) {
        Ok((program, warnings)) => {
            tell(&loaded, &warnings)?;
            program
        }
        Err(found) => return tell(&loaded, &found),
    };
    let purpose = Purpose { resume: false, forms: FormOptions::default() };
    let lowered = forward(&program, purpose).map_err(|e| Failure::pass(&e))?;
    let updates = updates(&program)?;
    if as_json {
        let memories: Vec<_> = program
            .memories
            .values()
            .map(|m| {
                json!({ "path": m.path, "weights": weights(m), "instances": instances(m),
                        "numbers": numbers(m), "state_bytes": state_bytes(m) })
            })
            .collect();
        let forms: Vec<_> = lowered.choices.iter().map(form).collect();
        let updates: Vec<_> =
            updates.iter().map(|u| json!({ "walks": u.walks, "text": u.text })).collect();
        anstream::println!(
            "{}",
            json!({ "entry": program.name, "parameters": parameters(&program),
                    "memories": memories, "forms": forms, "updates": updates })
        );
        return Ok(());
    }
    anstream::println!("{}  {} parameters", program.name, parameters(&program));
    for memory in program.memories.values() {
        let weights = weights(memory);
        anstream::println!("\nmemory {}", memory.path);
        let what =
            if weights.is_empty() { "its past".to_owned() } else { weights.join(", ") };
        anstream::println!("  keeps   {what}");
        if !weights.is_empty() {
            anstream::println!(
                "  state   {} KiB a sequence: {} instances of {} numbers",
                state_bytes(memory).div_ceil(1024),
                instances(memory),
                numbers(memory)
            );
        }
    }
    anstream::println!("\nforms");
    for choice in &lowered.choices {
        anstream::println!("  {}", choice.walk);
        anstream::println!(
            "    form      {}, chunk {}; exact",
            choice.form.name(),
            choice.chunk
        );
        for (form, why) in &choice.reasons {
            anstream::println!("    rejected  {}: {why}", form.name());
        }
    }
    anstream::println!("\nthe update of a token, derived");
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
        let text = scan.body.to_string();
        let mut anonymous = text.clone();
        for (n, state) in states.iter().enumerate() {
            let of = state.trim_start_matches("state.");
            anonymous = anonymous.replace(of, &format!("#{n}"));
        }
        let walk = states.join(" ");
        match out.iter_mut().find(|(a, _)| *a == anonymous) {
            Some((_, known)) => known.walks.push(walk),
            None => out.push((anonymous, UpdateText { walks: vec![walk], text })),
        }
    }
    Ok(out.into_iter().map(|(_, update)| update).collect())
}

fn form(choice: &Choice) -> serde_json::Value {
    let rejected: Vec<_> = choice
        .reasons
        .iter()
        .map(|(form, why)| json!({ "form": form.name(), "why": why }))
        .collect();
    json!({ "walk": choice.walk, "form": choice.form.name(), "chunk": choice.chunk,
            "exact": true, "rejected": rejected })
}

fn weights(memory: &Memory) -> Vec<String> {
    let one = |w: &nestor_compiler::level::FastWeight| {
        let dims: Vec<String> = w.dims.iter().map(ToString::to_string).collect();
        format!("{} [{}]", w.name, dims.join(", "))
    };
    memory.weights.iter().map(one).collect()
}

fn instances(memory: &Memory) -> usize {
    memory.map.iter().filter_map(|d| d.fixed()).product()
}

fn numbers(memory: &Memory) -> usize {
    let size = |w: &nestor_compiler::level::FastWeight| {
        w.dims.iter().filter_map(|d| d.fixed()).product::<usize>()
    };
    memory.weights.iter().map(size).sum()
}

/// Bytes of the weights in float32, for one sequence.
fn state_bytes(memory: &Memory) -> usize {
    4 * instances(memory) * numbers(memory)
}

/// Numbers that are learned.
pub(crate) fn parameters(program: &Program) -> usize {
    let learned = program.weights.values().filter(|w| !w.fixed);
    learned.map(|w| w.dims.iter().filter_map(|d| d.fixed()).product::<usize>()).sum()
}
