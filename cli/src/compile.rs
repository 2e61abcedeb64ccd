//! `compile --emit`.

use crate::arguments::{Choices, Emit};
use crate::fail::{Failure, Outcome, settings, tell};
use nestor_compiler::{check, source};
use std::path::Path;

/// Prints a stage.
pub(crate) fn emit(
    file: &Path,
    name: Option<&str>,
    emit: Emit,
    choices: &Choices,
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
        Emit::Levels => match check::program(&loaded, name, &settings) {
            Ok((program, warnings)) => {
                tell(&loaded, &warnings)?;
                anstream::print!("{program}");
                Ok(())
            }
            Err(found) => tell(&loaded, &found),
        },
    }
}
