//! The words and signs of a text, for errors: a text that does not parse still has these.

use crate::print::comment_of;

/// A word, number, quoted text or sign, and where it begins.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Token<'a> {
    /// Its first byte.
    pub(super) start: usize,
    /// Its text.
    pub(super) text: &'a str,
}

impl Token<'_> {
    /// One past its last byte.
    pub(super) fn end(self) -> usize {
        self.start + self.text.len()
    }
    /// Begins with a letter.
    pub(super) fn is_word(self) -> bool {
        self.text.starts_with(char::is_alphabetic)
    }
    /// Begins with a digit.
    pub(super) fn is_number(self) -> bool {
        self.text.starts_with(|c: char| c.is_ascii_digit())
    }
}

const SIGNS: [&str; 7] = ["|>", "..", "==", "!=", "<=", ">=", "->"];

/// All tokens of a text, comments left out.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut out = Vec::new();
    let mut begin = 0;
    for line in text.split_inclusive('\n') {
        let code = &line[..comment_of(line).unwrap_or(line.len())];
        let mut at = 0;
        while let Some(c) = code[at..].chars().next() {
            let size = size(&code[at..], c);
            if !c.is_whitespace() {
                out.push(Token { start: begin + at, text: &code[at..at + size] });
            }
            at += size;
        }
        begin += line.len();
    }
    out
}

fn size(rest: &str, c: char) -> usize {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    if c == '"' {
        return rest[1..].find('"').map_or_else(|| rest.trim_end().len(), |n| n + 2);
    }
    if c.is_ascii_digit() {
        // A point belongs to a number where a digit follows it.
        let whole = rest.find(|c: char| !word(c)).unwrap_or(rest.len());
        let after = rest[whole..].strip_prefix('.').unwrap_or("");
        let digits = after.find(|c: char| !word(c)).unwrap_or(after.len());
        let decimal = after.starts_with(|c: char| c.is_ascii_digit());
        return if decimal { whole + 1 + digits } else { whole };
    }
    if word(c) {
        return rest.find(|c: char| !word(c)).unwrap_or(rest.len());
    }
    if SIGNS.iter().any(|sign| rest.starts_with(sign)) { 2 } else { c.len_utf8() }
}
