//! Rules that are another rule where a setting makes them so: a table of pairs of layers that see the same
//! streams, start with the same weights and must answer the same, in the form that the compiler chooses.
//!
//! All equalities of this kind, and where each is held:
//!
//! | equality | held by |
//! |---|---|
//! | Moneta of p = q = 2 is L2 with decay; Yaad without a bound is Titans without momentum | `SAME` |
//! | Omega of one token is Titans without momentum; Atlas of one token, not orthogonalised, is Titans | `SAME` |
//! | TTT is Titans without gates; Comba of its key, KDA of one gate, DeltaProduct of one step are Gated DeltaNet | `SAME` |
//! | Gated DeltaNet that keeps all is DeltaNet; the implicit step is DeltaNet of another rate | `SAME` |
//! | self-modifying Titans that neither forgets nor learns copies, of L2 and of the dot product | `SAME` |
//! | a continuum of endless periods is a plain block; a nested one of one clock is a sequential one, read and learned | `equalities.rs` |
//! | M3 without slow momentum and second moment is Muon; Adam is a memory of least squares | `equalities.rs` |
//! | levels of one step are ordinary training, to the bit | `cli/tests/levels.rs` |
//! | a deep memory anchored at every token takes its gradients at the present weights | `chunks.rs` |
//! | chunks that divide nothing are the recurrence, in float64 and float32, gradients too | `forms.rs` |
//! | calls that hand states on, from any state, are one call | `split.rs`; for levels that read, `reading.rs` |
//! | a smooth p-norm between one and two has the slopes of its differences | `cli/tests/verify.rs` |

use indexmap::IndexMap;
use nestor_compiler::execute::bound;
use nestor_compiler::interpret::{Array, tensor};
use nestor_compiler::pipeline::{Purpose, forward};
use nestor_compiler::trained::{Start, starts};
use nestor_ir::artifact::Precision;
use nestor_ir::dim::Sizes;
use nestor_runtime::train::rng::{self, Stream, initial_values};
use nestor_tests::spec::Specs;
use nestor_tests::{golden, root};

/// One rule, another, and how far they may be apart: rounding, or the small number that a rule adds to a norm.
const SAME: &[(&str, &str, f64)] = &[
    ("GatedWithoutDecay", "DeltaRule", 1e-12),
    ("KDAOfOneGate", "Gated", 1e-12),
    ("ProductOfOne", "Gated", 1e-12),
    ("TitansWithoutMomentum", "Decayed", 1e-12),
    ("OmegaOfOne", "Decayed", 1e-12),
    ("CombaOfItsKey", "Decayed", 1e-12),
    ("YaadOfNoBound", "Decayed", 1e-12),
    ("MonetaOfSquares", "Decayed", 1e-6),
    ("AtlasOfOne", "Momentum", 1e-12),
    ("Implicit", "DeltaOfImplicitRate", 1e-12),
    ("TitansOfNoGates", "TestTime", 1e-12),
    ("SelfModifyingAtRest", "AtRest", 1e-12),
    ("SelfModifyingDotAtRest", "AtRest", 1e-12),
];
const SIZES: Sizes = Sizes { batch: 2, time: 37, start: 0 };

fn answer(specs: &Specs, name: &str) -> Array {
    let made = specs.elaborate(name, &[]);
    let program =
        made.program.unwrap_or_else(|| panic!("{}", specs.render(&made.diagnostics)));
    let mut given: IndexMap<String, Array> = IndexMap::new();
    for input in &program.inputs {
        let own = input.ty.dims.iter().filter_map(|d| d.fixed());
        let dims: Vec<usize> = [SIZES.batch, SIZES.time].into_iter().chain(own).collect();
        let mut numbers = Stream::new(1, &input.name);
        let values = (0..dims.iter().product()).map(|_| 0.5 * numbers.normal()).collect();
        given.insert(input.name.clone(), Array::real(dims, values));
    }
    for (path, dims, start) in starts(&program).expect("weights start") {
        let array = match start {
            Start::Values(array) if path == "ones" => array,
            Start::Values(_) | Start::Drawn(_) | Start::Weight(_) => {
                let kind = rng::Initial::Normal { std: 0.3 };
                Array::real(dims.clone(), initial_values(kind, &dims, 5, &path))
            }
        };
        given.insert(path, array);
    }
    let graph = forward(&program, Purpose::default()).expect("it compiles").graph;
    let inputs = bound(&program, &graph, &given, &SIZES).expect("they fit");
    let found = tensor::run(&graph, &inputs, &SIZES, Precision::F64).expect("it runs");
    let place = graph.outputs.iter().position(|o| o.name == "y").expect("it answers");
    found[place].clone()
}

#[test]
fn a_setting_makes_one_rule_another() {
    let specs = Specs::read(&[&root().join("tests/own/same_rules.nest")]);
    let mut off = Vec::new();
    for (one, other, tolerance) in SAME {
        let distance = golden::distance(&answer(&specs, one), &answer(&specs, other));
        if distance > *tolerance {
            off.push(format!("{one} is off {other} by {distance:.1e}"));
        }
    }
    assert!(off.is_empty(), "{}", off.join("\n"));
    // The table compares something: neighbours in it differ.
    let distance = golden::distance(&answer(&specs, "Gated"), &answer(&specs, "Decayed"));
    assert!(distance > 1e-3, "{distance:.1e}");
}
