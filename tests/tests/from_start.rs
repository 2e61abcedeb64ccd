//! Sequences from their first token, of a length that is known to stay below an anchor's distance: gradients at the
//! initial memory, updates once in a chunk, states handed on to a later call, against the derived walk.

use indexmap::IndexMap;
use nestor_compiler::execute::{bound, sizes};
use nestor_compiler::interpret::Array;
use nestor_compiler::native::scheduled;
use nestor_compiler::pipeline::{Purpose, derived, forward, reference, with_gradients};
use nestor_compiler::{
    FormOptions, Program, Setting, SettingValue, check, graphs, source,
};
use nestor_ir::artifact::Precision;
use nestor_ir::tensor::{Feed, Graph, Op, Scan};
use nestor_ir::tile::{Access, Place, Sink, Stmt};
use nestor_runtime::train::rng::Stream;
use nestor_tests::{golden, native, root};

type Arrays = IndexMap<String, Array>;

const TOKENS: usize = 37;

fn program(chunk: usize, anchor: usize) -> Program {
    let set = |name: &str, n: usize| Setting {
        name: name.to_owned(),
        value: SettingValue::Number(n as f64),
    };
    let settings =
        [set("d", 3), set("heads", 2), set("chunk", chunk), set("anchor", anchor)];
    let loaded =
        source::load(&[root().join("bench/specs/mlp_memory_op.nest")]).expect("readable");
    check::program(&loaded, Some("MlpMemoryOp"), &settings).expect("checks").0
}

fn promised(longest: Option<usize>) -> Purpose {
    Purpose { resume: false, forms: FormOptions { longest, ..FormOptions::default() } }
}

/// Values for every input of a graph, drawn by name; streams have two sequences.
fn drawn(program: &Program, graph: &Graph, tokens: usize) -> Arrays {
    let mut all = Arrays::new();
    for input in &graph.inputs {
        use nestor_ir::dim::Dim;
        let dims: Vec<usize> = graph
            .ty(input.value)
            .dims
            .iter()
            .map(|d| match d {
                Dim::Batch => 2,
                Dim::Time => tokens,
                other => other.fixed().expect("a size"),
            })
            .collect();
        let mut stream = Stream::new(5, &input.name);
        let values = (0..dims.iter().product()).map(|_| 0.4 * stream.normal()).collect();
        all.insert(graphs::outward(program, &input.name), Array::real(dims, values));
    }
    all
}

fn off(found: &Arrays, expected: &Arrays, bound: f64, what: &str) {
    for (name, expected) in expected {
        let off = golden::distance(&found[name], expected);
        assert!(off < bound, "{what}: {name} is off by {off:.1e}");
    }
}

#[test]
fn what_is_never_set_again_is_a_constant() {
    for (chunk, anchor) in [(16, 1 << 20), (8, 64), (16, 48), (1, 1 << 20), (64, 1 << 20)]
    {
        let program = program(chunk, anchor);
        let meant = reference(&program, &[]).expect("derives");
        let given = drawn(&program, &meant, TOKENS);
        let expected = graphs::interpreted(&program, &meant, &given, 0, Precision::F64);
        let expected = expected.expect("runs");
        for longest in [None, Some(TOKENS)] {
            let what = format!("chunk {chunk}, anchor {anchor}, at most {longest:?}");
            let graph =
                with_gradients(&program, promised(longest), &[]).expect("lowers").graph;
            let found = graphs::interpreted(&program, &graph, &given, 0, Precision::F64);
            off(&found.expect("runs"), &expected, 1e-10, &what);
            let sizes = sizes(&program, &given).expect("one size");
            let inputs = bound(&program, &graph, &given, &sizes).expect("bound");
            for (precision, bound) in [(Precision::F64, 1e-10), (Precision::F32, 1e-4)] {
                let found =
                    native::run(&graph, &inputs, &sizes, precision).expect("runs");
                let outward =
                    |(n, a): (String, Array)| (graphs::outward(&program, &n), a);
                let found: Arrays = found.into_iter().map(outward).collect();
                off(&found, &expected, bound, &format!("{what}, {precision:?}"));
            }
        }
    }
}

#[test]
fn a_later_call_goes_on() {
    let program = program(8, 64);
    let whole = derived(&program, false).expect("derives");
    let given = drawn(&program, &whole, TOKENS);
    let run = |graph: &Graph, given: &Arrays, start| {
        graphs::interpreted(&program, graph, given, start, Precision::F64).expect("runs")
    };
    let expected = run(&whole, &given, 0);
    // Within a chunk, and at its end.
    for cut in [13, 16] {
        let part = |from: usize, to: usize| -> Arrays {
            let streams =
                program.inputs.iter().map(|i| i.name.as_str()).collect::<Vec<_>>();
            let of = |(name, array): (&String, &Array)| {
                let array = match streams.contains(&name.as_str()) {
                    true => rows(array, from, to),
                    false => array.clone(),
                };
                (name.clone(), array)
            };
            given.iter().map(of).collect()
        };
        let begin = forward(&program, promised(Some(cut))).expect("lowers").graph;
        let before = run(&begin, &part(0, cut), 0);
        let resumed = Purpose { resume: true, ..Purpose::default() };
        let resume = forward(&program, resumed).expect("lowers").graph;
        let mut handed = part(cut, TOKENS);
        handed.extend(
            before
                .iter()
                .filter(|(n, _)| n.starts_with("state."))
                .map(|(n, a)| (n.clone(), a.clone())),
        );
        let rest = run(&resume, &handed, cut);
        for (name, expected) in &expected {
            let found = &rest[name];
            let expected = match name.starts_with("state.") {
                true => expected.clone(),
                false => rows(expected, cut, TOKENS),
            };
            let off = golden::distance(found, &expected);
            assert!(off < 1e-10, "cut at {cut}: {name} is off by {off:.1e}");
        }
    }
}

/// The rows of `[B, T, ..]` of some tokens.
fn rows(array: &Array, from: usize, to: usize) -> Array {
    let (batch, time) = (array.dims[0], array.dims[1]);
    let each: usize = array.dims[2..].iter().product();
    let values = array.reals();
    let of = |b: usize| values[(b * time + from) * each..(b * time + to) * each].to_vec();
    let dims = [&[batch, to - from], &array.dims[2..]].concat();
    Array::real(dims, (0..batch).flat_map(of).collect())
}

#[test]
fn nothing_of_the_anchor_is_carried_or_kept() {
    let states = |longest| -> usize {
        let graph =
            forward(&program(16, 1 << 20), promised(longest)).expect("lowers").graph;
        let of = |scan: &Scan| {
            let square =
                |k: &usize| scan.body.ty(scan.body.outputs[*k].value).rank() == 2;
            let initial = scan.feeds.iter().filter(|(f, _)| *f == Feed::Initial).count();
            (0..initial).filter(square).count()
        };
        graph
            .nodes
            .values()
            .map(|n| match &n.op {
                Op::Scan { scan } => of(scan),
                _ => 0,
            })
            .max()
            .unwrap_or(0)
    };
    // Weights, momentum and the open sum of two matrices; their anchors.
    assert_eq!((states(Some(1024)), states(None)), (6, 8));
}

#[test]
fn states_change_where_they_lie() {
    let graph =
        forward(&program(16, 1 << 20), promised(Some(1024))).expect("lowers").graph;
    let (_, kernels) = scheduled(&graph).expect("has kernels");
    // What is handed on of windows alone is moved along, a block at a time, and nothing is computed of it.
    fn computes(body: &[Stmt]) -> bool {
        body.iter().any(|s| matches!(s, Stmt::Product { .. }) || computes(s.inner()))
    }
    let walks = kernels.iter().filter(|k| computes(&k.body));
    let mut open: Vec<&Stmt> = walks.flat_map(|k| &k.body).collect();
    let mut maps = 0;
    while let Some(stmt) = open.pop() {
        match stmt {
            Stmt::Loop { body, .. }
            | Stmt::When { body, .. }
            | Stmt::Together { body } => open.extend(body),
            Stmt::Map { space, expr, loads, sinks } => {
                maps += 1;
                let size: usize = space.iter().filter_map(|d| d.fixed()).product();
                let tile = |a: &Access| matches!(a.place, Place::Tile(_));
                let kept = |s: &Sink| matches!(s, Sink::Store(to) if tile(to));
                let moved = expr.scalars.len() == 1 && loads.iter().all(tile);
                let copies =
                    moved && loads.len() == 1 && sinks.iter().all(|(_, s)| kept(s));
                assert!(!copies || size < 36, "a matrix is copied: {stmt:?}");
            }
            Stmt::Product { .. }
            | Stmt::SolveUnitLower { .. }
            | Stmt::Eliminate { .. }
            | Stmt::InverseRoot { .. }
            | Stmt::LinearScan { .. }
            | Stmt::Gather { .. }
            | Stmt::ScatterAdd { .. }
            | Stmt::Total { .. } => {}
        }
    }
    assert!(maps > 0, "there is a walk");
}
