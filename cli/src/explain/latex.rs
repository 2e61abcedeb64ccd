//! Equations as LaTeX, from the notation that they are printed in.
//!
//! ```text
//! W1′ = t1 W1 + x1ᵀ (x2 ⊗ sigmoid(t12))²
//! W_{1}' &= t_{1}\, W_{1} + x_{1}^{\top} (x_{2} \otimes \operatorname{sigmoid}(t_{12}))^{2}
//! ```

/// Signs and what they are called; a space ends a command.
const SIGNS: &[(char, &str)] = &[
    ('½', "\\tfrac{1}{2}"),
    ('Σ', "\\sum "),
    ('²', "^{2}"),
    ('³', "^{3}"),
    ('ᵀ', "^{\\top}"),
    ('⊗', "\\otimes "),
    ('·', "\\cdot "),
    ('−', "-"),
    ('≤', "\\le "),
    ('∞', "\\infty "),
    ('′', "'"),
];

/// Lines `name = ...` under one another.
pub(super) fn aligned(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|l| line(l.trim())).collect();
    format!("\\begin{{align*}}\n{}\n\\end{{align*}}", lines.join(" \\\\\n"))
}

fn line(text: &str) -> String {
    let Some((name, value)) = text.split_once(" = ") else { return expression(text) };
    format!("  {} &= {}", expression(name), expression(value))
}

fn expression(text: &str) -> String {
    let mut out = String::new();
    let all: Vec<char> = text.chars().collect();
    let mut at = 0;
    while at < all.len() {
        let c = all[at];
        let starts = c.is_ascii_alphabetic();
        if starts {
            let word: String = all[at..]
                .iter()
                .take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
                .collect();
            at += word.chars().count();
            out.push_str(&named(&word, all.get(at) == Some(&'(')));
            continue;
        }
        at += 1;
        match c {
            '√' => {
                let inside = root(&all[at..]);
                let text: String = all[at..at + inside].iter().collect();
                out.push_str(&format!("\\sqrt{{{}}}", expression(&text)));
                at += inside;
            }
            '^' => {
                let inside = root(&all[at..]);
                let text: String = all[at..at + inside].iter().collect();
                let bare = text.strip_prefix('(').and_then(|t| t.strip_suffix(')'));
                out.push_str(&format!("^{{{}}}", expression(bare.unwrap_or(&text))));
                at += inside;
            }
            ' ' => {
                // A product is written by a space.
                let near = |c: Option<&char>| {
                    c.is_some_and(|c| c.is_alphanumeric() || "()|½√Σ′²³ᵀ".contains(*c))
                };
                let product = near(all.get(at)) && at >= 2 && near(all.get(at - 2));
                out.push_str(if product { "\\, " } else { " " });
            }
            c => match SIGNS.iter().find(|(sign, _)| *sign == c) {
                Some((_, command)) => out.push_str(command),
                None => out.push(c),
            },
        }
    }
    out
}

/// How far what stands under a root, or in a power, goes: a word, or what is in parentheses.
fn root(rest: &[char]) -> usize {
    if rest.first() != Some(&'(') {
        return rest.iter().take_while(|c| c.is_alphanumeric() || **c == '.').count();
    }
    let mut depth = 0;
    for (n, c) in rest.iter().enumerate() {
        depth += i32::from(*c == '(') - i32::from(*c == ')');
        if depth == 0 {
            return n + 1;
        }
    }
    rest.len()
}

/// A name with its number below, or a function.
fn named(word: &str, called: bool) -> String {
    if matches!(word, "if" | "then" | "else") {
        return format!("\\text{{ {word} }}");
    }
    let letters = word.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let below = word[letters.len()..].trim_start_matches('.');
    let letters = letters.replace('_', "\\_");
    match (called && below.is_empty() && letters.len() > 1, below) {
        (true, _) => format!("\\operatorname{{{letters}}}"),
        (false, "") if letters.len() == 1 => letters,
        (false, "") => format!("\\mathrm{{{letters}}}"),
        (false, below) if letters.len() == 1 => format!("{letters}_{{{below}}}"),
        (false, below) => format!("\\mathrm{{{letters}}}_{{{below}}}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_update_reads_as_in_a_paper() {
        let found = super::line("W1′ = t1 W1 + x1ᵀ (x2 ⊗ sigmoid(t12))² − √(x3 + ½)");
        let expected = "  W_{1}' &= t_{1}\\, W_{1} + x_{1}^{\\top}\\, (x_{2} \\otimes  \\operatorname{sigmoid}(t_{12}))^{2} - \\sqrt{(x_{3} + \\tfrac{1}{2})}";
        assert_eq!(found, expected);
    }
}
