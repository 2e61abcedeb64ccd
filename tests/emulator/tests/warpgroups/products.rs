//! What products compute, against plain loops.

use crate::kernel::{DONE, FENCE, HANDED_OVER, Kernel, product};
use crate::place::{Place, left, right};

/// Where B begins behind A.
const BEHIND: usize = 8192;

/// `before + A B`, the sum over so many.
fn expected(columns: usize, depth: usize, before: f32) -> Vec<f32> {
    let entry = |row: usize, column: usize| {
        before + (0..depth).map(|k| left(row, k) * right(column, k)).sum::<f32>()
    };
    (0..64 * columns).map(|n| entry(n / columns, n % columns)).collect()
}

/// An image of A and B with so many along the sum.
fn image(a: &Place, b: &Place, columns: usize, depth: usize) -> Vec<u8> {
    let mut image = vec![0; 3 * BEHIND];
    a.fill(&mut image, [64, depth], left);
    b.fill(&mut image, [columns, depth], right);
    image
}

/// One product of two operands in shared memory.
fn one(a: Place, b: Place, columns: usize, adds: &str) -> Kernel {
    let body = [
        HANDED_OVER,
        &a.descriptor("%rd10", 0),
        &b.descriptor("%rd11", 0),
        FENCE,
        &product(columns, ["%rd10", "%rd11"], adds, &[a.turned, b.turned]),
        DONE,
    ];
    Kernel::new(image(&a, &b, columns, 16), columns, body.concat())
}

fn check(kernel: &Kernel, expected: &[f32]) {
    let (out, _) = kernel.run().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(out, expected);
}

#[test]
fn operands_lie_along_the_sum_or_across_it() {
    for width in [128, 64, 32] {
        for (turned_a, turned_b) in
            [(false, false), (false, true), (true, false), (true, true)]
        {
            for columns in [8, 16, 32, 64, 128] {
                let a = Place::new(0, width, turned_a);
                let b = Place::new(BEHIND, width, turned_b);
                let kernel = one(a, b, columns, "1");
                let (out, stats) = kernel.run().unwrap_or_else(|e| panic!("{e}"));
                let case = format!("{width}, {turned_a}, {turned_b}, {columns}");
                assert_eq!(out, expected(columns, 16, 1.0), "{case}");
                assert_eq!(stats.products, 4 * columns as u64 / 8, "{case}");
            }
        }
    }
}

#[test]
fn what_was_there_before_is_added_where_the_flag_says_so() {
    let (a, b) = (Place::new(0, 128, false), Place::new(BEHIND, 128, true));
    check(&one(a, b, 32, "0"), &expected(32, 16, 0.0));
    for (relation, before) in [("lt", 1.0), ("ge", 0.0)] {
        let mut kernel = one(a, b, 32, "%p1");
        let flag = format!("setp.{relation}.u32 %p1, %r1, 4096;\n");
        kernel.body.insert_str(0, &flag);
        check(&kernel, &expected(32, 16, before));
    }
}

#[test]
fn products_go_on_along_the_sum_within_a_pattern() {
    let (a, b) = (Place::new(0, 128, false), Place::new(BEHIND, 128, false));
    let mut body = HANDED_OVER.to_owned();
    for k in 0..4 {
        body += &a.descriptor(&format!("%rd{}", 10 + k), 32 * k);
        body += &b.descriptor(&format!("%rd{}", 20 + k), 32 * k);
    }
    body += FENCE;
    for k in 0..4 {
        let (a, b) = (format!("%rd{}", 10 + k), format!("%rd{}", 20 + k));
        body += &product(64, [&a, &b], "1", &[false, false]);
    }
    body += DONE;
    let kernel = Kernel::new(image(&a, &b, 64, 64), 64, body);
    check(&kernel, &expected(64, 64, 1.0));
    let (_, stats) = kernel.run().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(stats.products, 4 * 4 * 8);
}

#[test]
fn the_left_operand_may_lie_in_registers() {
    // Lane l of warp w has rows 16 w + l / 4 and eight on, columns 2 (l % 4) and one and eight on: it loads them from where A lies plainly.
    let (plain, b) = (BEHIND * 2, Place::new(BEHIND, 128, true));
    let mut image = image(&Place::new(0, 128, false), &b, 32, 16);
    for row in 0..64 {
        for k in 0..16 {
            let number = (left(row, k).to_bits() >> 16) as u16;
            let byte = plain + 32 * row + 2 * k;
            image[byte..byte + 2].copy_from_slice(&number.to_le_bytes());
        }
    }
    let body = [
        HANDED_OVER,
        &b.descriptor("%rd11", 0),
        "shr.u32 %r10, %r1, 5;
        and.b32 %r11, %r1, 31;
        shr.u32 %r12, %r11, 2;
        and.b32 %r13, %r11, 3;
        shl.b32 %r14, %r10, 9;
        shl.b32 %r15, %r12, 5;
        shl.b32 %r16, %r13, 2;
        add.s32 %r14, %r14, %r15;
        add.s32 %r14, %r14, %r16;
        cvt.u64.u32 %rd12, %r14;
        add.s64 %rd12, %rd12, %rd5;\n",
        "ld.shared.b32 %r20, [%rd12+16384];
        ld.shared.b32 %r21, [%rd12+16640];
        ld.shared.b32 %r22, [%rd12+16400];
        ld.shared.b32 %r23, [%rd12+16656];\n",
        FENCE,
        &product(32, ["{%r20, %r21, %r22, %r23}", "%rd11"], "1", &[true]),
        DONE,
    ];
    check(&Kernel::new(image, 32, body.concat()), &expected(32, 16, 1.0));
}

#[test]
fn every_group_of_a_block_has_all_rows() {
    let (a, b) = (Place::new(0, 128, false), Place::new(BEHIND, 128, false));
    let mut kernel = one(a, b, 16, "0");
    kernel.threads = 256;
    let once = expected(16, 16, 0.0);
    check(&kernel, &[once.clone(), once].concat());
}

#[test]
fn patterns_behind_the_addresses_of_a_descriptor_are_found() {
    // Shared memory begins at 65536 here: what lies 196608 bytes behind that has an address of 19 bits.
    let (a, b) = (Place::new(0, 128, false), Place::new(212_992, 128, false));
    let mut kernel = one(a, Place::new(BEHIND, 128, false), 16, "1");
    kernel.image = vec![0; 220_160 / 2048 * 2048];
    a.fill(&mut kernel.image, [64, 16], left);
    b.fill(&mut kernel.image, [16, 16], right);
    let near = Place::new(BEHIND, 128, false).descriptor("%rd11", 0);
    kernel.body = kernel.body.replace(&near, &b.descriptor("%rd11", 0));
    check(&kernel, &expected(16, 16, 1.0));
}
