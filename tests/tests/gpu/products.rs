//! Products on tensor cores in the emulator, at sizes that divide nothing, in every layout and shape.

use nestor_ir::dim::Sizes;
use nestor_mlir::{Options, Products, Target};
use nestor_runtime::device::product::{Operand, Product};
use nestor_runtime::device::{Command, Device};
use nestor_tests::emulated_device::EmulatedDevice;
use nestor_tests::written::{self, filled};

const SIZES: Sizes = Sizes { batch: 2, time: 37, start: 0 };

/// Left, right and their product, rows and columns told by strides.
fn kernel(left: &str, right: &str, how: &str) -> String {
    format!(
        r#"kernel "product" {{
  b0 "a": [B, 24, 24] read
  b1 "b": [B, 24, 24] read
  b2 "c": [B, 24, 20] update
  t0 "left": [24, 24]
  indices 1
  grid i0 < B
  map [24, 24] {{
    l0 = b0[576*i0; 24, 1]
    t0[0; 24, 1] = l0
  }}
  product [24, 20, 24] b2[480*i0; 20, 1] {how} * t0[0; {left}] @ b1[576*i0; {right}]
}}
"#
    )
}

fn agree(text: &str, products: Products, tolerance: f64) {
    let full = !text.contains("lower") && !text.contains("upper");
    let kernel = written::kernel(text);
    let options = Options { target: Target::Sm80, products };
    let number = |n: usize, i: usize| {
        // What a shape says is zero is zero.
        let (row, column) = (i / 24 % 24, i % 24);
        let zero = n == 0
            && (text.contains("left lower") && column > row
                || text.contains("left upper") && column < row);
        if zero { 0.0 } else { ((i * 37 + n * 11) % 101) as f64 / 50.0 - 1.0 }
    };
    let mut buffers = filled(&kernel, &SIZES, number);
    let stats = written::agree(&kernel, options, tolerance, &mut buffers, &SIZES);
    assert!(!full || stats.products > 0, "no tensor core was used");
}

/// Larger than a block's part of the result in every direction, and no multiple of anything.
const LARGE: &str = r#"kernel "large" {
  b0 "a": [B, 70, 150] read
  b1 "b": [B, 150, 83] read
  b2 "c": [B, 70, 83] update
  indices 1
  grid i0 < B
  product [70, 83, 150] b2[5810*i0; 83, 1] += 0.5 * b0[10500*i0; 150, 1] @ b1[12450*i0; 83, 1]
}
"#;

#[test]
fn blocks_and_their_rests() {
    for (products, tolerance) in
        [(Products::Tf32x3, 2e-6), (Products::Tf32, 2e-3), (Products::Brain, 1e-2)]
    {
        agree(LARGE, products, tolerance);
    }
}

#[test]
fn every_layout_and_shape() {
    for (products, tolerance) in
        [(Products::Tf32x3, 2e-6), (Products::Tf32, 2e-3), (Products::Brain, 1e-2)]
    {
        for (left, right) in [("24, 1", "24, 1"), ("24, 1", "1, 24")] {
            agree(&kernel(left, right, "= 1"), products, tolerance);
            agree(&kernel(left, right, "+= -0.5"), products, tolerance);
        }
        for shape in ["output lower", "left lower", "left upper"] {
            let text = kernel("24, 1", "24, 1", "= 2");
            let text = text
                .replace("[576*i0; 24, 1]\n}", &format!("[576*i0; 24, 1], {shape}\n}}"));
            assert!(text.contains(shape), "{text}");
            agree(&text, products, tolerance);
        }
    }
}

/// The product of any size, two at once, at sizes that divide nothing, its operands as they lie or turned.
fn dense(products: Products, [m, n, k]: [usize; 3], turned: bool) -> f64 {
    let options = Options { target: Target::Sm80, products };
    let code = nestor_mlir::compile(&[], options).expect("code");
    let on_cores = code.ptx.contains("mma.sync");
    assert_eq!(on_cores, products != Products::Float32, "{products:?}");
    let mut device = EmulatedDevice::new(1 << 24);
    let module = device.load(&code.for_device(options)).expect("it is read");
    let number = |of: usize, i: usize| ((i * 37 + of * 11) % 101) as f32 / 50.0 - 1.0;
    let sizes = [m * k, k * n, m * n];
    let data: Vec<Vec<f32>> =
        (0..3).map(|of| (0..2 * sizes[of]).map(|i| number(of, i)).collect()).collect();
    let addresses: Vec<u64> = data
        .iter()
        .map(|data| {
            let bytes: Vec<u8> = data.iter().flat_map(|x| x.to_le_bytes()).collect();
            let address = device.allocate(bytes.len()).expect("there is room");
            device.upload(address, &bytes).expect("it fits");
            address
        })
        .collect();
    let operand = |of: usize, rows: usize, columns: usize, turned: bool| {
        let (row, column) = if turned { (1, rows) } else { (columns, 1) };
        let (row, column, repeat) = (row as i64, column as i64, sizes[of] as i64);
        Operand { address: addresses[of], repeat, row, column }
    };
    let what = Product {
        shape: [m, n, k],
        repeats: 2,
        alpha: 0.5,
        operands: [
            operand(0, m, k, turned),
            operand(1, k, n, turned),
            operand(2, m, n, false),
        ],
        accumulate: turned,
    };
    device.tell(&Command::Product(module, what)).expect("it runs");
    let mut bytes = vec![0; 8 * m * n];
    device.download(addresses[2], &mut bytes).expect("it is there");
    let found = bytes
        .chunks_exact(4)
        .map(|b| f32::from_le_bytes(b.try_into().expect("four bytes")));
    let mut worst = 0.0f64;
    for (at, found) in found.enumerate() {
        let (repeat, i, j) = (at / (m * n), at / n % m, at % n);
        let sum: f64 = (0..k)
            .map(|l| {
                let (a, b) = match turned {
                    false => (i * k + l, l * n + j),
                    true => (l * m + i, j * k + l),
                };
                let (a, b) = (a + repeat * m * k, b + repeat * k * n);
                f64::from(data[0][a]) * f64::from(data[1][b])
            })
            .sum();
        let before = if turned { f64::from(data[2][at]) } else { 0.0 };
        worst = worst.max((f64::from(found) - before - 0.5 * sum).abs());
    }
    worst / k as f64
}

#[test]
fn the_product_of_any_size_is_on_tensor_cores_too() {
    for (products, tolerance) in [
        (Products::Float32, 1e-7),
        (Products::Tf32x3, 1e-7),
        (Products::Tf32, 1e-4),
        (Products::Brain, 1e-3),
    ] {
        for turned in [false, true] {
            let off = dense(products, [67, 70, 37], turned);
            assert!(off < tolerance, "{products:?}, turned {turned}: {off:.1e}");
        }
    }
}
