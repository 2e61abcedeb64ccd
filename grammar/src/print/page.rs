//! Lines on a page: statements, the comments between them, blank lines, and what lines up.

use super::comments::{Comment, comment_of, comments};
use super::layout::{Doc, STEP, WIDTH, text};
use super::part::{Column, Form, Part};

/// Heads that differ by more than this do not line up.
const SPREAD: usize = 12;

/// The parts of a whole file as text.
pub(super) fn write(source: &str, parts: &[Part]) -> String {
    let mut page =
        Page { source, comments: comments(source), next: 0, lines: Vec::new() };
    page.sequence(parts, 0, 0, source.len());
    finish(page.lines)
}

#[derive(Default)]
struct Line {
    code: String,
    /// The comment behind it.
    trailing: Option<String>,
    /// The column the comment had in the source.
    column: usize,
}

struct Page<'a> {
    source: &'a str,
    comments: Vec<Comment>,
    /// The first comment not written yet.
    next: usize,
    lines: Vec<Line>,
}

impl Page<'_> {
    /// Parts in a row, between two bytes of the source.
    fn sequence(&mut self, parts: &[Part], indent: usize, from: usize, to: usize) {
        let widths = self.columns(parts);
        let mut at = from;
        for (n, part) in parts.iter().enumerate() {
            at = self.comments_before(part.start, indent, at, from);
            self.blank(at, part.start, from);
            self.part(part, indent, widths[n]);
            at = part.end;
        }
        self.comments_before(to, indent, at, from);
    }

    /// Writes the comments up to a byte; the end of what is written.
    fn comments_before(
        &mut self,
        byte: usize,
        indent: usize,
        mut at: usize,
        from: usize,
    ) -> usize {
        while let Some(&comment) = self.comments.get(self.next) {
            if comment.start >= byte {
                break;
            }
            self.next += 1;
            let written = self.source[comment.start..comment.end].to_owned();
            let adjacent = self.source[at..comment.start].matches('\n').count() <= 1;
            let continues = adjacent
                && self.lines.last().is_some_and(|line| {
                    line.trailing.is_some() && line.column == comment.column
                });
            if comment.alone && !continues {
                self.blank(at, comment.start, from);
                self.lines.push(Line {
                    code: " ".repeat(indent) + &written,
                    ..Line::default()
                });
            } else {
                if comment.alone || self.lines.last().is_none_or(|l| l.trailing.is_some())
                {
                    self.lines.push(Line::default());
                }
                if let Some(line) = self.lines.last_mut() {
                    line.trailing = Some(written);
                    line.column = comment.column;
                }
            }
            at = comment.end;
        }
        at
    }

    /// A blank line, where the source has one or more between two bytes; never first in a body.
    fn blank(&mut self, at: usize, start: usize, from: usize) {
        let empty = self.source[at..start].matches('\n').count() >= 2;
        if empty && at > from && !self.lines.is_empty() {
            self.lines.push(Line::default());
        }
    }

    fn commented(&self, start: usize, end: usize) -> bool {
        self.comments.iter().any(|c| c.start >= start && c.start < end)
    }

    /// How wide the first column of each part is: that of the widest of its neighbours.
    fn columns(&self, parts: &[Part]) -> Vec<usize> {
        let key = |part: &Part| match &part.form {
            Form::Columns(column, head, _) if !self.commented(part.start, part.end) => {
                Some((*column, head.chars().count()))
            }
            Form::Columns(..) | Form::Plain(_) | Form::Block(..) => None,
        };
        let joined = |a: &Part, b: &Part| {
            let between = &self.source[a.end..b.start];
            between.matches('\n').count() <= 1
        };
        let keys: Vec<Option<(Column, usize)>> = parts.iter().map(key).collect();
        let mut widths: Vec<usize> = keys.iter().map(|k| k.map_or(0, |k| k.1)).collect();
        let mut start = 0;
        while start < parts.len() {
            let mut end = start + 1;
            while end < parts.len()
                && keys[end].map(|k| k.0) == keys[start].map(|k| k.0)
                && joined(&parts[end - 1], &parts[end])
            {
                end += 1;
            }
            let run = &mut widths[start..end];
            let (low, high) =
                run.iter().fold((usize::MAX, 0), |(l, h), &w| (l.min(w), h.max(w)));
            if high - low <= SPREAD {
                run.fill(high);
            }
            start = end;
        }
        widths
    }

    fn part(&mut self, part: &Part, indent: usize, width: usize) {
        match &part.form {
            Form::Plain(_) | Form::Columns(..)
                if self.commented(part.start, part.end) =>
            {
                self.verbatim(part.start, part.end, indent);
            }
            Form::Plain(doc) => self.code(doc, "", indent),
            Form::Columns(_, head, tail) => {
                let pad = " ".repeat(width.saturating_sub(head.chars().count()) + 1);
                self.code(tail, &format!("{head}{pad}"), indent);
            }
            Form::Block(head, parts) => self.block(part, head, parts, indent),
        }
    }

    fn block(&mut self, part: &Part, head: &Doc, parts: &[Part], indent: usize) {
        if let Some(line) = self.on_one_line(part)
            && indent + line.chars().count() <= WIDTH
        {
            self.code(&text(line), "", indent);
            return;
        }
        let open = self.opening(part);
        if self.commented(part.start, open) {
            self.verbatim(part.start, open + 1, indent);
        } else {
            self.block_head(head, indent);
        }
        self.sequence(parts, indent + STEP, open + 1, part.end - 1);
        self.lines.push(Line { code: " ".repeat(indent) + "}", ..Line::default() });
    }

    fn block_head(&mut self, head: &Doc, indent: usize) {
        let room = WIDTH - 2;
        let mut lines = head.lines_within(indent, indent, room);
        if let Some(last) = lines.last_mut() {
            last.push_str(" {");
        }
        for (n, line) in lines.into_iter().enumerate() {
            let code = if n == 0 { " ".repeat(indent) + &line } else { line };
            self.lines.push(Line { code, ..Line::default() });
        }
    }

    /// The part on one line, where it stands on one and holds no more than one statement.
    fn on_one_line(&self, part: &Part) -> Option<String> {
        let one_line = !self.source[part.start..part.end].contains('\n');
        match &part.form {
            Form::Plain(doc) => Some(doc.flat()),
            Form::Columns(_, head, tail) => Some(format!("{head} {}", tail.flat())),
            Form::Block(head, parts) => match parts.as_slice() {
                [] if !self.commented(part.start, part.end) => {
                    Some(format!("{} {{}}", head.flat()))
                }
                [one] if one_line => {
                    Some(format!("{} {{ {} }}", head.flat(), self.on_one_line(one)?))
                }
                _ => None,
            },
        }
    }

    /// Where the brace of a block is: the first that is in no comment.
    fn opening(&self, part: &Part) -> usize {
        let mut begin = part.start;
        for line in self.source[part.start..part.end].split_inclusive('\n') {
            let code = &line[..comment_of(line).unwrap_or(line.len())];
            if let Some(at) = code.find('{') {
                return begin + at;
            }
            begin += line.len();
        }
        part.end - 1
    }

    fn code(&mut self, doc: &Doc, before: &str, indent: usize) {
        let column = indent + before.chars().count();
        for (n, line) in doc.lines(indent, column).into_iter().enumerate() {
            let code = if n == 0 { " ".repeat(indent) + before + &line } else { line };
            self.lines.push(Line { code, ..Line::default() });
        }
    }

    /// The source's own lines, moved to an indentation.
    fn verbatim(&mut self, start: usize, end: usize, indent: usize) {
        let begin = self.source[..start].rfind('\n').map_or(0, |i| i + 1);
        let old = depth(&self.source[begin..]);
        for (n, line) in self.source[start..end].lines().enumerate() {
            let code = line.trim();
            let more = if n == 0 { 0 } else { depth(line).saturating_sub(old) };
            let code = if code.is_empty() {
                String::new()
            } else {
                " ".repeat(indent + more) + code
            };
            self.lines.push(Line { code, ..Line::default() });
        }
        while self.comments.get(self.next).is_some_and(|c| c.start < end) {
            self.next += 1;
        }
    }
}

/// How far a line stands in; a tab counts as a step.
fn depth(line: &str) -> usize {
    let mut depth = 0;
    for c in line.chars() {
        match c {
            ' ' => depth += 1,
            '\t' => depth += STEP,
            _ => break,
        }
    }
    depth
}

/// The lines as one text, the comments of neighbours in one column.
fn finish(lines: Vec<Line>) -> String {
    let mut out = String::new();
    let mut start = 0;
    while start < lines.len() {
        let mut end = start + 1;
        let commented = lines[start].trailing.is_some();
        while commented && end < lines.len() && lines[end].trailing.is_some() {
            end += 1;
        }
        let widest =
            lines[start..end].iter().map(|l| l.code.chars().count()).max().unwrap_or(0);
        for line in &lines[start..end] {
            let code = line.code.trim_end();
            out.push_str(code);
            if let Some(comment) = &line.trailing {
                out.push_str(&" ".repeat(widest + 2 - code.chars().count()));
                out.push_str(comment);
            }
            out.push('\n');
        }
        start = end;
    }
    out
}
