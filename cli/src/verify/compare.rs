//! Measures one program: how far each form is from the derived walk, and that from what it means.

use super::draw::{Sound, drawn, prefix};
use super::{Arrays, Found};
use crate::device::Place;
use crate::fail::Failure;
use crate::run::native;
use indexmap::IndexMap;
use nestor_compiler::execute::by_definition;
use nestor_compiler::interpret::{Array, Data};
use nestor_compiler::pipeline::{Purpose, with_gradients};
use nestor_compiler::tensor::Graph;
use nestor_compiler::{Form, FormOptions, PassError, Precision, Program, graphs};
use nestor_runtime::train::rng::Stream;

/// How far a form may be from the derived walk in float64: rounding, in another order.
const FLOAT64: f64 = 1e-9;
/// The least bound in float32, and how many times the error of the derived walk itself, run in
/// float32, a form may be off.
const FLOAT32: (f64, f64) = (2e-5, 30.0);
/// How far the derived walk may be from the definition, whose inner gradients are differences.
const DEFINITION: f64 = 1e-8;
/// How far gradients may be from differences of outputs.
const SLOPE: f64 = 1e-6;
/// How near slopes by differences of two steps are to each other where there is one.
const SETTLED: f64 = 0.1;
/// Steps of those differences, which are of fourth order: a condition that changes between two
/// sides spoils a step, a wrong gradient spoils all.
const STEPS: [f64; 5] = [1e-4, 1e-5, 1e-6, 3e-7, 1e-7];
/// Tokens of the comparison with the definition, which is slow.
const SHORT: usize = 20;
/// Differences are relative to the norm of what is expected, or to this where that is smaller.
const FLOOR: f64 = 1e-6;

/// What was measured of a program.
pub(crate) struct Measured {
    /// What had to be drawn otherwise than it starts.
    pub(crate) drawn: Vec<String>,
    /// The derived walk from the definition: outputs and final states.
    pub(crate) definition: f64,
    /// Gradients from differences of outputs.
    pub(crate) slope: f64,
    /// Every form.
    pub(crate) forms: Vec<(&'static str, Row)>,
}

/// A form of a program.
pub(crate) enum Row {
    /// Distances of outputs and states, then of gradients, in float64 and in float32; the second
    /// pair as a share of what is allowed.
    Off {
        /// Outputs and states, gradients, in float64.
        float64: [f64; 2],
        /// The same in float32.
        float32: [f64; 2],
        /// The largest share of its bound that a tensor takes in float32.
        share: f64,
        /// Why the interpreter ran it, where there is no machine code.
        interpreted: Option<String>,
    },
    /// It does not apply here.
    Not(String),
    /// Something broke.
    Broken(String),
}

impl Measured {
    /// Whether everything is within its bound.
    pub(crate) fn good(&self) -> bool {
        let form = |row: &Row| match row {
            Row::Off { float64, share, .. } => {
                float64.iter().all(|x| *x <= FLOAT64) && *share <= 1.0
            }
            Row::Not(_) => true,
            Row::Broken(_) => false,
        };
        let ran = self.forms.iter().any(|(_, row)| matches!(row, Row::Off { .. }));
        ran && self.definition <= DEFINITION
            && self.slope <= SLOPE
            && self.forms.iter().all(|(_, row)| form(row))
    }

    /// What is not supported of it.
    pub(crate) fn limitations(&self) -> Vec<String> {
        let mut out: Vec<String> = Vec::new();
        for (_, row) in &self.forms {
            if let Row::Off { interpreted: Some(why), .. } = row
                && !out.contains(why)
            {
                out.push(why.clone());
            }
        }
        out
    }
}

/// Measures a program.
pub(super) fn measure(program: &Program, place: &Place) -> Found {
    let outputs: Vec<String> =
        program.code.outputs.iter().map(|o| o.name.clone()).collect();
    let sound = match drawn(program, &outputs) {
        Ok(sound) => sound,
        Err(Failure { status: 1, message }) => return Found::Limited(short(&message)),
        Err(Failure { message, .. }) => return Found::Failed(short(&message)),
    };
    let parts =
        definition(program, &sound).and_then(|d| Ok((d, slope(program, &sound)?)));
    let (definition, slope) = match parts {
        Ok(parts) => parts,
        Err(failure) => return Found::Failed(short(&failure.message)),
    };
    let forms = Form::ALL
        .iter()
        .map(|(f, name)| (*name, form(program, &sound, *f, &outputs, place)));
    let forms = forms.collect();
    Found::Measured(Measured { drawn: sound.drawn, definition, slope, forms })
}

/// One line of a failure.
fn short(message: &str) -> String {
    let message =
        message.trim_start_matches("error: ").trim_start_matches("not supported ");
    message.lines().next().unwrap_or("").to_owned()
}

fn form(
    program: &Program,
    sound: &Sound,
    form: Form,
    outputs: &[String],
    place: &Place,
) -> Row {
    let purpose = Purpose {
        resume: false,
        forms: FormOptions { form: Some(form), ..FormOptions::default() },
    };
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let graph = match with_gradients(program, purpose, &outputs) {
        Ok(lowered) if lowered.choices.is_empty() && form != Form::Sequential => {
            return Row::Not("nothing is walked".into());
        }
        Ok(lowered) => lowered.graph,
        Err(PassError::Limitation { code: "L-form", what, .. }) => {
            let why = what.split_once(": ").map_or(what.as_str(), |(_, why)| why);
            return Row::Not(why.to_owned());
        }
        Err(error) => return Row::Broken(error.to_string()),
    };
    let mut interpreted = None;
    let mut distances = |precision| -> Result<Vec<(String, f64)>, String> {
        let found = match native(program, &graph, &sound.given, 0, precision, place) {
            Ok(Ok(found)) => found,
            Ok(Err(why)) => {
                interpreted = Some(short(&why.to_string()));
                graphs::interpreted(program, &graph, &sound.given, 0, precision)
                    .map_err(|e| e.to_string())?
            }
            Err(failure) => return Err(short(&failure.message)),
        };
        Ok(apart(&found, &sound.expected))
    };
    let (float64, float32) = match (distances(Precision::F64), distances(Precision::F32))
    {
        (Ok(a), Ok(b)) => (a, b),
        (Err(why), _) | (_, Err(why)) => return Row::Broken(why),
    };
    let share = float32.iter().map(|(name, off)| {
        let own = sound.rounding.get(name).copied().unwrap_or(0.0);
        off / (FLOAT32.1 * own).max(FLOAT32.0)
    });
    let share = share.fold(0.0, worse);
    Row::Off { float64: worst(&float64), float32: worst(&float32), share, interpreted }
}

/// The largest of outputs and states, and of gradients.
fn worst(of: &[(String, f64)]) -> [f64; 2] {
    [false, true].map(|gradient| {
        let own = of.iter().filter(|(n, _)| n.starts_with("grad.") == gradient);
        own.map(|(_, off)| *off).fold(0.0, worse)
    })
}

/// The larger one; what is no number is the largest.
fn worse(a: f64, b: f64) -> f64 {
    if b.is_nan() { f64::INFINITY } else { a.max(b) }
}

/// Every expected tensor with its distance; infinitely far where it is missing.
pub(super) fn apart(found: &Arrays, expected: &Arrays) -> Vec<(String, f64)> {
    let one = |(name, expected): (&String, &Array)| {
        let off = found.get(name).map_or(f64::INFINITY, |f| distance(f, expected));
        (name.clone(), off)
    };
    expected.iter().map(one).collect()
}

fn distance(a: &Array, b: &Array) -> f64 {
    let (Data::Real(x), Data::Real(y)) = (&a.data, &b.data) else {
        return if a == b { 0.0 } else { f64::INFINITY };
    };
    if a.dims != b.dims {
        return f64::INFINITY;
    }
    let norm = |v: &mut dyn Iterator<Item = f64>| v.map(|x| x * x).sum::<f64>().sqrt();
    let off = norm(&mut x.iter().zip(y).map(|(x, y)| x - y));
    let ratio = off / norm(&mut y.iter().copied()).max(FLOOR);
    if ratio.is_finite() { ratio } else { f64::INFINITY }
}

/// The derived walk from the definition, on the first tokens of the first sequence.
fn definition(program: &Program, sound: &Sound) -> Result<f64, Failure> {
    let given = prefix(program, &sound.given, 1, SHORT);
    let expected = by_definition(program, &given).map_err(Failure::bug)?;
    let walk = nestor_compiler::pipeline::derived(program, false);
    let walk = walk.map_err(|e| Failure::pass(&e))?;
    let found = graphs::interpreted(program, &walk, &given, 0, Precision::F64)
        .map_err(Failure::bug)?;
    // A graph has states that the definition has not, as anchors; the other way is an error.
    Ok(apart(&found, &expected).into_iter().map(|(_, off)| off).fold(0.0, worse))
}

/// A direction in which all real inputs move at once.
struct Line<'a> {
    program: &'a Program,
    sound: &'a Sound,
    walk: Graph,
    along: IndexMap<&'a String, Vec<f64>>,
    /// What the gradients say of it.
    expected: f64,
}

impl<'a> Line<'a> {
    fn new(program: &'a Program, sound: &'a Sound) -> Result<Self, Failure> {
        let walk = nestor_compiler::pipeline::derived(program, false);
        let walk = walk.map_err(|e| Failure::pass(&e))?;
        let mut expected = 0.0;
        let mut along: IndexMap<&String, Vec<f64>> = IndexMap::new();
        for (name, array) in &sound.given {
            let Data::Real(values) = &array.data else { continue };
            let short = program.weights.values().find(|w| w.path == *name);
            let short = short.map_or(name, |w| &w.short);
            let Some(gradient) = sound.expected.get(&format!("grad.{short}")) else {
                continue;
            };
            let mut numbers = Stream::new(3, name);
            let direction: Vec<f64> = values.iter().map(|_| numbers.normal()).collect();
            let pairs = gradient.reals().iter().zip(&direction);
            expected += pairs.map(|(g, d)| g * d).sum::<f64>();
            along.insert(name, direction);
        }
        Ok(Self { program, sound, walk, along, expected })
    }

    /// The sum of outputs times cotangents, so far along.
    fn value(&self, by: f64) -> Result<f64, Failure> {
        let mut given = self.sound.given.clone();
        for (name, direction) in &self.along {
            let array = &self.sound.given[*name];
            let moved = array.reals().iter().zip(direction).map(|(x, d)| x + by * d);
            given.insert(
                (*name).clone(),
                Array::real(array.dims.clone(), moved.collect()),
            );
        }
        let found =
            graphs::interpreted(self.program, &self.walk, &given, 0, Precision::F64)
                .map_err(Failure::bug)?;
        let given = self.sound.given.iter();
        let seeds = given.filter_map(|(n, s)| Some((n.strip_prefix("grad.")?, s)));
        let of = |(n, seed): (&str, &Array)| -> f64 {
            let pairs = found.get(n).map(|y| y.reals().iter().zip(seed.reals()));
            pairs.map_or(0.0, |p| p.map(|(y, s)| y * s).sum())
        };
        Ok(seeds.map(of).sum())
    }

    /// Its slope by differences of values, a step apart.
    fn difference(&self, step: f64) -> Result<f64, Failure> {
        let near = self.value(step)? - self.value(-step)?;
        let far = self.value(2.0 * step)? - self.value(-2.0 * step)?;
        Ok((8.0 * near - far) / (12.0 * step))
    }
}

/// Gradients along one direction of all real inputs against differences of outputs.
fn slope(program: &Program, sound: &Sound) -> Result<f64, Failure> {
    let line = Line::new(program, sound)?;
    let mut best = f64::INFINITY;
    for step in STEPS {
        let off = beside(line.difference(step)?, line.expected);
        best = best.min(if off.is_finite() { off } else { f64::INFINITY });
        if best <= SLOPE {
            break;
        }
    }
    Ok(best)
}

/// Whether there is a slope at all: differences of outputs, at one step and the next, tend to the same. Where a
/// memory that begins at zero is normalised, say, they grow without end, and no gradient could be right.
pub(super) fn smooth(program: &Program, sound: &Sound) -> Result<bool, Failure> {
    let line = Line::new(program, sound)?;
    let mut last = f64::NAN;
    for step in STEPS {
        let found = line.difference(step)?;
        if beside(found, last) <= SETTLED {
            return Ok(true);
        }
        last = found;
    }
    Ok(false)
}

/// How far two numbers are apart, relative to the larger.
fn beside(a: f64, b: f64) -> f64 {
    (a - b).abs() / a.abs().max(b.abs()).max(FLOOR)
}
