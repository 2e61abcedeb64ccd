//! What the parsers of all text forms share: words with their lines, and a reader over them.
//! Text is read back for tests and for looking at one stage alone, so the first error ends it.

use crate::dim::Dim;
use crate::ty::{Elem, Type};
use thiserror::Error;

/// A line that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {why}")]
pub struct ParseError {
    /// The line, from 1.
    pub line: usize,
    /// What was expected and what was found.
    pub why: String,
}

/// Signs of two characters.
const PAIRS: &[&str] = &["<=", "==", "+=", "->", ".."];

type Token = (usize, String);

/// Words and signs with their lines; what follows `//` is for people.
fn tokens(text: &str) -> Result<Vec<Token>, ParseError> {
    let mut out = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next().filter(|_| !rest.starts_with("//")) {
            let size = if first == '"' {
                quoted(rest).ok_or_else(|| ParseError {
                    line: number + 1,
                    why: "a quote is not closed".into(),
                })?
            } else if PAIRS.iter().any(|p| rest.starts_with(p)) {
                2
            } else if first.is_alphanumeric() || "%_-".contains(first) {
                word(rest)
            } else {
                first.len_utf8()
            };
            out.push((number + 1, rest[..size].to_owned()));
            rest = rest[size..].trim_start();
        }
    }
    Ok(out)
}

/// A word ends before two dots, and before a sign that is of no number.
fn word(text: &str) -> usize {
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let digits = text.trim_start_matches('-').chars().next().is_some_and(is_number);
    let mut last = ' ';
    for (i, c) in text.char_indices() {
        let sign = match c {
            '-' => i == 0 || digits && (last == 'e' || last == 'E'),
            '+' => digits && (last == 'e' || last == 'E'),
            '.' => !text[i..].starts_with(".."),
            c => c.is_alphanumeric() || c == '_' || c == '%',
        };
        if !sign {
            return i;
        }
        last = c;
    }
    text.len()
}

fn quoted(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (i, c) in text.char_indices().skip(1) {
        match c {
            '"' if !escaped => return Some(i + 1),
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    None
}

/// What the reader's methods give: what was read, or what was expected.
pub(crate) type Read<T> = Result<T, String>;

/// A place in the words of a text.
pub(crate) struct Reader {
    tokens: Vec<Token>,
    at: usize,
}

impl Reader {
    /// Reads a whole text with `read`.
    pub(crate) fn whole<T>(
        text: &str,
        read: impl FnOnce(&mut Self) -> Read<T>,
    ) -> Result<T, ParseError> {
        let mut reader = Self { tokens: tokens(text)?, at: 0 };
        let done = read(&mut reader).and_then(|value| match reader.peek() {
            "" => Ok(value),
            more => Err(format!("the end expected, not `{more}`")),
        });
        done.map_err(|why| ParseError { line: reader.line(), why })
    }
    fn line(&self) -> usize {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |t| t.0)
    }
    /// The next word; empty at the end.
    pub(crate) fn peek(&self) -> &str {
        self.ahead(0)
    }
    /// The word after `n` others.
    pub(crate) fn ahead(&self, n: usize) -> &str {
        self.tokens.get(self.at + n).map_or("", |t| t.1.as_str())
    }
    /// Takes the next word.
    pub(crate) fn next(&mut self) -> String {
        let token = self.peek().to_owned();
        self.at += 1;
        token
    }
    /// Takes the next word if it is this one.
    pub(crate) fn eat(&mut self, token: &str) -> bool {
        let found = self.peek() == token;
        self.at += usize::from(found);
        found
    }
    /// Takes these words.
    pub(crate) fn need(&mut self, words: &str) -> Read<()> {
        for word in words.split(' ') {
            if !self.eat(word) {
                return Err(self.expected(&format!("`{word}`")));
            }
        }
        Ok(())
    }
    /// The complaint that something else stands here.
    pub(crate) fn expected(&self, what: &str) -> String {
        match self.peek() {
            "" => format!("{what} expected, not the end"),
            found => format!("{what} expected, not `{found}`"),
        }
    }
    /// Items with commas up to a closing sign.
    pub(crate) fn list<T>(
        &mut self,
        close: &str,
        mut item: impl FnMut(&mut Self) -> Read<T>,
    ) -> Read<Vec<T>> {
        let mut out = Vec::new();
        while !self.eat(close) {
            if self.peek().is_empty() {
                return Err(self.expected(&format!("`{close}`")));
            }
            out.push(item(self)?);
            self.eat(",");
        }
        Ok(out)
    }
    /// Items with commas between them, at least one.
    pub(crate) fn some<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Read<T>,
    ) -> Read<Vec<T>> {
        let mut out = vec![item(self)?];
        while self.eat(",") {
            out.push(item(self)?);
        }
        Ok(out)
    }
    /// A word that `of` understands.
    pub(crate) fn take<T>(
        &mut self,
        what: &str,
        of: impl FnOnce(&str) -> Option<T>,
    ) -> Read<T> {
        let found = of(self.peek()).ok_or_else(|| self.expected(what))?;
        self.at += 1;
        Ok(found)
    }
    /// One of the named things.
    pub(crate) fn one_of<T: Copy>(
        &mut self,
        what: &str,
        all: &[T],
        name: impl Fn(T) -> &'static str,
    ) -> Read<T> {
        self.take(what, |word| all.iter().copied().find(|t| name(*t) == word))
    }
    /// A whole number, not negative.
    pub(crate) fn count(&mut self) -> Read<usize> {
        self.take("a count", |word| word.parse().ok())
    }
    /// A number.
    pub(crate) fn number(&mut self) -> Read<f64> {
        self.take("a number", number)
    }
    /// An id with its letter, as `b3`.
    pub(crate) fn id<K: crate::entity::Entity + std::fmt::Display>(
        &mut self,
        what: &str,
        letter: char,
    ) -> Read<K> {
        self.take(what, |word| {
            word.strip_prefix(letter).and_then(|n| n.parse().ok()).map(K::new)
        })
    }
    /// The id that comes next: ids number what is declared in order.
    pub(crate) fn declared(&mut self, id: impl std::fmt::Display) -> Read<()> {
        self.need(&id.to_string())
    }
    /// A name between quotes.
    pub(crate) fn string(&mut self) -> Read<String> {
        self.take("a quoted name", |word| {
            unescaped(word.strip_prefix('"')?.strip_suffix('"')?)
        })
    }
    /// `[B, T, 4]`, perhaps behind `int` or `bool`.
    pub(crate) fn ty(&mut self) -> Read<Type> {
        let elem = match self.peek() {
            "int" => Elem::Int,
            "bool" => Elem::Bool,
            _ => Elem::Real,
        };
        if elem != Elem::Real {
            self.next();
        }
        Ok(Type { elem, dims: self.dims()?.into_iter().collect() })
    }
    /// `[B, T, 4]`.
    pub(crate) fn dims(&mut self) -> Read<Vec<Dim>> {
        self.need("[")?;
        self.list("]", Self::dim)
    }
    /// `B`, `T`, `B*T`, `T/16`, `P`, `P+T`, these of ticks, `T:4`, or a number.
    pub(crate) fn dim(&mut self) -> Read<Dim> {
        let dim = self.dim_of_tokens()?;
        let walked = !matches!(dim, Dim::Fixed(_) | Dim::Batch | Dim::Samples);
        if !walked || !self.eat(":") {
            return Ok(dim);
        }
        let every = self.count()?;
        Ok(match dim {
            Dim::Chunks(chunk) => Dim::TickChunks { every, chunk },
            Dim::Past => Dim::past(every),
            Dim::Whole => Dim::whole(every),
            other => other.ticks_of().map_or(other, |_| Dim::time(every)),
        })
    }
    fn dim_of_tokens(&mut self) -> Read<Dim> {
        if self.eat("B") {
            return Ok(if self.eat("*") {
                self.need("T")?;
                Dim::Samples
            } else {
                Dim::Batch
            });
        }
        if self.eat("T") {
            return Ok(if self.eat("/") {
                Dim::Chunks(self.count()?)
            } else {
                Dim::Time
            });
        }
        if self.eat("P") {
            return Ok(if self.eat("+") {
                self.need("T")?;
                Dim::Whole
            } else {
                Dim::Past
            });
        }
        self.take("a dimension", |word| word.parse().ok().map(Dim::Fixed))
    }
}

fn number(word: &str) -> Option<f64> {
    let first = word.trim_start_matches('-').chars().next()?;
    let known = first.is_ascii_digit() || first == '.' || word.ends_with("inf");
    word.parse().ok().filter(|_| known || word == "NaN")
}

/// The text that `{:?}` has escaped.
fn unescaped(text: &str) -> Option<String> {
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        out.push(match rest.next()? {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            '0' => '\0',
            'u' => {
                let code: String =
                    rest.by_ref().skip(1).take_while(|c| *c != '}').collect();
                char::from_u32(u32::from_str_radix(&code, 16).ok()?)?
            }
            other => other,
        });
    }
    Some(out)
}
