//! Loops that the assembler leaves as they are.
//!
//! It writes the turns of a loop one after the other where it knows their number, and loads for many of them before it computes. In a
//! short loop that hides the wait for memory; of long ones it makes code that takes more registers than there are, and minutes to
//! assemble.

use std::collections::BTreeMap;

/// Lines from which a loop is long, and instructions from which a kernel is so large that all of its loops are left. A kernel of
/// 2000 spills 56 bytes where its loops of 64 lines and more are written out, and nothing where they are not; one of 22,000
/// takes 80 registers and 7 s instead of 255, some of them in memory, and more than 100 s.
const LONG: usize = 64;
const LARGE: usize = 12_000;

/// What is said of a loop, behind its label, and of a kernel, before its body. Of a loop it is not always heeded.
const AS_IT_IS: &str = "\t.pragma \"nounroll\";\n";

/// Which loops of a kernel are left as they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Left {
    /// Those that are already.
    AsBefore,
    /// Those of so many lines and more.
    From(usize),
    /// All.
    All,
}

/// The text of kernels, with long loops left as they are, and all of large kernels.
pub fn rolled(ptx: &str) -> String {
    rolled_where(ptx, |_, instructions| match instructions < LARGE {
        true => Left::From(LONG),
        false => Left::All,
    })
}

/// The text of kernels, with some loops left as they are: by a kernel's name and its instructions.
pub fn rolled_where(ptx: &str, which: impl Fn(&str, usize) -> Left) -> String {
    const ENTRY: &str = ".visible .entry ";
    let mut parts = ptx.split(ENTRY);
    let mut out = parts.next().unwrap_or("").to_owned();
    for part in parts {
        out.push_str(ENTRY);
        let name = part.split('(').next().unwrap_or("").trim();
        let instructions = part.lines().filter(|l| l.ends_with(';')).count();
        match which(name, instructions) {
            Left::AsBefore => out.push_str(part),
            Left::From(least) => long(part, least, &mut out),
            Left::All => all(part, &mut out),
        }
    }
    out
}

fn all(text: &str, out: &mut String) {
    match text.split_once("\n{\n") {
        Some((head, body)) if !head.ends_with(AS_IT_IS.trim_end()) => {
            out.push_str(head);
            out.push('\n');
            out.push_str(AS_IT_IS);
            out.push_str("{\n");
            out.push_str(body);
        }
        _ => out.push_str(text),
    }
}

/// A loop is from a label to the last line that branches to it.
fn long(text: &str, least: usize, out: &mut String) {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut labels: BTreeMap<&str, usize> = BTreeMap::new();
    let mut heads = vec![false; lines.len()];
    for (n, line) in lines.iter().enumerate() {
        let line = line.trim_end();
        if let Some(name) = line.strip_suffix(':') {
            labels.insert(name, n);
        } else if line.contains("bra")
            && let Some(to) = line.trim_end_matches(';').split_whitespace().last()
            && let Some(at) = labels.get(to)
        {
            heads[*at] |= n - at >= least && lines[at + 1] != AS_IT_IS;
        }
    }
    for (line, head) in lines.into_iter().zip(heads) {
        out.push_str(line);
        if head {
            out.push_str(AS_IT_IS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Left, rolled_where};

    #[test]
    fn loops_of_some_kernels_are_left_as_they_are() {
        let kernel = |name: &str| {
            format!(
                ".visible .entry {name}(\n)\n{{\n\tbra.uni \t$L__BB0_2;\n$L__BB0_1:\n\tadd.s32 \t%r1, %r1, 1;\n\
                 \t@%p1 bra \t$L__BB0_1;\n$L__BB0_2:\n\tret;\n}}\n"
            )
        };
        let text = format!(".version 8.0\n{}{}{}", kernel("a"), kernel("b"), kernel("c"));
        let which = |name: &str, instructions| {
            assert!(instructions >= 4);
            match name {
                "a" => Left::From(3),
                "b" => Left::From(2),
                _ => Left::All,
            }
        };
        let found = rolled_where(&text, which);
        let said = "\t.pragma \"nounroll\";\n";
        let b = kernel("b").replace("$L__BB0_1:\n", &format!("$L__BB0_1:\n{said}"));
        let c = kernel("c").replace(")\n{\n", &format!(")\n{said}{{\n"));
        assert_eq!(found, format!(".version 8.0\n{}{b}{c}", kernel("a")));
        assert_eq!(rolled_where(&found, which), found, "once is enough");
        assert_eq!(rolled_where(&found, |_, _| Left::AsBefore), found);
    }
}
