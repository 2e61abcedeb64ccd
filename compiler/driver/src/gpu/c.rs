//! What a C program needs to launch a program's kernels through the driver: a header, and a small example.

use super::{Code, Entry};
use nestor_ir::artifact::{Boxes, STEP};
use nestor_ir::tile::size::elements;
use nestor_ir::tile::{Kernel, Monomial};
use nestor_ir::ty::Elem;
use std::fmt::Write as _;

/// The header: sizes of grids, scratch memory and buffers as functions of B, T and t0.
pub fn header(kernels: &[Kernel], code: &Code) -> String {
    let mut out = String::from(
        "/* Launches of the kernels in kernels.ptx. Every kernel takes the addresses of its buffers in order, the address\n   \
         of scratch memory, and B, T and t0, all of 64 bits, the last three below 2^30; addresses are\n   \
         multiples of sixteen bytes. Behind them it takes a CUtensorMap for each of its maps. A block for\n   \
         each point of the grid. Reals are float32, those of buffers that are marked so bfloat16. */\n\
         #ifndef NESTOR_KERNELS_H\n#define NESTOR_KERNELS_H\n#include <stdint.h>\n\n\
         /* What cuTensorMapEncodeTiled is told of a buffer: numbers of 2 or 4 bytes, and a swizzle of 128 bytes or none. */\n\
         typedef struct {\n  unsigned buffer;\n  unsigned width;\n  unsigned swizzled;\n  uint64_t sizes[4];\n  \
         uint64_t strides[3];\n  uint32_t boxes[4];\n} nestor_map;\n\n\
         typedef struct {\n  const char *name;\n  unsigned threads;\n  unsigned shared_bytes;\n  unsigned buffers;\n  unsigned maps;\n  \
         uint64_t (*grid)(uint64_t B, uint64_t T, uint64_t t0);\n  \
         uint64_t (*scratch_bytes)(uint64_t B, uint64_t T, uint64_t t0);\n  \
         uint64_t (*buffer_bytes)(unsigned buffer, uint64_t B, uint64_t T, uint64_t t0);\n  \
         nestor_map (*map)(unsigned n, uint64_t B, uint64_t T, uint64_t t0);\n} nestor_kernel;\n\n",
    );
    for (kernel, entry) in kernels.iter().zip(&code.entries) {
        functions(&mut out, kernel, entry);
    }
    out.push_str("static const nestor_kernel nestor_kernels[] = {\n");
    for (kernel, entry) in kernels.iter().zip(&code.entries) {
        let (s, threads, shared) = (&entry.symbol, entry.threads, entry.shared);
        let (buffers, maps) = (kernel.buffers.len(), entry.boxes.len());
        let _ = writeln!(
            out,
            "  {{\"{s}\", {threads}, {shared}, {buffers}, {maps}, {s}_grid, {s}_scratch, {s}_bytes, {s}_map}},"
        );
    }
    let _ = writeln!(
        out,
        "}};\nstatic const unsigned nestor_kernel_count = {};\n#endif",
        kernels.len()
    );
    out
}

const SIZES: &str = "uint64_t B, uint64_t T, uint64_t t0";
const UNUSED: &str = "(void)B; (void)T; (void)t0;";

fn functions(out: &mut String, kernel: &Kernel, entry: &Entry) {
    let s = &entry.symbol;
    let grid = kernel.grid.iter().map(|(_, d)| expression(&Monomial::dim(*d)));
    let grid = product(grid.collect());
    let _ =
        writeln!(out, "static uint64_t {s}_grid({SIZES}) {{ {UNUSED} return {grid}; }}");
    let lines =
        entry.scratch.iter().map(|m| format!("({} + 63) / 64 * 64", expression(m)));
    let lines: Vec<String> = lines.collect();
    let each = if lines.is_empty() { "0".to_owned() } else { lines.join(" + ") };
    let _ = writeln!(
        out,
        "static uint64_t {s}_scratch({SIZES}) {{ {UNUSED} return ({each}) * ({grid}); }}"
    );
    let _ = writeln!(
        out,
        "static uint64_t {s}_bytes(unsigned buffer, {SIZES}) {{\n  {UNUSED}\n  switch (buffer) {{"
    );
    for (n, buffer) in kernel.buffers.values().enumerate() {
        let width = match (buffer.elem, entry.narrow[n]) {
            (Elem::Bool, _) => 1,
            (_, true) => 2,
            (_, false) => 4,
        };
        let bytes = elements(&buffer.dims).times(Monomial::number(width));
        let narrow = if entry.narrow[n] { ", bfloat16" } else { "" };
        let name = buffer.name.replace("*/", "");
        let _ = writeln!(
            out,
            "    case {n}: return {}; /* {name}{narrow} */",
            expression(&bytes)
        );
    }
    out.push_str("  }\n  return 0;\n}\n");
    let _ = writeln!(
        out,
        "static nestor_map {s}_map(unsigned n, {SIZES}) {{\n  nestor_map none = {{0}};\n  {UNUSED}\n  switch (n) {{"
    );
    for (n, boxes) in entry.boxes.iter().enumerate() {
        let _ = writeln!(out, "    case {n}: return {};", map(s, boxes));
    }
    out.push_str("  }\n  return none;\n}\n\n");
}

/// Boxes of a kernel's buffer in C, as [`Boxes::at`] says them.
fn map(symbol: &str, boxes: &Boxes) -> String {
    let [line, lines, rows] = boxes.shape;
    let (buffer, width, swizzled) =
        (boxes.buffer, boxes.width, u8::from(boxes.exchanged));
    let there: Vec<String> = boxes.rows.iter().map(expression).collect();
    let (there, apart, wide) = (there.join(" + "), boxes.apart * width, line * width);
    format!(
        "(nestor_map){{{buffer}, {width}, {swizzled}, {{{line}, {there}, {lines}, {symbol}_bytes({buffer}, B, T, t0) / {STEP}}}, {{{apart}, {wide}, {STEP}}}, {{{line}, {rows}, {lines}, 1}}}}"
    )
}

fn product(factors: Vec<String>) -> String {
    if factors.is_empty() { "1".to_owned() } else { factors.join(" * ") }
}

/// A quantity in C.
fn expression(m: &Monomial) -> String {
    let mut factors = vec![format!("UINT64_C({})", m.factor)];
    let (time, start) = match m.every {
        1 => ("T".to_owned(), "t0".to_owned()),
        n => (format!("((t0 % {n} + T) / {n})"), format!("(t0 / {n})")),
    };
    let powers = [
        ("B".to_owned(), m.batch),
        (time.clone(), m.time),
        (start.clone(), m.start),
        (format!("({start} + {time})"), m.whole),
    ];
    for (name, power) in powers {
        factors.extend(std::iter::repeat_n(name, usize::from(power)));
    }
    let (c, power) = m.chunks;
    let chunks = format!("(({start} % {c} + {time} + {c} - 1) / {c})");
    factors.extend(std::iter::repeat_n(chunks, usize::from(power)));
    if m.phase > 0 {
        factors.push(format!("({start} % {})", m.phase));
    }
    format!("({})", product(factors))
}

/// A program that loads the code and launches every kernel once, on memory of zeros.
pub fn example() -> &'static str {
    r#"/* Loads kernels.cubin or kernels.ptx and launches every kernel once, on memory of zeros.
   cc example.c -lcuda -o example && ./example kernels.ptx */
#include <cuda.h>
#include <stdio.h>
#include <stdlib.h>
#include "kernels.h"

static void check(CUresult result, const char *what) {
  const char *name = "unknown";
  if (result == CUDA_SUCCESS) return;
  cuGetErrorName(result, &name);
  fprintf(stderr, "%s: %s\n", what, name);
  exit(1);
}

static CUtensorMap encoded(nestor_map map, const CUdeviceptr *memory) {
  CUtensorMap out;
  cuuint32_t steps[4] = {1, 1, 1, 1};
  check(cuTensorMapEncodeTiled(
            &out, map.width == 2 ? CU_TENSOR_MAP_DATA_TYPE_BFLOAT16 : CU_TENSOR_MAP_DATA_TYPE_FLOAT32, 4,
            (void *)memory[map.buffer], map.sizes, map.strides, map.boxes, steps,
            CU_TENSOR_MAP_INTERLEAVE_NONE,
            map.swizzled ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_NONE,
            CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
        "cuTensorMapEncodeTiled");
  return out;
}

int main(int argc, char **argv) {
  uint64_t B = 1, T = 64, t0 = 0;
  CUdevice device;
  CUcontext context;
  CUmodule module;
  check(cuInit(0), "cuInit");
  check(cuDeviceGet(&device, 0), "cuDeviceGet");
  check(cuDevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain");
  check(cuCtxSetCurrent(context), "cuCtxSetCurrent");
  check(cuModuleLoad(&module, argc > 1 ? argv[1] : "kernels.ptx"), "cuModuleLoad");
  for (unsigned n = 0; n < nestor_kernel_count; n++) {
    const nestor_kernel *k = &nestor_kernels[n];
    CUfunction function;
    CUdeviceptr memory[256];
    CUtensorMap maps[64];
    void *params[320];
    uint64_t grid = k->grid(B, T, t0);
    check(cuModuleGetFunction(&function, module, k->name), k->name);
    check(cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                             (int)k->shared_bytes), k->name);
    if (k->buffers + 4 > 256 || k->maps > 64) return 1;
    for (unsigned b = 0; b <= k->buffers; b++) {
      uint64_t bytes = b < k->buffers ? k->buffer_bytes(b, B, T, t0) : k->scratch_bytes(B, T, t0);
      check(cuMemAlloc(&memory[b], bytes ? bytes : 1), "cuMemAlloc");
      check(cuMemsetD8(memory[b], 0, bytes ? bytes : 1), "cuMemsetD8");
      params[b] = &memory[b];
    }
    params[k->buffers + 1] = &B;
    params[k->buffers + 2] = &T;
    params[k->buffers + 3] = &t0;
    for (unsigned m = 0; m < k->maps; m++) {
      maps[m] = encoded(k->map(m, B, T, t0), memory);
      params[k->buffers + 4 + m] = &maps[m];
    }
    check(cuLaunchKernel(function, (unsigned)grid, 1, 1, k->threads, 1, 1, k->shared_bytes, NULL,
                         params, NULL), k->name);
    check(cuCtxSynchronize(), k->name);
    printf("%s: %llu blocks of %u threads\n", k->name, (unsigned long long)grid, k->threads);
    for (unsigned b = 0; b <= k->buffers; b++) check(cuMemFree(memory[b]), "cuMemFree");
  }
  return 0;
}
"#
}
