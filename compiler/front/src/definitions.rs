//! The table of definitions and what each file sees: its own names, those of files it uses, the
//! library's; the nearest wins.

use crate::value::Entry;
use indexmap::IndexMap;
use nestor_grammar::ast::{EntryKind, Expr, File};
pub(crate) use nestor_grammar::nearest;
use nestor_grammar::{Diagnostic, FileId, Sources, Span};

/// What a name of a file stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Known<'a> {
    /// A definition, by its place in the table.
    Definition(usize),
    /// A constant and the file whose scope it is read in.
    Constant(&'a Expr, usize),
}

/// All definitions, by file.
#[derive(Clone, Debug, Default)]
pub struct Definitions<'a> {
    pub(crate) entries: Vec<Entry<'a>>,
    /// Names of each file.
    files: Vec<IndexMap<String, Known<'a>>>,
    /// Names of the library.
    library: IndexMap<String, Known<'a>>,
    /// Which of `files` are the user's, with their ids.
    users: Vec<(FileId, usize)>,
}

impl<'a> Definitions<'a> {
    /// Collects the library, then the user's files in order; a file sees what it uses, by name.
    pub fn collect(
        sources: &Sources,
        library: &'a [(FileId, File)],
        files: &'a [(FileId, File)],
    ) -> (Self, Vec<Diagnostic>) {
        let mut table = Self::default();
        let mut found = Vec::new();
        for (_, file) in library {
            let names = table.names(file, &mut found);
            table.library.extend(names);
        }
        for (id, file) in files {
            let names = table.names(file, &mut found);
            let place = table.files.len() - 1;
            // A file of the library that is looked at hides nothing.
            let text = &sources.get(*id).text;
            let own = library.iter().any(|(of, _)| sources.get(*of).text == *text);
            for (name, known) in names.iter().filter(|_| !own) {
                if let (Some(_), Known::Definition(d)) = (table.library.get(name), known)
                {
                    let span = table.entries[*d].span;
                    let text =
                        format!("`{name}` hides the library's definition of that name");
                    found.push(
                        Diagnostic::warning("W702", span, text)
                            .help("rename it if that is not meant"),
                    );
                }
            }
            table.files[place] = names;
            table.users.push((*id, place));
        }
        table.link(sources, files, &mut found);
        (table, found)
    }

    fn names(
        &mut self,
        file: &'a File,
        found: &mut Vec<Diagnostic>,
    ) -> IndexMap<String, Known<'a>> {
        let place = self.files.len();
        self.files.push(IndexMap::new());
        let mut names: IndexMap<String, Known<'a>> = IndexMap::new();
        let mut spans: IndexMap<String, Span> = IndexMap::new();
        for entry in &file.entries {
            let (name, known) = match &entry.kind {
                EntryKind::Definition(definition) => {
                    let span = definition.name.span;
                    self.entries.push(Entry { definition, span, file: place });
                    (&definition.name, Known::Definition(self.entries.len() - 1))
                }
                EntryKind::Constant(name, value) => (name, Known::Constant(value, place)),
                EntryKind::Use(_) | EntryKind::Sweep(_) => continue,
            };
            if let Some(first) = spans.insert(name.text.clone(), name.span) {
                let text = format!("`{}` is defined twice in this file", name.text);
                found.push(
                    Diagnostic::error("N104", name.span, text)
                        .label(first, "first defined here"),
                );
            }
            names.insert(name.text.clone(), known);
        }
        names
    }

    fn link(
        &mut self,
        sources: &Sources,
        files: &'a [(FileId, File)],
        found: &mut Vec<Diagnostic>,
    ) {
        for (n, (_, file)) in files.iter().enumerate() {
            for entry in &file.entries {
                let EntryKind::Use(name) = &entry.kind else { continue };
                let target = files.iter().position(|(id, _)| {
                    let path = &sources.get(*id).name;
                    path == &name.text || path.ends_with(&format!("/{}", name.text))
                });
                let Some(target) = target else {
                    let text = format!("the file \"{}\" is not there", name.text);
                    let help = "the name is relative to this file's folder";
                    found.push(Diagnostic::error("N101", name.span, text).help(help));
                    continue;
                };
                let (from, to) = (self.users[target].1, self.users[n].1);
                for (name, known) in self.files[from].clone() {
                    self.files[to].entry(name).or_insert(known);
                }
            }
        }
    }

    /// What a name stands for in a file.
    pub(crate) fn find(&self, file: usize, name: &str) -> Option<Known<'a>> {
        self.files[file].get(name).or_else(|| self.library.get(name)).copied()
    }

    /// The definition of this name in the user's files, the last file first.
    pub(crate) fn entry(&self, name: &str) -> Option<usize> {
        let users = self.users.iter().rev().map(|(_, place)| &self.files[*place]);
        let known = users.chain([&self.library]).find_map(|names| names.get(name));
        match known {
            Some(Known::Definition(d)) => Some(*d),
            Some(Known::Constant(..)) | None => None,
        }
    }

    /// Whether a file is one of the user's.
    pub(crate) fn is_users(&self, file: FileId) -> bool {
        self.users.iter().any(|(id, _)| *id == file)
    }

    /// Every name that a file sees.
    pub(crate) fn visible(&self, file: usize) -> impl Iterator<Item = &str> {
        self.files[file].keys().chain(self.library.keys()).map(String::as_str)
    }

    /// Names and kinds of all definitions of the user's files, in order.
    pub fn of_users(&self) -> Vec<(String, nestor_grammar::ast::Kind)> {
        let places: Vec<usize> = self.users.iter().map(|(_, p)| *p).collect();
        let of = self.entries.iter().filter(|e| places.contains(&e.file));
        of.map(|e| (e.definition.name.text.clone(), e.definition.kind)).collect()
    }
}
