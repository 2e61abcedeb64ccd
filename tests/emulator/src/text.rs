//! PTX as statements: comments gone, each with its line.

/// A statement: what stands between two of `;`, `{`, `}` and the end of a label, braces of vectors aside.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Statement {
    /// An instruction or a directive.
    Line(usize, String),
    /// `name:`.
    Label(String),
    /// The start of a block, with what stands before it.
    Open(usize, String),
    /// The end of a block.
    Close,
}

/// All statements of a text.
pub(crate) fn statements(text: &str) -> Vec<Statement> {
    let mut out = Vec::new();
    let mut now = String::new();
    let mut begun = 1;
    for (n, line) in text.lines().enumerate() {
        let line = line.split("//").next().unwrap_or("");
        // What an assembler is told, of a loop or before a kernel's body, changes nothing that a kernel does.
        if line.trim().starts_with(".pragma") {
            continue;
        }
        if is_alone(line) {
            flush(&mut out, begun, &mut now);
            out.push(Statement::Line(n + 1, line.trim().to_owned()));
            continue;
        }
        for c in line.chars() {
            if now.trim().is_empty() {
                now.clear();
                begun = n + 1;
            }
            match c {
                ';' => flush(&mut out, begun, &mut now),
                ':' if is_name(now.trim()) => {
                    out.push(Statement::Label(now.trim().to_owned()));
                    now.clear();
                }
                '{' if opens(&now) => {
                    out.push(Statement::Open(begun, now.trim().to_owned()));
                    now.clear();
                }
                '}' if !now.contains('{') => {
                    flush(&mut out, begun, &mut now);
                    out.push(Statement::Close);
                }
                c => now.push(c),
            }
        }
        now.push(' ');
    }
    flush(&mut out, begun, &mut now);
    out
}

fn flush(out: &mut Vec<Statement>, line: usize, now: &mut String) {
    let text = now.trim();
    if !text.is_empty() {
        out.push(Statement::Line(line, text.to_owned()));
    }
    now.clear();
}

/// Directives of a module that no `;` ends.
fn is_alone(line: &str) -> bool {
    [".version", ".target", ".address_size"].iter().any(|d| line.trim().starts_with(d))
}

fn is_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_$%".contains(c);
    !text.is_empty() && text.chars().all(allowed)
}

/// Whether a brace after this begins a block and not a vector of registers.
fn opens(before: &str) -> bool {
    let before = before.trim();
    before.is_empty() || before.starts_with('.')
}

/// The operands of an instruction: split at commas outside of brackets and braces.
pub(crate) fn operands(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut depth = 0;
    let mut now = String::new();
    for c in text.chars() {
        match c {
            '{' | '[' => depth += 1,
            '}' | ']' => depth -= 1,
            _ => {}
        }
        if c == ',' && depth == 0 {
            out.push(now.trim().to_owned());
            now.clear();
        } else {
            now.push(c);
        }
    }
    if !now.trim().is_empty() {
        out.push(now.trim().to_owned());
    }
    out
}
