//! `explain` and `verify`: what the compiler made of a spec, and whether it is the same thing.

use crate::arguments::Choices;
use crate::fail::{Failure, Outcome, settings, tell};
use nestor_compiler::pipeline::{Purpose, derived, forward};
use nestor_compiler::{FormOptions, check, source};
use std::path::Path;

/// Says the derived update of every memory and the form chosen for it, with reasons.
pub(crate) fn explain(file: &Path, name: Option<&str>, choices: &Choices) -> Outcome {
    let settings = settings(&choices.set)?;
    let loaded = source::load(&[file.to_owned()]).map_err(Failure::data)?;
    let program = match check::program(&loaded, name, &settings) {
        Ok((program, warnings)) => {
            tell(&loaded, &warnings)?;
            program
        }
        Err(found) => return tell(&loaded, &found),
    };
    anstream::println!("{}", program.name);
    for memory in program.memories.values() {
        let weights: Vec<String> = memory
            .weights
            .iter()
            .map(|w| {
                let dims: Vec<String> = w.dims.iter().map(ToString::to_string).collect();
                format!("{} [{}]", w.name, dims.join(", "))
            })
            .collect();
        let instances: usize = memory.map.iter().filter_map(|d| d.fixed()).product();
        let own: usize = memory
            .weights
            .iter()
            .map(|w| w.dims.iter().filter_map(|d| d.fixed()).product::<usize>())
            .sum();
        anstream::println!(
            "\nmemory {}: {}; {instances} instances of {own} numbers",
            memory.path,
            if weights.is_empty() { "its past".to_owned() } else { weights.join(", ") }
        );
    }
    let purpose = Purpose { resume: false, forms: FormOptions::default() };
    let lowered = forward(&program, purpose).map_err(|e| Failure::pass(&e))?;
    anstream::println!("\nforms");
    for choice in &lowered.choices {
        anstream::println!("  {choice}");
    }
    let derived = derived(&program, false).map_err(|e| Failure::pass(&e))?;
    anstream::println!("\nthe update of a token, derived");
    for (_, node) in derived.nodes.iter() {
        if let nestor_compiler::tensor::Op::Scan { scan } = &node.op {
            anstream::println!("{}", scan.body);
        }
    }
    Ok(())
}
