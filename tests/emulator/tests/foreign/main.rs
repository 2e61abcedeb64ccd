//! Kernels of another compiler, whose instructions are known to be right on hardware (`make.py` writes them): what the emulator takes matrix
//! products, descriptors, swizzles, boxes of tensors and barriers to mean is what they mean, in the forms that stand there.

use nestor_emulator::{Allocation, Launch, Memory, Module, Tensor, launch};
use std::path::Path;

/// Numbers that a product sums over.
const DEPTH: usize = 256;

/// What a kernel is given: parameters, tensors, blocks, and threads of each.
struct Given {
    params: Vec<u64>,
    maps: Vec<Tensor>,
    blocks: [u32; 2],
    /// Products and copies may be under way beside one another.
    trusted: bool,
}

/// Runs a kernel, which writes so many numbers of so many bytes to the last of the buffers: `given` makes its parameters of their addresses.
fn run(
    name: &str,
    buffers: Vec<Vec<u8>>,
    [count, width]: [usize; 2],
    given: impl FnOnce(&[u64]) -> Given,
) -> Vec<f32> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign");
    let path = folder.join(format!("{name}.ptx"));
    let text = std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{name}: {e}"));
    let module = Module::parse(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
    let mut memory = Memory::default();
    let inputs = buffers.into_iter().map(|data| Allocation::filled("input", data));
    let mut addresses: Vec<u64> = inputs.map(|input| memory.add(input)).collect();
    addresses.push(memory.add(Allocation::unknown("output", width * count)));
    let Given { params, maps, blocks: [grid, block], trusted } = given(&addresses);
    let how =
        Launch { grid, block, shared: 49152, params, maps, limit: 100_000_000, trusted };
    let kernel = module.names().next().expect("a kernel").to_owned();
    launch(&module, &kernel, &how, &mut memory).unwrap_or_else(|e| panic!("{name}: {e}"));
    let out = memory.get(*addresses.last().expect("one")).written();
    // A bfloat16 is the upper half of a float.
    let number = |c: &[u8]| {
        let mut bytes = [0; 4];
        bytes[4 - width..].copy_from_slice(c);
        f32::from_le_bytes(bytes)
    };
    out.expect("all of it is written").chunks_exact(width).map(number).collect()
}

/// Small whole numbers, whose sums are exact.
fn left(row: usize, k: usize) -> f32 {
    ((row * 7 + k * 3 + row * k) % 9) as f32 - 4.0
}

fn right(k: usize, column: usize) -> f32 {
    ((k * 5 + column * 11 + k * column / 3) % 7) as f32 - 3.0
}

/// A matrix by rows, or turned, as numbers of so many bytes.
fn matrix(
    [rows, columns]: [usize; 2],
    turned: bool,
    width: usize,
    entry: fn(usize, usize) -> f32,
) -> Vec<u8> {
    let [outer, inner] = if turned { [columns, rows] } else { [rows, columns] };
    let at = |n: usize| match turned {
        true => entry(n % inner, n / inner),
        false => entry(n / inner, n % inner),
    };
    (0..outer * inner).flat_map(|n| at(n).to_le_bytes()[4 - width..].to_vec()).collect()
}

/// Both operands of a product, of numbers of so many bytes.
fn operands(
    [m, n]: [usize; 2],
    [a_turned, b_turned]: [bool; 2],
    width: usize,
) -> Vec<Vec<u8>> {
    let a = matrix([m, DEPTH], a_turned, width, left);
    vec![a, matrix([DEPTH, n], b_turned, width, right)]
}

/// Their product, of so many numbers along the sum.
fn expected([m, n]: [usize; 2], depth: usize) -> Vec<f32> {
    let sum = |r: usize, c: usize| (0..depth).map(|k| left(r, k) * right(k, c)).sum();
    (0..m * n).map(|i| sum(i / n, i % n)).collect()
}

/// Which operands lie turned, with what names of kernels say.
const WAYS: [(&str, [bool; 2]); 4] = [
    ("nn", [false, false]),
    ("nt", [false, true]),
    ("tn", [true, false]),
    ("tt", [true, true]),
];

/// Products of operands of so many bytes that so many threads bring to shared memory.
fn products(kind: &str, shapes: &[[usize; 3]], width: usize, threads: u32) {
    for (way, turned) in WAYS {
        for shape @ [m, n, _] in shapes {
            let (name, inputs) =
                (name(kind, way, *shape), operands([*m, *n], turned, width));
            let out = run(&name, inputs, [m * n, 4], |at| with_plain(at, threads, false));
            assert_eq!(out, expected([*m, *n], DEPTH), "{name}");
        }
    }
}

fn name(kind: &str, way: &str, [m, n, k]: [usize; 3]) -> String {
    format!("{kind}_{way}_{m}x{n}x{k}")
}

/// What a kernel is given that takes plain addresses.
fn with_plain(at: &[u64], threads: u32, trusted: bool) -> Given {
    let params = vec![at[0], at[1], at[2], DEPTH as u64, 0, 0];
    Given { params, maps: vec![], blocks: [1, threads], trusted }
}

/// Copies and products are several stages ahead of what waits for them, and sums leave rounded.
#[test]
fn products_beside_copies() {
    let shape @ [m, n, _] = [64, 64, 64];
    for (way, turned) in WAYS {
        let (name, inputs) = (name("staged", way, shape), operands([m, n], turned, 2));
        let out = run(&name, inputs, [m * n, 2], |at| with_plain(at, 128, true));
        let rounded = |x: f32| {
            let odd = x.to_bits() >> 16 & 1;
            f32::from_bits((x.to_bits() + 0x7fff + odd) & 0xffff_0000)
        };
        let expected: Vec<f32> =
            expected([m, n], DEPTH).into_iter().map(rounded).collect();
        assert_eq!(out, expected, "{name}");
    }
}

/// Lines of 128, 64 and 32 bytes, either way, several patterns along each direction.
#[test]
fn products_of_groups() {
    products("product", &[[128, 32, 128], [64, 128, 16], [64, 16, 32]], 2, 128);
}

/// Columns of the second group begin 64 bytes within lines of 128, or 32 lines behind.
#[test]
fn products_of_two_groups() {
    products("halves", &[[64, 64, 64]], 2, 256);
}

#[test]
fn products_of_warps() {
    products("warps", &[[64, 128, 64]], 2, 128);
    products("wide", &[[32, 32, 32]], 4, 128);
}

/// A matrix of bfloat16 by rows, its numbers a row as far as it is told to end, and boxes of so many rows that have lines of 128 bytes.
fn tensor(address: u64, [rows, columns]: [usize; 2], end: usize, lines: usize) -> Tensor {
    Tensor {
        address,
        width: 2,
        sizes: vec![end as u64, rows as u64],
        strides: vec![2 * columns as u64],
        boxes: vec![64, lines as u32],
        exchanged: true,
    }
}

/// What a kernel with two tensors is given: `behind` parameters are the sizes and strides of them, which it doesn't ask for.
fn with_boxes(maps: [Tensor; 2], behind: usize, output: u64) -> Given {
    let params = [vec![0; behind], vec![output, DEPTH as u64, 0, 0]].concat();
    Given { params, maps: maps.to_vec(), blocks: [1, 128], trusted: false }
}

/// The sum ends within a box: what lies behind the end of the tensors counts as zero.
#[test]
fn boxes_of_tensors() {
    let (m, n, k, depth) = (64, 128, 64, 200);
    for (way, [a_turned, b_turned]) in WAYS {
        let name = name("boxes", way, [m, n, k]);
        let out =
            run(&name, operands([m, n], [a_turned, b_turned], 2), [m * n, 4], |at| {
                let left = match a_turned {
                    true => tensor(at[0], [depth, m], m, k),
                    false => tensor(at[0], [m, DEPTH], depth, m),
                };
                let right = match b_turned {
                    true => tensor(at[1], [n, DEPTH], depth, n),
                    false => tensor(at[1], [depth, n], n, k),
                };
                with_boxes([left, right], 8, at[2])
            });
        assert_eq!(out, expected([m, n], depth), "{name}");
    }
}

/// Rows come as two halves.
#[test]
fn boxes_of_three_dimensions() {
    let [m, n, k] = [64, 64, 64];
    let out =
        run("planes_nn_64x64x64", operands([m, n], [false; 2], 2), [m * n, 4], |at| {
            let mut left = tensor(at[0], [m / 2, DEPTH], DEPTH, m / 2);
            left.sizes.push(2);
            left.strides.push((m * DEPTH) as u64);
            left.boxes.push(2);
            with_boxes([left, tensor(at[1], [DEPTH, n], n, k)], 10, at[2])
        });
    assert_eq!(out, expected([m, n], DEPTH));
}

/// Numbers of bfloat16 about zero.
fn numbers(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let uniform = (state >> 40) as f32 / (1 << 24) as f32;
        f32::from_bits((4.0 * uniform - 2.0).to_bits() & 0xffff_0000)
    };
    (0..count).map(|_| next()).collect()
}

/// The left operand of the second product is what the first one's registers became.
#[test]
fn attention() {
    let (tokens, d, scale) = (128, 64, 0.25_f32);
    let [q, k, v] = [1, 2, 3].map(|seed| numbers(tokens * d, seed));
    let narrow = |all: &Vec<f32>| -> Vec<u8> {
        all.iter().flat_map(|x| x.to_le_bytes()[2..].to_vec()).collect()
    };
    let expected: Vec<f64> = (0..tokens)
        .flat_map(|t| {
            let score = |s: usize| -> f64 {
                let pairs = q[t * d..][..d].iter().zip(&k[s * d..][..d]);
                pairs.map(|(x, y)| f64::from(x * y)).sum::<f64>() * f64::from(scale)
            };
            let weights: Vec<f64> = (0..=t).map(|s| score(s).exp2()).collect();
            let (v, all) = (&v, weights.iter().sum::<f64>());
            let sum = move |n: usize| {
                let each = weights.iter().enumerate();
                each.map(|(s, w)| w * f64::from(v[s * d + n])).sum::<f64>() / all
            };
            (0..d).map(sum).collect::<Vec<f64>>()
        })
        .collect();
    for name in ["attention_80", "attention_90"] {
        let out = run(name, [&q, &k, &v].map(narrow).to_vec(), [tokens * d, 4], |at| {
            let mut params = at.to_vec();
            params.extend([u64::from(scale.to_bits()), 0, 0]);
            Given { params, maps: vec![], blocks: [2, 128], trusted: false }
        });
        let off = out.iter().zip(&expected).map(|(x, y)| (f64::from(*x) - y).abs());
        let most = off.fold(0.0, f64::max);
        // Weights are rounded to bfloat16, of which the largest is one.
        assert!(most < 0.01, "{name}: {most}");
    }
}
