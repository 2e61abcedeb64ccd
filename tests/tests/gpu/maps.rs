//! Boxes of tensors through the runtime: what it tells a device of them, and that what comes of it is what the CPU computes.

use super::host::{apart, inputs};
use nestor_compiler::gpu::kept_as::keep_as_bfloat16;
use nestor_compiler::gpu::{Options, Products, Target};
use nestor_compiler::native::{self, Machine};
use nestor_compiler::pipeline::{Purpose, forward};
use nestor_compiler::{Precision, kept};
use nestor_runtime::Sizes;
use nestor_runtime::device::trace::{Event, Trace};
use nestor_runtime::device::{Command, Shared};
use nestor_runtime::executor::Executor;
use nestor_runtime::tensor_file::HostTensor;
use nestor_tests::emulated_device::EmulatedDevice;
use nestor_tests::spec::Specs;

/// Wide enough for groups of warps, whose operands come as boxes.
const RULE: &str = "\
layer Case(heads = 2, d = 64) {
    in q, k, v: [heads, d]
    in g, beta: [heads]
    M = GatedDelta(d, d; exp(g), beta)
    M.write(k, v)
    y = M.read(q)
    out y
}
";

const SIZES: Sizes = Sizes { batch: 1, time: 150, start: 0 };

#[test]
fn boxes_are_told_with_their_buffers() {
    let specs = Specs::of("rule.nest", RULE);
    let program = specs.elaborate("Case", &[]).program.expect("it elaborates");
    let graph = forward(&program, Purpose::default()).expect("it has a form").graph;
    let options = Options { target: Target::Sm90a, products: Products::Brain };
    let machine = Machine::Gpu(options);
    let (mut plan, kernels) = native::scheduled_for(&graph, machine).expect("kernels");
    let names = ["q", "k", "v", "y"].map(str::to_owned);
    keep_as_bfloat16(&mut plan, &names).expect("there are such tensors");
    let made = native::coded(plan, kernels, machine).expect("code");
    let (trace, log) = Trace::new(Box::new(EmulatedDevice::new(1 << 30)));
    let device = Shared::new(Box::new(trace));
    let mut there = Executor::on(made, &device).expect("it is ready");
    let exact = native::artifact(&graph, Precision::F32).expect("code");
    let mut here = Executor::new(exact).expect("it is ready");
    let inputs = inputs(&there, SIZES, [64.0, 0.15]);
    let given: Vec<&HostTensor> = inputs.iter().collect();
    log.taken();
    let found = there.run(&given, SIZES).expect("it runs");
    let expected = here.run(&given, SIZES).expect("it runs");
    for got in &found {
        let want = expected.iter().find(|t| t.name == got.name).expect("the same");
        let [apart, most] = apart(got, want);
        assert!(apart < 2e-2 * most, "`{}`: {apart:.1e} of {most:.1e}", got.name);
    }
    // Each begins where one of its kernel's buffers does, and has a row for every token.
    let mut count = 0;
    for event in log.taken() {
        let Event::Tell(Command::Kernel { params, maps, .. }) = event else { continue };
        for map in maps {
            assert!(params.contains(&map.address), "{map:?}");
            count += usize::from(map.sizes[1] == SIZES.time as u64);
        }
    }
    assert!(count > 0, "no rows of tokens are copied so");
    // They are part of what is kept in a folder.
    let artifact = there.artifact();
    let code = artifact.device.as_ref().expect("code of a device");
    let boxes: usize = code.entries.iter().map(|e| e.boxes.len()).sum();
    let lines = kept::launches(code);
    assert_eq!(lines.lines().filter(|l| l.starts_with("boxes ")).count(), boxes);
}
