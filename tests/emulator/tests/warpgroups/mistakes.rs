//! Products that a device may do otherwise, or not at all: each is an error.

use crate::kernel::{DONE, FENCE, HANDED_OVER, Kernel, product};
use crate::place::{Place, left, right};
use nestor_emulator::{Fault, Module};

/// A kernel of 16 columns, its descriptors in `%rd10` and `%rd11`, with these instructions of products.
fn kernel(lines: &str) -> Kernel {
    let (a, b) = (Place::new(0, 128, false), Place::new(8192, 128, false));
    let mut image = vec![0; 16384];
    a.fill(&mut image, [64, 16], left);
    b.fill(&mut image, [16, 16], right);
    let descriptors = [a.descriptor("%rd10", 0), b.descriptor("%rd11", 0)].concat();
    Kernel::new(image, 16, format!("{HANDED_OVER}{descriptors}{lines}"))
}

/// The product itself.
fn one() -> String {
    product(16, ["%rd10", "%rd11"], "1", &[false, false])
}

fn says(fault: &Fault, instruction: &str, what: &str) {
    assert!(fault.instruction.starts_with(instruction), "{fault}");
    assert!(fault.what.contains(what), "{fault}");
}

#[test]
fn without_a_mistake_there_is_no_error() {
    let lines = [FENCE, &one(), &one(), DONE, "bar.sync 0;\n", FENCE, &one(), DONE];
    kernel(&lines.concat()).run().unwrap_or_else(|e| panic!("{e}"));
    // Groups of nothing are done at once.
    kernel(&[FENCE, DONE, DONE].concat()).run().unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn all_lanes_of_a_warp_give_one_descriptor() {
    let odd = "setp.eq.u32 %p1, %r1, 35;\n @%p1 add.s64 %rd11, %rd11, 2;\n";
    let fault = kernel(&[odd, FENCE, &one(), DONE].concat()).fault();
    says(&fault, "wgmma.mma_async", "its descriptor is not that of the warp's first");
    assert_eq!(fault.thread, 35);
    let flag = product(16, ["%rd10", "%rd11"], "%p1", &[false, false]);
    let fault = kernel(&[odd, FENCE, &flag, DONE].concat()).fault();
    says(&fault, "wgmma.mma_async", "its flag for the sum is not that of the warp's");
}

#[test]
fn registers_are_fenced_before_products() {
    let fault = kernel(&[one().as_str(), DONE].concat()).fault();
    says(&fault, "wgmma.mma_async", "registers are touched without a fence");
    let between = "mov.b32 %f0, 0f00000000;\n";
    let fault = kernel(&[FENCE, between, &one(), DONE].concat()).fault();
    says(&fault, "wgmma.mma_async", "registers are touched without a fence");
    let again = [FENCE, &one(), DONE, &one(), DONE].concat();
    says(&kernel(&again).fault(), "wgmma.mma_async", "without a fence");
}

#[test]
fn nothing_is_done_while_products_are_under_way() {
    let under_way = "it is done while matrix products are under way";
    let commit = "wgmma.commit_group.sync.aligned;\n";
    let wait = "wgmma.wait_group.sync.aligned 0;\n";
    let begun = [FENCE, &one()].concat();
    let cases = [
        ("add.f32 %f0, %f0, %f0;\n", "", "add.f32"),
        ("", "add.f32 %f0, %f0, %f0;\n", "add.f32"),
        ("@!%p7 bra $L1;\n $L1:\n", "", "@!%p7 bra"),
        ("", "bar.sync 0;\n", "bar.sync"),
        (FENCE, "", "wgmma.fence"),
        ("", &one(), "wgmma.mma_async"),
        (wait, "", "wgmma.wait_group"),
        ("", "wgmma.wait_group.sync.aligned 1;\n", "wgmma.wait_group"),
    ];
    for (before, behind, instruction) in cases {
        let fault = kernel(&[&begun, before, commit, behind, wait].concat()).fault();
        says(&fault, instruction, under_way);
    }
    says(&kernel(&[&begun, "ret;\n"].concat()).fault(), "ret", under_way);
    says(
        &kernel(&[&begun, commit, "bra $END;\n $END:\n"].concat()).fault(),
        "bra",
        "way",
    );
}

#[test]
fn a_kernel_does_not_end_while_products_are_under_way() {
    let kernel = kernel(&[FENCE, &one()].concat());
    let text = kernel.text();
    let (begin, _) = text.split_once("mov.u32 %r6, %ctaid.x").expect("the end");
    let fault = kernel.run_text(&format!("{begin}\n}}\n")).expect_err("a mistake");
    says(&fault, "", "it is done while matrix products are under way");
}

/// Lines that the second warp jumps over.
fn jumped(lines: &str) -> String {
    format!(
        "shr.u32 %r20, %r1, 5;
        setp.eq.u32 %p1, %r20, 1;
        @%p1 bra $L1;
        {lines}
        $L1:\n"
    )
}

#[test]
fn the_warps_of_a_group_do_the_same_products() {
    let what = "the warps of a group do different matrix products";
    let some = jumped(&[FENCE, &one(), DONE].concat());
    let more = [FENCE, &one(), DONE, &some].concat();
    let fault = kernel(&more).fault();
    says(&fault, "ret", "different matrix products: 1 of them here, 2 in the first");
    assert_eq!(fault.thread, 32);
    // Behind a barrier only what came since counts, so that it is found at the barrier itself.
    let fault = kernel(&[&more, "bar.sync 0;\n", FENCE, &one(), DONE].concat()).fault();
    says(&fault, "bar.sync", what);
    // As many, but of another matrix.
    let other = "shr.u32 %r20, %r1, 5;\n setp.eq.u32 %p1, %r20, 2;
        @%p1 mov.b64 %rd11, %rd10;\n";
    let fault = kernel(&[other, FENCE, &one(), DONE].concat()).fault();
    says(&fault, "ret", "different matrix products: by another instruction");
    assert_eq!(fault.thread, 64);
    // The other half of a block is another group.
    let apart =
        ["setp.lt.u32 %p1, %r1, 128;\n @%p1 bra $L1;\n", FENCE, &one(), DONE, "$L1:\n"];
    let mut halves = kernel(&apart.concat());
    halves.threads = 256;
    halves.run().unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn a_group_has_four_warps() {
    let mut small = kernel(&[FENCE, &one(), DONE].concat());
    small.threads = 64;
    says(&small.fault(), "wgmma.mma_async", "group has fewer than four warps");
}

#[test]
fn lanes_of_a_warp_come_together() {
    let alone = "setp.eq.u32 %p1, %r1, 5;\n @%p1 bra $L1;\n";
    let lines = [alone, FENCE, "$L1:\n", FENCE, &one(), DONE].concat();
    says(&kernel(&lines).fault(), "wgmma.fence", "lane 5 of the warp is not here");
}

#[test]
fn descriptors_are_of_the_subset_and_within_shared_memory() {
    let with = |change: &str| kernel(&[change, FENCE, &one(), DONE].concat()).fault();
    let fault = with(&format!("or.b64 %rd10, %rd10, {};\n", 1_u64 << 50));
    says(&fault, "wgmma.mma_async", "with a base offset is not of the subset");
    let fault = with(&format!("and.b64 %rd11, %rd11, {};\n", (1_u64 << 62) - 1));
    says(&fault, "wgmma.mma_async", "without swizzle is not of the subset");
    // The last lines of B lie behind the end.
    let fault = with("add.s64 %rd11, %rd11, 448;\n");
    says(&fault, "wgmma.mma_async", "of `shared`, which has 16384");
}

#[test]
fn what_is_outside_of_the_subset_is_not_read() {
    let right = one();
    let wrong = [
        right.replace("n16", "n24"),
        right.replace("1, 1, 0, 0", "-1, 1, 0, 0"),
        right.replace("1, 1, 0, 0", "1, 1, 0, 2"),
        right.replace("bf16.bf16", "f16.f16"),
        product(12, ["%rd10", "%rd11"], "1", &[false, false]),
        product(264, ["%rd10", "%rd11"], "1", &[false, false]),
        product(16, ["{%r2, %r3}", "%rd11"], "1", &[false]),
    ];
    for line in wrong {
        let error = Module::parse(&kernel(&line).text()).expect_err(&line);
        assert!(error.what.contains("outside of the subset"), "{error}");
    }
}
