//! `tune` on a device, without one: a small walk is tuned where kernels run in the emulator, what is found is written, and used.

#[path = "../../../tests/src/emulated_device.rs"]
#[allow(unreachable_pub, reason = "it is part of another crate")]
mod emulated_device;

use super::{Bench, TuneArguments, tune_on};
use crate::bench::drawn;
use crate::device::Place;
use crate::spec::checked;
use crate::tuned::{self, TunedArguments, Used};
use clap::Parser;
use emulated_device::EmulatedDevice;
use nestor_compiler::gpu::Products;
use nestor_compiler::tune::whole;
use nestor_compiler::{Form, FormOptions};
use nestor_runtime::Sizes;
use nestor_runtime::device::Shared;
use nestor_runtime::tensor_file::{Data, HostTensor};

const LAYER: &str = "\
layer Small(d = 4) {
    in k, v: [d]
    in beta: []
    M = DeltaNet(d, d; sigmoid(beta))
    M.write(k |> l2norm, v)
    out y = M.read(k)
}
";
const SIZES: Sizes = Sizes { batch: 1, time: 19, start: 0 };

#[derive(Parser)]
struct Words {
    #[command(flatten)]
    tune: TuneArguments,
}

#[test]
fn a_walk_is_tuned_on_a_device_and_what_is_found_is_used() {
    let folder = std::env::temp_dir().join(format!("nestor-tune-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder");
    let (file, out) = (folder.join("small.nest"), folder.join("t.json"));
    std::fs::write(&file, LAYER).expect("it is written");
    let named = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let words = [
        "tune",
        &named(&file),
        "Small",
        "--batch",
        "1",
        "--length",
        "19",
        "--out",
        &named(&out),
    ];
    let words = Words::parse_from(words).tune;
    let device = Shared::new(Box::new(EmulatedDevice::new(1 << 30)));
    let place = Place::of(Some(device), Products::Float32);
    let search = || {
        tune_on(&place, &words, true).unwrap_or_else(|_| panic!("it is tuned"));
        tuned::load(&out).expect("it reads back").expect("it is there").entries
    };
    let mut entries = search();
    let entry = &entries[0];
    assert_eq!((entries.len(), entry.machine.as_str()), (1, "sm_80, products float32"));
    assert!(entry.best.is_some() && entry.costs.seconds.is_some(), "{entry:?}");
    let ran = entry.tried.iter().filter(|t| t.ratios.iter().any(Option::is_some));
    assert!(ran.count() >= 3, "{entry:?}");
    // What is known is not measured again.
    assert_eq!(search(), entries);
    // Another choice than that of costs, so that it shows where it is used.
    let own = (entry.costs.form.clone(), entry.costs.chunk);
    let (form, chunk) = ("sequential".to_owned(), 16);
    assert_ne!(own, (form.clone(), chunk));
    entries[0].best = Some(Used { walk: entries[0].walk.clone(), form, chunk });
    tuned::store(&out, &entries[0]).unwrap_or_else(|_| panic!("it is written"));
    let program =
        checked(&file, Some("Small"), &[]).unwrap_or_else(|_| panic!("it is a program"));
    let asked = TunedArguments { tuned: Some(named(&out)) };
    let ran = |place: &Place| {
        let found = tuned::used(&asked, place.machine())
            .unwrap_or_else(|_| panic!("it reads back"));
        let forms = FormOptions {
            longest: Some(SIZES.time),
            tuned: found,
            ..place.machine().suited(FormOptions::default())
        };
        let whole = whole(&program, forms).expect("it is derived");
        let chosen = whole.choices[0].clone();
        let bench = Bench { program: &program, place, forms, sizes: SIZES };
        let ready = bench.ready(forms, None).unwrap_or_else(|_| panic!("it compiles"));
        let (mut executor, _) = ready.expect("it applies");
        let given =
            drawn(&program, SIZES, &executor).unwrap_or_else(|_| panic!("it is drawn"));
        let given: Vec<&HostTensor> = given.iter().collect();
        (chosen, executor.run(&given, SIZES).expect("it runs"))
    };
    let here = Place::of(None, Products::Float32);
    let ((there, found), (costs, expected)) = (ran(&place), ran(&here));
    assert_eq!((there.form, there.chunk, there.tuned), (Form::Sequential, 16, true));
    assert!(!costs.tuned, "it is of another machine");
    assert_eq!(found.len(), expected.len());
    for (a, b) in found.iter().zip(&expected) {
        let (Data::F32(x), Data::F32(y)) = (&a.data, &b.data) else {
            panic!("{} is real", a.name)
        };
        let off = x.iter().zip(y).map(|(x, y)| (x - y).abs()).fold(0.0, f32::max);
        assert!(a.name == b.name && off < 1e-4, "{}: {off:e}", a.name);
    }
    std::fs::remove_dir_all(&folder).expect("it goes");
}
