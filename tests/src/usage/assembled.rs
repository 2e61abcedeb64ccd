//! Kernels as machine code, each assembled by itself on one of the cores: what it takes, and what is in it.

use super::kept::{Kept, hashed};
use super::machine_code::{Found, read};
use crate::on_all_cores;
use nestor_compiler::gpu::Target;
use nestor_compiler::gpu::ptxas::{Assembler, assemble_within};
use nestor_mlir::rolled::parts;
use serde_json::{Value, json};
use std::time::Duration;

/// What assembles, what it has assembled before, and how long it may take for a kernel.
pub struct Assembling<'a> {
    /// The assembler.
    pub assembler: &'a Assembler,
    /// Kernels that were assembled before.
    pub kept: Option<&'a Kept>,
    /// As long as this.
    pub limit: Duration,
}

impl<'a> From<&'a Assembler> for Assembling<'a> {
    fn from(assembler: &'a Assembler) -> Self {
        Self { assembler, kept: None, limit: Duration::MAX }
    }
}

/// A kernel as machine code.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) struct Assembled {
    /// Its name in the PTX.
    pub(super) symbol: String,
    /// Registers of a thread, and bytes that it spills.
    pub(super) registers: u32,
    pub(super) spills: u32,
    /// Instructions of tensor cores in its text, and calls of its functions.
    pub(super) meant: [usize; 2],
    /// What is in it, where it can be read.
    pub(super) found: Option<Found>,
    /// It took too long, and nothing of this is known.
    pub(super) too_long: bool,
}

/// The kernels of PTX, in order.
pub(super) fn assembled(
    ptx: &str,
    target: Target,
    how: &Assembling<'_>,
) -> Result<Vec<Assembled>, String> {
    let mut texts: Vec<(usize, String)> = kernels(ptx).into_iter().enumerate().collect();
    // The longest first, so that no core waits long for another.
    texts.sort_by_key(|(_, text)| std::cmp::Reverse(text.len()));
    let meant = |text: &str| [on_cores(text), text.matches("call.uni").count()];
    let made = on_all_cores(&texts, |(n, text)| {
        one(text, target, how).map(|a| (*n, Assembled { meant: meant(text), ..a }))
    });
    let mut made = made.into_iter().collect::<Result<Vec<_>, _>>()?;
    made.sort_by_key(|(n, _)| *n);
    Ok(made.into_iter().map(|(_, a)| a).collect())
}

/// Instructions of PTX for tensor cores: of a warp, and of a group of four.
pub(super) fn on_cores(ptx: &str) -> usize {
    ["mma.sync", "wgmma.mma_async"].map(|i| ptx.matches(i).count()).iter().sum()
}

/// The text of each kernel and of its functions, which stand before it, with the head that all have in common.
fn kernels(ptx: &str) -> Vec<String> {
    let (head, parts) = parts(ptx);
    let mut out: Vec<(&str, String)> = Vec::new();
    for (kernel, text) in parts {
        match out.last_mut() {
            Some((last, all)) if *last == kernel => all.push_str(text),
            _ => out.push((kernel, format!("{head}{text}"))),
        }
    }
    out.into_iter().map(|(_, text)| text).collect()
}

fn one(text: &str, target: Target, how: &Assembling<'_>) -> Result<Assembled, String> {
    let symbol = text.split(".visible .entry").nth(1).and_then(|t| t.split('(').next());
    let symbol = symbol.unwrap_or("").trim().to_owned();
    let hash = hashed((text, target.name(), &how.assembler.path));
    let name = format!("kernel {hash}");
    // One that took too long may be given longer.
    let enough = |found: &Value| {
        let limit = found["too_long"].as_u64();
        limit.is_none_or(|limit| limit >= how.limit.as_secs())
    };
    if let Some(found) = how.kept.and_then(|kept| kept.found(&name)).filter(enough) {
        return Ok(from_json(symbol, &found));
    }
    let out = assembled_once(&symbol, text, target, how)?;
    // To look at.
    let odd = out.spills > 0 || out.too_long;
    if let Some(folder) = std::env::var_os("NESTOR_PTX").filter(|_| odd) {
        let path =
            std::path::Path::new(&folder).join(format!("{hash}-{}.ptx", out.symbol));
        std::fs::write(path, text).map_err(|e| e.to_string())?;
    }
    if let Some(kept) = how.kept {
        kept.keep(&name, to_json(&out, how.limit))?;
    }
    Ok(out)
}

fn assembled_once(
    symbol: &str,
    text: &str,
    target: Target,
    how: &Assembling<'_>,
) -> Result<Assembled, String> {
    let id = std::process::id();
    let this: String = format!("{:?}", std::thread::current().id());
    let this: String = this.chars().filter(char::is_ascii_digit).collect();
    let file = |end: &str| {
        std::env::temp_dir().join(format!("nestor-{id}-{this}-{symbol}.{end}"))
    };
    let (ptx, cubin) = (file("ptx"), file("cubin"));
    std::fs::write(&ptx, text).map_err(|e| e.to_string())?;
    let used = assemble_within(how.assembler, target, &ptx, &cubin, how.limit);
    // What has no products for tensor cores is not looked at: to start the reader takes longest.
    let looked = on_cores(text) > 0;
    let is_made = used.as_ref().is_ok_and(Option::is_some);
    let found = (looked && is_made).then(|| read(how.assembler, &cubin));
    for path in [&ptx, &cubin] {
        // One that was not made is not there.
        let _ = std::fs::remove_file(path);
    }
    let mut out = Assembled { symbol: symbol.to_owned(), ..Assembled::default() };
    match used?.as_deref() {
        None => out.too_long = true,
        Some([used]) => {
            out.registers = used.registers;
            out.spills = used.spills.0 + used.spills.1;
            out.found = match found {
                Some(all) => all.map(|a| a.get(symbol).copied().unwrap_or_default()),
                None => Some(Found::default()),
            };
        }
        Some(other) => return Err(format!("{} kernels of 1 are assembled", other.len())),
    }
    Ok(out)
}

fn to_json(a: &Assembled, limit: Duration) -> Value {
    let limit = a.too_long.then_some(limit.as_secs());
    json!({
        "symbol": a.symbol, "registers": a.registers, "spills": a.spills, "too_long": limit,
        "products": a.found.map(|f| f.products), "sums": a.found.map(|f| f.sums),
    })
}

fn from_json(symbol: String, v: &Value) -> Assembled {
    let number = |of: &str| v[of].as_u64();
    let found = number("products").zip(number("sums"));
    let found = found.map(|(products, sums)| Found {
        products: products as usize,
        sums: sums as usize,
    });
    Assembled {
        symbol,
        registers: number("registers").unwrap_or(0) as u32,
        spills: number("spills").unwrap_or(0) as u32,
        found,
        meant: [0; 2],
        too_long: !v["too_long"].is_null() && v["too_long"] != false,
    }
}

#[cfg(test)]
mod tests {
    use super::kernels;

    #[test]
    fn every_kernel_is_a_text_of_its_own() {
        let text = ".version 8.0\n.visible .entry a(\n)\n{\nret;\n}\n\
                    .func b$0(\n)\n{\nret;\n}\n.visible .entry b(\n)\n{\nret;\n}\n";
        let found = kernels(text);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], ".version 8.0\n.visible .entry a(\n)\n{\nret;\n}\n");
        let b = ".version 8.0\n.func b$0(\n)\n{\nret;\n}\n.visible .entry b(\n)\n{\nret;\n}\n";
        assert_eq!(found[1], b);
    }
}
