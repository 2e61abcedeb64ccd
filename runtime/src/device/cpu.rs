//! Memory and calls on the CPU.
//!
//! # Contract of the unsafe code
//! Compiled kernels and library products get plain addresses. The executor hands out addresses of
//! [`Block`]s that live as long as the executor and are as long as the plan's tensors at the
//! sizes of the call; two points of a kernel's grid write different elements, which the
//! scheduler promises; a worker's scratch is used by one point at a time. Elements are copied in
//! and out only between lengths that were compared before.
#![allow(unsafe_code, reason = "compiled code works on addresses")]

use crate::tensor_file::Data;
use nestor_ir::artifact::{DenseEntry, Native, Precision};
use std::borrow::Cow;

/// Bytes on cache-line boundaries.
#[derive(Default)]
pub struct Block {
    lines: Vec<Line>,
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[expect(dead_code, reason = "read and written by address")] [u8; 64]);

/// A kind of element that memory may hold: any bits are a value.
pub trait Plain: Copy {}
impl Plain for f32 {}
impl Plain for f64 {}
impl Plain for i32 {}
impl Plain for i64 {}
impl Plain for u8 {}

impl Block {
    /// At least `bytes` bytes; what was there before is lost, new bytes are zero.
    pub fn reserve(&mut self, bytes: usize) {
        let lines = bytes.div_ceil(64).max(1);
        if self.lines.len() < lines {
            self.lines = vec![Line([0; 64]); lines];
        }
    }
    /// Sets every byte.
    pub fn fill(&mut self, byte: u8) {
        self.lines.fill(Line([byte; 64]));
    }
    /// How many bytes there are.
    pub fn bytes(&self) -> usize {
        self.lines.len() * 64
    }
    /// Where it starts.
    pub fn address(&mut self) -> usize {
        self.lines.as_mut_ptr() as usize
    }
    /// Copies elements to byte `at` on.
    pub fn put<T: Plain>(&mut self, at: usize, data: &[T]) {
        let bytes = std::mem::size_of_val(data);
        assert!(at + bytes <= self.bytes(), "elements fit in their block");
        // SAFETY: the range lies in this block; `data` is borrowed from elsewhere.
        unsafe {
            let to = self.lines.as_mut_ptr().cast::<u8>().add(at);
            std::ptr::copy_nonoverlapping(data.as_ptr().cast::<u8>(), to, bytes);
        }
    }
    /// Copies `count` elements from byte `at` on.
    pub fn get<T: Plain + Default>(&self, at: usize, count: usize) -> Vec<T> {
        let mut out = vec![T::default(); count];
        self.get_into(at, &mut out);
        out
    }
    /// Copies elements from byte `at` on.
    pub fn get_into<T: Plain>(&self, at: usize, out: &mut [T]) {
        let bytes = std::mem::size_of_val(out);
        assert!(at + bytes <= self.bytes(), "elements lie in their block");
        // SAFETY: the range lies in this block; any bits are a `T`.
        unsafe {
            let from = self.lines.as_ptr().cast::<u8>().add(at);
            std::ptr::copy_nonoverlapping(from, out.as_mut_ptr().cast::<u8>(), bytes);
        }
    }
}

/// The bytes of elements.
fn bytes_of<T: Plain>(data: &[T]) -> &[u8] {
    // SAFETY: the same memory; every element is made of bytes without gaps.
    unsafe {
        std::slice::from_raw_parts(
            data.as_ptr().cast::<u8>(),
            std::mem::size_of_val(data),
        )
    }
}

/// The bytes of elements, to be written.
fn bytes_of_mut<T: Plain>(data: &mut [T]) -> &mut [u8] {
    let len = std::mem::size_of_val(data);
    // SAFETY: the same memory, borrowed alone; any bits are a `T`.
    unsafe { std::slice::from_raw_parts_mut(data.as_mut_ptr().cast::<u8>(), len) }
}

/// A tensor's elements as bytes, as kernels keep them.
pub fn as_bytes(data: &Data) -> Cow<'_, [u8]> {
    Cow::Borrowed(match data {
        Data::F32(v) => bytes_of(v),
        Data::F64(v) => bytes_of(v),
        Data::I32(v) => bytes_of(v),
        Data::I64(v) => bytes_of(v),
        Data::U8(v) => v,
        Data::Bool(v) => return Cow::Owned(v.iter().map(|x| u8::from(*x)).collect()),
    })
}

/// Has a tensor's elements written as bytes, as kernels keep them.
pub fn as_bytes_mut(data: &mut Data, write: impl FnOnce(&mut [u8])) {
    match data {
        Data::F32(v) => write(bytes_of_mut(v)),
        Data::F64(v) => write(bytes_of_mut(v)),
        Data::I32(v) => write(bytes_of_mut(v)),
        Data::I64(v) => write(bytes_of_mut(v)),
        Data::U8(v) => write(v),
        Data::Bool(v) => {
            let mut bytes = vec![0_u8; v.len()];
            write(&mut bytes);
            v.iter_mut().zip(bytes).for_each(|(x, b)| *x = b != 0);
        }
    }
}

/// Fills the memory of a tensor with zeros.
pub fn zero(address: usize, bytes: usize) {
    // SAFETY: the contract above.
    unsafe { std::ptr::write_bytes(address as *mut u8, 0, bytes) }
}

/// Fills so many entries of a row of a matrix with zeros.
pub fn clear(from: Strided, count: usize, bytes: usize) {
    if from.column == 1 {
        return zero(from.address, count * bytes);
    }
    for column in 0..count {
        let step = from.column * bytes as isize * column as isize;
        zero(from.address.wrapping_add_signed(step), bytes);
    }
}

/// Copies the memory of a tensor.
pub fn copy(from: usize, to: usize, bytes: usize) {
    // SAFETY: the contract above; source and target may be the same tensor.
    unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes) }
}

/// Runs points `first .. last` of a kernel.
pub fn call(
    native: &Native,
    buffers: &[usize],
    sizes: [u64; 3],
    first: usize,
    last: usize,
    scratch: &mut Block,
) {
    let scratch = scratch.address() as *mut u8;
    // SAFETY: the contract above. An address is as wide as a pointer.
    unsafe {
        (native.entry)(
            buffers.as_ptr().cast::<*mut u8>(),
            sizes.as_ptr(),
            first as u64,
            last as u64,
            scratch,
        );
    }
}

/// A matrix in memory: address and strides in elements.
#[derive(Clone, Copy, Debug)]
pub struct Strided {
    /// Address of the first entry.
    pub address: usize,
    /// Elements between rows.
    pub row: isize,
    /// Elements between columns.
    pub column: isize,
}

/// What a library product computes.
#[derive(Clone, Copy, Debug)]
pub struct Multiply {
    /// Rows, columns, depth.
    pub shape: [usize; 3],
    /// Factor.
    pub alpha: f64,
    /// Operands and result.
    pub operands: [Strided; 3],
    /// Add to what is there.
    pub accumulate: bool,
}

/// Runs a library product.
pub fn multiply(entry: DenseEntry, precision: Precision, what: &Multiply) {
    let read = |s: Strided| (s.address as *const u8, s.row, s.column);
    let [left, right, out] = what.operands;
    // SAFETY: the contract above.
    unsafe {
        entry(
            precision,
            what.shape,
            what.alpha,
            read(left),
            read(right),
            (out.address as *mut u8, out.row, out.column),
            what.accumulate,
        );
    }
}

/// While it lives, this thread takes denormal numbers for zero: decaying memories reach them, and
/// they cost a hundred times an ordinary number.
pub struct FlushDenormals {
    before: u64,
}

impl FlushDenormals {
    /// Begins.
    pub fn begin() -> Self {
        Self { before: control::flush() }
    }
}

impl Drop for FlushDenormals {
    fn drop(&mut self) {
        control::restore(self.before);
    }
}

#[cfg(target_arch = "x86_64")]
mod control {
    use std::arch::asm;

    fn read() -> u32 {
        let mut word = 0_u32;
        // SAFETY: stores the control word to the address given.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut word, options(nostack)) };
        word
    }
    fn write(word: u32) {
        // SAFETY: loads a control word that differs from a valid one in the flush bits only.
        unsafe { asm!("ldmxcsr [{}]", in(reg) &raw const word, options(nostack)) };
    }
    /// Flushes results and operands.
    pub(super) fn flush() -> u64 {
        let before = read();
        write(before | 0x8040);
        u64::from(before)
    }
    pub(super) fn restore(before: u64) {
        write(before as u32);
    }
}

#[cfg(target_arch = "aarch64")]
mod control {
    use std::arch::asm;

    /// Flushes results and operands.
    pub(super) fn flush() -> u64 {
        let before: u64;
        // SAFETY: sets the flush-to-zero bit of the floating-point control register.
        unsafe {
            asm!("mrs {}, fpcr", out(reg) before, options(nomem, nostack));
            asm!("msr fpcr, {}", in(reg) before | (1 << 24), options(nomem, nostack));
        }
        before
    }
    pub(super) fn restore(before: u64) {
        // SAFETY: puts back what was there.
        unsafe { asm!("msr fpcr, {}", in(reg) before, options(nomem, nostack)) };
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod control {
    pub(super) fn flush() -> u64 {
        0
    }
    pub(super) fn restore(_: u64) {}
}
