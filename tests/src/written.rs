//! Kernels that tests write as text: read, given numbers, and run in the emulator beside the interpreter. What stands in the way ends
//! the test, with the kernel.

use crate::emulated::Emulated;
use nestor_emulator::Stats;
use nestor_ir::dim::Sizes;
use nestor_ir::tile::Kernel;
use nestor_ir::tile::size::elements;
use nestor_ir::tile::text::parse;
use nestor_ir::tile::verify::verify;
use nestor_mlir::{Options, compile};

/// The kernel of a text.
pub fn kernel(text: &str) -> Kernel {
    let kernel = parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    verify(&kernel).unwrap_or_else(|e| panic!("{e}\n{text}"));
    kernel
}

/// Its buffers, filled with numbers of a buffer and an element of it.
pub fn filled(
    kernel: &Kernel,
    sizes: &Sizes,
    number: impl Fn(usize, usize) -> f64,
) -> Vec<Vec<f64>> {
    let counts = kernel.buffers.values().map(|b| elements(&b.dims).eval(sizes) as usize);
    let one = |(b, count)| (0..count).map(|i| number(b, i)).collect();
    counts.enumerate().map(one).collect()
}

/// Numbers that look random, in (-1, 1), for [`filled`].
pub fn scattered(buffer: usize, element: usize) -> f64 {
    let n = (buffer * 100_000 + element) as u64;
    let mut x = (n + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x ^= x >> 29;
    x = x.wrapping_mul(0xBF58_476D_1CE4_E5B9);
    (x >> 11) as f64 / (1u64 << 52) as f64 - 1.0
}

/// What of PTX are the kernels' own: behind them comes the product of any size, with every program.
///
/// # Panics
/// Where it does not.
pub fn own(ptx: &str) -> &str {
    ptx.split_once(".entry dense_product").expect("the product of any size").0
}

/// PTX without the nth of the kernels' own lines that hold some words; nothing where there are not so many.
pub fn without(ptx: &str, words: &str, n: usize) -> Option<String> {
    let (at, _) = own(ptx).match_indices(words).nth(n)?;
    let line = ptx[at..].find('\n').map_or(ptx.len(), |line| at + line);
    Some(format!("{}{}", &ptx[..at], &ptx[line..]))
}

/// Its code in the emulator.
pub fn emulated(
    kernel: &Kernel,
    options: impl Into<Options>,
    tolerance: f64,
) -> Emulated {
    spoilt(kernel, options, tolerance, str::to_owned)
        .unwrap_or_else(|e| panic!("{e}\n{kernel}"))
}

/// The same, its PTX changed.
///
/// # Errors
/// Where the changed one is not of the emulator's subset.
pub fn spoilt(
    kernel: &Kernel,
    options: impl Into<Options>,
    tolerance: f64,
    spoil: impl FnOnce(&str) -> String,
) -> Result<Emulated, String> {
    let kernels = std::slice::from_ref(kernel);
    let mut code = compile(kernels, options).unwrap_or_else(|e| panic!("{e}\n{kernel}"));
    code.ptx = spoil(&code.ptx);
    let mut emulated = Emulated::of(kernels, code)?;
    emulated.tolerance = tolerance;
    Ok(emulated)
}

/// How many of its lines that hold some words are missed, taken out one at a time, and how many there are; buffers are filled as [`filled`]
/// does.
pub fn missed(
    kernel: &Kernel,
    options: Options,
    (sizes, number): (&Sizes, &dyn Fn(usize, usize) -> f64),
    words: &str,
) -> [usize; 2] {
    const TOLERANCE: f64 = 3e-2;
    let whole = emulated(kernel, options, TOLERANCE);
    let count = own(&whole.code.ptx).matches(words).count();
    let is_missed = |n: &usize| {
        let spoil = |ptx: &str| without(ptx, words, *n).expect("a line");
        let mut buffers = filled(kernel, sizes, number);
        let found = spoilt(kernel, options, TOLERANCE, spoil)
            .and_then(|emulated| emulated.agree(0, &mut buffers, sizes));
        found.is_err()
    };
    [(0..count).filter(is_missed).count(), count]
}

/// Runs it both ways; what the emulator gives stays in the buffers.
pub fn agree(
    kernel: &Kernel,
    options: impl Into<Options>,
    tolerance: f64,
    buffers: &mut [Vec<f64>],
    sizes: &Sizes,
) -> Stats {
    let options = options.into();
    emulated(kernel, options, tolerance)
        .agree(0, buffers, sizes)
        .unwrap_or_else(|e| panic!("{options:?}: {e}\n{kernel}"))
}
