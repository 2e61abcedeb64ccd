//! The formatter keeps the tree and every comment, and leaves alone what it has laid out.

mod common;

use nestor_grammar::format;
use std::path::Path;

fn formatted(name: &str, text: &str) -> String {
    format(text).unwrap_or_else(|errors| panic!("{name}: {}\n{text}", errors[0].message))
}

fn comments(text: &str) -> Vec<String> {
    let of = |line: &str| line.find("//").map(|at| line[at..].trim_end().to_owned());
    text.lines().filter_map(of).collect()
}

/// What must hold of any text that parses.
fn check(name: &str, text: &str) -> String {
    let once = formatted(name, text);
    let trees =
        common::tree(name, text).and_then(|a| Ok((a, common::tree(name, &once)?)));
    let (before, after) = trees.unwrap_or_else(|e| panic!("{e}\n{once}"));
    for (a, b) in before.lines().zip(after.lines()) {
        assert_eq!(a, b, "{name}: the tree changed\n{text}\n{once}");
    }
    assert_eq!(before.len(), after.len(), "{name}: the tree changed\n{once}");
    let twice = formatted(name, &once);
    assert_eq!(once, twice, "{name}: not stable");
    assert_eq!(comments(text), comments(&once), "{name}: comments changed");
    once
}

/// A text without comments, cut into its tokens and numbers of white space between.
fn tokens(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut code = String::new();
    for line in text.lines() {
        code.push_str(line.split("//").next().unwrap_or(""));
        code.push('\n');
    }
    let mut rest = code.trim_start();
    while let Some(c) = rest.chars().next() {
        let word = |c: char| c.is_alphanumeric() || c == '_';
        let size = if c == '"' {
            rest[1..].find('"').expect("a closed quote") + 2
        } else if c.is_ascii_digit() {
            number(rest)
        } else if word(c) {
            rest.find(|c| !word(c)).unwrap_or(rest.len())
        } else {
            let pairs = ["|>", "..", "==", "!=", "<=", ">="];
            if pairs.iter().any(|p| rest.starts_with(p)) { 2 } else { c.len_utf8() }
        };
        out.push(rest[..size].to_owned());
        rest = rest[size..].trim_start();
    }
    out
}

fn number(text: &str) -> usize {
    let digits = |t: &str| t.find(|c: char| !c.is_ascii_digit()).unwrap_or(t.len());
    let mut size = digits(text);
    if text[size..].starts_with('.') && digits(&text[size + 1..]) > 0 {
        size += 1 + digits(&text[size + 1..]);
    }
    if text[size..].starts_with(['e', 'E']) {
        let sign = usize::from(text[size + 1..].starts_with(['-', '+']));
        let power = digits(&text[size + 1 + sign..]);
        if power > 0 {
            size += 1 + sign + power;
        }
    }
    size
}

#[test]
fn shipped_files_keep_their_trees_and_comments() {
    for (path, text) in common::shipped() {
        check(&path.display().to_string(), &text);
    }
}

#[test]
fn white_space_does_not_matter() {
    let mut dice = common::Dice(7);
    for (path, text) in common::shipped() {
        let name = path.display().to_string();
        let spaces = [" ", "  ", "\n", "\n\n\n", "\t", "\r\n"];
        let mangled: String = tokens(&text)
            .iter()
            .map(|t| format!("{t}{}", spaces[dice.below(6)]))
            .collect();
        check(&name, &mangled);
        let one_line = tokens(&text).join(" ");
        check(&name, &one_line);
    }
}

#[test]
fn comments_survive_wherever_they_stand() {
    let mut dice = common::Dice(11);
    for (path, text) in common::shipped() {
        let name = path.display().to_string();
        for often in [2, 12, 40] {
            let mut mangled = String::new();
            for (n, token) in tokens(&text).iter().enumerate() {
                mangled.push_str(token);
                match dice.below(often) {
                    0 => mangled.push_str(&format!("  // after {n}\n")),
                    1 => mangled.push_str(&format!("\n   // below {n}\n\n")),
                    _ => mangled.push_str([" ", "\n"][dice.below(2)]),
                }
            }
            check(&name, &mangled);
        }
    }
}

#[test]
fn layout_is_as_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/layout");
    let mut files = Vec::new();
    common::collect(&folder, &mut files);
    assert!(!files.is_empty(), "no case in {}", folder.display());
    let mut wrong = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(&path).expect("readable");
        let found = check(&path.display().to_string(), &text);
        if !common::agrees(&path.with_extension("expected"), &found) {
            wrong.push(format!("{}\n{found}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
