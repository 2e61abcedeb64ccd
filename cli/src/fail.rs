//! How a command fails: a status and what to say.

use nestor_compiler::source::Loaded;
use nestor_compiler::{Diagnostic, Setting, Severity};
use std::fmt::Display;
use std::io::IsTerminal;

/// A failed command.
pub(crate) struct Failure {
    /// 1 the user's spec or data, 2 usage, 3 our bug.
    pub(crate) status: u8,
    /// What to say on the error stream.
    pub(crate) message: String,
}

impl Failure {
    /// The user's spec or data is wrong.
    pub(crate) fn data(message: impl Display) -> Self {
        Self { status: 1, message: format!("error: {message}") }
    }
    /// The command line is wrong.
    pub(crate) fn usage(message: impl Display) -> Self {
        Self { status: 2, message: format!("error: {message}") }
    }
    /// A pass stopped: a limitation is about the spec, anything else is our fault.
    pub(crate) fn pass(error: &nestor_compiler::PassError) -> Self {
        match error {
            nestor_compiler::PassError::Limitation { .. } => Self::data(error),
            nestor_compiler::PassError::Bug { .. } => Self::bug(error),
        }
    }
    /// Machine code was not made: as [`Failure::pass`], else our fault.
    pub(crate) fn native(error: nestor_compiler::native::NativeError) -> Self {
        match error {
            nestor_compiler::native::NativeError::Pass(error) => Self::pass(&error),
            error @ (nestor_compiler::native::NativeError::NoGpu
            | nestor_compiler::native::NativeError::KeptAs(_)) => Self::usage(error),
            error => Self::bug(error),
        }
    }
    /// It is our fault.
    pub(crate) fn bug(message: impl Display) -> Self {
        Self { status: 3, message: format!("error: {message}") }
    }
    /// Something was said already.
    pub(crate) fn silent() -> Self {
        Self { status: 1, message: String::new() }
    }
}

/// What a command gives.
pub(crate) type Outcome = Result<(), Failure>;

/// Prints diagnostics to the error stream; fails where one is not a warning.
pub(crate) fn tell(loaded: &Loaded, found: &[Diagnostic]) -> Outcome {
    let color = std::io::stderr().is_terminal();
    for diagnostic in found {
        anstream::eprintln!("{}", diagnostic.render(&loaded.sources, color));
    }
    if found.iter().any(|d| d.severity != Severity::Warning) {
        Err(Failure::silent())
    } else {
        Ok(())
    }
}

/// `--set name=value` pairs.
pub(crate) fn settings(set: &[String]) -> Result<Vec<Setting>, Failure> {
    set.iter()
        .map(|text| {
            let pair = text.split_once('=').and_then(|(n, v)| Some((n, v.parse().ok()?)));
            match pair {
                Some((name, value)) => {
                    Ok(Setting { name: name.trim().to_owned(), value })
                }
                None => {
                    Err(Failure::usage(format!(
                    "--set takes NAME=NUMBER, NAME=DEFINITION or NAME=[DEFINITION, ...], not `{text}`"
                )))
                }
            }
        })
        .collect()
}
