//! From the parser's pairs to the syntax tree, and syntax errors in words.
//!
//! Where the whole file does not parse, it is cut at the starts of its definitions and each piece
//! is parsed alone, so that several errors are reported in one run and the sound definitions stay.

mod complete;
mod definition;
mod expr;
mod lexer;
mod statement;
mod syntax;

use crate::ast::{Entry, File, Name};
use crate::diagnostic::Diagnostic;
use crate::print::comment_of;
use crate::source::{FileId, Sources, Span};
use pest::Parser;
use pest::error::Error;
use pest::iterators::{Pair, Pairs};
use syntax::explain;

#[derive(pest_derive::Parser)]
#[grammar = "../nestor.pest"]
struct Grammar;

/// Parses one file: its tree as far as it goes, and its syntax errors.
pub fn parse(sources: &Sources, file: FileId) -> (File, Vec<Diagnostic>) {
    let text = &sources.get(file).text;
    if let Some(error) = syntax::too_deep(text, file) {
        return (File::default(), vec![error]);
    }
    match whole(text, file, 0) {
        Ok(tree) => {
            let missing = complete::incomplete(&tree.entries);
            (tree, missing)
        }
        Err(_) => {
            // Details cost time, so they are asked for only once something is wrong. The switch is the
            // whole process's: turned back, it could take the details from another thread's errors.
            pest::set_error_detail(true);
            let mut tree = File::default();
            let mut found = Vec::new();
            for (start, piece) in pieces(text) {
                match whole(piece, file, start) {
                    Ok(part) => tree.entries.extend(part.entries),
                    Err(error) => found.push(explain(&error, piece, file, start)),
                }
            }
            if found.is_empty() {
                let error = whole(text, file, 0).err();
                found.extend(error.map(|e| explain(&e, text, file, 0)));
            }
            found.extend(complete::incomplete(&tree.entries));
            found.sort_by_key(Diagnostic::span);
            (tree, found)
        }
    }
}

fn whole(text: &str, file: FileId, start: usize) -> Result<File, Box<Error<Rule>>> {
    let pairs = Grammar::parse(Rule::file, text).map_err(Box::new)?;
    let context = Context { file, start };
    let mut entries = Vec::new();
    for pair in pairs.flat_map(Pair::into_inner).filter(|p| p.as_rule() == Rule::entry) {
        let span = context.span(&pair);
        let doc = doc_above(text, span.start as usize - start);
        let kind = definition::entry(context, first(pair));
        entries.push(Entry { doc, kind, span });
    }
    Ok(File { entries })
}

/// The `///` lines that stand right above a byte.
fn doc_above(text: &str, at: usize) -> Vec<String> {
    let mut doc: Vec<String> = text[..at]
        .trim_end_matches([' ', '\t'])
        .trim_end_matches('\n')
        .lines()
        .rev()
        .map_while(|line| line.trim_start().strip_prefix("///"))
        .map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned())
        .collect();
    doc.reverse();
    doc
}

/// The file cut where a line begins with a word that begins a definition, or should have been one.
fn pieces(text: &str) -> Vec<(usize, &str)> {
    let mut starts = vec![0];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if at > 0 && begins_definition(line) {
            starts.push(at);
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(&s, e)| (s, &text[s..e])).collect()
}

/// `word name(`, `word name {`, `name =` or a word that begins a definition, at the start of a line.
fn begins_definition(line: &str) -> bool {
    if !line.starts_with(char::is_alphabetic) {
        return false;
    }
    let tokens = lexer::tokens(line);
    let text = |n: usize| tokens.get(n).map_or("", |t| t.text);
    let named = tokens.get(1).is_some_and(|t| t.is_word());
    let opens = ["", "(", "{", "over"].contains(&text(2));
    let definition =
        syntax::DEFINITIONS.contains(&text(0)) || text(1) == "=" || named && opens;
    definition && !syntax::RESERVED.contains(&text(0))
}

/// Where the text being built stands.
#[derive(Clone, Copy)]
struct Context {
    file: FileId,
    start: usize,
}

type Node<'a> = Pair<'a, Rule>;

impl Context {
    fn span(self, pair: &Node<'_>) -> Span {
        let span = pair.as_span();
        let end = span.start() + without_tail(pair.as_str()).len();
        let at =
            |n: usize| u32::try_from(self.start + n).expect("a file of less than 4 GiB");
        Span { file: self.file, start: at(span.start()), end: at(end) }
    }
    fn name(self, pair: &Node<'_>) -> Name {
        Name { text: pair.as_str().trim().to_owned(), span: self.span(pair) }
    }
}

/// The text without the white space and comments that the parser passed over behind it.
fn without_tail(mut text: &str) -> &str {
    loop {
        text = text.trim_end();
        let line = text.rfind('\n').map_or(0, |i| i + 1);
        match comment_of(&text[line..]) {
            Some(at) => text = &text[..line + at],
            None => return text,
        }
    }
}

/// The first part of a pair; the grammar says that there is one.
fn first(pair: Node<'_>) -> Node<'_> {
    pair.into_inner().next().expect("the grammar gives this rule a part")
}

/// Parts without the keywords that announce them.
fn parts(pair: Node<'_>) -> impl Iterator<Item = Node<'_>> {
    meaningful(pair.into_inner())
}

fn meaningful(pairs: Pairs<'_, Rule>) -> impl Iterator<Item = Node<'_>> {
    pairs.filter(|p| !KEYWORDS_WITHOUT_MEANING.contains(&p.as_rule()))
}

const KEYWORDS_WITHOUT_MEANING: &[Rule] = &[
    Rule::kw_use,
    Rule::kw_function,
    Rule::kw_bias,
    Rule::kw_retention,
    Rule::kw_algorithm,
    Rule::kw_structure,
    Rule::kw_memory,
    Rule::kw_sweep,
    Rule::kw_int,
    Rule::kw_weight,
    Rule::kw_state,
    Rule::kw_read,
    Rule::kw_keep,
    Rule::kw_penalty,
    Rule::kw_out,
    Rule::kw_in,
    Rule::kw_over,
    Rule::kw_last,
    Rule::kw_weighted,
    Rule::kw_on,
    Rule::kw_gradient,
    Rule::kw_update,
    Rule::kw_reset,
    Rule::kw_at,
    Rule::kw_every,
    Rule::kw_level,
    Rule::kw_repeat,
    Rule::kw_when,
    Rule::kw_from,
    Rule::kw_minimize,
    Rule::kw_using,
    Rule::kw_clip,
    Rule::kw_if,
    Rule::kw_then,
    Rule::kw_else,
    Rule::kw_and,
    Rule::kw_or,
];
