//! A step of training against the same step by hand.

use crate::common::{Numbers, evaluate, inputs, sizes};
use indexmap::IndexMap;
use nestor_ir::dim::Dim;
use nestor_ir::dim::Sizes;
use nestor_ir::entity::{Arena, Entity};
use nestor_ir::interpret::array::Array;
use nestor_ir::level::{
    Algorithm, AlgorithmInput, Clock, Initial, Level, OuterMinimize, Program, State,
    StateInitial, Weight, WeightId,
};
use nestor_ir::tensor::{Graph, Op, Value};
use nestor_ir::ty::Type;
use nestor_passes::PassError;
use nestor_passes::autodiff::Keeping;
use nestor_passes::build::{add, contract, div, mul, neg, scale, sub, sum};
use nestor_passes::training::{gradients, rare, training};

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
    let mut code = Graph::new();
    code.input("objective", real(&[]));
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
        code,
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
        let g = training(&program(Clock::Steps(1), clip), &forward, Keeping::default())
            .expect("trains");
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
fn clocks_of_sequences_say_that_they_are_not_done() {
    let error = training(&program(Clock::Sequence, None), &forward(), Keeping::default());
    assert!(matches!(error, Err(PassError::Limitation { code: "L-outer-clock", .. })));
}

/// Runs a graph on tensors by name and puts what it gives back under the same names.
fn run_on(g: &Graph, tensors: &mut IndexMap<String, Array>, s: &Sizes) {
    let given: Vec<Array> =
        g.inputs.iter().map(|i| tensors[i.name.as_str()].clone()).collect();
    let values = evaluate(g, &given, s);
    for (output, value) in g.outputs.iter().zip(values) {
        tensors.insert(output.name.clone(), value);
    }
}

#[test]
fn a_slower_level_acts_on_the_mean_of_its_window() {
    let s = sizes(2, 3, 0);
    let forward = forward();
    let mut numbers = Numbers::new(5);
    let batches: Vec<Vec<Array>> =
        (0..7).map(|_| inputs(&forward, &s, &mut numbers)).collect();
    let p = program(Clock::Steps(3), Some(0.5));
    let (step, updates) = (training(&p, &forward, Keeping::default()), rare(&p));
    let (step, updates) = (step.expect("trains"), updates.expect("acts"));
    let [update] = &updates[..] else { panic!("one slow level") };
    assert_eq!((update.level.as_str(), update.period), ("outer", 3));
    let by_output = gradients(&forward, &["loss"]).expect("has gradients");

    let mut held: IndexMap<String, Array> = IndexMap::new();
    let zeros = || Array::real([2, 3], vec![0.0; 6]);
    held.insert("Linear.W".into(), batches[0][2].clone());
    held.insert("window.Linear.W".into(), zeros());
    held.insert("optimiser.m.Linear.W".into(), zeros());
    // The same by hand: weights, momentum, and the gradients of the open window.
    let mut w = batches[0][2].reals().to_vec();
    let mut m = [0.0; 6];
    let mut open: Vec<Vec<f64>> = vec![];
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a} against {b}");
    for (n, batch) in batches.iter().enumerate() {
        let mut given = batch.clone();
        given[2] = Array::real([2, 3], w.clone());
        given.push(Array::real([2, 3], vec![1.0 / 6.0; 6]));
        let values = evaluate(&by_output, &given, &s);
        open.push(named(&by_output, &values, "grad.Linear.W").reals().to_vec());
        for (input, array) in forward.inputs.iter().zip(batch) {
            if input.name != "Linear.W" {
                held.insert(input.name.clone(), array.clone());
            }
        }
        run_on(&step, &mut held, &s);
        if (n + 1) % 3 == 0 {
            held.insert("step".into(), Array::real([], vec![((n + 1) / 3) as f64]));
            run_on(&update.graph, &mut held, &s);
            held.insert("window.Linear.W".into(), zeros());
            let mean: Vec<f64> =
                (0..6).map(|i| open.iter().map(|g| g[i]).sum::<f64>() / 3.0).collect();
            open.clear();
            let norm = mean.iter().map(|g| g * g).sum::<f64>().sqrt();
            near(held["level.outer.gradient_norm"].reals()[0], norm);
            let factor = (0.5 / (norm + 1e-6)).min(1.0);
            for i in 0..6 {
                m[i] = m[i] / 2.0 + factor * mean[i];
                w[i] -= m[i] / ((n + 1) / 3) as f64;
            }
        }
        for i in 0..6 {
            near(held["Linear.W"].reals()[i], w[i]);
            near(held["optimiser.m.Linear.W"].reals()[i], m[i]);
            let waits = open.iter().map(|g| g[i]).sum::<f64>();
            near(held["window.Linear.W"].reals()[i], waits);
        }
    }
    assert_eq!(open.len(), 1, "the run ends inside a window");
}

#[test]
fn a_window_of_chosen_tokens_weighs_steps_by_their_tokens() {
    let s = sizes(2, 3, 0);
    let mut forward = forward();
    let counts = forward.input("chosen", real(&[Dim::Batch, Dim::Time]));
    forward.output("loss.counts", counts);
    let mut p = program(Clock::Steps(2), None);
    let ty = Type::real([]);
    let objective = p.code.input("l", ty.clone());
    let there = p.code.input("there", Type::bool([]));
    let chosen = p.code.add(Op::When, &[objective, there]);
    for level in p.levels.node_weights_mut() {
        level.objectives[0].objective = chosen;
    }
    let (step, updates) = (training(&p, &forward, Keeping::default()), rare(&p));
    let (step, updates) = (step.expect("trains"), updates.expect("acts"));
    let by_output = gradients(&forward, &["loss"]).expect("has gradients");
    let mut numbers = Numbers::new(8);
    let first = inputs(&forward, &s, &mut numbers);
    let mut held: IndexMap<String, Array> = IndexMap::new();
    held.insert("Linear.W".into(), first[2].clone());
    held.insert("window.Linear.W".into(), Array::real([2, 3], vec![0.0; 6]));
    held.insert("window.counts.outer.0".into(), Array::real([], vec![0.0]));
    held.insert("optimiser.m.Linear.W".into(), Array::real([2, 3], vec![0.0; 6]));
    held.insert("step".into(), Array::real([], vec![1.0]));
    // The mean over the four tokens that both steps choose together.
    let chosen = [[1.0, 0.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0, 0.0, 1.0]];
    let mut expected = [0.0; 6];
    for choice in chosen {
        let mut batch = inputs(&forward, &s, &mut numbers);
        batch[2] = first[2].clone();
        batch[4] = Array::real([2, 3], choice.to_vec());
        let mut given = batch.clone();
        given.push(Array::real([2, 3], choice.iter().map(|c| c / 4.0).collect()));
        let values = evaluate(&by_output, &given, &s);
        let found = named(&by_output, &values, "grad.Linear.W").reals();
        expected.iter_mut().zip(found).for_each(|(e, g)| *e += g);
        for (input, array) in forward.inputs.iter().zip(&batch) {
            if input.name != "Linear.W" {
                held.insert(input.name.clone(), array.clone());
            }
        }
        run_on(&step, &mut held, &s);
    }
    run_on(&updates[0].graph, &mut held, &s);
    let steps = first[2].reals().iter().zip(held["Linear.W"].reals());
    for ((before, after), expected) in steps.zip(expected) {
        let by = before - after;
        assert!((by - expected).abs() < 1e-12, "{by} against {expected}");
    }
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
