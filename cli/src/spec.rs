//! A spec from its file, in the one way that all commands take.

use crate::fail::{Failure, settings, tell};
use nestor_compiler::source::{self, Loaded};
use nestor_compiler::{Program, check};
use std::path::Path;

/// The program of a file and its settings, `name=value`; what is wrong with it is told.
pub(crate) fn checked(
    file: &Path,
    name: Option<&str>,
    set: &[String],
) -> Result<Program, Failure> {
    program(&loaded(file)?, name, set)
}

/// A file with all that it uses.
pub(crate) fn loaded(file: &Path) -> Result<Loaded, Failure> {
    source::load(&[file.to_owned()]).map_err(Failure::data)
}

/// The program of an entry; the last one where no name is given.
pub(crate) fn program(
    loaded: &Loaded,
    name: Option<&str>,
    set: &[String],
) -> Result<Program, Failure> {
    match check::program(loaded, name, &settings(set)?) {
        Ok((program, warnings)) => tell(loaded, &warnings).map(|()| program),
        Err(found) => {
            tell(loaded, &found)?;
            Err(Failure::silent())
        }
    }
}
