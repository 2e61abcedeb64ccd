//! Matrices of a warp: loaded, stored and turned.

use crate::common::{run, words};

/// Writes a matrix of 8 rows of 16 bytes to shared memory, each row's place by `swizzle`, and loads it as a fragment.
fn fragment(swizzle: &str) -> String {
    format!(
        r"
        mov.u32 %r1, %laneid;
        mov.b64 %rd4, shared;
        shr.u32 %r2, %r1, 2;
        and.b32 %r3, %r1, 3;
        // Row g, words 4 w .. 4 w + 3 of bytes: numbers 8 g + 2 w and one more, in 16 bits each.
        shl.b32 %r4, %r2, 3;
        shl.b32 %r5, %r3, 1;
        add.s32 %r6, %r4, %r5;
        add.s32 %r7, %r6, 1;
        shl.b32 %r8, %r7, 16;
        or.b32 %r8, %r8, %r6;
        // Rows lie 32 bytes apart, in the first or second half by their parity.
        and.b32 %r9, %r2, 1;
        shl.b32 %r9, %r9, 4;
        shl.b32 %r10, %r2, 5;
        add.s32 %r10, %r10, %r9;
        shl.b32 %r11, %r3, 2;
        add.s32 %r10, %r10, %r11;
        cvt.u64.u32 %rd5, %r10;
        add.s64 %rd6, %rd4, %rd5;
        st.shared.b32 [%rd6], %r8;
        bar.sync 0;
        // Lane r gives row r.
        and.b32 %r12, %r1, 7;
        {swizzle}
        shl.b32 %r13, %r13, 4;
        shl.b32 %r14, %r12, 5;
        add.s32 %r14, %r14, %r13;
        cvt.u64.u32 %rd7, %r14;
        add.s64 %rd8, %rd4, %rd7;
        ldmatrix.sync.aligned.m8n8.x1.shared.b16 {{%r15}}, [%rd8];
        mul.wide.u32 %rd2, %r1, 4;
        add.s64 %rd3, %rd1, %rd2;
        st.global.b32 [%rd3], %r15;
        ret;"
    )
}

#[test]
fn matrices_are_loaded_as_fragments() {
    let text = fragment("and.b32 %r13, %r12, 1;");
    let out = words(&run(&text, 1, 32).unwrap_or_else(|e| panic!("{e}")));
    let expected: Vec<u32> = (0..32)
        .map(|lane| 8 * (lane / 4) + 2 * (lane % 4))
        .map(|n| n | (n + 1) << 16)
        .collect();
    assert_eq!(out, expected);
}

#[test]
fn matrices_are_turned_among_lanes() {
    // Entry (r, c) is 8 r + c before, 8 c + r after.
    let text = r"
        mov.u32 %r1, %tid.x;
        shl.b32 %r2, %r1, 1;
        add.s32 %r3, %r2, 1;
        shl.b32 %r3, %r3, 16;
        or.b32 %r4, %r2, %r3;
        movmatrix.sync.aligned.m8n8.trans.b16 %r5, %r4;
        mul.wide.u32 %rd2, %r1, 4;
        add.s64 %rd3, %rd1, %rd2;
        st.global.b32 [%rd3], %r5;
        ret;";
    let out = words(&run(text, 1, 32).unwrap_or_else(|e| panic!("{e}")));
    let expected: Vec<u32> = (0..32)
        .map(|lane| (lane / 4) + 16 * (lane % 4))
        .map(|n| n | (n + 8) << 16)
        .collect();
    assert_eq!(out, expected);
}

#[test]
fn matrices_are_stored_as_they_are_loaded() {
    for (to, from) in [("", ""), (".trans", ".trans"), ("", ".trans")] {
        let text = format!(
            "mov.u32 %r1, %tid.x; and.b32 %r2, %r1, 7; shl.b32 %r2, %r2, 4;
            mov.b32 %r3, shared; add.s32 %r2, %r3, %r2;
            stmatrix.sync.aligned.m8n8.x1{to}.shared.b16 [%r2], {{%r1}}; bar.sync 0;
            ldmatrix.sync.aligned.m8n8.x1{from}.shared.b16 {{%r4}}, [%r2];
            mul.wide.u32 %rd2, %r1, 4; add.s64 %rd3, %rd1, %rd2; st.global.b32 [%rd3], %r4; ret;"
        );
        let out = words(&run(&text, 1, 32).unwrap_or_else(|e| panic!("{e}")));
        // A lane's number is that of one column, the next one's are zero; the other way it has two rows of the first column.
        let turned = [4 << 16, 8 | 12 << 16, 16 | 20 << 16, 24 | 28 << 16];
        assert_eq!(out[..4], if to == from { [0, 1, 2, 3] } else { turned });
    }
}

#[test]
fn a_wrong_swizzle_reads_what_nothing_has_written() {
    let fault = run(&fragment("mov.b32 %r13, 0;"), 1, 32).expect_err("a wrong swizzle");
    assert!(fault.what.contains("before it is written"), "{fault}");
    assert!(fault.instruction.starts_with("ldmatrix"), "{fault}");
    assert_eq!(fault.thread, 1, "{fault}");
}
