//! `state`: what memories hold between calls, in files: forked, merged by average, or, memory by
//! memory, begun again.

use crate::fail::{Failure, Outcome};
use crate::run_folder::Left;
use nestor_compiler::first::first_states;
use nestor_runtime::Sizes;
use nestor_runtime::executor::Executor;
use nestor_runtime::past_file;
use nestor_runtime::reader::Past;
use nestor_runtime::tensor_file::{Data, HostTensor};
use std::path::{Path, PathBuf};

/// `state`.
#[derive(clap::Args, Debug, Clone)]
pub(crate) struct StateArguments {
    /// The folder of the run that the states are of.
    run: PathBuf,
    /// State files; several are averaged.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Where the result goes.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// A memory, by its path, that begins again; may be given several times.
    #[arg(long, value_name = "MEMORY")]
    reset: Vec<String>,
}

/// One state file of one or several.
pub(crate) fn state(a: &StateArguments, json: bool) -> Outcome {
    let Left { program, state, hash, .. } = Left::open(&a.run)?;
    let load = |path: &Path| past_file::load(path, &hash, &state).map_err(Failure::data);
    let pasts: Vec<Past> =
        a.files.iter().map(|f| load(f)).collect::<Result<_, Failure>>()?;
    let mut past = merged(&pasts, &a.files)?;
    if !a.reset.is_empty() {
        let known: Vec<&str> =
            program.memories.values().map(|m| m.path.as_str()).collect();
        if let Some(path) = a.reset.iter().find(|p| !known.contains(&p.as_str())) {
            return Err(Failure::usage(format!(
                "`{}` has no memory `{path}`; it has {}",
                program.name,
                known.join(", ")
            )));
        }
        for first in first(first_states(&program, &a.reset), &state)? {
            if let Some(now) = past.states.iter_mut().find(|t| t.name == first.name) {
                *now = first;
            }
        }
    }
    past_file::save(&a.out, &hash, &state, &past).map_err(Failure::data)?;
    if json {
        let report = serde_json::json!({ "state": a.out, "position": past.position });
        anstream::println!("{report}");
    } else {
        anstream::println!("{} stands at token {}", a.out.display(), past.position);
    }
    Ok(())
}

/// The average of states that stand at one token; one state is itself.
fn merged(pasts: &[Past], files: &[PathBuf]) -> Result<Past, Failure> {
    let Some((first, rest)) = pasts.split_first() else {
        return Err(Failure::usage("name a state file"));
    };
    let mut out = first.clone();
    for (past, file) in rest.iter().zip(&files[1..]) {
        if past.position != first.position {
            return Err(Failure::data(format!(
                "{} stands at token {}, {} at {}: states are averaged where as many tokens were read",
                files[0].display(),
                first.position,
                file.display(),
                past.position
            )));
        }
    }
    let share = 1.0 / pasts.len() as f64;
    let mean = |of: &dyn Fn(&Past) -> Option<Vec<f32>>| -> Option<Vec<f32>> {
        let all: Vec<Vec<f32>> = pasts.iter().map(of).collect::<Option<_>>()?;
        let one = |i: usize| all.iter().map(|v| f64::from(v[i])).sum::<f64>() * share;
        Some((0..all[0].len()).map(|i| one(i) as f32).collect())
    };
    for tensor in &mut out.states {
        let found = mean(&|past: &Past| {
            let same = |t: &&HostTensor| t.name == tensor.name && t.dims == tensor.dims;
            match &past.states.iter().find(same)?.data {
                Data::F32(v) => Some(v.clone()),
                _ => None,
            }
        });
        if let Some(values) = found {
            tensor.data = Data::F32(values);
        } else if rest.iter().any(|p| !p.states.contains(tensor)) {
            return Err(Failure::data(format!("`{}` cannot be averaged", tensor.name)));
        }
    }
    out.logits = mean(&|past: &Past| Some(past.logits.clone())).unwrap_or_default();
    Ok(out)
}

/// The states before a first token.
fn first(
    compiled: Result<
        nestor_compiler::artifact::Artifact,
        nestor_compiler::native::NativeError,
    >,
    weights: &[HostTensor],
) -> Result<Vec<HostTensor>, Failure> {
    let mut executor =
        Executor::new(compiled.map_err(Failure::native)?).map_err(Failure::bug)?;
    let asked: Vec<String> =
        executor.inputs().into_iter().map(|(n, _)| n.to_owned()).collect();
    let given: Vec<&HostTensor> =
        weights.iter().filter(|t| asked.contains(&t.name)).collect();
    executor.run(&given, Sizes { batch: 1, time: 1, start: 0 }).map_err(Failure::bug)
}
