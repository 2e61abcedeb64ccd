//! The executor with a kernel written by hand: it needs no compiler to be tested.
#![allow(unsafe_code, reason = "a kernel works on addresses")]

use crate::device::trace::Dry;
use crate::device::{Command, Device};
use crate::executor::{Executor, RunError, first_not_finite};
use crate::tensor_file::{Data, HostTensor};
use nestor_ir::artifact::{Artifact, Native, Precision};
use nestor_ir::dim::{Dim, Sizes};
use nestor_ir::entity::{Arena, Entity};
use nestor_ir::plan::{KernelId, Launch, Plan, Role, TensorData};
use nestor_ir::tile::{Index, Kernel, Monomial};
use nestor_ir::ty::Type;
use std::sync::Arc;

/// `out[b, t, :] = 2 in[b, t, :] + bias`, a point of the grid for each (b, t), through scratch.
unsafe extern "C" fn double(
    buffers: *const *mut u8,
    _sizes: *const u64,
    first: u64,
    last: u64,
    scratch: *mut u8,
) {
    // SAFETY: a test hands over three buffers of these shapes and scratch of 12 bytes.
    unsafe {
        let (x, bias) = ((*buffers).cast::<f32>(), (*buffers.add(1)).cast::<f32>());
        let (out, scratch) = ((*buffers.add(2)).cast::<f32>(), scratch.cast::<f32>());
        for point in first as usize..last as usize {
            for i in 0..3 {
                *scratch.add(i) = 2.0 * *x.add(point * 3 + i);
            }
            for i in 0..3 {
                *out.add(point * 3 + i) = *scratch.add(i) + *bias.add(i);
            }
        }
    }
}

fn artifact() -> Artifact {
    let mut plan = Plan::default();
    let mut add = |name: &str, ty: Type, role: Role| {
        plan.tensors.push(TensorData {
            name: name.into(),
            ty,
            role,
            narrow: false,
            life: (0, 0),
            slot: None,
        })
    };
    let stream = || Type::real([Dim::Batch, Dim::Time, Dim::Fixed(3)]);
    let x = add("x", stream(), Role::Input("x".into()));
    let role = Role::InPlace { input: "bias".into(), output: "bias".into() };
    let bias = add("bias", Type::real([Dim::Fixed(3)]), role);
    let half = add("half", stream(), Role::Temporary);
    let last = add("y", stream(), Role::Output(vec!["y".into(), "same".into()]));
    let kernel = KernelId::new(0);
    plan.launches = vec![
        Launch::Kernel { kernel, buffers: vec![x, bias, half] },
        Launch::Kernel { kernel, buffers: vec![half, bias, last] },
        Launch::Zero(bias),
    ];
    let grid = vec![(Index::new(0), Dim::Batch), (Index::new(1), Dim::Time)];
    let kernel = Kernel {
        name: "double".into(),
        buffers: Arena::default(),
        tiles: Arena::default(),
        indices: 2,
        grid,
        body: Vec::new(),
    };
    let native = Native {
        entry: double,
        scratch: vec![Monomial::number(12)],
        owner: Arc::new(()),
    };
    Artifact {
        plan,
        kernels: vec![kernel],
        native: vec![native],
        dense: None,
        device: None,
        precision: Precision::F32,
    }
}

fn stream(sizes: Sizes) -> HostTensor {
    let n = sizes.batch * sizes.time * 3;
    let data = (0..n).map(|i| i as f32 * 0.5).collect();
    HostTensor::f32("x", &[sizes.batch, sizes.time, 3], data)
}

#[test]
fn outputs_are_those_of_the_plan_for_any_sizes_and_workers() {
    let bias = HostTensor::f32("bias", &[3], vec![1.0, 2.0, 3.0]);
    for workers in [1, 3] {
        let mut executor = Executor::with_workers(artifact(), workers).expect("starts");
        executor.poison(true);
        executor.measure(true);
        for (batch, time) in [(1, 1), (2, 7), (4, 3000), (2, 7)] {
            let sizes = Sizes { batch, time, start: 0 };
            let x = stream(sizes);
            let out = executor.run(&[&x, &bias], sizes).expect("runs");
            let Data::F32(input) = &x.data else { panic!("f32") };
            let want: Vec<f32> = input
                .iter()
                .enumerate()
                .map(|(i, x)| 4.0 * x + 3.0 * [1.0, 2.0, 3.0][i % 3])
                .collect();
            let names: Vec<&str> = out.iter().map(|t| t.name.as_str()).collect();
            assert_eq!(names, ["bias", "y", "same"]);
            assert_eq!(out[0].data, Data::F32(vec![0.0; 3]));
            assert!(
                out[1].data == Data::F32(want.clone()) && out[2].data == Data::F32(want)
            );
        }
        assert_eq!(executor.timings().len(), 3);
        assert_eq!(executor.timings()[0].calls, 4);
    }
}

#[test]
fn a_resident_tensor_stays_and_is_updated() {
    let sizes = Sizes { batch: 1, time: 2, start: 0 };
    let mut executor = Executor::with_workers(artifact(), 1).expect("starts");
    executor.set(&HostTensor::f32("bias", &[3], vec![1.0, f32::NAN, 3.0])).expect("fits");
    let x = stream(sizes);
    let out = executor.run(&[&x], sizes).expect("runs");
    assert_eq!(out.iter().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["y", "same"]);
    assert_eq!(first_not_finite(&out), Some("y"));
    assert_eq!(executor.get("bias").expect("is there").data, Data::F32(vec![0.0; 3]));
    let out = executor.run(&[&x], sizes).expect("runs");
    assert_eq!(first_not_finite(&out), None);
}

#[test]
fn wrong_inputs_are_said_by_name() {
    let sizes = Sizes { batch: 1, time: 2, start: 0 };
    let mut executor = Executor::with_workers(artifact(), 1).expect("starts");
    let x = stream(sizes);
    let missing = executor.run(&[&x], sizes).expect_err("no bias");
    assert!(matches!(missing, RunError::Missing { name, .. } if name == "bias"));
    let extra = HostTensor::f32("z", &[1], vec![0.0]);
    let unknown = executor.run(&[&extra], sizes).expect_err("no z");
    assert_eq!(
        unknown.to_string(),
        "`z` is no input of this program; its inputs are x, bias"
    );
    let long = stream(Sizes { time: 3, ..sizes });
    let mismatch = executor.run(&[&long], sizes).expect_err("too long");
    assert_eq!(mismatch.to_string(), "tensor `x` is F32[1, 3, 3], expected F32[1, 2, 3]");
    let bias = HostTensor::f32("bias", &[4], vec![0.0; 4]);
    assert!(matches!(executor.set(&bias), Err(RunError::Mismatch(_))));
}

#[test]
fn a_simulated_device_does_a_graph_in_the_order_that_waits_leave() {
    let mut device = Dry::new(1 << 20);
    let [a, b, c] = [0; 3].map(|_| device.allocate(256).expect("there is room"));
    let copy = |from, to| Command::Copy { from, to, bytes: 4 };
    let commands = [copy(a, b), copy(b, c)];
    for (waits, want) in [([vec![], vec![0]], [1; 4]), ([vec![], vec![]], [2; 4])] {
        let graph = device.keep(&commands, &waits).expect("it is kept");
        for (at, byte) in [(a, 1), (b, 2), (c, 3)] {
            device.upload(at, &[byte; 4]).expect("fits");
        }
        device.replay(graph).expect("it is done");
        let mut found = [0; 4];
        device.download(c, &mut found).expect("fits");
        assert_eq!(found, want, "{waits:?}");
    }
}

/// `y = x`, then `w = 0`, or the other way round.
fn guarded(update_first: bool) -> Executor {
    let mut plan = Plan::default();
    let mut add = |name: &str, role: Role| {
        let (name, ty) = (name.into(), Type::real([]));
        let (narrow, life, slot) = (false, (0, 0), None);
        plan.tensors.push(TensorData { name, ty, role, narrow, life, slot })
    };
    let x = add("x", Role::Input("x".into()));
    let y = add("y", Role::Output(vec!["y".into()]));
    let w = add("w", Role::InPlace { input: "w".into(), output: "w".into() });
    plan.launches = vec![Launch::Copy { from: x, to: y }, Launch::Zero(w)];
    if update_first {
        plan.launches.reverse();
    }
    let (kernels, native) = (vec![], vec![]);
    let artifact = Artifact {
        plan,
        kernels,
        native,
        dense: None,
        device: None,
        precision: Precision::F32,
    };
    Executor::with_workers(artifact, 1).expect("starts")
}

#[test]
fn a_guard_keeps_what_would_be_updated() {
    let sizes = Sizes { batch: 1, time: 1, start: 0 };
    let number = |name: &str, x: f32| HostTensor::f32(name, &[], vec![x]);
    let mut executor = guarded(false);
    assert!(executor.guard(&["y"]));
    executor.set(&number("w", 5.0)).expect("fits");
    for (x, left) in [(f32::NAN, 5.0), (f32::INFINITY, 5.0), (1.0, 0.0)] {
        let out = executor.run(&[&number("x", x)], sizes).expect("runs");
        assert_eq!(out[0].is_finite(), x.is_finite());
        assert_eq!(executor.get("w").expect("is there").data, Data::F32(vec![left]));
    }
    assert!(!guarded(true).guard(&["y"]), "the update comes first");
    assert!(!guarded(false).guard(&["z"]), "there is no such output");
}
