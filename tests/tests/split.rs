//! A sequence cut anywhere, its states handed from call to call, is the sequence in one call: for
//! every golden case and every program of the library, in every form that applies, in the
//! interpreter and as machine code. Cuts divide nothing: calls begin within chunks and windows.

use indexmap::IndexMap;
use nestor_compiler::execute::{bound, sizes};
use nestor_compiler::interpret::{Array, Data, tensor};
use nestor_compiler::pipeline::{Purpose, forward};
use nestor_compiler::trained::{Start, starts};
use nestor_compiler::{Form, FormOptions, PassError, Program, check, source};
use nestor_ir::artifact::Precision;
use nestor_ir::dim::Sizes;
use nestor_ir::level::Clock;
use nestor_ir::tensor::Graph;
use nestor_runtime::train::rng::{self, Stream, initial_values};
use nestor_tests::native::Compiled;
use nestor_tests::spec::Specs;
use nestor_tests::{files, golden, on_all_cores, root};

type Arrays = IndexMap<String, Array>;

/// Tokens of a sequence, and where it is cut.
const TIME: usize = 37;
const CUTS: [usize; 5] = [0, 5, 6, 18, TIME];
/// Rounding, in another order.
const TOLERANCE: f64 = 1e-10;

#[derive(Clone, Copy)]
enum Engine {
    Interpreter,
    Native,
}

/// A graph that can be called.
enum Callable<'g> {
    Interpreted(&'g Graph),
    Native(&'g Graph, Box<Compiled>),
}

impl<'g> Callable<'g> {
    fn new(graph: &'g Graph, engine: Engine) -> Result<Self, String> {
        Ok(match engine {
            Engine::Interpreter => Self::Interpreted(graph),
            Engine::Native => {
                Self::Native(graph, Box::new(Compiled::new(graph, Precision::F64)?))
            }
        })
    }

    fn call(
        &mut self,
        program: &Program,
        given: &Arrays,
        start: usize,
    ) -> Result<Arrays, String> {
        let sizes = Sizes { start, ..sizes(program, given).map_err(|e| e.to_string())? };
        let inputs =
            |graph| bound(program, graph, given, &sizes).map_err(|e| e.to_string());
        match self {
            Self::Interpreted(graph) => {
                let found = tensor::run(graph, &inputs(graph)?, &sizes, Precision::F64);
                let found = found.map_err(|e| e.to_string())?;
                Ok(graph.outputs.iter().map(|o| o.name.clone()).zip(found).collect())
            }
            Self::Native(graph, compiled) => compiled.run(&inputs(graph)?, &sizes),
        }
    }
}

/// Entries `from..to` of the second axis.
fn rows(array: &Array, from: usize, to: usize) -> Array {
    let mut dims = array.dims.clone();
    dims[1] = to - from;
    array.rearranged(dims, |i| {
        let mut i = i.to_vec();
        i[1] += from;
        Some(i)
    })
}

/// Tokens `from..to` of the streams among inputs.
fn part(program: &Program, given: &Arrays, from: usize, to: usize) -> Arrays {
    let mut out = given.clone();
    for (name, array) in &mut out {
        let of =
            program.inputs.iter().find(|i| i.name == name.trim_start_matches("next."));
        let Some(Clock::Tokens(every)) = of.map(|i| i.clock) else { continue };
        // A stream `[n, ..]` may be stored as `[B, T n, ..]`.
        let each = array.dims[1] / (TIME / every);
        *array = rows(array, each * (from / every), each * (to / every));
    }
    out
}

/// What is wrong in a form; nothing where it does not apply.
fn wrong(
    program: &Program,
    given: &Arrays,
    form: Option<Form>,
    engine: Engine,
) -> Option<String> {
    let lowered = |resume| {
        forward(
            program,
            Purpose { resume, forms: FormOptions { form, ..FormOptions::default() } },
        )
    };
    let (begin, resume) = match (lowered(false), lowered(true)) {
        (Ok(a), Ok(b)) => (a.graph, b.graph),
        (Err(PassError::Limitation { code: "L-form", .. }), _)
        | (_, Err(PassError::Limitation { code: "L-form", .. })) => return None,
        // What is known of the whole sequence from its start is not known of a part of it.
        (_, Err(PassError::Limitation { code: "L-whole", .. })) => return None,
        (Err(why), _) | (_, Err(why)) => return Some(why.to_string()),
    };
    compared(program, given, (&begin, &resume), engine, |_| {}).err()
}

fn compared(
    program: &Program,
    given: &Arrays,
    (begin, resume): (&Graph, &Graph),
    engine: Engine,
    hand: impl Fn(&mut Array),
) -> Result<(), String> {
    let mut begin = Callable::new(begin, engine)?;
    let mut resume = Callable::new(resume, engine)?;
    let whole = begin.call(program, given, 0)?;
    let mut states = Arrays::new();
    let mut off: Vec<String> = Vec::new();
    for cut in CUTS.windows(2) {
        let mut own = part(program, given, cut[0], cut[1]);
        own.extend(states.clone());
        let callable = if cut[0] == 0 { &mut begin } else { &mut resume };
        let found = callable.call(program, &own, cut[0])?;
        for (output, clock) in program.code.outputs.iter().zip(&program.output_clocks) {
            let expected = &whole[&output.name];
            let expected = match clock {
                Clock::Tokens(n) => rows(expected, cut[0] / n, cut[1] / n),
                // What happens once a sequence is of all its tokens.
                _ if cut[1] < TIME => continue,
                _ => expected.clone(),
            };
            let distance = golden::distance(&found[&output.name], &expected);
            if distance > TOLERANCE {
                off.push(format!("{} from {} by {distance:.1e}", output.name, cut[0]));
            }
        }
        states = found;
        states.retain(|n, _| n.starts_with("state."));
        if cut[1] < TIME {
            states.values_mut().for_each(&hand);
        }
    }
    for (name, expected) in whole.iter().filter(|(n, _)| n.starts_with("state.")) {
        let Some(found) = states.get(name) else {
            off.push(format!("{name} is missing"));
            continue;
        };
        let still = match &expected.data {
            Data::Real(values) => values.iter().all(|x| *x == 0.0),
            Data::Int(_) | Data::Bool(_) => true,
        };
        let same = if still {
            found == expected
        } else {
            golden::distance(found, expected) <= TOLERANCE
        };
        if !same {
            off.push(format!("{name} at the end"));
        }
    }
    if off.is_empty() { Ok(()) } else { Err(off.join(", ")) }
}

/// Streams drawn and weights as they start.
fn drawn(program: &Program) -> Arrays {
    let mut out = Arrays::new();
    for input in &program.inputs {
        let own = input.ty.dims.iter().filter_map(|d| d.fixed());
        let sizes = Sizes { batch: 2, time: TIME, start: 0 };
        let dims: Vec<usize> = input.clock.lead(&sizes).into_iter().chain(own).collect();
        let count = dims.iter().product();
        let mut numbers = Stream::new(1, &input.name);
        let array = match input.below {
            Some(n) => Array::int(
                dims,
                (0..count).map(|_| numbers.below(n as u64) as i64).collect(),
            ),
            None => {
                Array::real(dims, (0..count).map(|_| 0.5 * numbers.normal()).collect())
            }
        };
        out.insert(input.name.clone(), array);
    }
    for (path, dims, start) in starts(program).expect("weights start") {
        let kind = match start {
            Start::Values(array) => {
                out.insert(path, array);
                continue;
            }
            Start::Drawn(kind) => {
                rng::Initial::of(&kind).unwrap_or_else(|| panic!("`{path}` is not drawn"))
            }
            // Any values will do for what starts as another weight.
            Start::Weight(_) => rng::Initial::Normal { std: 0.1 },
        };
        let values = initial_values(kind, &dims, 0, &path);
        out.insert(path, Array::real(dims, values));
    }
    out
}

/// Every program with its inputs: golden cases, then what holds the library.
fn programs() -> Vec<(String, Program, Arrays)> {
    let only = std::env::var("NESTOR_CASE").ok();
    let asked = |name: &str| only.as_ref().is_none_or(|o| name.contains(o.as_str()));
    let mut out = Vec::new();
    let folder = root().join("tests/oracle");
    for path in files(&folder, "nest") {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if !asked(&name) {
            continue;
        }
        let program = Specs::read(&[&path]).elaborate("Case", &[]).program;
        let case =
            golden::read(&folder.join("cases").join(format!("{name}.safetensors")));
        let inputs =
            |n: &String| !n.starts_with("state.") && !n.starts_with("grad.") && n != "y";
        let given = case.into_iter().filter(|(n, _)| inputs(n)).collect();
        out.push((name, program.expect("a case elaborates"), given));
    }
    let loaded = source::checks();
    for name in check::entries(&loaded) {
        // What does not elaborate is listed where the library is verified.
        if asked(&name)
            && let Ok((program, _)) = check::program(&loaded, Some(&name), &[])
        {
            let given = drawn(&program);
            out.push((name, program, given));
        }
    }
    out
}

fn check_all(engine: Engine) {
    let programs = programs();
    let (all, count) = (programs.len(), std::env::var_os("NESTOR_CASE").is_none());
    let forms = || std::iter::once(None).chain(Form::ALL.iter().map(|(f, _)| Some(*f)));
    let failures = on_all_cores(&programs, |(name, program, given)| {
        let one = |form: Option<Form>| {
            let what = wrong(program, given, form, engine)?;
            Some(format!("{name} ({}): {what}", form.map_or("auto", Form::name)))
        };
        forms().filter_map(one).collect::<Vec<String>>()
    });
    let failures = failures.concat();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(!count || all >= 100, "only {all} programs");
}

#[test]
fn calls_that_hand_their_states_on_are_one_call() {
    check_all(Engine::Interpreter);
}

#[test]
fn calls_as_machine_code_that_hand_their_states_on_are_one_call() {
    check_all(Engine::Native);
}

#[test]
fn a_state_that_is_lost_on_the_way_is_noticed() {
    let loaded = source::checks();
    let names =
        ["convolved", "window_attention", "attention", "gated_delta", "titans", "slstm"];
    for name in names {
        let (program, _) = check::program(&loaded, Some(name), &[]).expect("it checks");
        let lowered = |resume| {
            forward(&program, Purpose { resume, ..Purpose::default() })
                .expect("it lowers")
        };
        let (begin, resume) = (lowered(false).graph, lowered(true).graph);
        let lose = |a: &mut Array| *a = a.rearranged(a.dims.clone(), |_| None);
        let found = compared(
            &program,
            &drawn(&program),
            (&begin, &resume),
            Engine::Interpreter,
            lose,
        );
        assert!(found.is_err(), "{name} hands nothing on");
    }
}
