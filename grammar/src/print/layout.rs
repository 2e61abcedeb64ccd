//! Text that may break into lines: what stands on one line where it fits, and where it breaks otherwise.

/// The width that lines keep to where they can.
pub(super) const WIDTH: usize = 110;
/// How far a body stands in.
pub(super) const STEP: usize = 4;

/// Text with places where it may break.
pub(super) enum Doc {
    /// Plain text.
    Text(String),
    /// A space, or a new line.
    Line,
    /// Nothing, or a new line.
    Soft,
    /// New lines inside stand in by so much more.
    Nest(usize, Box<Doc>),
    /// On one line if it fits; otherwise all its own breaks break.
    Group(Box<Doc>),
    /// Parts with a space between, as many a line as fit.
    Fill(Vec<Doc>),
    /// One after the other.
    Cat(Vec<Doc>),
}

/// Plain text.
pub(super) fn text(text: impl Into<String>) -> Doc {
    Doc::Text(text.into())
}

/// One after the other.
pub(super) fn cat(docs: impl IntoIterator<Item = Doc>) -> Doc {
    Doc::Cat(docs.into_iter().collect())
}

/// A group whose further lines stand in.
pub(super) fn group(doc: Doc) -> Doc {
    Doc::Group(Box::new(Doc::Nest(STEP, Box::new(doc))))
}

impl Doc {
    /// All on one line.
    pub(super) fn flat(&self) -> String {
        match self {
            Doc::Text(text) => text.clone(),
            Doc::Line => " ".into(),
            Doc::Soft => String::new(),
            Doc::Nest(_, doc) | Doc::Group(doc) => doc.flat(),
            Doc::Fill(docs) => docs.iter().map(Doc::flat).collect::<Vec<_>>().join(" "),
            Doc::Cat(docs) => docs.iter().map(Doc::flat).collect(),
        }
    }

    fn width(&self) -> usize {
        match self {
            Doc::Text(text) => text.chars().count(),
            Doc::Line => 1,
            Doc::Soft => 0,
            Doc::Nest(_, doc) | Doc::Group(doc) => doc.width(),
            Doc::Fill(docs) => {
                docs.iter().map(Doc::width).sum::<usize>() + docs.len().saturating_sub(1)
            }
            Doc::Cat(docs) => docs.iter().map(Doc::width).sum(),
        }
    }

    /// As lines, the first starting at a column, the others with their indentation before them.
    pub(super) fn lines(&self, indent: usize, column: usize) -> Vec<String> {
        self.lines_within(indent, column, WIDTH)
    }

    /// The same, to another width.
    pub(super) fn lines_within(
        &self,
        indent: usize,
        column: usize,
        width: usize,
    ) -> Vec<String> {
        let mut page = Page { lines: vec![String::new()], column, width };
        page.put(self, indent, false, 0);
        page.lines
    }
}

struct Page {
    lines: Vec<String>,
    column: usize,
    width: usize,
}

impl Page {
    fn write(&mut self, text: &str) {
        self.column += text.chars().count();
        if let Some(line) = self.lines.last_mut() {
            line.push_str(text);
        }
    }
    fn newline(&mut self, indent: usize) {
        if let Some(line) = self.lines.last_mut() {
            line.truncate(line.trim_end().len());
        }
        self.lines.push(" ".repeat(indent));
        self.column = indent;
    }

    /// Writes a document; `after` is the width of what must follow on its last line.
    fn put(&mut self, doc: &Doc, indent: usize, flat: bool, after: usize) {
        match doc {
            Doc::Text(text) => self.write(text),
            Doc::Line if flat => self.write(" "),
            Doc::Soft if flat => {}
            Doc::Line | Doc::Soft => self.newline(indent),
            Doc::Nest(by, doc) => self.put(doc, indent + by, flat, after),
            Doc::Group(doc) => {
                let fits = self.column + doc.width() + after <= self.width;
                self.put(doc, indent, flat || fits, after);
            }
            Doc::Fill(docs) => {
                for (n, doc) in docs.iter().enumerate() {
                    let after = if n + 1 == docs.len() { after } else { 0 };
                    if n > 0 {
                        let fits = self.column + 1 + doc.width() + after <= self.width;
                        if flat || fits {
                            self.write(" ");
                        } else {
                            self.newline(indent);
                        }
                    }
                    self.put(doc, indent, flat, after);
                }
            }
            Doc::Cat(docs) => {
                for (n, doc) in docs.iter().enumerate() {
                    let after = follow(&docs[n + 1..], flat, after);
                    self.put(doc, indent, flat, after);
                }
            }
        }
    }
}

/// The width of what follows up to the next break.
fn follow(rest: &[Doc], flat: bool, after: usize) -> usize {
    let mut width = 0;
    for doc in rest {
        match first_break(doc) {
            Some(before) if !flat => return width + before,
            Some(_) | None => width += doc.width(),
        }
    }
    width + after
}

/// The width of a document up to its first break, if it has one.
fn first_break(doc: &Doc) -> Option<usize> {
    match doc {
        Doc::Text(_) => None,
        Doc::Line | Doc::Soft => Some(0),
        Doc::Nest(_, doc) | Doc::Group(doc) => first_break(doc),
        Doc::Fill(docs) => match docs.as_slice() {
            [] => None,
            [one] => first_break(one),
            [one, ..] => Some(first_break(one).unwrap_or_else(|| one.width())),
        },
        Doc::Cat(docs) => {
            let mut width = 0;
            for doc in docs {
                match first_break(doc) {
                    Some(before) => return Some(width + before),
                    None => width += doc.width(),
                }
            }
            None
        }
    }
}
