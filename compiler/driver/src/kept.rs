//! What `compile -o` has written, read back: a plan and its kernels, with the code of a GPU where they were made for one. Nothing
//! is derived or scheduled again; for the CPU, kernels become machine code as they are.

use crate::native::NativeError;
use nestor_ir::artifact::{
    Artifact, Boxes, DenseEntry, DeviceCode, DeviceEntry, DeviceProduct, Narrow,
    Precision,
};
use nestor_ir::plan;
use nestor_ir::tile::{self, Monomial};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use thiserror::Error;

/// Files of an artifact that are read back.
const PLAN: &str = "plan.txt";
const KERNELS: &str = "kernels.txt";
const PTX: &str = "kernels.ptx";
const CUBIN: &str = "kernels.cubin";
/// How kernels of a GPU are launched.
pub const LAUNCHES: &str = "launches.txt";

/// Why a folder is no artifact.
#[derive(Debug, Error)]
pub enum KeptError {
    /// A file that is not there.
    #[error(
        "cannot read `{file}`: {why}\nhelp: `nestor compile FILE NAME -o DIR` writes such a folder"
    )]
    Missing {
        /// The file.
        file: String,
        /// What the system says.
        why: String,
    },
    /// A file that does not say what it should.
    #[error("`{file}` is not as `nestor compile -o` writes it: {why}")]
    Broken {
        /// The file.
        file: String,
        /// What is wrong.
        why: String,
    },
    /// The backend refused.
    #[error(transparent)]
    Native(#[from] NativeError),
}

/// Whether a path is a folder with an artifact.
pub fn is_kept(folder: &Path) -> bool {
    folder.join(PLAN).is_file()
}

/// Reads an artifact.
///
/// # Errors
/// Where a file is missing or broken.
pub fn read(folder: &Path) -> Result<Artifact, KeptError> {
    let text = |name: &str| {
        let path = folder.join(name);
        std::fs::read_to_string(&path).map_err(|e| KeptError::Missing {
            file: path.display().to_string(),
            why: e.to_string(),
        })
    };
    let broken = |name: &str, why: String| KeptError::Broken {
        file: folder.join(name).display().to_string(),
        why,
    };
    let plan =
        plan::text::parse(&text(PLAN)?).map_err(|e| broken(PLAN, e.to_string()))?;
    let kernels = tile::text::parse_all(&text(KERNELS)?);
    let kernels = kernels.map_err(|e| broken(KERNELS, e.to_string()))?;
    for kernel in &kernels {
        tile::verify::verify(kernel).map_err(|e| broken(KERNELS, e))?;
    }
    plan::verify::verify(&plan, &kernels).map_err(|e| broken(PLAN, e))?;
    let precision = Precision::F32;
    if !folder.join(LAUNCHES).is_file() {
        let native =
            nestor_cranelift::compile(&kernels, precision).map_err(NativeError::from)?;
        let dense = Some(nestor_cranelift::routines::dense as DenseEntry);
        return Ok(Artifact { plan, kernels, native, dense, device: None, precision });
    }
    let mut code = launches_of(&text(LAUNCHES)?).map_err(|why| broken(LAUNCHES, why))?;
    if code.entries.len() != kernels.len() {
        let why = format!("{} kernels of {}", code.entries.len(), kernels.len());
        return Err(broken(LAUNCHES, why));
    }
    for (entry, kernel) in code.entries.iter().zip(&kernels) {
        if entry.narrow.len() != kernel.buffers.len() {
            let (had, has) = (entry.narrow.len(), kernel.buffers.len());
            let why = format!("{had} buffers of {}, which has {has}", entry.symbol);
            return Err(broken(LAUNCHES, why));
        }
        if let Some(boxes) = entry.boxes.iter().find(|b| b.buffer >= kernel.buffers.len())
        {
            let why = format!("boxes of buffer {} of {}", boxes.buffer, entry.symbol);
            return Err(broken(LAUNCHES, why));
        }
    }
    code.text = text(PTX)?;
    code.image = std::fs::read(folder.join(CUBIN)).ok();
    let (native, dense, device) = (vec![], None, Some(Arc::new(code)));
    Ok(Artifact { plan, kernels, native, dense, device, precision })
}

/// How the kernels of a GPU are launched, as text: a line each, which of how many buffers are narrow, and scratch memory as sums of
/// the numbers of [`Monomial`]; behind it a line for each of its boxes.
pub fn launches(code: &DeviceCode) -> String {
    let mut out = format!("target {}\nproducts {}\n", code.target, code.products);
    for e in &code.entries {
        let narrow: Vec<String> =
            (0..e.narrow.len()).filter(|n| e.narrow[*n]).map(|n| n.to_string()).collect();
        let _ = write!(
            out,
            "kernel {} {} {} {}/{}",
            e.symbol,
            e.threads,
            e.shared,
            narrow.join(","),
            e.narrow.len()
        );
        for m in &e.scratch {
            numbers(&mut out, m);
        }
        out.push('\n');
        for b in &e.boxes {
            let [line, lines, rows] = b.shape;
            let (buffer, width, apart) = (b.buffer, b.width, b.apart);
            let exchanged = u8::from(b.exchanged);
            let _ = write!(
                out,
                "boxes {buffer} {width} {line} {lines} {rows} {apart} {exchanged}"
            );
            for m in &b.rows {
                numbers(&mut out, m);
            }
            out.push('\n');
        }
    }
    let p = &code.product;
    let [rows, columns] = p.tile;
    let _ =
        writeln!(out, "product {} {} {} {rows} {columns}", p.symbol, p.threads, p.shared);
    out
}

fn numbers(out: &mut String, m: &Monomial) {
    let (factor, batch, time, (chunk, chunks)) = (m.factor, m.batch, m.time, m.chunks);
    let (phase, start, whole, every) = (m.phase, m.start, m.whole, m.every);
    let _ = write!(
        out,
        " {factor},{batch},{time},{chunk},{chunks},{phase},{start},{whole},{every}"
    );
}

/// The reverse of [`launches`], without the code itself.
fn launches_of(text: &str) -> Result<DeviceCode, String> {
    let mut code = DeviceCode {
        target: String::new(),
        products: String::new(),
        text: String::new(),
        image: None,
        entries: vec![],
        product: DeviceProduct {
            symbol: String::new(),
            threads: 0,
            shared: 0,
            tile: [0, 0],
        },
    };
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |n: usize| -> Result<usize, String> {
            let word = words.get(n).ok_or(format!("`{line}` is too short"))?;
            word.parse().map_err(|e| format!("`{word}`: {e}"))
        };
        let threads = |n: usize| u32::try_from(number(n)?).map_err(|e| e.to_string());
        match words[..] {
            [] => {}
            ["target", name] => code.target = name.to_owned(),
            ["products", name] => code.products = name.to_owned(),
            ["kernel", symbol, _, _, buffers, ref scratch @ ..] => {
                code.entries.push(DeviceEntry {
                    symbol: symbol.to_owned(),
                    threads: threads(2)?,
                    shared: number(3)?,
                    scratch: scratch
                        .iter()
                        .map(|m| monomial(m))
                        .collect::<Result<_, _>>()?,
                    narrow: narrow(buffers)?,
                    boxes: vec![],
                })
            }
            ["boxes", _, _, _, _, _, _, exchanged, ref rows @ ..] => {
                let entry = code.entries.last_mut().ok_or("boxes of no kernel")?;
                entry.boxes.push(Boxes {
                    buffer: number(1)?,
                    width: number(2)?,
                    shape: [number(3)?, number(4)?, number(5)?],
                    apart: number(6)?,
                    rows: rows.iter().map(|m| monomial(m)).collect::<Result<_, _>>()?,
                    exchanged: exchanged == "1",
                });
            }
            ["product", symbol, ..] => {
                code.product = DeviceProduct {
                    symbol: symbol.to_owned(),
                    threads: threads(2)?,
                    shared: number(3)?,
                    tile: [number(4)?, number(5)?],
                };
            }
            _ => return Err(format!("`{line}`")),
        }
    }
    match code.product.threads > 0 && !code.target.is_empty() {
        true => Ok(code),
        false => Err("it says no target or no product".to_owned()),
    }
}

/// Which of so many buffers are narrow: `1,4/7`.
fn narrow(text: &str) -> Result<Narrow, String> {
    let wrong = || format!("`{text}` says no buffers");
    let (which, count) = text.split_once('/').ok_or_else(wrong)?;
    let mut out = vec![false; count.parse().map_err(|_| wrong())?];
    for n in which.split(',').filter(|n| !n.is_empty()) {
        let n: usize = n.parse().map_err(|_| wrong())?;
        *out.get_mut(n).ok_or_else(wrong)? = true;
    }
    Ok(out)
}

fn monomial(text: &str) -> Result<Monomial, String> {
    let numbers: Result<Vec<i64>, _> = text.split(',').map(str::parse).collect();
    let wrong = || format!("`{text}` is no size");
    let numbers = numbers.map_err(|_| wrong())?;
    let [factor, rest @ ..] = &numbers[..] else { return Err(wrong()) };
    let [batch, time, chunk, chunks, phase, start, whole, every] = *rest else {
        return Err(wrong());
    };
    let power = |n: i64| u8::try_from(n).map_err(|_| wrong());
    let count = |n: i64| usize::try_from(n).map_err(|_| wrong());
    Ok(Monomial {
        factor: *factor,
        batch: power(batch)?,
        time: power(time)?,
        chunks: (count(chunk)?, power(chunks)?),
        phase: count(phase)?,
        start: power(start)?,
        whole: power(whole)?,
        every: count(every)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launches_read_back() {
        let scratch = vec![
            Monomial::number(64),
            Monomial { batch: 1, chunks: (32, 1), ..Monomial::number(4) },
        ];
        let boxes = vec![Boxes {
            buffer: 2,
            width: 2,
            shape: [64, 2, 32],
            apart: 512,
            rows: vec![Monomial { time: 1, ..Monomial::number(1) }],
            exchanged: true,
        }];
        let entry = |symbol: &str, scratch, narrow, boxes| DeviceEntry {
            symbol: symbol.to_owned(),
            threads: 128,
            shared: 4096,
            scratch,
            narrow,
            boxes,
        };
        let code = DeviceCode {
            target: "sm_90a".to_owned(),
            products: "bf16".to_owned(),
            text: String::new(),
            image: None,
            entries: vec![
                entry("k0_a", scratch, vec![false, true, true], boxes),
                entry("k1_b", vec![], vec![false], vec![]),
            ],
            product: DeviceProduct {
                symbol: "product".to_owned(),
                threads: 256,
                shared: 8,
                tile: [64, 32],
            },
        };
        assert_eq!(launches_of(&launches(&code)), Ok(code));
        assert!(launches_of("kernel k0 128 x").is_err());
        assert!(launches_of("target sm_80").is_err());
        assert!(launches_of("boxes 0 2 64 1 32 64 1").is_err());
        assert!(narrow("1,3/3").is_err() && narrow("1").is_err());
    }
}
