//! A spec that cannot be read: what is wrong, and what its name may have meant.

use nestor_grammar::nearest;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Specs of a folder that are named to who looks for one.
const NAMED: usize = 5;
/// What names of specs end in.
const ENDING: &str = ".nest";

/// A file that could not be read.
#[derive(Debug, Error)]
#[error("cannot read {}: {cause}{help}", path.display())]
pub struct Unreadable {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub cause: std::io::Error,
    /// What to do about it, a line of its own, where there is something to say.
    help: String,
}

impl Unreadable {
    pub(crate) fn new(path: &Path, cause: std::io::Error) -> Self {
        let help = help(path, &cause).map(|help| format!("\nhelp: {help}"));
        Self { path: path.to_owned(), cause, help: help.unwrap_or_default() }
    }
}

/// What to do about it, where there is something to say.
fn help(path: &Path, cause: &std::io::Error) -> Option<String> {
    if path.is_dir() {
        return Some(format!("a spec is a file: {}", specs(path)));
    }
    if cause.kind() != ErrorKind::NotFound {
        return None;
    }
    let named = path.ancestors().filter(|p| !p.as_os_str().is_empty());
    let absent = named.take_while(|p| !p.exists()).last()?;
    let folder = absent.parent().unwrap_or(Path::new(""));
    // Of files, the ending says nothing: another one, or none, is no other name.
    let near = match absent == path {
        true => {
            let found = below(folder, is_spec);
            let names = found.iter().map(|name| name.trim_end_matches(ENDING));
            nearest(absent.file_stem()?.to_str()?, names).map(|name| name + ENDING)
        }
        false => {
            let found = below(folder, Path::is_dir);
            nearest(absent.file_name()?.to_str()?, found.iter().map(String::as_str))
        }
    };
    let rest = path.strip_prefix(absent).unwrap_or(Path::new(""));
    let meant = near
        .map(|near| folder.join(near).components().chain(rest.components()).collect());
    let meant = meant.filter(|meant: &PathBuf| meant.is_file());
    Some(match meant {
        Some(meant) => format!("did you mean `{}`?", meant.display()),
        None if absent == path => specs(folder),
        None => format!("there is no folder `{}`", absent.display()),
    })
}

/// What specs a folder has.
fn specs(folder: &Path) -> String {
    let all = below(folder, is_spec);
    let place = match folder.as_os_str().is_empty() {
        true => "this folder".to_owned(),
        false => format!("the folder `{}`", folder.display()),
    };
    if all.is_empty() {
        return format!("{place} has no `.nest` files");
    }
    let named: Vec<String> =
        all.iter().take(NAMED).map(|name| format!("`{name}`")).collect();
    let more = match all.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{place} has {}{more}", named.join(", "))
}

fn is_spec(path: &Path) -> bool {
    path.is_file() && path.to_str().is_some_and(|p| p.ends_with(ENDING))
}

/// Names of what lies in a folder, in order.
fn below(folder: &Path, wanted: fn(&Path) -> bool) -> Vec<String> {
    let here = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    let entries = std::fs::read_dir(here).into_iter().flatten().flatten();
    let paths = entries.map(|e| e.path()).filter(|p| wanted(p));
    let mut names: Vec<String> =
        paths.filter_map(|p| Some(p.file_name()?.to_str()?.to_owned())).collect();
    names.sort();
    names
}
