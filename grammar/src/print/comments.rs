//! The comments of a text, which the tree does not hold.

/// A comment.
#[derive(Clone, Copy)]
pub(crate) struct Comment {
    /// Its first byte.
    pub(crate) start: usize,
    /// The end of its line, without white space.
    pub(crate) end: usize,
    /// Nothing stands before it on its line.
    pub(crate) alone: bool,
    /// How many characters stand before it on its line.
    pub(crate) column: usize,
}

/// All comments of a text, in order. A `//` between quotes is none.
pub(crate) fn comments(text: &str) -> Vec<Comment> {
    let mut out = Vec::new();
    let mut begin = 0;
    for line in text.split_inclusive('\n') {
        if let Some(at) = comment_of(line) {
            let before = &line[..at];
            out.push(Comment {
                start: begin + at,
                end: begin + line.trim_end().len(),
                alone: before.trim().is_empty(),
                column: before.chars().count(),
            });
        }
        begin += line.len();
    }
    out
}

/// Where the comment of a line begins.
pub(crate) fn comment_of(line: &str) -> Option<usize> {
    let mut quoted = false;
    let mut last = ' ';
    for (at, c) in line.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '/' if last == '/' && !quoted => return Some(at - 1),
            _ => {}
        }
        last = c;
    }
    None
}
