//! Prints what the kernels of the library's rules take on a GPU, forward and backward, a line for each case and width.
//!
//! `cargo run --release -p nestor-tests --features cuda --bin gpu_table -- --target sm_90a --products bf16 --widths 64,128,256 [CASE...]`

#![allow(clippy::print_stdout, reason = "it is a command")]

use nestor_compiler::gpu::ptxas::find;
use nestor_compiler::gpu::{Options, Products, Target};
use nestor_tests::usage::taken;
use nestor_tests::{files, root};

fn main() -> Result<(), String> {
    let mut options = Options { target: Target::Sm90a, products: Products::Float32 };
    let mut widths = vec![64, 128, 256];
    let mut cases = Vec::new();
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut next = || words.next().ok_or(format!("{word} wants a value"));
        match word.as_str() {
            "--target" => {
                options.target = Target::find(&next()?).ok_or("no such target")?
            }
            "--products" => {
                options.products = Products::find(&next()?).ok_or("no such products")?;
            }
            "--widths" => {
                let numbers = next()?;
                let numbers =
                    numbers.split(',').map(str::parse).collect::<Result<_, _>>();
                widths = numbers.map_err(|e| format!("--widths: {e}"))?;
            }
            case => cases.push(case.to_owned()),
        }
    }
    let assembler = find();
    if assembler.is_none() {
        println!("ptxas is not found: registers, spills and machine code are not known");
    }
    println!(
        "{}, products {}; floor: moving the buffers of every kernel once at B = 4, T = 4096\n",
        options.target.name(),
        options.products.name()
    );
    println!(
        "{:<26} {:>5} {:>7} {:>9} {:>6} {:>8} {:>9} {:>12} {:>5} {:>5} {:>6} {:>6} {:>9}",
        "case",
        "width",
        "kernels",
        "registers",
        "spills",
        "shared",
        "scratch",
        "instructions",
        "mma",
        "HMMA",
        "ptx s",
        "asm s",
        "floor us"
    );
    let mut failed = 0;
    for path in files(&root().join("tests/oracle"), "nest") {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if !cases.is_empty() && !cases.contains(&name) {
            continue;
        }
        for width in &widths {
            match taken(&path, Some(*width), options, assembler.as_ref()) {
                Ok(t) => println!(
                    "{name:<26} {width:>5} {:>7} {:>9} {:>6} {:>8} {:>9} {:>12} {:>5} {:>5} {:>6.2} {:>6.2} {:>9.1}",
                    t.kernels,
                    t.registers,
                    t.spills,
                    t.shared,
                    t.scratch,
                    t.instructions,
                    t.products,
                    t.assembled.map_or("?".to_owned(), |n| n.to_string()),
                    t.seconds,
                    t.assembling,
                    t.floor
                ),
                Err(why) => {
                    failed += 1;
                    println!(
                        "{name:<26} {width:>5} {}",
                        why.lines().next().unwrap_or("")
                    );
                }
            }
        }
    }
    match failed {
        0 => Ok(()),
        n => Err(format!("{n} are not compiled")),
    }
}
