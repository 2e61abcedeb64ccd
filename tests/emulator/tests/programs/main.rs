//! Small programs by hand: what they compute was worked out on paper.

mod common;
mod matrices;

use common::{floats, module, run, run_text, words};
use nestor_emulator::{Allocation, Launch, Memory, Module, launch};

#[test]
fn threads_know_who_they_are_and_branch() {
    // out[n] = n odd ? 10 n : n, for 2 blocks of 32.
    let out = run(
        r"
        mov.u32 %r1, %tid.x;
        mov.u32 %r2, %ctaid.x;
        mov.u32 %r3, %ntid.x;
        mad.lo.s32 %r4, %r2, %r3, %r1;
        and.b32 %r5, %r4, 1;
        setp.eq.s32 %p1, %r5, 0;
        mov.b32 %r6, %r4;
        @%p1 bra $L1;
        mul.lo.s32 %r6, %r4, 10;
        $L1:
        mul.wide.u32 %rd2, %r4, 4;
        add.s64 %rd3, %rd1, %rd2;
        st.global.b32 [%rd3], %r6;
        ret;",
        2,
        64,
    );
    let expected: Vec<u32> =
        (0..64).map(|n| if n % 2 == 1 { 10 * n } else { n }).collect();
    assert_eq!(words(&out.unwrap_or_else(|e| panic!("{e}"))), expected);
}

#[test]
fn a_barrier_hands_shared_memory_over() {
    // out[n] = 31 - n through shared memory.
    let out = run(&reversed("bar.sync 0;"), 1, 32).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(words(&out), (0..32).rev().collect::<Vec<u32>>());
}

/// A kernel that calls a function behind what stands before the call: out[place of the thread] = by * thread, all threads waiting for
/// one another in between.
fn calling(lines: &str) -> String {
    let function = r"
.func test$0(
	.param .b64 test$0_param_0,
	.param .b32 test$0_param_1
)
{
        .reg .b64 %rd<9>;
        ld.param.b64 %rd1, [test$0_param_0];
        ld.param.b32 %r9, [test$0_param_1];
        mov.u32 %r1, %tid.x;
        mul.lo.s32 %r2, %r1, %r9;
        bar.sync 0;
        st.global.b32 [%rd1], %r2;
        ret;
}
";
    let call = |by: u32, words: u32| {
        format!(
            "mov.u32 %r1, %tid.x;
            mul.wide.u32 %rd2, %r1, 4;
            add.s64 %rd3, %rd1, %rd2;
            add.s64 %rd3, %rd3, {};
            mov.b32 %r5, {by};
            {{
            .param .b64 param0;
            .param .b32 param1;
            st.param.b64 [param0], %rd3;
            st.param.b32 [param1], %r5;
            call.uni test$0, (param0, param1);
            }}",
            4 * words
        )
    };
    let lines = lines.replace("FIRST", &call(3, 0)).replace("SECOND", &call(5, 32));
    let text = module(&lines);
    text.replacen(".visible .entry", &format!("{function}.visible .entry"), 1)
}

#[test]
fn functions_are_called_with_what_they_are_given() {
    let out = run_text(&calling("FIRST\n SECOND\n ret;"), 1, 64);
    let out = words(&out.unwrap_or_else(|e| panic!("{e}")));
    let expected: Vec<u32> =
        (0..32).map(|n| 3 * n).chain((0..32).map(|n| 5 * n)).collect();
    assert_eq!(out, expected);
}

#[test]
fn threads_that_wait_in_one_function_called_from_two_places_are_found() {
    let apart = "mov.u32 %r7, %tid.x;
        setp.lt.u32 %p1, %r7, 16;
        @%p1 bra $L1;
        FIRST
        ret;
        $L1:
        SECOND
        ret;";
    let fault = run_text(&calling(apart), 1, 64).expect_err("two barriers");
    assert!(fault.what.contains("waits at another barrier"), "{fault}");
}

#[test]
fn a_missing_barrier_is_found() {
    let fault = run(&reversed(""), 1, 32).expect_err("a race");
    assert!(fault.to_string().contains("ld.shared.b32"), "{fault}");
    // The first thread reads what the last one has not written yet.
    assert!(fault.what.contains("before it is written"), "{fault}");
    // With the memory written before, it is what it is: a race.
    let again = format!("{}\n bar.sync 0;\n{}", begun(), reversed(""));
    let fault = run(&again, 1, 32).expect_err("a race");
    assert!(fault.what.contains("race"), "{fault}");
    assert!(fault.what.contains("thread 15 of block 0 has read it"), "{fault}");
}

/// Each thread writes to shared memory.
fn begun() -> String {
    let text = reversed("");
    text[..text.find("sub.s64").expect("the second half")].to_owned()
}

/// Each thread writes its number and reads that of its mirror image.
fn reversed(between: &str) -> String {
    format!(
        r"
        mov.u32 %r1, %tid.x;
        shl.b32 %r2, %r1, 2;
        mov.b64 %rd4, shared;
        cvt.u64.u32 %rd5, %r2;
        add.s64 %rd6, %rd4, %rd5;
        st.shared.b32 [%rd6], %r1;
        {between}
        sub.s64 %rd7, %rd4, %rd5;
        ld.shared.b32 %r3, [%rd7+124];
        add.s64 %rd3, %rd1, %rd5;
        st.global.b32 [%rd3], %r3;
        ret;"
    )
}

#[test]
fn two_blocks_that_write_one_element_are_a_race() {
    let fault = run("mov.u32 %r1, %ctaid.x; st.global.b32 [%rd1], %r1; ret;", 2, 1);
    let fault = fault.expect_err("a race");
    assert!(fault.what.contains("race"), "{fault}");
}

#[test]
fn an_access_past_the_end_names_block_thread_and_instruction() {
    // One element more than there is: the tail that nothing masks.
    let fault = run(
        r"
        mov.u32 %r1, %tid.x;
        mul.wide.u32 %rd2, %r1, 4;
        add.s64 %rd3, %rd1, %rd2;
        st.global.b32 [%rd3], %r1;
        ret;",
        1,
        31,
    );
    let fault = fault.expect_err("out of bounds");
    assert_eq!((fault.block, fault.thread), (0, 31));
    assert!(fault.instruction.starts_with("st.global.b32"), "{fault}");
    assert!(fault.what.contains("which has 124"), "{fault}");
}

#[test]
fn a_barrier_that_some_threads_skip_is_an_error() {
    let fault = run(
        r"
        mov.u32 %r1, %tid.x;
        setp.lt.u32 %p1, %r1, 7;
        @%p1 bra $L1;
        bar.sync 0;
        $L1:
        ret;",
        1,
        1,
    );
    let fault = fault.expect_err("a barrier");
    assert!(fault.what.contains("has ended without this barrier"), "{fault}");
}

#[test]
fn shuffles_move_between_lanes() {
    // The sum of all lanes by butterflies.
    let out = run(
        r"
        mov.u32 %r1, %tid.x;
        cvt.rn.f32.u32 %f1, %r1;
        shfl.sync.bfly.b32 %f2, %f1, 16, 31, -1;
        add.f32 %f1, %f1, %f2;
        shfl.sync.bfly.b32 %f2, %f1, 8, 31, -1;
        add.f32 %f1, %f1, %f2;
        shfl.sync.bfly.b32 %f2, %f1, 4, 31, -1;
        add.f32 %f1, %f1, %f2;
        shfl.sync.bfly.b32 %f2, %f1, 2, 31, -1;
        add.f32 %f1, %f1, %f2;
        shfl.sync.bfly.b32 %f2, %f1, 1, 31, -1;
        add.f32 %f1, %f1, %f2;
        shfl.sync.down.b32 %r3, %r1, 5, 31, -1;
        cvt.rn.f32.u32 %f3, %r3;
        add.f32 %f1, %f1, %f3;
        mul.wide.u32 %rd2, %r1, 4;
        add.s64 %rd3, %rd1, %rd2;
        st.global.b32 [%rd3], %f1;
        ret;",
        1,
        32,
    );
    let out = floats(&out.unwrap_or_else(|e| panic!("{e}")));
    // 0 + 1 + .. + 31 = 496, and the number five lanes on, or the own one at the end.
    let expected: Vec<f32> =
        (0..32).map(|n| 496.0 + if n < 27 { n as f32 + 5.0 } else { n as f32 }).collect();
    assert_eq!(out, expected);
}

/// `D = A B` with `A[i][k] = i + 2 k` and `B[k][j] = k == j`, so `D[i][j] = i + 2 j`.
const PRODUCT: &str = r"
        mov.u32 %r1, %laneid;
        shr.u32 %r2, %r1, 2;
        and.b32 %r3, %r1, 3;
        shl.b32 %r4, %r3, 1;
        // Column 2 w of row g, and one column on: g + 4 w, g + 4 w + 2.
        shl.b32 %r5, %r4, 1;
        add.s32 %r5, %r5, %r2;
        cvt.rn.f32.u32 %f1, %r5;
        add.s32 %r6, %r5, 2;
        cvt.rn.f32.u32 %f2, %r6;
        cvt.rn.bf16x2.f32 %r10, %f2, %f1;
        add.f32 %f1, %f1, 0f41000000;
        add.f32 %f2, %f2, 0f41000000;
        cvt.rn.bf16x2.f32 %r11, %f2, %f1;
        // The same eight columns on: 16 more.
        add.f32 %f3, %f1, 0f41000000;
        add.f32 %f4, %f2, 0f41000000;
        cvt.rn.bf16x2.f32 %r12, %f4, %f3;
        add.f32 %f3, %f1, 0f41800000;
        add.f32 %f4, %f2, 0f41800000;
        cvt.rn.bf16x2.f32 %r13, %f4, %f3;
        // B: rows 2 w and 2 w + 1 of column g.
        setp.eq.u32 %p1, %r4, %r2;
        selp.f32 %f5, 0f3F800000, 0f00000000, %p1;
        add.s32 %r7, %r4, 1;
        setp.eq.u32 %p2, %r7, %r2;
        selp.f32 %f6, 0f3F800000, 0f00000000, %p2;
        cvt.rn.bf16x2.f32 %r14, %f6, %f5;
        mov.b32 %r15, 0;
        mov.b32 %f7, 0f00000000;
        mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%f10, %f11, %f12, %f13}, {%r10, %r11, %r12, %r13}, {%r14, %r15}, {%f7, %f7, %f7, %f7};
        // D[g][2 w], D[g][2 w + 1], and eight rows on.
        shl.b32 %r8, %r2, 3;
        add.s32 %r8, %r8, %r4;
        mul.wide.u32 %rd2, %r8, 4;
        add.s64 %rd3, %rd1, %rd2;
        st.global.v2.b32 [%rd3], {%f10, %f11};
        st.global.v2.b32 [%rd3+256], {%f12, %f13};
        ret;";

#[test]
fn a_matrix_product_has_the_published_layout() {
    let out = floats(&run(PRODUCT, 1, 128).unwrap_or_else(|e| panic!("{e}")));
    for i in 0..16 {
        for j in 0..8 {
            assert_eq!(out[i * 8 + j], (i + 2 * j) as f32, "row {i}, column {j}");
        }
    }
}

/// Copies 16 bytes a thread to shared memory and reads them back.
fn copied(wait: &str) -> String {
    copied_of("16", "cp.async.commit_group;", wait)
}

/// The same of so many bytes.
fn copied_of(bytes: &str, commit: &str, wait: &str) -> String {
    format!(
        r"
        mov.u32 %r1, %tid.x;
        shl.b32 %r2, %r1, 4;
        cvt.u64.u32 %rd5, %r2;
        add.s64 %rd3, %rd1, %rd5;
        st.global.v4.b32 [%rd3], {{%r1, %r2, %r1, %r2}};
        bar.sync 0;
        mov.b64 %rd4, shared;
        add.s64 %rd6, %rd4, %rd5;
        mov.u32 %r4, 4;
        cp.async.cg.shared.global [%rd6], [%rd3], {bytes};
        {commit}
        {wait}
        ld.shared.b32 %r3, [%rd6+4];
        st.global.b32 [%rd3], %r3;
        ret;"
    )
}

#[test]
fn asynchronous_copies_arrive_when_they_are_waited_for() {
    let out =
        run(&copied("cp.async.wait_group 0;"), 1, 128).unwrap_or_else(|e| panic!("{e}"));
    let out = words(&out);
    assert!((0..32).all(|n| out[4 * n] == 16 * n as u32), "{out:?}");
    let fault = run(&copied("cp.async.wait_group 1;"), 1, 128).expect_err("too early");
    assert!(fault.what.contains("before its copy is waited for"), "{fault}");
    // A wait for all needs no group; one for groups does not wait for what is in none.
    let all = copied_of("16", "", "cp.async.wait_all;");
    let out = words(&run(&all, 1, 128).unwrap_or_else(|e| panic!("{e}")));
    assert!((0..32).all(|n| out[4 * n] == 16 * n as u32), "{out:?}");
    let none = copied_of("16", "", "cp.async.wait_group 0;");
    let fault = run(&none, 1, 128).expect_err("in no group");
    assert!(fault.what.contains("before its copy is waited for"), "{fault}");
}

#[test]
fn behind_what_a_copy_is_given_there_are_zeros() {
    let some = copied_of("16, %r4", "", "cp.async.wait_all;");
    let out = words(&run(&some, 1, 128).unwrap_or_else(|e| panic!("{e}")));
    // The second word of each thread is behind the four bytes that are copied.
    assert!((0..32).all(|n| out[4 * n] == 0), "{out:?}");
}

#[test]
fn what_is_outside_of_the_subset_is_said_with_its_line() {
    let text =
        common::module("        atom.global.add.u32 %r1, [%rd1], 1;\n        ret;");
    let error = Module::parse(&text).expect_err("not of the subset");
    assert!(error.to_string().contains("atom.global.add.u32"), "{error}");
    assert!(error.line > 5, "{error}");
}

#[test]
fn arithmetic_follows_the_published_rules() {
    let out = common::run_one(
        r"
        mov.b32 %r1, -7;
        shr.s32 %r2, %r1, 1;
        st.global.b32 [%rd1], %r2;
        div.s32 %r3, %r1, 2;
        st.global.b32 [%rd1+4], %r3;
        mul.hi.u32 %r4, %r1, 2;
        st.global.b32 [%rd1+8], %r4;
        mov.b32 %f1, 0f7FC00000;
        max.f32 %f2, %f1, 0f3F800000;
        st.global.b32 [%rd1+12], %f2;
        setp.ltu.f32 %p1, %f1, 0f00000000;
        selp.b32 %r5, 1, 0, %p1;
        st.global.b32 [%rd1+16], %r5;
        prmt.b32 %r6, 0x03020100, 0x07060504, 0x5410;
        st.global.b32 [%rd1+20], %r6;
        cvt.rzi.s32.f32 %r7, 0fC0200000;
        st.global.b32 [%rd1+24], %r7;
        ex2.approx.f32 %f3, 0f40400000;
        st.global.b32 [%rd1+28], %f3;
        ret;",
        8,
    );
    let out = words(&out.unwrap_or_else(|e| panic!("{e}")));
    let expected = [-4_i32 as u32, -3_i32 as u32, 1, 1.0_f32.to_bits(), 1];
    assert_eq!(out[..5], expected);
    assert_eq!(out[5], 0x0504_0100);
    assert_eq!(out[6], -2_i32 as u32);
    assert_eq!(out[7], 8.0_f32.to_bits());
}

#[test]
fn bytes_are_moved_once_whoever_touches_them() {
    // Two blocks read 32 words each, the same ones; the first eight threads of each write words of their own.
    let text = module(
        r"
        mov.u32 %r1, %tid.x;
        mov.u32 %r2, %ctaid.x;
        mul.wide.u32 %rd2, %r1, 4;
        add.s64 %rd3, %rd1, %rd2;
        ld.global.b32 %r4, [%rd3];
        setp.ge.u32 %p1, %r1, 8;
        @%p1 ret;
        shl.b32 %r5, %r2, 3;
        add.s32 %r6, %r5, %r1;
        mul.wide.u32 %rd4, %r6, 4;
        add.s64 %rd5, %rd1, %rd4;
        st.global.b32 [%rd5+128], %r4;
        ret;",
    );
    let module = Module::parse(&text).unwrap_or_else(|e| panic!("{e}"));
    let mut memory = Memory::default();
    let out = memory.add(Allocation::filled("out", vec![0; 256]));
    let how = Launch {
        grid: 2,
        block: 32,
        shared: 0,
        params: vec![out],
        maps: vec![],
        limit: 1_000_000,
        trusted: false,
    };
    let stats = launch(&module, "test", &how, &mut memory);
    let stats = stats.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(stats.moved, [128, 64]);
}
