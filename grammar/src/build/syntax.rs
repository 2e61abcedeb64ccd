//! Syntax errors in words: what stands there, what was expected instead, and what may have been meant.

mod hint;

use super::Rule;
use super::lexer::{Token, tokens};
use crate::diagnostic::Diagnostic;
use crate::source::{FileId, Span};
use pest::error::{Error, ErrorVariant, InputLocation};

/// What there is to know of an error's place.
struct Place<'a> {
    tokens: &'a [Token<'a>],
    /// The token that does not belong; one past the last at the end.
    at: usize,
    text: &'a str,
    /// What would have been taken there.
    expected: &'a [String],
}

/// A syntax error as a diagnostic.
pub(super) fn explain(
    error: &Error<Rule>,
    text: &str,
    file: FileId,
    start: usize,
) -> Diagnostic {
    let (byte, expected) = expectation(error, text);
    let tokens = tokens(text);
    let at = tokens.iter().position(|t| t.end() > byte).unwrap_or(tokens.len());
    let place = Place { tokens: &tokens, at, text, expected: &expected };
    let span = |token: Token<'_>| Span {
        file,
        start: (start + token.start) as u32,
        end: (start + token.end()) as u32,
    };
    let hint = hint::HINTS.iter().find_map(|hint| hint(&place));
    let hint = hint.unwrap_or_else(|| plain(&place));
    let nothing = Token { start: text.trim_end().len(), text: "" };
    let found = place.tokens.get(hint.at).or(tokens.last()).copied().unwrap_or(nothing);
    let mut diagnostic =
        Diagnostic::error("N001", span(found), hint.message).says(hint.says);
    if let Some(open) = opener(&place).filter(|open| open.start != found.start) {
        diagnostic =
            diagnostic.label(span(open), format!("this `{}` is open", open.text));
    }
    match hint.help {
        Some(help) => diagnostic.help(help),
        None => diagnostic,
    }
}

/// How many brackets may be open at once, and how many signs follow one another.
const DEEPEST: usize = 100;

/// A text nested so deeply that the parser would run out of stack.
pub(super) fn too_deep(text: &str, file: FileId) -> Option<Diagnostic> {
    let (mut open, mut signs) = (0_usize, 0_usize);
    for token in tokens(text) {
        let right = ["-", "not", "^", "else"].contains(&token.text);
        match token.text {
            "(" | "[" | "{" => open += 1,
            ")" | "]" | "}" => open = open.saturating_sub(1),
            "=" | "," | "keep" | "read" | "step" | "out" => signs = 0,
            _ => signs += usize::from(right),
        }
        if open + signs > DEEPEST {
            let span = Span { file, start: token.start as u32, end: token.end() as u32 };
            let message = format!("this is nested more than {DEEPEST} deep");
            let help = "bind the inner parts to names";
            return Some(Diagnostic::error("N001", span, message).help(help));
        }
    }
    None
}

/// What to say.
struct Hint {
    at: usize,
    message: String,
    says: String,
    help: Option<String>,
}

impl Place<'_> {
    fn found(&self) -> Option<&str> {
        self.tokens.get(self.at).map(|t| t.text)
    }
    fn before(&self) -> Option<Token<'_>> {
        self.tokens.get(self.at.checked_sub(1)?).copied()
    }
    fn expects(&self, what: &str) -> bool {
        self.expected.iter().any(|e| e == what)
    }
    fn says(&self) -> String {
        match self.expected {
            [] => "not understood here".into(),
            [one] => format!("expected {one}"),
            [most @ .., last] => format!("expected {} or {last}", most.join(", ")),
        }
    }
    fn hint(&self, message: impl Into<String>, help: impl Into<String>) -> Hint {
        let help = Some(help.into());
        Hint { at: self.at, message: message.into(), says: self.says(), help }
    }
    /// Nothing but white space stands before this token on its line.
    fn first_on_line(&self, at: usize) -> bool {
        let begin = self.tokens.get(at).map_or(0, |t| t.start);
        let line = self.text[..begin].rfind('\n').map_or(0, |i| i + 1);
        at == 0
            || self.text[line..begin].trim().is_empty()
            || self.tokens[at - 1].text == "{"
    }
    fn same_line(&self, a: Token<'_>, b: Token<'_>) -> bool {
        !self.text[a.start..b.start].contains('\n')
    }
}

fn plain(place: &Place<'_>) -> Hint {
    let help = [
        ("`else`", "every `if` has an `else`: `if c then a else b`"),
        ("`tokens`", "a clock counts tokens or steps: `every 16 tokens`, `every 1 step`"),
    ];
    let help = help.iter().find(|(expected, _)| place.expects(expected));
    let help = help.map(|(_, help)| (*help).to_owned());
    match place.found() {
        Some(found) => {
            let message = format!("`{found}` does not belong here");
            Hint { at: place.at, message, says: place.says(), help }
        }
        None => Hint {
            at: place.at,
            message: "the text ends too early".into(),
            says: format!("{} after this", place.says()),
            help: help.or_else(|| Some("a brace or parenthesis may be left open".into())),
        },
    }
}

/// The brackets that are open before a token.
fn open_brackets<'a>(tokens: &[Token<'a>], at: usize) -> Vec<Token<'a>> {
    let mut open = Vec::new();
    for token in &tokens[..at] {
        match token.text {
            "(" | "[" | "{" => open.push(*token),
            ")" | "]" | "}" => {
                open.pop();
            }
            _ => {}
        }
    }
    open
}

/// The bracket that is open where its closing one is expected.
fn opener<'a>(place: &Place<'a>) -> Option<Token<'a>> {
    let open = *open_brackets(place.tokens, place.at).last()?;
    let close = match open.text {
        "(" => "`)`",
        "[" => "`]`",
        _ => "`}`",
    };
    let ends = place.found().is_none();
    (ends || open.text != "{" && place.expects(close)).then_some(open)
}

/// The byte where the parser got to, and what it would have taken there.
fn expectation(error: &Error<Rule>, text: &str) -> (usize, Vec<String>) {
    let (InputLocation::Pos(by_rules) | InputLocation::Span((by_rules, _))) =
        error.location;
    let attempts = error.parse_attempts();
    let by_tokens = attempts.as_ref().map_or(0, |a| a.max_position);
    let mut signs: Vec<String> = Vec::new();
    for token in attempts.iter().flat_map(|a| a.expected_tokens()) {
        let token = token.to_string();
        let noise = ["//", "_", "0..9", "BUILTIN_RULE"].contains(&token.as_str());
        if !noise && !token.trim().is_empty() {
            signs.push(token);
        }
    }
    // Rules fail where they begin, tokens where they stand: what is further says more. A name that
    // turns out to be a reserved word fails behind the word, with nothing to take there.
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let inside = text.is_char_boundary(by_tokens)
        && text[..by_tokens].ends_with(word)
        && text[by_tokens..].starts_with(word);
    let further = by_tokens > by_rules && !signs.is_empty() && !inside;
    if by_tokens < by_rules || by_tokens > by_rules && !further {
        signs.clear();
    }
    let mut expected: Vec<String> = match &error.variant {
        ErrorVariant::ParsingError { positives, .. } if !further => {
            positives.iter().filter_map(|r| words(*r)).collect()
        }
        ErrorVariant::ParsingError { .. } | ErrorVariant::CustomError { .. } => {
            Vec::new()
        }
    };
    let has = |all: &[String], what: &str| all.iter().any(|e| e == what);
    if has(&signs, "^") && has(&signs, "@") {
        expected.push("an operator".into());
    }
    let operator = has(&expected, "an operator");
    let value = has(&expected, "an expression");
    let statement = has(&expected, "a statement") || has(&expected, "a definition");
    let is_word = |sign: &String| sign.starts_with(char::is_alphabetic);
    let few = signs.iter().filter(|s| is_word(s)).count() <= 8;
    expected.extend(signs.iter().filter_map(|sign| {
        let shown = match sign.as_str() {
            "and" | "or" | "at" | "from" | "when" if operator => false,
            // Of the two forms of a unit the plural speaks for both.
            "step" | "token" => false,
            ")" | "]" | "}" | "," | ":" | "{" => true,
            "=" => !value && !operator,
            "(" => !value && !operator && !statement,
            _ => is_word(sign) && few && !statement && !value,
        };
        shown.then(|| format!("`{sign}`"))
    }));
    if operator || statement {
        expected.retain(|e| {
            !["`and`", "`or`", "`at`", "`from`", "`when`"].contains(&e.as_str())
        });
    }
    expected.sort_unstable();
    expected.dedup();
    (if further { by_tokens } else { by_rules }, expected)
}

/// The words that begin a definition.
pub(super) const DEFINITIONS: [&str; 10] = [
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

/// The reserved words.
pub(super) const RESERVED: [&str; 29] = [
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
fn words(rule: Rule) -> Option<String> {
    const WORDS: &[(&[Rule], &str)] = &[
        (&[Rule::name, Rule::path, Rule::word], "a name"),
        (
            &[
                Rule::expr,
                Rule::cond,
                Rule::or_expr,
                Rule::and_expr,
                Rule::not_expr,
                Rule::compare,
                Rule::range,
                Rule::sum,
                Rule::product,
                Rule::matmul,
                Rule::unary,
                Rule::power,
                Rule::postfix,
                Rule::atom,
                Rule::number,
            ],
            "an expression",
        ),
        (
            &[
                Rule::range_op,
                Rule::sum_op,
                Rule::product_op,
                Rule::matmul_op,
                Rule::compare_op,
                Rule::pipe,
            ],
            "an operator",
        ),
        (&[Rule::params], "parameters in parentheses"),
        (&[Rule::param], "a parameter"),
        (&[Rule::shape, Rule::dims_shape], "a shape"),
        (&[Rule::clock], "a clock (`every ...`)"),
        (&[Rule::anchor], "`at previous`, `at kept` or `at every ...`"),
        (&[Rule::call], "a call"),
        (&[Rule::string], "a file name in quotes"),
        (&[Rule::decl], "`name: shape = value`"),
        (
            &[Rule::item, Rule::clause, Rule::binding, Rule::minimize, Rule::repeat],
            "a statement",
        ),
        (&[Rule::entry, Rule::constant], "a definition"),
        (&[Rule::EOI], "the end of the file"),
        (&[Rule::out_expr], "`out`"),
    ];
    if let Some((_, text)) = WORDS.iter().find(|(rules, _)| rules.contains(&rule)) {
        return Some((*text).to_owned());
    }
    let name = format!("{rule:?}");
    // Of the two forms of a unit the plural speaks for both.
    let unit = ["kw_token", "kw_step"].contains(&name.as_str());
    let word = name.strip_prefix("kw_").filter(|_| !unit)?;
    Some(format!("`{word}`"))
}
