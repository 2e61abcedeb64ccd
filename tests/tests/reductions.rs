//! A deep memory is a learned linear-attention operator where only its last layer, which is linear,
//! learns (arXiv 2602.21204): keys and queries are the features of the layers before. The compiler
//! finds it: the same class, the same outputs, states and gradients as the linear memory over these
//! features, in every form, the gradient of the resting layer among them.

use indexmap::IndexMap;
use nestor_compiler::execute::{bound, sizes};
use nestor_compiler::interpret::Array;
use nestor_compiler::pipeline::{Purpose, forward, with_gradients};
use nestor_compiler::{Form, FormOptions, PassError, Program, graphs};
use nestor_ir::artifact::Precision;
use nestor_runtime::train::rng::Stream;
use nestor_tests::spec::Specs;
use nestor_tests::{golden, native, root};

type Arrays = IndexMap<String, Array>;

const TIME: usize = 37;

fn program(name: &str) -> Program {
    let specs = Specs::read(&[&root().join("tests/own/reductions.nest")]);
    let made = specs.elaborate(name, &[]);
    made.program.unwrap_or_else(|| panic!("{}", specs.render(&made.diagnostics)))
}

/// The last part of a path: what the two programs call alike.
fn tail(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

fn given(program: &Program) -> Arrays {
    let mut out = Arrays::new();
    let drawn = |name: &str, dims: Vec<usize>, gate: bool| {
        let mut stream = Stream::new(3, name);
        let mut one = || match gate {
            true => 0.9 / (1.0 + (-stream.normal()).exp()),
            false => 0.6 * stream.normal(),
        };
        let values = (0..dims.iter().product()).map(|_| one()).collect();
        Array::real(dims, values)
    };
    for input in &program.inputs {
        let own = input.ty.dims.iter().filter_map(|d| d.fixed());
        let dims: Vec<usize> = [2, TIME].into_iter().chain(own).collect();
        out.insert(input.name.clone(), drawn(&input.name, dims, input.ty.rank() == 0));
    }
    for weight in program.weights.values() {
        let dims = weight.dims.iter().filter_map(|d| d.fixed()).collect();
        out.insert(weight.path.clone(), drawn(tail(&weight.path), dims, false));
    }
    out.insert("grad.y".into(), drawn("cotangent", vec![2, TIME, 3], false));
    out
}

/// Outputs, states and gradients in a form as machine code; nothing where it does not apply.
fn ran(program: &Program, form: Option<Form>) -> Option<Arrays> {
    let purpose =
        Purpose { resume: false, forms: FormOptions { form, ..FormOptions::default() } };
    let lowered = match with_gradients(program, purpose, &["y"]) {
        Err(PassError::Limitation { code: "L-form", .. }) => return None,
        lowered => lowered.expect("it lowers"),
    };
    let given = given(program);
    let sizes = sizes(program, &given).expect("sizes");
    let inputs = bound(program, &lowered.graph, &given, &sizes).expect("inputs");
    let found = native::run(&lowered.graph, &inputs, &sizes, Precision::F64);
    let found = found.expect("it runs").into_iter();
    Some(found.map(|(n, a)| (graphs::outward(program, &n), a)).collect())
}

/// Compares; the class that both were found to be.
fn same(name: &str) -> &'static str {
    let (deep, flat) =
        (program(&format!("DeepCase{name}")), program(&format!("FlatCase{name}")));
    let expected = ran(&flat, Some(Form::Sequential)).expect("it always applies");
    let mut forms = 0;
    for form in std::iter::once(None).chain(Form::ALL.iter().map(|(f, _)| Some(*f))) {
        let Some(found) = ran(&deep, form) else { continue };
        forms += 1;
        let expected = expected.iter().filter(|(n, _)| !n.contains("anchor"));
        for (name, expected) in expected {
            // The one calls it `init.W1`, the other `W1`.
            let alike = found.iter().find(|(n, _)| {
                let kind = |n: &str| n.split('.').next().map(str::to_owned);
                *n == name
                    || kind(n) == kind(name) && tail(n) == "W1" && tail(name) == "W1"
            });
            let (_, found) =
                alike.unwrap_or_else(|| panic!("{name} of {:?}", found.keys()));
            let off = golden::distance(found, expected);
            assert!(off < 1e-11, "{form:?}: {name} is off by {off:.1e}");
        }
    }
    assert!(forms >= 3, "only {forms} forms");
    let class = |program: &Program| {
        let lowered = forward(program, Purpose::default()).expect("it lowers");
        assert_eq!(lowered.choices.len(), 1);
        assert_ne!(lowered.choices[0].form, Form::Sequential);
        lowered.choices[0].class()
    };
    assert_eq!(class(&deep), class(&flat));
    class(&deep)
}

#[test]
fn a_deep_memory_whose_first_layer_rests_is_a_delta_rule_over_its_features() {
    assert_eq!(same(""), "affine");
}

#[test]
fn with_an_anchored_gradient_it_is_linear_attention_over_its_features() {
    assert_eq!(same("Anchored"), "anchored");
}

#[test]
fn with_an_inner_product_it_is_linear_attention_over_its_features() {
    assert_eq!(same("Hebbian"), "no feedback");
}
