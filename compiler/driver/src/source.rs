//! Source files: what was asked for, what those files use, and the library.

use crate::unreadable::Unreadable;
use nestor_grammar::ast::{EntryKind, File};
use nestor_grammar::{Diagnostic, FileId, Sources, parse};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};

/// Files with the library, parsed.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// All texts.
    pub sources: Sources,
    /// The library's trees; all that a process loads share them.
    pub library: Arc<Vec<(FileId, File)>>,
    /// The user's trees; files that others use come first.
    pub files: Vec<(FileId, File)>,
    /// Syntax errors.
    pub found: Vec<Diagnostic>,
}

/// Reads files and all that they use.
///
/// # Errors
/// Where a file that was asked for cannot be read.
pub fn load(paths: &[PathBuf]) -> Result<Loaded, Unreadable> {
    let mut out = library();
    for path in paths {
        read(&mut out, path)?;
    }
    Ok(out)
}

/// The programs that hold every definition of the library, as if they were the user's files.
pub fn checks() -> Loaded {
    let mut out = library();
    for (name, text) in nestor_stdlib::CHECKS {
        let id = out.sources.add(*name, *text);
        let (file, found) = parse(&out.sources, id);
        out.found.extend(found);
        out.files.push((id, file));
    }
    out
}

/// The library alone; it is parsed once in a process, for a sweep asks for it in every combination.
pub(crate) fn library() -> Loaded {
    static LIBRARY: LazyLock<Loaded> = LazyLock::new(parsed);
    LIBRARY.clone()
}

fn parsed() -> Loaded {
    let (mut sources, mut found, mut library) = (Sources::default(), vec![], vec![]);
    for (name, text) in nestor_stdlib::FILES {
        let id = sources.add(*name, *text);
        let (file, more) = parse(&sources, id);
        found.extend(more);
        library.push((id, file));
    }
    Loaded { sources, library: Arc::new(library), files: vec![], found }
}

/// The text of one file.
///
/// # Errors
/// Where it cannot be read.
pub fn text(path: &Path) -> Result<String, Unreadable> {
    std::fs::read_to_string(path).map_err(|cause| Unreadable::new(path, cause))
}

fn read(out: &mut Loaded, path: &Path) -> Result<(), Unreadable> {
    let name = path.display().to_string();
    if out.files.iter().any(|(id, _)| out.sources.get(*id).name == name) {
        return Ok(());
    }
    let text = text(path)?;
    let id = out.sources.add(name, text);
    let (file, found) = parse(&out.sources, id);
    out.found.extend(found);
    for entry in &file.entries {
        if let EntryKind::Use(name) = &entry.kind {
            let folder = path.parent().unwrap_or(Path::new(""));
            // A used file that is not there is a diagnostic at its place, found by name later.
            let _ = read(out, &folder.join(&name.text));
        }
    }
    out.files.push((id, file));
    Ok(())
}
