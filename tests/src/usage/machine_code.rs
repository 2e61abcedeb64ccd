//! Machine code as the assembler's companion prints it: which loops of a kernel use tensor cores, and which sum products
//! without them.

use indexmap::IndexMap;
use nestor_compiler::gpu::ptxas::Assembler;
use std::ops::Range;
use std::path::Path;
use std::process::Command;

/// What is found in a kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Found {
    /// Instructions of tensor cores.
    pub(super) products: usize,
    /// Loops that sum products of what they load, without tensor cores.
    pub(super) sums: usize,
}

/// Every kernel of a file of machine code, by name; nothing where it cannot be read.
pub(super) fn read(
    assembler: &Assembler,
    cubin: &Path,
) -> Option<IndexMap<String, Found>> {
    let reader = assembler.path.with_file_name("nvdisasm");
    let output = Command::new(reader).arg("-c").arg(cubin).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    output.status.success().then(|| kernels(&text))
}

fn kernels(text: &str) -> IndexMap<String, Found> {
    let mut out = IndexMap::new();
    for part in text.split(".section\t.text.").skip(1) {
        let name = part.split(',').next().unwrap_or(part).trim().to_owned();
        let lines: Vec<&str> = part.lines().collect();
        out.insert(name, kernel(&lines));
    }
    out
}

/// Loops are from a label to a branch back to it; an innermost one holds no other.
fn kernel(lines: &[&str]) -> Found {
    let mut labels: IndexMap<&str, usize> = IndexMap::new();
    let mut loops: Vec<(usize, usize)> = Vec::new();
    for (n, line) in lines.iter().enumerate() {
        let line = line.trim();
        if let Some(label) = line.strip_suffix(':').filter(|l| l.starts_with(".L_")) {
            labels.insert(label, n);
        }
        if !line.contains("BRA") {
            continue;
        }
        let to = line.split("`(").nth(1).and_then(|t| t.split(')').next());
        if let Some(begin) = to.and_then(|to| labels.get(to)) {
            loops.push((*begin, n));
        }
    }
    let inner = |(a, b): &&(usize, usize)| {
        !loops.iter().any(|(c, d)| (c, d) != (a, b) && a <= c && d <= b)
    };
    let sums = |(a, b): &(usize, usize)| {
        let body = &lines[*a..*b];
        let loads = body
            .iter()
            .filter(|l| [" LDS", " LDG", " LD."].iter().any(|i| l.contains(i)));
        let cores = body.iter().any(|l| l.contains("HMMA") || l.contains("HGMMA"));
        // A loop with transcendentals works on numbers one by one.
        let ones = body.iter().any(|l| l.contains("MUFU"));
        !cores && !ones && loads.count() >= 2 && carries(body)
    };
    let on_cores = |l: &&&str| l.contains("HMMA") || l.contains("HGMMA");
    Found {
        products: lines.iter().filter(on_cores).count(),
        sums: loops.iter().filter(inner).filter(|l| sums(l)).count(),
    }
}

/// Whether products are added to a register that nothing else in the loop writes, so that it is carried from turn to turn: one that
/// is loaded in the loop is added to once.
fn carries(body: &[&str]) -> bool {
    let sums: Vec<u32> = body.iter().filter_map(|l| accumulated(l)).collect();
    let others = body.iter().filter(|l| accumulated(l).is_none());
    let written: Vec<u32> = others.flat_map(|l| written(l)).collect();
    sums.iter().any(|sum| !written.contains(sum))
}

/// The registers that an instruction writes, those of a wide one with their neighbours.
fn written(line: &str) -> Range<u32> {
    let instruction = line.split_once("*/").map_or(line, |(_, code)| code);
    let mut words = instruction.split([' ', ',']).filter(|w| !w.is_empty());
    let code = words.find(|w| !w.starts_with('@')).unwrap_or("");
    let Some(first) = words.next().and_then(number) else { return 0..0 };
    let wide = match code {
        c if c.contains(".128") => 4,
        c if c.contains(".64") || c.contains(".WIDE") => 2,
        _ => 1,
    };
    first..first + wide
}

/// A register's number.
fn number(register: &str) -> Option<u32> {
    register.strip_prefix('R')?.trim_end_matches(".reuse").parse().ok()
}

/// The register that an instruction like `FFMA R1, R2, R3, R1` adds a product of two others to. With a constant for one of them
/// it is a step of a polynomial.
fn accumulated(line: &str) -> Option<u32> {
    let (_, operands) = line.split_once("FFMA")?;
    let operands = operands.split(';').next().unwrap_or("");
    let operands: Vec<&str> = operands.split(',').map(str::trim).collect();
    let [first, left, right, last] = operands[..] else { return None };
    let is_register = |o: &str| o.trim_start_matches(['-', '|']).starts_with('R');
    if ![left, right].into_iter().all(is_register) {
        return None;
    }
    let register = number(first.split_whitespace().next_back()?)?;
    (number(last) == Some(register)).then_some(register)
}

#[cfg(test)]
mod tests {
    use super::{Found, kernels};

    #[test]
    fn loops_with_and_without_tensor_cores_are_told_apart() {
        let text = "\t.section\t.text.k0_a,\"ax\",@progbits\n\
            .L_x_1:\n        /*0010*/                   LDS R2, [R3] ;\n        /*0020*/                   LDS R4, [R5] ;\n\
                    /*0030*/                   FFMA R1, R2, R4, R1 ;\n        /*0040*/              @P0  BRA `(.L_x_1) ;\n\
            .L_x_3:\n        /*0010*/                   LDS R2, [R3] ;\n        /*0020*/                   LDS R4, [R5] ;\n\
                    /*0030*/                   FFMA R1, |R2|, -0.5, R1 ;\n        /*0040*/              @P0  BRA `(.L_x_3) ;\n\
            .L_x_2:\n        /*0050*/                   HMMA.16816.F32.BF16 R4, R8, R12, R4 ;\n\
                    /*0060*/              @P0  BRA `(.L_x_2) ;\n\
            .L_x_4:\n        /*0010*/              @!P1 LDS.64 R2, [R3] ;\n        /*0020*/                   LDG.E R4, desc[UR4][R6.64] ;\n\
                    /*0030*/                   FFMA R3, R2, R4, R3 ;\n        /*0040*/              @P0  BRA `(.L_x_4) ;\n\
            \t.section\t.text.k1_b,\"ax\",@progbits\n        /*0010*/                   EXIT ;\n";
        let found = kernels(text);
        assert_eq!(found["k0_a"], Found { products: 1, sums: 1 });
        assert_eq!(found["k1_b"], Found::default());
    }
}
