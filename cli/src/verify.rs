//! `verify`: every form that applies, on every engine, against the token-by-token definition.

use crate::arguments::Choices;
use crate::fail::{Failure, Outcome, settings, tell};
use crate::model::initial;
use crate::run::{array, execute_graph};
use indexmap::IndexMap;
use nestor_compiler::execute::by_definition;
use nestor_compiler::interpret::{Array, Data};
use nestor_compiler::level::Input;
use nestor_compiler::pipeline::{Purpose, forward, with_gradients};
use nestor_compiler::tensor::Graph;
use nestor_compiler::{Form, FormOptions, Precision, Program, check, source};
use nestor_runtime::train::rng::Stream;
use std::path::Path;

type Arrays = IndexMap<String, Array>;

/// Sequences and tokens: neither is a multiple of anything.
const BATCH: usize = 2;
const TIME: usize = 37;

/// How far a result may be off: values in float64 and float32, gradients in float64. The
/// definition takes inner gradients by differences, whose errors a memory that grows carries on.
const BOUNDS: [(&str, f64); 3] =
    [("float64", 1e-6), ("float32", 1e-4), ("gradient", 1e-5)];

/// Checks an entry in every form; fails where one is not the same thing.
pub(crate) fn verify(
    file: &Path,
    name: Option<&str>,
    choices: &Choices,
    json: bool,
) -> Outcome {
    let settings = settings(&choices.set)?;
    let loaded = source::load(&[file.to_owned()]).map_err(Failure::data)?;
    let program = match check::program(&loaded, name, &settings) {
        Ok((program, warnings)) => {
            tell(&loaded, &warnings)?;
            program
        }
        Err(found) => return tell(&loaded, &found),
    };
    let given = random(&program)?;
    let defined = by_definition(&program, &given).map_err(Failure::data)?;
    let finite = |a: &Array| match &a.data {
        Data::Real(v) => v.iter().all(|x| x.is_finite()),
        Data::Int(_) | Data::Bool(_) => true,
    };
    if let Some((name, _)) = defined.iter().find(|(_, a)| !finite(a)) {
        return Err(Failure::data(format!(
            "`{name}` is not finite by the definition on drawn inputs: nothing to compare with"
        )));
    }
    let mut good = true;
    let mut rows = Vec::new();
    for (form, form_name) in Form::ALL {
        let purpose = Purpose {
            resume: false,
            forms: FormOptions { form: Some(*form), chunk: None },
        };
        let lowered = match forward(&program, purpose) {
            Ok(lowered) => lowered,
            Err(why) => {
                rows.push((*form_name, [None; 3], why.to_string()));
                continue;
            }
        };
        let of = |precision| {
            let found = execute_graph(&program, &lowered.graph, &given, 0, precision)?;
            Ok::<f64, Failure>(furthest(&found, &defined))
        };
        let slope = slope(&program, purpose, &lowered.graph, &given)?;
        let off = [of(Precision::F64)?, of(Precision::F32)?, slope];
        good &= off.iter().zip(BOUNDS).all(|(o, (_, bound))| *o <= bound);
        rows.push((*form_name, off.map(Some), String::new()));
    }
    if json {
        let rows: Vec<_> = rows
            .iter()
            .map(|(form, off, why)| {
                serde_json::json!({
                    "form": form, "float64": off[0], "float32": off[1],
                    "gradient": off[2], "not": why,
                })
            })
            .collect();
        anstream::println!("{}", serde_json::json!({ "good": good, "forms": rows }));
    } else {
        anstream::println!(
            "{}: largest relative distance from the definition, B={BATCH} T={TIME}",
            program.name
        );
        anstream::println!(
            "  {:<12} {:>10} {:>10} {:>10}",
            "form",
            BOUNDS[0].0,
            BOUNDS[1].0,
            BOUNDS[2].0
        );
        for (form, off, why) in &rows {
            match off {
                [Some(a), Some(b), Some(c)] => {
                    anstream::println!("  {form:<12} {a:>10.1e} {b:>10.1e} {c:>10.1e}");
                }
                _ => anstream::println!("  {form:<12} does not apply: {why}"),
            }
        }
    }
    if good { Ok(()) } else { Err(Failure::bug("a form differs from the definition")) }
}

/// Inputs drawn by name: numbers between 0.02 and 0.2 for streams of scalars (gates and rates),
/// normal ones for vectors, weights as they start.
fn random(program: &Program) -> Result<Arrays, Failure> {
    let mut out = Arrays::new();
    for input in &program.inputs {
        out.insert(input.name.clone(), stream(program, input));
        out.insert(format!("next.{}", input.name), stream(program, input));
    }
    let starts = initial(program, 0)?;
    for weight in program.weights.values() {
        if let Some(start) = starts.iter().find(|t| t.name == weight.path) {
            out.insert(weight.path.clone(), array(start));
        }
    }
    Ok(out)
}

fn stream(program: &Program, input: &Input) -> Array {
    let mut numbers = Stream::new(1, &input.name);
    let own: Vec<usize> = input.ty.dims.iter().filter_map(|d| d.fixed()).collect();
    let dims = [vec![BATCH, TIME], own.clone()].concat();
    let count = dims.iter().product();
    if let Some(below) = input.below {
        let one = |_| numbers.below(below as u64) as i64;
        return Array::int(dims, (0..count).map(one).collect());
    }
    // A memory's own streams have no leading dimensions; a layer's have its heads.
    let mapped = program.memories.values().map(|m| m.map.len()).max().unwrap_or(0);
    let scalar = own.len() <= mapped.min(1);
    let one = |_| {
        if scalar { 0.02 + 0.18 * numbers.uniform() } else { 0.4 * numbers.normal() }
    };
    Array::real(dims, (0..count).map(one).collect())
}

/// The largest distance of a result that both have.
fn furthest(found: &Arrays, defined: &Arrays) -> f64 {
    let mut worst: f64 = 0.0;
    for (name, expected) in defined {
        let Some(found) = found.get(name) else { continue };
        worst = worst.max(distance(found, expected));
    }
    worst
}

fn distance(a: &Array, b: &Array) -> f64 {
    let (Data::Real(x), Data::Real(y)) = (&a.data, &b.data) else { return 0.0 };
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let off = norm(&mut x.iter().zip(y).map(|(x, y)| x - y));
    let size = norm(&mut y.iter().copied());
    let ratio = off / size.max(1e-9);
    if ratio.is_finite() { ratio } else { f64::INFINITY }
}

/// The gradient along one direction of all real inputs against a central difference.
fn slope(
    program: &Program,
    purpose: Purpose,
    graph: &Graph,
    given: &Arrays,
) -> Result<f64, Failure> {
    let outputs: Vec<&str> = graph
        .outputs
        .iter()
        .map(|o| o.name.as_str())
        .filter(|n| !n.starts_with("state."))
        .collect();
    let lowered =
        with_gradients(program, purpose, &outputs).map_err(|e| Failure::pass(&e))?;
    let run = |graph: &Graph, given: &Arrays| {
        execute_graph(program, graph, given, 0, Precision::F64)
    };
    let forward = run(graph, given)?;
    let mut seeded = given.clone();
    let mut seeds = Arrays::new();
    for name in &outputs {
        let Some(output) = forward.get(*name) else { continue };
        let mut numbers = Stream::new(2, name);
        let values = (0..output.len()).map(|_| numbers.normal()).collect();
        let seed = Array::real(output.dims.clone(), values);
        seeded.insert(format!("grad.{name}"), seed.clone());
        seeds.insert((*name).to_owned(), seed);
    }
    let gradients = run(&lowered.graph, &seeded)?;
    let step = 1e-5;
    let mut sides = [given.clone(), given.clone()];
    let mut expected = 0.0;
    for (name, array) in given {
        let Data::Real(values) = &array.data else { continue };
        let short = program.weights.values().find(|w| w.path == *name);
        let short = short.map_or(name, |w| &w.short);
        let Some(gradient) = gradients.get(&format!("grad.{short}")) else { continue };
        let mut numbers = Stream::new(3, name);
        let direction: Vec<f64> = values.iter().map(|_| numbers.normal()).collect();
        expected +=
            gradient.reals().iter().zip(&direction).map(|(g, d)| g * d).sum::<f64>();
        for (side, sign) in sides.iter_mut().zip([1.0, -1.0]) {
            let moved =
                values.iter().zip(&direction).map(|(x, d)| x + sign * step * d).collect();
            side.insert(name.clone(), Array::real(array.dims.clone(), moved));
        }
    }
    let value = |given: &Arrays| -> Result<f64, Failure> {
        let found = run(graph, given)?;
        let of = |(n, seed): (&String, &Array)| -> f64 {
            found.get(n).map_or(0.0, |y| {
                y.reals().iter().zip(seed.reals()).map(|(y, s)| y * s).sum()
            })
        };
        Ok(seeds.iter().map(of).sum())
    };
    let found = (value(&sides[0])? - value(&sides[1])?) / (2.0 * step);
    let off = (found - expected).abs() / expected.abs().max(found.abs()).max(1e-6);
    Ok(if off.is_finite() { off } else { f64::INFINITY })
}
