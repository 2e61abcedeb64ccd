//! From the parser's pairs to the syntax tree, and syntax errors in words.
//!
//! Where the whole file does not parse, it is cut at the starts of its definitions and each piece
//! is parsed alone, so that several errors are reported in one run and the sound definitions stay.

mod definition;
mod expr;
mod statement;

use crate::ast::{Entry, File, Name};
use crate::diagnostic::Diagnostic;
use crate::print::comment_of;
use crate::source::{FileId, Sources, Span};
use pest::Parser;
use pest::error::{Error, ErrorVariant};
use pest::iterators::{Pair, Pairs};

#[derive(pest_derive::Parser)]
#[grammar = "../nestor.pest"]
struct Grammar;

/// Parses one file: its tree as far as it goes, and its syntax errors.
pub fn parse(sources: &Sources, file: FileId) -> (File, Vec<Diagnostic>) {
    let text = &sources.get(file).text;
    match whole(text, file, 0) {
        Ok(tree) => (tree, Vec::new()),
        Err(error) => {
            let mut tree = File::default();
            let mut found = Vec::new();
            for (start, piece) in pieces(text) {
                match whole(piece, file, start) {
                    Ok(part) => tree.entries.extend(part.entries),
                    Err(error) => found.push(explain(&error, piece, file, start)),
                }
            }
            if found.is_empty() {
                found.push(explain(&error, text, file, 0));
            }
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

/// The file cut where a line begins with a word that begins a definition.
fn pieces(text: &str) -> Vec<(usize, &str)> {
    const WORDS: [&str; 10] = [
        "use",
        "function",
        "bias",
        "retention",
        "algorithm",
        "structure",
        "memory",
        "layer",
        "model",
        "sweep",
    ];
    let mut starts = vec![0];
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let begins = WORDS.iter().any(|w| {
            line.strip_prefix(w).is_some_and(|rest| rest.starts_with([' ', '\t']))
        });
        if begins && at > 0 {
            starts.push(at);
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    starts.iter().zip(ends).map(|(&s, e)| (s, &text[s..e])).collect()
}

/// A syntax error as a diagnostic: what stands there, and what was expected instead.
fn explain(error: &Error<Rule>, text: &str, file: FileId, start: usize) -> Diagnostic {
    let at = match error.location {
        pest::error::InputLocation::Pos(p) | pest::error::InputLocation::Span((p, _)) => {
            p
        }
    };
    let rest = &text[at..];
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let size = match rest.chars().next() {
        None => 0,
        Some(c) if word(c) => rest.find(|c| !word(c)).unwrap_or(rest.len()),
        Some(c) => c.len_utf8(),
    };
    let found = &rest[..size];
    let span =
        Span { file, start: (start + at) as u32, end: (start + at + size.max(1)) as u32 };
    let span =
        Span { end: span.end.min((start + text.len()).max(start + at) as u32), ..span };
    let here = if found.is_empty() {
        "the end of the definition".into()
    } else {
        format!("`{found}`")
    };
    let mut expected: Vec<&str> = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } => {
            positives.iter().map(|r| words(*r)).collect()
        }
        ErrorVariant::CustomError { .. } => Vec::new(),
    };
    expected.sort_unstable();
    expected.dedup();
    expected.retain(|w| !w.is_empty());
    let diagnostic =
        Diagnostic::error("N001", span, format!("{here} does not belong here"));
    let diagnostic = match expected.as_slice() {
        [] => diagnostic.says("not understood"),
        [one] => diagnostic.says(format!("expected {one}")),
        [most @ .., last] => {
            diagnostic.says(format!("expected {} or {last}", most.join(", ")))
        }
    };
    if RESERVED.contains(&found) {
        diagnostic.help(format!(
            "`{found}` is a reserved word; another name is needed where a name is meant"
        ))
    } else if found.is_empty() {
        diagnostic.help("a brace or parenthesis may be left open")
    } else {
        diagnostic
    }
}

const RESERVED: &[&str] = &[
    "in",
    "out",
    "weight",
    "state",
    "fixed",
    "repeat",
    "every",
    "level",
    "minimize",
    "over",
    "using",
    "retaining",
    "weighted",
    "on",
    "clip",
    "keep",
    "penalty",
    "step",
    "when",
    "from",
    "if",
    "then",
    "else",
    "and",
    "or",
    "not",
    "true",
    "false",
    "online",
];

/// What a rule is to people; nothing for what would only be noise.
fn words(rule: Rule) -> &'static str {
    match rule {
        Rule::name | Rule::path | Rule::word => "a name",
        Rule::expr
        | Rule::cond
        | Rule::postfix
        | Rule::atom
        | Rule::unary
        | Rule::sum
        | Rule::product
        | Rule::matmul
        | Rule::range
        | Rule::compare
        | Rule::power
        | Rule::or_expr
        | Rule::and_expr
        | Rule::not_expr => "an expression",
        Rule::arguments => "`(`",
        Rule::params => "parameters in parentheses",
        Rule::shape | Rule::dims_shape => "a shape",
        Rule::clock => "a clock (`every ...`)",
        Rule::anchor => "`at previous`, `at kept` or `at every ...`",
        Rule::call => "a call",
        Rule::string => "a file name in quotes",
        Rule::item | Rule::clause | Rule::binding => "a statement",
        Rule::entry => "a definition",
        Rule::EOI => "the end of the file",
        Rule::out_expr | Rule::kw_out => "`out`",
        Rule::kw_then => "`then`",
        Rule::kw_else => "`else`",
        Rule::kw_in => "`in`",
        Rule::kw_over => "`over`",
        Rule::kw_using => "`using`",
        Rule::kw_tokens | Rule::kw_token => "`tokens`",
        Rule::kw_step | Rule::kw_steps => "`steps`",
        Rule::decl => "`name: shape = value`",
        Rule::param => "a parameter",
        Rule::number => "a number",
        Rule::range_op
        | Rule::sum_op
        | Rule::product_op
        | Rule::matmul_op
        | Rule::compare_op
        | Rule::pipe => "an operator",
        _ => "",
    }
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
