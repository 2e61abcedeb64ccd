//! A step of training against the same step by hand.

mod common;

use common::{Numbers, evaluate, inputs, sizes};
use nestor_ir::dim::Dim;
use nestor_ir::entity::{Arena, Entity};
use nestor_ir::interpret::array::Array;
use nestor_ir::level::{
    Algorithm, AlgorithmInput, Clock, Initial, Level, OuterMinimize, Program, State,
    StateInitial, Weight, WeightId,
};
use nestor_ir::tensor::{Graph, Op, Value};
use nestor_ir::ty::Type;
use nestor_passes::PassError;
use nestor_passes::build::{add, contract, div, mul, neg, scale, sub, sum};
use nestor_passes::training::{gradients, training};

fn real(dims: &[Dim]) -> Type {
    Type::real(dims.iter().copied())
}

/// `loss = |W x + b - y|^2` for every token; b is fixed.
fn forward() -> Graph {
    let (two, three) = (Dim::Fixed(2), Dim::Fixed(3));
    let mut g = Graph::new();
    let x = g.input("x", real(&[Dim::Batch, Dim::Time, three]));
    let y = g.input("y", real(&[Dim::Batch, Dim::Time, two]));
    let w = g.input("Linear.W", real(&[two, three]));
    let b = g.input("Linear.b", real(&[two]));
    let wx = contract(&mut g, x, w, &[], &[(2, 1)]);
    let b = nestor_passes::build::broadcast_to(&mut g, b, &[Dim::Batch, Dim::Time, two]);
    let z = add(&mut g, wx, b);
    g.output("z", z);
    let e = sub(&mut g, z, y);
    let square = mul(&mut g, e, e);
    let loss = sum(&mut g, square, &[2]);
    g.output("loss", loss);
    g
}

/// `m' = m/2 + G`, a step of `-m' / count`.
fn momentum() -> Algorithm {
    let ty = real(&[Dim::Fixed(2), Dim::Fixed(3)]);
    let mut g = Graph::new();
    let count = g.input("count", real(&[]));
    let m = g.input("m", ty.clone());
    let gradient = g.input("g", ty.clone());
    let half = scale(&mut g, m, 0.5);
    let next = add(&mut g, half, gradient);
    let count = nestor_passes::build::broadcast_to(&mut g, count, &ty.dims);
    let ratio = div(&mut g, next, count);
    let step = neg(&mut g, ratio);
    g.output("step", step);
    g.output("m", next);
    let zeros = {
        let mut z = Graph::new();
        let value = nestor_passes::build::zeros(&mut z, &ty);
        z.output("m", value);
        z
    };
    Algorithm {
        inputs: vec![
            AlgorithmInput::Count,
            AlgorithmInput::State(0),
            AlgorithmInput::Gradient,
        ],
        graph: g,
        states: vec![State {
            name: "m".into(),
            dims: ty.dims,
            initial: StateInitial::Values(Box::new(zeros)),
        }],
    }
}

fn program(clock: Clock, clip: Option<f64>) -> Program {
    let mut weights = Arena::default();
    for (path, dims, fixed) in
        [("Linear.W", vec![2, 3], false), ("Linear.b", vec![2], true)]
    {
        weights.push(Weight {
            path: path.into(),
            short: path.into(),
            dims: dims.into_iter().map(Dim::Fixed).collect(),
            initial: Initial::Normal(1.0),
            fixed,
            memory: None,
        });
    }
    let mut levels = petgraph::graph::DiGraph::new();
    levels.add_node(Level {
        name: "outer".into(),
        clock,
        reset: None,
        online: false,
        memory: None,
        objectives: vec![OuterMinimize {
            objective: Value::new(0),
            targets: vec![(WeightId::new(0), momentum(), None)],
            clip,
        }],
    });
    Program {
        name: "regression".into(),
        inputs: vec![],
        weights,
        memories: Arena::default(),
        statements: Arena::default(),
        code: Graph::new(),
        output_clocks: vec![],
        levels,
    }
}

fn named<'a>(g: &Graph, values: &'a [Array], name: &str) -> &'a Array {
    let at = g.outputs.iter().position(|o| o.name == name);
    &values[at.unwrap_or_else(|| panic!("no output {name}"))]
}

#[test]
fn a_step_by_hand() {
    let s = sizes(2, 3, 0);
    let forward = forward();
    let x = inputs(&forward, &s, &mut Numbers::new(9));
    // The gradient of the mean over six tokens, from the graph of gradients.
    let by_output = gradients(&forward, &["loss"]).expect("has gradients");
    let seed = Array::real([2, 3], vec![1.0 / 6.0; 6]);
    let all: Vec<Array> = x.iter().cloned().chain([seed]).collect();
    let values = evaluate(&by_output, &all, &s);
    let gradient = named(&by_output, &values, "grad.Linear.W").reals().to_vec();
    let loss: f64 = named(&by_output, &values, "loss").reals().iter().sum::<f64>() / 6.0;
    let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt();
    for clip in [None, Some(norm / 3.0), Some(norm * 3.0)] {
        let g = training(&program(Clock::Steps(1), clip), &forward).expect("trains");
        let states: Vec<f64> = (0..6).map(|i| f64::from(i) / 7.0).collect();
        let mut given = x.clone();
        for input in &g.inputs[x.len()..] {
            given.push(match input.name.as_str() {
                "step" => Array::real([], vec![4.0]),
                "optimiser.m.Linear.W" => Array::real([2, 3], states.clone()),
                other => panic!("asks for {other}"),
            });
        }
        let out = evaluate(&g, &given, &s);
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} against {b}");
        near(named(&g, &out, "loss").reals()[0], loss);
        near(named(&g, &out, "gradient_norm").reals()[0], norm);
        let factor = clip.map_or(1.0, |c| (c / (norm + 1e-6)).min(1.0));
        for i in 0..6 {
            let m = states[i] / 2.0 + factor * gradient[i];
            near(named(&g, &out, "optimiser.m.Linear.W").reals()[i], m);
            near(named(&g, &out, "Linear.W").reals()[i], x[2].reals()[i] - m / 4.0);
        }
        assert!(g.find_output("Linear.b").is_none(), "a fixed weight is not learned");
    }
}

#[test]
fn other_clocks_say_that_they_are_not_done() {
    let error = training(&program(Clock::Steps(4), None), &forward());
    assert!(matches!(error, Err(PassError::Limitation { code: "L-outer-clock", .. })));
}

#[test]
fn all_real_inputs_have_gradients() {
    let g = gradients(&forward(), &[]).expect("has gradients");
    for name in ["x", "y", "Linear.W", "Linear.b"] {
        assert!(g.find_output(&format!("grad.{name}")).is_some(), "{name}");
    }
    assert!(g.find_input("grad.z").is_some() && g.find_input("grad.loss").is_some());
    assert!(!g.nodes.values().any(|n| matches!(n.op, Op::Gradient)));
}
