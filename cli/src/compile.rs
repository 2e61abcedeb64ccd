//! `compile --emit`.

use crate::arguments::{Choices, Emit};
use crate::fail::{Failure, Outcome, settings, tell};
use clap::ValueEnum;
use nestor_compiler::pipeline::{self, Purpose};
use nestor_compiler::{
    FormOptions, PassError, Precision, Program, check, native, source,
};
use std::path::Path;

/// Prints a stage.
pub(crate) fn emit(
    file: &Path,
    name: Option<&str>,
    emit: Emit,
    choices: &Choices,
    json: bool,
) -> Outcome {
    let settings = settings(&choices.set)?;
    let loaded = source::load(&[file.to_owned()]).map_err(Failure::data)?;
    match emit {
        Emit::Ast => {
            tell(&loaded, &loaded.found)?;
            for (_, file) in &loaded.files {
                anstream::println!("{file:#?}");
            }
            Ok(())
        }
        emit => match check::program(&loaded, name, &settings) {
            Ok((program, warnings)) => {
                tell(&loaded, &warnings)?;
                let text = text(&program, emit)?;
                if json {
                    let stage = emit.to_possible_value();
                    let stage = stage.map(|v| v.get_name().to_owned());
                    let report = serde_json::json!({
                        "entry": program.name, "stage": stage, "text": text,
                    });
                    anstream::println!("{report}");
                } else {
                    anstream::print!("{text}");
                }
                Ok(())
            }
            Err(found) => tell(&loaded, &found),
        },
    }
}

/// A stage as text.
fn text(program: &Program, emit: Emit) -> Result<String, Failure> {
    let pass = |e: PassError| Failure::pass(&e);
    let forms = FormOptions::default();
    let purpose = Purpose { resume: false, forms };
    let learns = program.levels.node_weights().any(|l| !l.objectives.is_empty());
    let last = || match learns {
        true => pipeline::training_step(program, forms),
        false => pipeline::with_gradients(program, purpose, &[]),
    };
    let native = |e: native::NativeError| Failure::bug(e);
    Ok(match emit {
        Emit::Ast | Emit::Levels => program.to_string(),
        Emit::Tensors => pipeline::tensors(program, false).map_err(pass)?.to_string(),
        Emit::Derived => pipeline::derived(program, false).map_err(pass)?.to_string(),
        Emit::Parallel => {
            pipeline::forward(program, purpose).map_err(pass)?.graph.to_string()
        }
        Emit::Grad => last().map_err(pass)?.graph.to_string(),
        Emit::Tiles => {
            let (_, kernels) =
                native::scheduled(&last().map_err(pass)?.graph).map_err(native)?;
            kernels.iter().map(ToString::to_string).collect()
        }
        Emit::Plan => {
            let (plan, kernels) =
                native::scheduled(&last().map_err(pass)?.graph).map_err(native)?;
            native::plan_text(&plan, &kernels)
        }
        Emit::Clif => {
            let (_, kernels) =
                native::scheduled(&last().map_err(pass)?.graph).map_err(native)?;
            native::clif(&kernels, Precision::F32).map_err(native)?
        }
    })
}
