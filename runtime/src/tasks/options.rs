//! What may be set of a task: `mqar:pairs=8,length=128`. A task asks for each of its options by
//! name with a default; what nobody asked for is an error that names what there is.

use super::TaskError;
use std::path::PathBuf;

/// The options of a task.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The task.
    pub task: String,
    /// The folder of data, or the file.
    pub data: Option<PathBuf>,
    given: Vec<(String, f64)>,
    known: Vec<(&'static str, f64)>,
}

impl Options {
    /// The options of a text `name` or `name:option=number,...`.
    pub(super) fn parse(text: &str, data: Option<PathBuf>) -> Result<Self, TaskError> {
        let (task, rest) = text.split_once(':').unwrap_or((text, ""));
        let mut out = Self { task: task.to_owned(), data, ..Self::default() };
        for pair in rest.split(',').filter(|p| !p.trim().is_empty()) {
            let read = pair.split_once('=').and_then(|(name, value)| {
                Some((name.trim().to_owned(), value.trim().parse().ok()?))
            });
            let Some(read) = read else {
                return Err(out.wrong(format!(
                    "options are written `{task}:name=number,...`, not `{pair}`"
                )));
            };
            out.given.push(read);
        }
        Ok(out)
    }

    /// A number.
    pub(super) fn number(&mut self, name: &'static str, default: f64) -> f64 {
        self.known.push((name, default));
        let given = self.given.iter().rev().find(|(n, _)| n == name);
        given.map_or(default, |(_, value)| *value)
    }

    /// A whole number, not below zero.
    pub(super) fn whole(
        &mut self,
        name: &'static str,
        default: usize,
    ) -> Result<usize, TaskError> {
        let value = self.number(name, default as f64);
        if value < 0.0 || value.fract() != 0.0 || value > 1e12 {
            return Err(self.wrong(format!("`{name}` is a whole number, not {value}")));
        }
        Ok(value as usize)
    }

    /// An error of this task.
    pub(super) fn wrong(&self, why: impl Into<String>) -> TaskError {
        TaskError::Option { task: self.task.clone(), why: why.into() }
    }

    /// An error where something does not hold.
    pub(super) fn demand(
        &self,
        holds: bool,
        why: impl Into<String>,
    ) -> Result<(), TaskError> {
        if holds { Ok(()) } else { Err(self.wrong(why)) }
    }

    /// Whether everything that was given has been asked for.
    pub(super) fn finish(&self) -> Result<(), TaskError> {
        let known = |name: &str| self.known.iter().any(|(n, _)| *n == name);
        match self.given.iter().find(|(name, _)| !known(name)) {
            None => Ok(()),
            Some((name, _)) => {
                let has: Vec<String> =
                    self.known.iter().map(|(n, v)| format!("{n}={v}")).collect();
                Err(self.wrong(format!(
                    "it has no option `{name}`; it has {}",
                    has.join(", ")
                )))
            }
        }
    }
}
