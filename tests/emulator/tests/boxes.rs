//! Boxes of tensors that are copied at one thread's word: what lands where, what lies outside, and that each mistake with them is found.

use nestor_emulator::{Allocation, Fault, Launch, Memory, Module, Tensor, launch};

/// Numbers of a tensor in memory, each its place.
const NUMBERS: usize = 4096;

/// Six rows of 256 numbers; a box has eight rows, of two lines of 64 numbers each.
fn tensor(exchanged: bool) -> Tensor {
    Tensor {
        address: 0,
        width: 2,
        sizes: vec![64, 6, 2, 512],
        strides: vec![512, 128, 16],
        boxes: vec![64, 8, 2, 1],
        exchanged,
    }
}

const MAKE: &str = "@%p1 mbarrier.init.shared::cta.b64 [%rd9], 1;\n\
    @%p1 fence.proxy.async.shared::cta;\n bar.sync 0;\n";
const EXPECT: &str = "@%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%rd9], 2048;\n";
const COPY: &str = "@%p1 cp.async.bulk.tensor.4d.shared::cluster.global.tile\
    .mbarrier::complete_tx::bytes [%rd5], [%rd8, {%r4, %r5, %r4, %r6}], [%rd9];\n";
const WAIT: &str = "wait: mbarrier.try_wait.parity.shared::cta.b64 %p2, [%rd9], 0;\n\
    @!%p2 bra wait;\n";
const BARRIER: &str = "bar.sync 0;\n";

/// Copies the box at a row, sixteen bytes times some further on, with these lines, and gives what lies in shared memory.
fn run(
    lines: &[&str],
    (row, steps): (i32, i32),
    tensor: Tensor,
) -> Result<Vec<u16>, Fault> {
    let lines = lines.concat();
    let text = format!(
        r"//
.version 8.0
.target sm_90a
.address_size 64
.extern .shared .align 1024 .b8 shared[];
.visible .entry test(
	.param .u64 .ptr .global .align 16 test_param_0,
	.param .align 64 .b8 test_param_1[128]
)
{{
        ld.param.b64 %rd1, [test_param_0];
        mov.b64 %rd7, test_param_1;
        cvta.param.u64 %rd8, %rd7;
        mov.u32 %r1, %tid.x;
        setp.eq.u32 %p1, %r1, 0;
        mov.b64 %rd5, shared;
        add.s64 %rd9, %rd5, 2048;
        mov.b32 %r4, 0;
        mov.b32 %r5, {row};
        mov.b32 %r6, {steps};
        {lines}
        mul.wide.u32 %rd3, %r1, 64;
        add.s64 %rd6, %rd5, %rd3;
        add.s64 %rd4, %rd1, %rd3;
        ld.shared.v4.b32 {{%r10, %r11, %r12, %r13}}, [%rd6];
        st.global.v4.b32 [%rd4], {{%r10, %r11, %r12, %r13}};
        ld.shared.v4.b32 {{%r10, %r11, %r12, %r13}}, [%rd6+16];
        st.global.v4.b32 [%rd4+16], {{%r10, %r11, %r12, %r13}};
        ld.shared.v4.b32 {{%r10, %r11, %r12, %r13}}, [%rd6+32];
        st.global.v4.b32 [%rd4+32], {{%r10, %r11, %r12, %r13}};
        ld.shared.v4.b32 {{%r10, %r11, %r12, %r13}}, [%rd6+48];
        st.global.v4.b32 [%rd4+48], {{%r10, %r11, %r12, %r13}};
        ret;
}}
"
    );
    let module = Module::parse(&text).unwrap_or_else(|e| panic!("{e}"));
    let mut memory = Memory::default();
    let out = memory.add(Allocation::filled("out", vec![0; 2048]));
    let numbers = (0..NUMBERS).flat_map(|n| (n as u16).to_le_bytes()).collect();
    let address = memory.add(Allocation::filled("numbers", numbers));
    let maps = vec![Tensor { address, ..tensor }];
    let (grid, block, shared, params) = (1, 32, 2048 + 8, vec![out]);
    let how =
        Launch { grid, block, shared, params, maps, limit: 100_000, trusted: false };
    launch(&module, "test", &how, &mut memory)?;
    let bytes = memory.get(out).data().chunks_exact(2);
    Ok(bytes.map(|c| u16::from_le_bytes([c[0], c[1]])).collect())
}

const ALL: &[&str] = &[MAKE, EXPECT, COPY, WAIT, BARRIER];

/// What should lie in shared memory: lines of a row behind one another only after all rows.
fn expected((row, steps): (i32, i32), exchanged: bool) -> Vec<u16> {
    let mut out = vec![0; 1024];
    for (n, x) in out.iter_mut().enumerate() {
        let line = n / 64;
        let part = if exchanged { (n / 8 % 8) ^ (line % 8) } else { n / 8 % 8 };
        let from = row + (line % 8) as i32;
        if (0..6).contains(&from) {
            let place = 256 * from + 64 * (line / 8) as i32 + 8 * steps;
            *x = (place as usize + 8 * part + n % 8) as u16;
        }
    }
    out
}

#[test]
fn a_box_lands_line_by_line() {
    for exchanged in [false, true] {
        for place in [(0, 0), (2, 3), (-3, 16), (5, 1), (9, 0), (-8, 0)] {
            let found = run(ALL, place, tensor(exchanged));
            let found = found.unwrap_or_else(|e| panic!("{place:?}: {e}"));
            assert_eq!(found, expected(place, exchanged), "{place:?} {exchanged}");
        }
    }
}

fn found(lines: &[&str], what: &str) {
    let fault = run(lines, (0, 0), tensor(true)).expect_err(what);
    assert!(fault.what.contains(what), "{fault}");
}

#[test]
fn what_is_left_out_is_found() {
    found(&[EXPECT, COPY, WAIT, BARRIER], "there is no such barrier");
    found(&[MAKE, COPY, WAIT, BARRIER], "a phase that does not end");
    found(&[MAKE, EXPECT, WAIT, BARRIER], "a phase that does not end");
    found(&[MAKE, EXPECT, COPY, BARRIER], "its copy is waited for");
    found(&[MAKE, EXPECT, COPY, WAIT], "with no barrier between");
    let unseen = MAKE.replace("fence.proxy.async.shared::cta", "membar.cta");
    found(&[&unseen, EXPECT, COPY, WAIT, BARRIER], "with no `fence.proxy.async`");
    let alone = MAKE.replace("bar.sync 0;", "");
    found(&[&alone, EXPECT, COPY, WAIT, BARRIER], "has made the barrier");
}

#[test]
fn bytes_and_arrivals_are_counted() {
    let few = EXPECT.replace("2048", "2032");
    found(&[MAKE, &few, COPY, WAIT, BARRIER], "a phase that does not end");
    let many = EXPECT.replace("2048", "2064");
    found(&[MAKE, &many, COPY, WAIT, BARRIER], "a phase that does not end");
    found(&[MAKE, EXPECT, EXPECT, COPY, WAIT, BARRIER], "more arrive at it");
    let twice = MAKE.replace(", 1;", ", 2;");
    found(&[&twice, EXPECT, COPY, WAIT, BARRIER], "a phase that does not end");
}

#[test]
fn threads_keep_off_a_box_on_its_way() {
    let write = "st.shared.b32 [%rd5], %r1;\n";
    let before = ["bar.sync 0;\n", "@%p1 st.shared.b32 [%rd5], %r1;\n", BARRIER].concat();
    let fence = "fence.proxy.async.shared::cta;\n";
    // What a thread wrote is fenced before hardware writes there.
    found(&[MAKE, &before, EXPECT, COPY, WAIT, BARRIER], "is copied to with no `fence");
    let fenced = before.replace(BARRIER, &[fence, BARRIER].concat());
    run(&[MAKE, &fenced, EXPECT, COPY, WAIT, BARRIER], (0, 0), tensor(true))
        .unwrap_or_else(|e| panic!("{e}"));
    found(&[MAKE, EXPECT, COPY, write, WAIT, BARRIER], "while a copy to it is under way");
}

#[test]
fn what_a_driver_refuses_is_refused() {
    let refused = |tensor: Tensor| {
        let fault = run(ALL, (0, 0), tensor).expect_err("it is refused");
        assert!(fault.what.contains("a driver refuses"), "{fault}");
    };
    let odd = |n: usize, stride: u64| {
        let mut strides = tensor(true).strides;
        strides[n] = stride;
        strides
    };
    refused(Tensor { strides: odd(0, 520), ..tensor(true) });
    refused(Tensor { boxes: vec![128, 8, 2, 1], ..tensor(true) });
    refused(Tensor { boxes: vec![64, 257, 1, 1], ..tensor(true) });
    refused(Tensor { sizes: vec![64, 0, 2, 1], ..tensor(true) });
    refused(Tensor { boxes: vec![4, 8, 2, 1], ..tensor(false) });
    let outside = Tensor { sizes: vec![64, 60, 2, 512], ..tensor(true) };
    let fault = run(ALL, (15, 0), outside).expect_err("it is not there");
    assert!(fault.what.contains("of `numbers`, which has 8192"), "{fault}");
}
