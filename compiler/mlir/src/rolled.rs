//! Loops that the assembler does not write out.
//!
//! It writes the turns of a loop one after the other, and loads for many of them before it computes. In a short loop that hides
//! the wait for memory: of a loop of which it does not know how many turns it has, it writes four. Where it knows, it may write all, however
//! many, and of long loops as well: code that takes more registers than there are, and minutes to assemble. So it is told to leave
//! long loops as they are, which it heeds only of those of which it does not know the turns; and it is not told the turns of loops that
//! are long, or would be when written out.
//!
//! ```text
//! $L__BB0_5:                                  $L__BB0_5:
//!     ..                                          .pragma "nounroll";
//!     add.s64 %rd7, %rd7, 64;                     ..
//!     setp.lt.s64 %p3, %rd7, 512;     becomes     add.s64 %rd7, %rd7, 64;
//!     @%p3 bra $L__BB0_5;                         mul.wide.u32 %turns, %once, 512;
//!                                                 setp.lt.s64 %p3, %rd7, %turns;
//!                                                 @%p3 bra $L__BB0_5;
//! ```

use std::collections::BTreeMap;

/// Lines from which a loop is long, those within it as they are written out. A kernel of 2000 instructions spills 56 bytes where its loops of 64 lines and more are written
/// out, and nothing where they are not.
const LONG: usize = 64;
/// Lines of all turns from which a loop is not written out whole. Of 256 turns that sum two numbers each, the assembler would load all first.
const MUCH: usize = 256;
/// Turns that it writes where it does not know how many there are.
const SOME: usize = 4;

/// What is said of a loop, behind its label, and of a kernel, before its body.
const AS_IT_IS: &str = "\t.pragma \"nounroll\";\n";

/// A one that the assembler does not know: grids have one dimension. Said where a kernel begins.
const ONCE: &str = "\t.reg .b32 \t%once;\n\t.reg .b32 \t%few;\n\t.reg .b64 \t%turns;\n\tmov.u32 \t%once, %nctaid.y;\n";

/// How a loop's last line but the branch tests its index, how that is counted on, and how the number of turns is hidden: of 32 bits, and of 64.
const COUNTS: [[&str; 4]; 2] = [
    ["setp.lt.s32", "add.s32", "mul.lo.u32", "%few"],
    ["setp.lt.s64", "add.s64", "mul.wide.u32", "%turns"],
];

/// What a kernel begins with, or a function of one.
const HEADS: [&str; 2] = [ENTRY, ".func "];
const ENTRY: &str = ".visible .entry ";

/// What stands between a kernel's name and the number of one of its functions.
pub const OF: char = '$';

/// The text of kernels, with long loops left as they are.
pub fn rolled(ptx: &str) -> String {
    each(ptx, |_, kernel| left(kernel))
}

/// The text of kernels, with all loops of some left as they are: by a kernel's name. The assembler takes that of no function.
pub fn rolled_whole(ptx: &str, which: impl Fn(&str) -> bool) -> String {
    each(ptx, |name, kernel| match (which(name), kernel.split_once("\n{\n")) {
        (true, Some((head, body)))
            if head.starts_with(ENTRY) && !head.ends_with(AS_IT_IS.trim_end()) =>
        {
            format!("{head}\n{AS_IT_IS}{{\n{body}")
        }
        _ => kernel.to_owned(),
    })
}

fn each(ptx: &str, one: impl Fn(&str, &str) -> String) -> String {
    let (head, parts) = parts(ptx);
    let parts = parts.into_iter().map(|(kernel, text)| one(kernel, text));
    std::iter::once(head.to_owned()).chain(parts).collect()
}

/// What all kernels have in common, and each kernel and function in order, with the name of the kernel that it is or is of.
pub fn parts(ptx: &str) -> (&str, Vec<(&str, &str)>) {
    let mut begins: Vec<usize> = HEADS
        .iter()
        .flat_map(|head| ptx.match_indices(head))
        .filter(|(at, _)| *at == 0 || ptx[..*at].ends_with('\n'))
        .map(|(at, _)| at)
        .collect();
    begins.sort_unstable();
    let ends = begins.iter().skip(1).copied().chain([ptx.len()]);
    let part = |(begin, end): (&usize, usize)| {
        let text = &ptx[*begin..end];
        let name = text.split('(').next().unwrap_or("").split_whitespace().next_back();
        (name.unwrap_or("").split(OF).next().unwrap_or(""), text)
    };
    let head = &ptx[..begins.first().copied().unwrap_or(ptx.len())];
    (head, begins.iter().zip(ends).map(part).collect())
}

/// A loop: its label, the last line that branches to it, and lines of its body as the assembler writes them.
#[derive(Clone, Copy)]
struct Loop {
    from: usize,
    to: usize,
    size: usize,
}

impl Loop {
    fn lines(self) -> usize {
        self.to - self.from
    }
}

/// The kernel with its long loops left.
fn left(text: &str) -> String {
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut out: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
    let mut hidden = false;
    // Those that are within no other one so far.
    let mut outer: Vec<Loop> = Vec::new();
    for mut found in loops(&lines) {
        let within = |l: &Loop| found.from <= l.from && l.to <= found.to;
        let more: usize = outer.iter().filter(|l| within(l)).map(|l| l.size).sum();
        let less: usize = outer.iter().filter(|l| within(l)).map(|l| l.lines()).sum();
        outer.retain(|l| !within(l));
        let body = (found.lines() + more).saturating_sub(less);
        let long = body >= LONG;
        if long && lines[found.from + 1] != AS_IT_IS {
            out[found.from].push_str(AS_IT_IS);
        }
        let end = found.to - 1;
        let known = turns(&lines[found.from..found.to]);
        let many = |turns: usize| long || body * turns > MUCH;
        found.size = body * if long { 1 } else { SOME };
        match known {
            Some(known) if many(known.turns) => {
                let Known { test, limit, counted: [_, _, product, register], .. } = known;
                out[end] = format!(
                    "\t{product} \t{register}, %once, {limit};\n{test}, {register};\n"
                );
                hidden = true;
            }
            Some(known) => found.size = body * known.turns,
            None => {}
        }
        outer.push(found);
    }
    let out = out.concat();
    match out.split_once("\n{\n").filter(|_| hidden) {
        Some((head, body)) => format!("{head}\n{{\n{ONCE}{body}"),
        None => out,
    }
}

/// The loops of a kernel, those within others first.
fn loops(lines: &[&str]) -> Vec<Loop> {
    let mut labels: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ends: BTreeMap<usize, usize> = BTreeMap::new();
    for (n, line) in lines.iter().enumerate() {
        let line = line.trim_end();
        if let Some(name) = line.strip_suffix(':') {
            labels.insert(name, n);
        } else if line.contains("bra")
            && let Some(to) = line.trim_end_matches(';').split_whitespace().last()
            && let Some(at) = labels.get(to)
        {
            ends.insert(*at, n);
        }
    }
    let mut out: Vec<Loop> =
        ends.into_iter().map(|(from, to)| Loop { from, to, size: 0 }).collect();
    out.sort_by_key(|l| (l.lines(), l.from));
    out
}

/// What a loop's text says of its turns.
struct Known<'t> {
    turns: usize,
    /// The test up to the number that the index is tested against, and that number.
    test: &'t str,
    limit: u32,
    counted: [&'static str; 4],
}

/// How many turns a loop has, where its text says so: its last line but the branch tests an index against a number.
fn turns<'t>(body: &[&'t str]) -> Option<Known<'t>> {
    let line = body.last()?.trim_end().strip_suffix(';')?;
    let (test, limit) = line.rsplit_once(", ")?;
    let (compared, index) = test.rsplit_once(", ")?;
    let counted = COUNTS.into_iter().find(|[how, ..]| compared.contains(how))?;
    let limit: u32 = limit.parse().ok()?;
    let added = format!("\t{} \t{index}, {index}, ", counted[1]);
    let step = body.iter().rev().find_map(|line| line.strip_prefix(&added));
    let step = step.and_then(|s| s.trim_end().trim_end_matches(';').parse().ok());
    let step: u32 = step.filter(|s| *s > 0).unwrap_or(1);
    Some(Known { turns: limit.div_ceil(step) as usize, test, limit, counted })
}

#[cfg(test)]
mod tests {
    use super::{AS_IT_IS, ONCE, rolled, rolled_whole};

    /// A kernel of one loop of so many sums and turns.
    fn kernel(name: &str, lines: usize, limit: usize, step: usize) -> String {
        let sums = "\tadd.s32 \t%r1, %r1, 1;\n".repeat(lines);
        format!(
            ".visible .entry {name}(\n)\n{{\n\tbra.uni \t$L__BB0_2;\n$L__BB0_1:\n{sums}\
             \tadd.s64 \t%rd1, %rd1, {step};\n\tsetp.lt.s64 \t%p1, %rd1, {limit};\n\t@%p1 bra \t$L__BB0_1;\n$L__BB0_2:\n\tret;\n}}\n"
        )
    }

    fn hidden(kernel: &str, limit: usize) -> String {
        let test = format!("\tsetp.lt.s64 \t%p1, %rd1, {limit};");
        let instead = format!(
            "\tmul.wide.u32 \t%turns, %once, {limit};\n\tsetp.lt.s64 \t%p1, %rd1, %turns;"
        );
        kernel.replace(&test, &instead).replace("\n{\n", &format!("\n{{\n{ONCE}"))
    }

    #[test]
    fn what_is_long_or_would_be_is_not_written_out() {
        let head = ".version 8.0\n";
        // Few turns of few lines, many of few, few of many.
        let (short, many, long) =
            (kernel("a", 5, 64, 16), kernel("b", 5, 64, 1), kernel("c", 80, 64, 32));
        let found = rolled(&format!("{head}{short}{many}{long}"));
        let said = format!("$L__BB0_1:\n{AS_IT_IS}");
        let long = hidden(&long, 64).replace("$L__BB0_1:\n", &said);
        assert_eq!(found, format!("{head}{short}{}{long}", hidden(&many, 64)));
    }

    #[test]
    fn turns_that_are_counted_in_32_bits_are_hidden_so() {
        let one = kernel("a", 5, 64, 1);
        let short = |text: &str| text.replace(".s64", ".s32").replace("%rd1", "%r7");
        let found = short(&hidden(&one, 64));
        let found = found.replace("mul.wide.u32 \t%turns,", "mul.lo.u32 \t%few,");
        assert_eq!(rolled(&short(&one)), found.replace("%r7, %turns;", "%r7, %few;"));
    }

    #[test]
    fn turns_of_loops_within_others_count() {
        // Four turns of sixty, which are written out.
        let inner = "$L__BB0_3:\n\tadd.s64 \t%rd2, %rd2, 1;\n\tsetp.lt.s64 \t%p2, %rd2, 60;\n\t@%p2 bra \t$L__BB0_3;\n";
        let one = kernel("a", 5, 4, 1);
        let two = one.replacen("\tadd.s32 \t%r1, %r1, 1;\n", inner, 1);
        assert_eq!(rolled(&one), one);
        let said = format!("$L__BB0_1:\n{AS_IT_IS}");
        assert_eq!(rolled(&two), hidden(&two, 4).replace("$L__BB0_1:\n", &said));
    }

    #[test]
    fn all_loops_of_some_kernels_are_left_as_they_are() {
        let function = kernel("b$0", 5, 4, 1).replace(".visible .entry", ".func");
        let both = format!("{function}{}", kernel("b", 5, 4, 1));
        let text = format!(".version 8.0\n{}{both}", kernel("a", 5, 4, 1));
        let found = rolled_whole(&text, |name| name == "b");
        let said = format!(")\n{AS_IT_IS}{{\n");
        let b = kernel("b", 5, 4, 1).replace(")\n{\n", &said);
        let expected = format!(".version 8.0\n{}{function}{b}", kernel("a", 5, 4, 1));
        assert_eq!(found, expected, "the assembler takes it of no function");
        assert_eq!(rolled_whole(&found, |name| name == "b"), found, "once is enough");
    }
}
