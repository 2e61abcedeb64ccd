//! Whether every form of a drawn memory, on every engine, is its definition: outputs, final states
//! and the gradients of all that it takes, with cotangents of outputs and of final states.
//!
//! How far two results may be apart follows from how far the derived walk, run in float32, is from
//! itself in float64, and from how far what it takes, moved by a few of its last digits, moves what it gives:
//! memories amplify rounding, some without bounds, and one run may be off by less than it might be, or by all there is.
//! That walk is the derived one with its gradients as they were derived: no product is shared or taken in another order.

use crate::combination::{Draw, given, moved};
use crate::native::Compiled;
use crate::spec::Specs;
use indexmap::IndexMap;
use nestor_compiler::execute::{bound, by_definition, sizes};
use nestor_compiler::interpret::distance::{FLOOR, distance, distances};
use nestor_compiler::interpret::{Array, Data};
use nestor_compiler::pipeline::{
    Purpose, derived, formed, gradients, gradients_as_derived,
};
use nestor_compiler::{Choice, Form, FormOptions, PassError, Program, graphs};
use nestor_grammar::Severity;
use nestor_ir::artifact::Precision;
use nestor_ir::dim::Sizes;
use nestor_ir::tensor::Graph;
use nestor_runtime::train::rng::Stream;
use std::cell::LazyCell;

type Arrays = IndexMap<String, Array>;

/// The least that results may be apart: in float64, and in float32 of outputs and of gradients.
const LEAST: (f64, f64, f64) = (1e-10, 1e-5, 1e-4);
/// How many times the error of the derived walk in float32 a form may be off in float32.
const TIMES: f64 = 30.0;
/// What rounding in float64 is of rounding in float32.
const FINER: f64 = 1.0 / (1u64 << 29) as f64;
/// By how much of itself, about, every number taken is moved, and what rounding in float32 is of a number.
const MOVED: (f64, f64) = (1.0 / (1u64 << 40) as f64, 1.0 / (1u64 << 24) as f64);
/// How many more runs, moved otherwise, say how far rounding may lead where results in float32 are further off.
const MORE: u64 = 24;
/// Beyond this error of the derived walk in float32, results in float32 say nothing.
const ROUGH: f64 = 1e-2;
/// The least that the definition may be off, whose inner gradients are differences.
const DIFFERENCES: f64 = 1e-6;
/// Tokens of the comparison with the definition, which is slow.
const SHORT: usize = 14;

/// What grows beyond this has no bounds.
const SANE: f64 = 1e6;

/// What came of a draw where nothing is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Judged {
    /// As it should be.
    Same {
        /// Forms that ran.
        forms: Vec<&'static str>,
        /// Float32 was compared, too.
        single: bool,
        /// The definition was, too: it computes what is written, and may leave float64 where what is derived does not.
        defined: bool,
    },
    /// The compiler says that it cannot, with a code.
    Refused(String),
    /// It grows without bounds: there is nothing to compare.
    Unbounded,
}

/// Compares; what is wrong, otherwise.
///
/// # Errors
/// In words: form, engine, tensor, distance.
pub fn judge(draw: &Draw, specs: &Specs) -> Result<Judged, String> {
    let made = specs.elaborate(&draw.entry, &[]);
    let Some(program) = made.program else {
        let limit = made.diagnostics.iter().find(|d| d.severity == Severity::Limitation);
        return match limit {
            Some(d) => Ok(Judged::Refused(d.code.to_string())),
            None => Err(specs.render(&made.diagnostics)),
        };
    };
    let walk = match derived(&program, false) {
        Ok(walk) => walk,
        Err(PassError::Limitation { code, .. }) => {
            return Ok(Judged::Refused(code.to_owned()));
        }
        Err(error) => return Err(error.to_string()),
    };
    let all = given(draw, &program);
    let run = |graph: &Graph, given: &Arrays, start| {
        let found = graphs::interpreted(&program, graph, given, start, Precision::F64);
        found.map_err(|e| e.to_string())
    };
    let whole = run(&walk, &all, 0)?;
    if !whole.values().all(below(SANE)) {
        return Ok(Judged::Unbounded);
    }
    let resumed = draw.before > 0;
    let purpose = |forms| Purpose { resume: resumed, forms };
    let mut own = part(&program, &all, draw.batch, draw.before..draw.before + draw.time);
    let base = if resumed {
        let before = part(&program, &all, draw.batch, 0..draw.before);
        let mut states = run(&walk, &before, 0)?;
        states.retain(|n, _| n.starts_with("state."));
        let base = derived(&program, true).map_err(|e| e.to_string())?;
        let mut handed = own.clone();
        handed.extend(states.clone());
        let rest = run(&base, &handed, draw.before)?;
        joined(draw, &whole, &rest)?;
        own.extend(states.iter().map(|(n, a)| (from(n), moved(draw.seed, n, a))));
        base
    } else {
        walk.clone()
    };
    let base =
        gradients_as_derived(&handed_over(base), &[]).map_err(|e| e.to_string())?;
    seeds(draw, &base, &whole, &mut own);
    let expected = run(&base, &own, draw.before)?;
    if !expected.values().all(below(SANE)) {
        return Ok(Judged::Unbounded);
    }
    let single = graphs::interpreted(&program, &base, &own, draw.before, Precision::F32);
    let mut rounding: IndexMap<String, f64> =
        distances(&single.map_err(|e| e.to_string())?, &expected);
    // What cancels may do so to the last digit in one run and not in another.
    let widen = |rounding: &mut IndexMap<String, f64>, nth: u64| {
        for (precision, by) in [(Precision::F64, MOVED.0), (Precision::F32, MOVED.1)] {
            let given = nudged(draw.seed + nth, &own, by);
            let beside =
                graphs::interpreted(&program, &base, &given, draw.before, precision);
            let moved = distances(&beside.map_err(|e| e.to_string())?, &expected);
            for (off, moved) in rounding.values_mut().zip(moved.values()) {
                *off = off.max(moved / by * MOVED.1);
            }
        }
        Ok::<(), String>(())
    };
    widen(&mut rounding, 0)?;
    // A jump that one last digit sets off is no multiple of what sets it off.
    let noise = LazyCell::new(|| {
        noise(draw.seed, MORE, &own, &expected, |given| run(&base, given, draw.before))
    });
    let defined = meaning(draw, &program, &walk, &all, &rounding)?;
    let rough = rounding.values().any(|off| !off.is_finite() || *off > ROUGH);
    let mut ran = Vec::new();
    for (form, name) in Form::ALL {
        let longest = draw.seed.is_multiple_of(2).then_some(draw.time);
        let options = FormOptions {
            form: Some(*form),
            chunk: draw.chunk,
            longest,
            workers: Some(1 << (draw.seed % 3)),
            ..FormOptions::default()
        };
        let lowered = match formed(&program, purpose(options)) {
            Ok(lowered) => lowered,
            Err(PassError::Limitation { code: "L-form", .. }) => continue,
            Err(error) => return Err(format!("{name}: {error}")),
        };
        if !walks(&lowered.choices, *form) {
            continue;
        }
        let graph = gradients(&handed_over(lowered.graph), &[]);
        let graph = graph.map_err(|e| format!("{name}: {e}"))?;
        let found = run(&graph, &own, draw.before)?;
        hold(&found, &expected, &rounding, &noise, Precision::F64)
            .map_err(|e| format!("{name}, interpreted: {e}"))?;
        let sizes = Sizes {
            start: draw.before,
            ..sizes(&program, &own).map_err(|e| e.to_string())?
        };
        let inputs = bound(&program, &graph, &own, &sizes).map_err(|e| e.to_string())?;
        let precisions: &[Precision] =
            if rough { &[Precision::F64] } else { &[Precision::F64, Precision::F32] };
        for precision in precisions {
            let of =
                |what: String| format!("{name}, machine code in {precision:?}: {what}");
            let found = Compiled::new(&graph, *precision)
                .and_then(|mut c| c.run(&inputs, &sizes))
                .map_err(of)?;
            let found: Arrays = found
                .into_iter()
                .map(|(n, a)| (graphs::outward(&program, &n), a))
                .collect();
            let mut held = hold(&found, &expected, &rounding, &noise, *precision);
            for nth in 1..=MORE {
                // A choice, as of a threshold, that one rounding in many turns.
                if held.is_ok() || *precision == Precision::F64 {
                    break;
                }
                widen(&mut rounding, nth)?;
                held = hold(&found, &expected, &rounding, &noise, *precision);
            }
            held.map_err(of)?;
        }
        ran.push(*name);
    }
    Ok(Judged::Same { forms: ran, single: !rough, defined })
}

/// Whether a form is what it is asked for: a program without walks has only one.
fn walks(choices: &[Choice], form: Form) -> bool {
    !choices.is_empty() || form == Form::Sequential
}

/// Whether results are as near to those of the derived walk as rounding lets them be.
fn hold(
    found: &Arrays,
    expected: &Arrays,
    rounding: &IndexMap<String, f64>,
    noise: &LazyCell<Noise, impl FnOnce() -> Noise>,
    precision: Precision,
) -> Result<(), String> {
    for (name, off) in distances(found, expected) {
        let own = TIMES * rounding[&name];
        let mut most = match precision {
            Precision::F64 => LEAST.0.max(own * FINER),
            Precision::F32 if name.starts_with("grad.") => LEAST.2.max(own),
            Precision::F32 => LEAST.1.max(own),
        };
        if off > most && precision == Precision::F64 {
            let noise = noise.as_ref().map_err(String::clone)?;
            most = most.max(noise[&name].min(LEAST.0.sqrt()));
        }
        if off.is_nan() || off > most {
            let found = found.get(&name);
            let worst = found.map(|f| worst(f, &expected[&name]));
            let worst = worst.unwrap_or_default();
            return Err(format!(
                "{name} is off by {off:.1e}, where {most:.1e} may be; {worst}"
            ));
        }
    }
    Ok(())
}

/// The place where two arrays are furthest apart, with what is there.
fn worst(found: &Array, expected: &Array) -> String {
    if found.dims != expected.dims {
        return format!("{:?} for {:?}", found.dims, expected.dims);
    }
    let (x, y) = (found.reals(), expected.reals());
    let off = |i: &usize| (x[*i] - y[*i]).abs();
    let Some(at) = (0..x.len()).max_by(|i, j| off(i).total_cmp(&off(j))) else {
        return "it is empty".to_owned();
    };
    let size = y.iter().map(|x| x * x).sum::<f64>().sqrt();
    format!(
        "at {at} of {} it is {:e} for {:e}, where all are {size:.1e}",
        y.len(),
        x[at],
        y[at]
    )
}

/// The definition of the first tokens; whether it stays in float64.
fn meaning(
    draw: &Draw,
    program: &Program,
    walk: &Graph,
    all: &Arrays,
    rounding: &IndexMap<String, f64>,
) -> Result<bool, String> {
    let time = SHORT.min(draw.before + draw.time);
    let given = part(program, all, 1, 0..time);
    let meant = by_definition(program, &given).map_err(|e| e.to_string())?;
    if !meant.values().all(below(f64::INFINITY)) {
        return Ok(false);
    }
    let found = graphs::interpreted(program, walk, &given, 0, Precision::F64);
    let found = found.map_err(|e| e.to_string())?;
    let noise = LazyCell::new(|| {
        noise(draw.seed, MORE / 4, &given, &meant, |given| {
            by_definition(program, given).map_err(|e| e.to_string())
        })
    });
    for (name, off) in distances(&found, &meant) {
        // Differences lose half of the digits.
        let own = rounding.get(&name).copied().unwrap_or(0.0);
        let mut most = DIFFERENCES.max(TIMES * own * FINER.sqrt());
        if off > most {
            // Where an objective is flat they lose more: how much, the definition of nearly the same numbers says.
            let noise = noise.as_ref().map_err(String::clone)?;
            most = most.max(noise[&name].min(DIFFERENCES.sqrt()));
        }
        if off.is_nan() || off > most {
            return Err(format!(
                "the derived walk's {name} is off the definition by {off:.1e}, where {most:.1e} may be"
            ));
        }
    }
    Ok(true)
}

/// How far each tensor is off by last digits alone, or why that is not known.
type Noise = Result<IndexMap<String, f64>, String>;

/// How far, twice, each tensor is from itself where all that is taken is moved by its last digit, so many times: whatever computes
/// the same may be off by as much.
fn noise(
    seed: u64,
    times: u64,
    given: &Arrays,
    expected: &Arrays,
    run: impl Fn(&Arrays) -> Result<Arrays, String>,
) -> Noise {
    let mut most: IndexMap<String, f64> =
        expected.keys().map(|name| (name.clone(), 0.0)).collect();
    for nth in 0..times {
        let beside = run(&nudged(seed + nth, given, f64::EPSILON))?;
        for (name, off) in distances(&beside, expected) {
            most[&name] = most[&name].max(2.0 * off);
        }
    }
    Ok(most)
}

/// A sequence in two calls, its states handed over, is the sequence in one.
fn joined(draw: &Draw, whole: &Arrays, rest: &Arrays) -> Result<(), String> {
    let tail = |array: &Array| {
        let mut dims = array.dims.clone();
        dims[1] = draw.time;
        array.rearranged(dims, |i| {
            let mut i = i.to_vec();
            i[1] += draw.before;
            Some(i)
        })
    };
    for (name, all) in whole {
        let expected = if name.starts_with("state.") { all.clone() } else { tail(all) };
        let off = rest.get(name).map_or(f64::INFINITY, |r| distance(r, &expected, FLOOR));
        if off.is_nan() || off > LEAST.0 {
            return Err(format!("{name} of a sequence in two calls is off by {off:.1e}"));
        }
    }
    Ok(())
}

/// What a state that is handed over is called: its gradient is then one of an input like others.
fn from(state: &str) -> String {
    format!("from.{}", state.trim_start_matches("state."))
}

fn handed_over(mut graph: Graph) -> Graph {
    for input in &mut graph.inputs {
        if input.name.starts_with("state.") {
            input.name = from(&input.name);
        }
    }
    graph
}

/// Cotangents of all that comes out, final states too.
fn seeds(draw: &Draw, graph: &Graph, whole: &Arrays, own: &mut Arrays) {
    for input in &graph.inputs {
        let Some(of) = input.name.strip_prefix("grad.") else { continue };
        let mut dims = whole[of].dims.clone();
        if !of.starts_with("state.") {
            dims[1] = draw.time;
        }
        let mut stream = Stream::new(draw.seed, &input.name);
        let values = (0..dims.iter().product()).map(|_| stream.normal()).collect();
        own.insert(input.name.clone(), Array::real(dims, values));
    }
}

/// Some sequences and tokens of the streams among inputs.
fn part(
    program: &Program,
    given: &Arrays,
    batch: usize,
    tokens: std::ops::Range<usize>,
) -> Arrays {
    let mut out = given.clone();
    for (name, array) in &mut out {
        if program.inputs.iter().any(|i| i.name == *name) {
            let dims = [&[batch, tokens.len()], &array.dims[2..]].concat();
            *array = array.rearranged(dims, |i| {
                let mut i = i.to_vec();
                i[1] += tokens.start;
                Some(i)
            });
        }
    }
    out
}

/// Every number moved by a little of itself.
fn nudged(seed: u64, given: &Arrays, by: f64) -> Arrays {
    let mut out = given.clone();
    for (name, array) in &mut out {
        let mut stream = Stream::new(seed, &format!("nudges {name}, {by:e}"));
        if let Data::Real(values) = &mut array.data {
            values.iter_mut().for_each(|x| *x *= 1.0 + by * stream.normal());
        }
    }
    out
}

/// Whether all numbers of an array are less than this.
fn below(most: f64) -> impl Fn(&Array) -> bool {
    move |array| match &array.data {
        Data::Real(v) => v.iter().all(|x| x.abs() < most),
        Data::Int(_) | Data::Bool(_) => true,
    }
}
