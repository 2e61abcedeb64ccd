//! A graph and its plan, both interpreted, compared.

use super::{Numbers, inputs};
use indexmap::IndexMap;
use nestor_ir::artifact::Precision;
use nestor_ir::dim::Sizes;
use nestor_ir::interpret::array::Data;
use nestor_ir::interpret::{plan, tensor};
use nestor_ir::plan::Plan;
use nestor_ir::plan::verify::verify;
use nestor_ir::tensor::Graph;
use nestor_ir::tensor::text::parse;
use nestor_ir::tile::{self, Kernel};
use nestor_passes::batched::batched;
use nestor_passes::columnwise::{Least, columnwise};
use nestor_passes::dealt::{Teams, dealt};
use nestor_passes::even::even;
use nestor_passes::merge::{Joining, merged};
use nestor_passes::schedule::{Calls, schedule};
use nestor_passes::spread::{Grain, spread};
use nestor_passes::together::together;
use nestor_passes::turn::turned;
use nestor_passes::unpack::unpacked;

const SIZES: &[Sizes] = &[
    Sizes { batch: 2, time: 7, start: 0 },
    Sizes { batch: 3, time: 5, start: 6 },
    Sizes { batch: 1, time: 9, start: 3 },
    Sizes { batch: 2, time: 1, start: 5 },
];

/// Both readings of a graph agree, with kernels as they are, with maps joined as they are for a CPU, and as they are for a
/// GPU, maps spread as far as they can be, by the token or by pieces, and tables shared; and with states dealt out.
pub fn agree(text: &str) {
    let graph = parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let (made, kernels) =
        schedule(&graph, Calls::OfManyTokens).unwrap_or_else(|e| panic!("{e}\n{graph}"));
    let joined: Vec<Kernel> =
        kernels.iter().cloned().map(|k| merged(k, Joining::CORES)).collect();
    agrees(&graph, &made, &kernels);
    agrees(&graph, &made, &joined);
    let of_one = schedule(&graph, Calls::OfOneToken);
    let (one, of_one) = of_one.unwrap_or_else(|e| panic!("{e}\n{graph}"));
    agrees(&graph, &one, &of_one);
    for (first, piece, rows) in [(1, 1, 2), (usize::MAX, 8, usize::MAX)] {
        let grain = Grain { first, next: first, piece, rows };
        let apart: Vec<Kernel> =
            kernels.iter().map(|k| spread(suited(k), grain)).collect();
        agrees(&graph, &made, &apart);
    }
    let dealt: Vec<Kernel> =
        kernels.iter().map(|k| together(dealt(whole(k), &Teams::ALWAYS))).collect();
    agrees(&graph, &made, &dealt);
}

/// As a GPU has it.
fn suited(kernel: &Kernel) -> Kernel {
    even(columnwise(together(whole(kernel)), Least::ANY), 2)
}

/// The same without products and maps as one.
fn whole(kernel: &Kernel) -> Kernel {
    merged(turned(unpacked(batched(kernel.clone()))), Joining::WARPS)
}

fn agrees(graph: &Graph, made: &Plan, kernels: &[Kernel]) {
    let told = || {
        let kernels: String = kernels.iter().map(ToString::to_string).collect();
        format!("{graph}{kernels}{made}")
    };
    for kernel in kernels {
        tile::verify::verify(kernel).unwrap_or_else(|e| panic!("{e}\n{kernel}"));
        let read = tile::text::parse(&kernel.to_string());
        let read = read.unwrap_or_else(|e| panic!("{e}\n{kernel}"));
        assert!(read == *kernel, "reads back as\n{read}, not\n{kernel}");
    }
    let read = nestor_ir::plan::text::parse(&made.to_string());
    assert_eq!(read.unwrap_or_else(|e| panic!("{e}\n{made}")), *made);
    verify(made, kernels).unwrap_or_else(|e| panic!("{e}\n{}", told()));
    for (seed, sizes) in SIZES.iter().enumerate() {
        let given = inputs(graph, sizes, &mut Numbers::new(seed as u64 + 1));
        let expected = tensor::run(graph, &given, sizes, Precision::F64);
        let expected = expected.unwrap_or_else(|e| panic!("{e}\n{graph}"));
        let names = graph.inputs.iter().map(|i| i.name.clone());
        let named: IndexMap<_, _> = names.zip(given).collect();
        let found = plan::run(made, kernels, &named, sizes, Precision::F64)
            .unwrap_or_else(|e| panic!("{e}, {sizes:?}\n{}", told()));
        assert_eq!(found.len(), graph.outputs.len());
        for (output, expected) in graph.outputs.iter().zip(&expected) {
            let found = &found[&output.name];
            assert_eq!(found.dims, expected.dims, "{}", output.name);
            match (&found.data, &expected.data) {
                (Data::Real(a), Data::Real(b)) => {
                    for (n, (a, b)) in a.iter().zip(b).enumerate() {
                        assert!(
                            (a - b).abs() <= 1e-12 * (1.0 + b.abs()),
                            "{}[{n}] is {a}, not {b}, {sizes:?}\n{}",
                            output.name,
                            told()
                        );
                    }
                }
                (a, b) => assert_eq!(a, b, "{}, {sizes:?}\n{}", output.name, told()),
            }
        }
    }
}

/// What a graph becomes.
pub fn planned(text: &str) -> (Plan, Vec<Kernel>) {
    let graph = parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    schedule(&graph, Calls::OfManyTokens).unwrap_or_else(|e| panic!("{e}\n{graph}"))
}
