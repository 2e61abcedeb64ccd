//! Products read shared memory by another way than threads write it: what is written is fenced first, then there is a barrier.

use crate::kernel::{DONE, FENCE, HANDED_OVER, Kernel, product};
use crate::place::{Place, left, right};

/// A kernel of 16 columns with these lines between the copy to shared memory and the product.
fn kernel(lines: &str) -> Kernel {
    let (a, b) = (Place::new(0, 128, false), Place::new(8192, 128, false));
    let mut image = vec![0; 16384];
    a.fill(&mut image, [64, 16], left);
    b.fill(&mut image, [16, 16], right);
    let body = [
        lines,
        &a.descriptor("%rd10", 0),
        &b.descriptor("%rd11", 0),
        FENCE,
        &product(16, ["%rd10", "%rd11"], "1", &[false, false]),
        DONE,
    ];
    Kernel::new(image, 16, body.concat())
}

fn found(lines: &str, what: &str) {
    let fault = kernel(lines).fault();
    assert!(fault.instruction.starts_with("wgmma.mma_async"), "{fault}");
    assert!(fault.what.contains(what), "{fault}");
}

const UNFENCED: &str = "is read by a matrix product, with no `fence.proxy.async`";

#[test]
fn a_fence_and_a_barrier_make_it_visible() {
    let right = [
        HANDED_OVER,
        "fence.proxy.async.shared::cta;\n bar.sync 0;\n",
        "fence.proxy.async;\n bar.sync 0;\n bar.sync 0;\n",
        "fence.proxy.async;\n barrier.cluster.arrive.aligned;\n barrier.cluster.wait.aligned;\n",
    ];
    for lines in right {
        kernel(lines).run().unwrap_or_else(|e| panic!("{lines}: {e}"));
    }
}

#[test]
fn without_a_fence_before_the_barrier_it_is_not_visible() {
    found("bar.sync 0;\n", UNFENCED);
    found("bar.sync 0;\n fence.proxy.async;\n", UNFENCED);
    // Other fences do not do.
    found("fence.proxy.async.global;\n bar.sync 0;\n", UNFENCED);
    found("fence.acq_rel.cta;\n bar.sync 0;\n", UNFENCED);
    // Nor a fence of another thread.
    let one = "setp.eq.u32 %p1, %r1, 0;\n @%p1 fence.proxy.async;\n bar.sync 0;\n";
    found(one, "fence.proxy.async` of thread 1, which has written it");
}

#[test]
fn without_a_barrier_it_is_a_race() {
    found("fence.proxy.async;\n", "with no barrier between");
}

#[test]
fn what_is_written_behind_the_fence_is_not_visible() {
    let late = "st.shared.b32 [%rd6], %r2;\n";
    found(&["fence.proxy.async;\n", late, "bar.sync 0;\n"].concat(), UNFENCED);
    found(&[HANDED_OVER, late, "bar.sync 0;\n"].concat(), UNFENCED);
}

#[test]
fn asynchronous_copies_are_fenced_when_they_have_been_waited_for() {
    let copy = "bar.sync 0;\n cp.async.cg.shared.global [%rd6], [%rd4], 16;\n cp.async.commit_group;\n";
    let wait = "cp.async.wait_group 0;\n";
    let right = [copy, wait, HANDED_OVER].concat();
    // What was copied before has been fenced as well: the fence is for all that its thread has done.
    kernel(&right).run().unwrap_or_else(|e| panic!("{e}"));
    found(&[copy, "fence.proxy.async;\n", wait, "bar.sync 0;\n"].concat(), UNFENCED);
}

#[test]
fn what_another_block_writes_is_not_visible() {
    // Every block writes the first word of the other one, and of its own where it names itself.
    let lines = |to: &str| {
        format!(
            "mov.u32 %r20, %ctaid.x;
            {to}
            mapa.shared::cluster.u64 %rd20, %rd5, %r20;
            setp.eq.u32 %p1, %r1, 0;
            barrier.cluster.arrive.aligned;
            barrier.cluster.wait.aligned;
            @%p1 st.shared::cluster.b32 [%rd20], %r2;
            fence.proxy.async;
            barrier.cluster.arrive.aligned;
            barrier.cluster.wait.aligned;\n"
        )
    };
    let two = |to: &str| Kernel { blocks: 2, ..kernel(&lines(to)) };
    two("").run().unwrap_or_else(|e| panic!("{e}"));
    let fault = two("xor.b32 %r20, %r20, 1;").fault();
    assert!(fault.what.contains("was written by block 1: no fence makes"), "{fault}");
}

#[test]
fn what_products_read_is_not_written_before_the_next_barrier() {
    // The last words that are stored: behind the product, by the first thread.
    let late = |barrier: &str| {
        let mut late = kernel(HANDED_OVER);
        late.body += barrier;
        late.body += "setp.eq.u32 %p1, %r1, 0;\n @%p1 st.shared.b32 [%rd6], %r2;\n";
        late
    };
    late("bar.sync 0;\n").run().unwrap_or_else(|e| panic!("{e}"));
    let fault = late("").fault();
    assert!(fault.what.contains("race"), "{fault}");
}
