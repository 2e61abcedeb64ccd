//! Text step by step is text in one call: the examples, their states handed from token to token,
//! choose the same tokens with the same logits as the whole sequence read at once.

use nestor_compiler::interpret::Data as Values;
use nestor_compiler::trained::{Start, answers, starts};
use nestor_compiler::{Program, check, source};
use nestor_ir::dim::Sizes;
use nestor_runtime::executor::Executor;
use nestor_runtime::reader::{Past, Reader};
use nestor_runtime::tensor_file::{Data, HostTensor};
use nestor_runtime::train::rng::{self, initial_values};
use nestor_tests::root;

const VOCABULARY: usize = 256;
/// Logits in float32, in another order of sums.
const TOLERANCE: f64 = 1e-4;

const EXAMPLES: &[&str] =
    &["gated_delta", "hope", "hope_tokens", "titans", "transformer"];

fn program(name: &str) -> Program {
    let path = root().join("examples").join(format!("{name}.nest"));
    let loaded = source::load(&[path]).expect("the example is there");
    check::program(&loaded, None, &[]).expect("it checks").0
}

fn weights(program: &Program) -> Vec<HostTensor> {
    let mut out = Vec::new();
    for (path, dims, start) in starts(program).expect("weights start") {
        let kind = match start {
            Start::Values(array) => {
                let Values::Real(v) = array.data else { panic!("`{path}` is real") };
                let data = v.iter().map(|x| *x as f32).collect();
                out.push(HostTensor::f32(path, &dims, data));
                continue;
            }
            Start::Drawn(kind) => rng::Initial::of(&kind),
            Start::Weight(_) => None,
        };
        let Some(kind) = kind else { continue };
        let values = initial_values(kind, &dims, 3, &path);
        let data = values.iter().map(|x| *x as f32).collect();
        out.push(HostTensor::f32(path, &dims, data));
    }
    out
}

fn reader(program: &Program, weights: &[HostTensor]) -> Reader {
    let compiled = answers(program).expect("it compiles");
    Reader::new([compiled.begin, compiled.step], None, "tokens", VOCABULARY, weights)
        .expect("it is ready")
}

fn likeliest(logits: &[f32]) -> i32 {
    let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter().position(|l| *l == best).expect("a token") as i32
}

fn distance(a: &[f32], b: &[f32]) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let off: f64 = a.iter().zip(b).map(|(x, y)| square(x - y)).sum();
    (off / b.iter().map(|y| square(*y)).sum::<f64>()).sqrt()
}

/// The logits of every token of a sequence, in one call.
fn parallel(program: &Program, weights: &[HostTensor], tokens: &[i32]) -> Vec<f32> {
    let mut executor =
        Executor::new(answers(program).expect("it compiles").begin).expect("it is ready");
    let stream = |name: &str, tokens: Vec<i32>| HostTensor {
        name: name.into(),
        dims: vec![1, tokens.len()],
        data: Data::I32(tokens),
    };
    let behind = tokens[1..].iter().copied().chain([0]).collect();
    let streams = [stream("tokens", tokens.to_vec()), stream("next.tokens", behind)];
    let asked: Vec<String> =
        executor.inputs().into_iter().map(|(n, _)| n.to_owned()).collect();
    let all: Vec<&HostTensor> =
        streams.iter().chain(weights).filter(|t| asked.contains(&t.name)).collect();
    let sizes = Sizes { batch: 1, time: tokens.len(), start: 0 };
    let found = executor.run(&all, sizes).expect("it runs");
    let logits = found.into_iter().find(|t| t.name == "logits").expect("logits");
    let Data::F32(logits) = logits.data else { panic!("logits are float32") };
    logits
}

#[test]
fn step_by_step_is_the_parallel_form() {
    for name in EXAMPLES {
        let program = program(name);
        let weights = weights(&program);
        let mut reader = reader(&program, &weights);
        let mut tokens: Vec<i32> = b"ROMEO: But soft".map(i32::from).to_vec();
        let prompt = tokens.len();
        let mut steps = vec![reader.read(&tokens).expect("it reads").to_vec()];
        for _ in 0..147 {
            let next = likeliest(steps.last().expect("logits"));
            tokens.push(next);
            steps.push(reader.read(&[next]).expect("it reads").to_vec());
        }
        let whole = parallel(&program, &weights, &tokens);
        for (n, step) in steps.iter().enumerate() {
            let at = (prompt - 1 + n) * VOCABULARY;
            let expected = &whole[at..at + VOCABULARY];
            let off = distance(step, expected);
            assert!(off <= TOLERANCE, "{name}, token {n}: off by {off:.1e}");
            if let Some(token) = tokens.get(prompt + n) {
                assert_eq!(*token, likeliest(expected), "{name}, token {n}");
            }
        }
    }
}

#[test]
fn a_reader_that_stopped_goes_on_elsewhere() {
    for name in EXAMPLES {
        let program = program(name);
        let weights = weights(&program);
        let mut whole = reader(&program, &weights);
        whole.read(&[1, 2, 3, 4, 5]).expect("it reads");
        let past = whole.past().clone();
        let expected = whole.read(&[6, 7]).expect("it reads").to_vec();
        let mut other = reader(&program, &weights);
        other.resume(past.clone());
        assert_eq!(other.read(&[6, 7]).expect("it reads"), expected, "{name}");
        // What is handed over matters: with states of zeros the answer is another.
        let mut lost = reader(&program, &weights);
        let zeros = |t: &HostTensor| match &t.data {
            Data::F32(v) => HostTensor::f32(t.name.clone(), &t.dims, vec![0.0; v.len()]),
            _ => t.clone(),
        };
        let states = past.states.iter().map(zeros).collect();
        lost.resume(Past { states, ..past });
        let off = distance(lost.read(&[6, 7]).expect("it reads"), &expected);
        assert!(off > 1e-3, "{name}: the past makes no difference");
    }
}
