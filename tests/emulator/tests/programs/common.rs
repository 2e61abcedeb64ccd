//! Launches a kernel of a few lines: `%rd1` is the address of its output, `shared` has 1024 bytes.

use nestor_emulator::{Allocation, Fault, Launch, Memory, Module, launch};

/// The lines as a module.
pub(crate) fn module(lines: &str) -> String {
    format!(
        r#"//
.version 8.0
.target sm_80
.address_size 64
.extern .shared .align 16 .b8 shared[];
.visible .entry test(
	.param .u64 .ptr .global .align 1 test_param_0
)
.maxntid 32
	.pragma "nounroll";
{{
        .reg .pred %p<9>;
        ld.param.b64 %rd1, [test_param_0];
        cvta.to.global.u64 %rd1, %rd1;
        {lines}
}}
"#
    )
}

/// Runs blocks of a warp on an output of so many words.
pub(crate) fn run(lines: &str, grid: u32, count: usize) -> Result<Vec<u8>, Fault> {
    run_text(&module(lines), grid, count)
}

/// As [`run`], a whole text.
pub(crate) fn run_text(text: &str, grid: u32, count: usize) -> Result<Vec<u8>, Fault> {
    let module = Module::parse(text).unwrap_or_else(|e| panic!("{e}"));
    let mut memory = Memory::default();
    let out = memory.add(Allocation::filled("out", vec![0; 4 * count]));
    let how = Launch {
        grid,
        block: 32,
        shared: 1024,
        params: vec![out],
        maps: vec![],
        limit: 1_000_000,
        trusted: false,
    };
    launch(&module, "test", &how, &mut memory)?;
    Ok(memory.get(out).data().to_vec())
}

/// Runs one thread alone; the others of its warp end at once.
pub(crate) fn run_one(lines: &str, count: usize) -> Result<Vec<u8>, Fault> {
    let alone = "mov.u32 %r99, %tid.x; setp.ne.u32 %p8, %r99, 0; @%p8 ret;";
    run(&format!("{alone}\n{lines}"), 1, count)
}

pub(crate) fn words(bytes: &[u8]) -> Vec<u32> {
    let word = |c: &[u8]| u32::from_le_bytes(c.try_into().expect("four bytes"));
    bytes.chunks_exact(4).map(word).collect()
}

pub(crate) fn floats(bytes: &[u8]) -> Vec<f32> {
    words(bytes).into_iter().map(f32::from_bits).collect()
}
