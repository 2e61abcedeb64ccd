//! Specs of the suites, parsed and elaborated with the library.

use nestor_front::{Definitions, Elaborated, Setting, elaborate};
use nestor_grammar::ast::{File, Kind};
use nestor_grammar::{Diagnostic, FileId, Sources, parse};
use std::path::Path;

/// Files read together, the library among them.
pub struct Specs {
    /// All texts.
    pub sources: Sources,
    library: Vec<(FileId, File)>,
    files: Vec<(FileId, File)>,
    /// Syntax errors.
    pub found: Vec<Diagnostic>,
}

impl Specs {
    /// Reads files; the last one is where entries are looked for first.
    pub fn read(paths: &[&Path]) -> Self {
        let mut sources = Sources::default();
        let mut found = Vec::new();
        let mut one = |sources: &mut Sources, name: String, text: String| {
            let id = sources.add(name, text);
            let (file, errors) = parse(sources, id);
            found.extend(errors);
            (id, file)
        };
        let library = nestor_stdlib::FILES
            .iter()
            .map(|(name, text)| one(&mut sources, (*name).into(), (*text).into()))
            .collect();
        let files = paths
            .iter()
            .map(|path| {
                let text = std::fs::read_to_string(path).expect("the file is readable");
                let name =
                    path.file_name().expect("a file").to_string_lossy().into_owned();
                one(&mut sources, name, text)
            })
            .collect();
        Self { sources, library, files, found }
    }

    /// A text with the library.
    pub fn of(name: &str, text: &str) -> Self {
        let mut out = Self::read(&[]);
        let id = out.sources.add(name, text);
        let (file, errors) = parse(&out.sources, id);
        out.found.extend(errors);
        out.files.push((id, file));
        out
    }

    /// Elaborates an entry.
    pub fn elaborate(&self, entry: &str, settings: &[Setting]) -> Elaborated {
        let (table, mut found) =
            Definitions::collect(&self.sources, &self.library, &self.files);
        let mut out = elaborate(&table, entry, settings);
        found.append(&mut out.diagnostics);
        Elaborated { diagnostics: found, ..out }
    }

    /// Names and kinds of the definitions in the files that were read.
    pub fn definitions(&self) -> Vec<(String, Kind)> {
        Definitions::collect(&self.sources, &self.library, &self.files).0.of_users()
    }

    /// Diagnostics as people read them.
    pub fn render(&self, found: &[Diagnostic]) -> String {
        found.iter().map(|d| d.render(&self.sources, false)).collect()
    }
}
