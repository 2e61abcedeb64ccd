//! What people write by mistake, and what to say of it.

use super::{DEFINITIONS, Hint, Place, RESERVED, open_brackets};
use crate::near::distance;

/// What people write by mistake, the most telling first.
pub(super) const HINTS: [fn(&Place<'_>) -> Option<Hint>; 11] = [
    output_by_equals,
    reserved_bound,
    misplaced_statement,
    reserved_as_name,
    double_equals,
    chained_comparison,
    unknown_word,
    closes_nothing,
    foreign_sign,
    missing_initial_value,
    missing_operator,
];

fn output_by_equals(place: &Place<'_>) -> Option<Hint> {
    (place.found()? == "=" && place.before()?.text == "out").then(|| {
        place.hint(
            "`out` takes its value without `=`",
            "write `out x`, or `out name = x` to name it",
        )
    })
}

fn reserved_bound(place: &Place<'_>) -> Option<Hint> {
    let bound = ["=", "'"].contains(&place.found()?);
    let word = place.before()?.text;
    let reserved = RESERVED.contains(&word) && place.first_on_line(place.at - 1);
    (bound && reserved).then(|| Hint {
        at: place.at - 1,
        message: format!("`{word}` is a reserved word and cannot be bound"),
        says: "a name is needed here".into(),
        help: Some(format!("choose another name, such as `{word}_`")),
    })
}

fn misplaced_statement(place: &Place<'_>) -> Option<Hint> {
    const HOMES: [(&str, &str); 10] = [
        ("in", "a `layer` or `model`"),
        ("out", "a `function`, `layer` or `model`"),
        ("weight", "a `structure`, `memory`, `layer` or `model`"),
        ("state", "a `retention` or `algorithm`"),
        ("repeat", "a `function`, `layer`, `model` or the `update` of a memory"),
        ("level", "a `layer` or `model`"),
        ("minimize", "an `algorithm`, `layer`, `model` or level"),
        ("keep", "a `retention`"),
        ("penalty", "a `retention`"),
        ("step", "an `algorithm`"),
    ];
    let found = place.found()?;
    let (_, home) = HOMES.iter().find(|(word, _)| *word == found)?;
    let body = open_brackets(place.tokens, place.at);
    let inside = body.last().is_some_and(|open| open.text == "{");
    let kind = place.tokens.first()?.text;
    (inside && body.len() == 1 && place.expects("a statement")).then(|| {
        place.hint(
            format!("`{found}` does not belong in a `{kind}` here"),
            format!("`{found}` stands in {home}"),
        )
    })
}

fn reserved_as_name(place: &Place<'_>) -> Option<Hint> {
    let found = place.found()?;
    let reserved = RESERVED.contains(&found);
    (reserved && place.expected.len() <= 3 && place.expects("a name")).then(|| {
        place.hint(
            format!("`{found}` is a reserved word and cannot be a name"),
            "choose another name",
        )
    })
}

fn double_equals(place: &Place<'_>) -> Option<Hint> {
    let word = place.before()?.is_word() && place.first_on_line(place.at - 1);
    (place.found()? == "==" && word)
        .then(|| place.hint("`==` compares", "a name is bound with one `=`"))
}

fn chained_comparison(place: &Place<'_>) -> Option<Hint> {
    let found = place.found()?;
    let compares = |text: &str| ["==", "!=", "<", "<=", ">", ">="].contains(&text);
    let begin = place.before()?.start;
    let line = place.text[..begin].rfind('\n').map_or(0, |i| i + 1);
    let earlier =
        place.tokens[..place.at].iter().any(|t| t.start >= line && compares(t.text));
    (compares(found) && earlier)
        .then(|| place.hint("comparisons are not chained", "write `a < b and b < c`"))
}

fn unknown_word(place: &Place<'_>) -> Option<Hint> {
    let found = *place.tokens.get(place.at)?;
    let mut at = place.at;
    if let Some(before) = place.before() {
        let pair = before.is_word() && found.is_word() && place.same_line(before, found);
        if pair && place.first_on_line(at - 1) && !RESERVED.contains(&before.text) {
            at -= 1;
        }
    }
    let word = place.tokens[at];
    let top = at == 0 || place.expects("a definition");
    if !word.is_word() || at == place.at && !top {
        return None;
    }
    let (words, what): (&[&str], _) =
        if top { (&DEFINITIONS, "definition") } else { (&STATEMENTS, "statement") };
    if words.contains(&word.text) {
        return None;
    }
    let near = words.iter().map(|w| (distance(w, word.text), w)).min();
    let near = near.filter(|(d, _)| *d <= 2);
    let help = match near {
        Some((_, near)) => format!("did you mean `{near}`?"),
        None if top => format!("a definition begins with {}", list(&DEFINITIONS)),
        None => "a binding is `name = value`, a call that acts is `M.write(k, v)`".into(),
    };
    Some(Hint {
        at,
        message: format!("`{}` begins no {what}", word.text),
        says: "not a word of the language here".into(),
        help: Some(help),
    })
}

fn closes_nothing(place: &Place<'_>) -> Option<Hint> {
    let found = place.found()?;
    let closes = [")", "]", "}"].contains(&found);
    (closes && open_brackets(place.tokens, place.at).is_empty()).then(|| Hint {
        says: "nothing is open here".into(),
        ..place.hint(
            format!("`{found}` closes nothing"),
            "take it out, or open what it closes",
        )
    })
}

fn foreign_sign(place: &Place<'_>) -> Option<Hint> {
    const FOREIGN: [(&str, &str); 8] = [
        ("&", "write `and`"),
        ("|", "write `or`, or `|>` to pass a value on"),
        ("!", "write `not`"),
        ("->", "a result is given by `=` or `out`"),
        ("#", "comments begin with `//`"),
        ("\"", "quotes stand only in `use \"file.nest\"`"),
        ("\u{2212}", "write `-`"),
        ("\u{00b7}", "write `*`"),
    ];
    let found = place.found()?;
    let power = found == "*"
        && place.before()?.text == "*"
        && place.before()?.end() == place.tokens[place.at].start;
    if power {
        return Some(place.hint("`**` is no operator", "a power is written `x^2`"));
    }
    let row = FOREIGN.iter().find(|(sign, _)| found.starts_with(sign))?;
    Some(place.hint(format!("`{found}` is not part of the language here"), row.1))
}

fn missing_initial_value(place: &Place<'_>) -> Option<Hint> {
    if !place.expects("`=`") {
        return None;
    }
    let words = ["weight", "state"];
    let from = place.tokens[..place.at].iter().rposition(|t| words.contains(&t.text))?;
    let unbound =
        !place.tokens[from..place.at].iter().any(|t| ["=", "{", "}"].contains(&t.text));
    unbound.then(|| {
        let word = place.tokens[from].text;
        let help = "say how it starts: `= 0`, `= normal(0.02)`, or `= fixed 0` to keep it unlearned";
        place.hint(format!("a `{word}` needs an initial value"), help)
    })
}

fn missing_operator(place: &Place<'_>) -> Option<Hint> {
    let found = *place.tokens.get(place.at)?;
    let before = place.before()?;
    let times = before.is_number() && (found.is_word() || found.text == "(");
    (times && place.expects("an operator") && place.same_line(before, found)).then(|| {
        let message = format!("an operator is missing before `{}`", found.text);
        place.hint(message, format!("write `{} * {}`", before.text, found.text))
    })
}

fn list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|w| format!("`{w}`")).collect();
    quoted.join(", ")
}

const STATEMENTS: [&str; 17] = [
    "in",
    "out",
    "weight",
    "state",
    "repeat",
    "every",
    "level",
    "minimize",
    "keep",
    "penalty",
    "step",
    "structure",
    "bias",
    "retention",
    "algorithm",
    "gradient",
    "update",
];
