//! What a device can do at most: copies, and large matrix products.

use super::stop;
use nestor_compiler::gpu::Options;
use nestor_compiler::native::{Machine, compiled};
use nestor_ir::tensor::Graph;
use nestor_runtime::device::product::{Operand, Product};
use nestor_runtime::device::{Command, Held, Shared};
use std::time::Instant;

/// What the device can do at most, measured.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Limits {
    /// Bytes a second of a copy, read and written.
    pub copy: f64,
    /// Operations a second of a large matrix product.
    pub product: f64,
}

/// Measures the limits with memory of so many bytes and matrices of so many rows.
///
/// # Errors
/// What the device refuses.
pub fn limits(
    device: &Shared,
    options: Options,
    bytes: usize,
    rows: usize,
) -> Result<Limits, String> {
    let code =
        compiled(&Graph::default(), Machine::Gpu(options)).map_err(|e| e.to_string())?;
    let code = code.device.ok_or("there is no code")?;
    let mut held = device.hold();
    let Held { device, pool } = &mut *held;
    let device = device.as_mut();
    let module = device.load(&code).map_err(stop)?;
    let spans = [bytes, bytes, 4 * rows * rows, 4 * rows * rows, 4 * rows * rows]
        .map(|n| pool.take(device, n));
    let spans = spans.into_iter().collect::<Result<Vec<_>, _>>().map_err(stop)?;
    for span in &spans {
        let fill = Command::Fill { at: span.address, bytes: span.bytes, value: 0 };
        device.tell(&fill).map_err(stop)?;
    }
    let copy = Command::Copy { from: spans[0].address, to: spans[1].address, bytes };
    let square = |n: usize| Operand {
        address: spans[n].address,
        repeat: 0,
        row: rows as i64,
        column: 1,
    };
    let product = Command::Product(
        module,
        Product {
            shape: [rows; 3],
            repeats: 1,
            alpha: 1.0,
            operands: [square(2), square(3), square(4)],
            accumulate: false,
        },
    );
    let mut each = |command: &Command| -> Result<f64, String> {
        device.tell(command).map_err(stop)?;
        device.wait().map_err(stop)?;
        let (began, count) = (Instant::now(), 5);
        for _ in 0..count {
            device.tell(command).map_err(stop)?;
        }
        device.wait().map_err(stop)?;
        Ok(began.elapsed().as_secs_f64() / f64::from(count))
    };
    let limits = Limits {
        copy: 2.0 * bytes as f64 / each(&copy)?,
        product: 2.0 * (rows as f64).powi(3) / each(&product)?,
    };
    spans.into_iter().for_each(|s| pool.give(s));
    Ok(limits)
}
