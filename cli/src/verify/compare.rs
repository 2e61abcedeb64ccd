//! Measures one program: how far each form is from the derived walk, and that from what it means.

use super::Found;
use super::draw::{Sound, drawn, prefix};
use super::effort::numbers;
use super::slope::SLOPE;
use crate::device::Place;
use crate::fail::Failure;
use crate::run::native;
use indexmap::IndexMap;
use nestor_compiler::execute::by_definition;
use nestor_compiler::interpret::distance::distances;
use nestor_compiler::level::{Clock, Level, read_name};
use nestor_compiler::pipeline::{Purpose, with_gradients};
use nestor_compiler::tensor::Graph;
use nestor_compiler::{Form, FormOptions, PassError, Precision, Program, graphs};

/// How far a form may be from the derived walk in float64: rounding, in another order.
const FLOAT64: f64 = 1e-9;
/// The least bound in float32, and how many times the error of the derived walk itself, run in
/// float32, a form may be off.
const FLOAT32: (f64, f64) = (2e-5, 30.0);
/// How far the derived walk may be from the definition, whose inner gradients are differences.
const DEFINITION: f64 = 1e-8;
/// Tokens of the comparison with the definition, which is slow.
const SHORT: usize = 20;
/// Numbers that the definition may read and write: some minutes.
const MOST_NUMBERS: f64 = 2e11;

/// What was measured of a program.
pub(crate) struct Measured {
    /// What had to be drawn otherwise than it starts.
    pub(crate) drawn: Vec<String>,
    /// The derived walk from the definition: outputs and final states. Nothing where the definition would take too long.
    pub(crate) definition: Option<f64>,
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
        ran && self.definition.is_none_or(|off| off <= DEFINITION)
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
    let definition = match definition(program, &sound) {
        Ok(definition) => definition,
        Err(failure) => return Found::Failed(short(&failure.message)),
    };
    let forms = forms(program, &sound, &outputs, place);
    Found::Measured(Measured {
        drawn: sound.drawn,
        definition,
        slope: sound.slope,
        forms,
    })
}

/// Every form, and what is chosen freely where windows are read by blocks.
fn forms(
    program: &Program,
    sound: &Sound,
    outputs: &[String],
    place: &Place,
) -> Vec<(&'static str, Row)> {
    let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
    let lowered = |form| {
        let forms = FormOptions { form, ..FormOptions::default() };
        let forms = place.machine().suited(forms);
        with_gradients(program, Purpose { resume: false, forms }, &outputs)
    };
    // Every form but the sequential one has the same windows by blocks.
    let mut by_blocks = None;
    let mut rows = Vec::new();
    for &(form, name) in Form::ALL {
        let row = match lowered(Some(form)) {
            Ok(lowered) if form != Form::Sequential => {
                by_blocks = Some(lowered.blocks > 0);
                match lowered.choices.is_empty() {
                    true => Row::Not("nothing is walked".into()),
                    false => row(program, sound, &lowered.graph, place),
                }
            }
            Ok(lowered) => row(program, sound, &lowered.graph, place),
            Err(PassError::Limitation { code: "L-form", what, .. }) => {
                let why = what.split_once(": ").map_or(what.as_str(), |(_, why)| why);
                Row::Not(why.to_owned())
            }
            Err(error) => Row::Broken(error.to_string()),
        };
        rows.push((name, row));
    }
    if by_blocks != Some(false)
        && let Ok(lowered) = lowered(None)
        && lowered.blocks > 0
    {
        rows.push(("blocks", row(program, sound, &lowered.graph, place)));
    }
    rows
}

/// One line of a failure.
fn short(message: &str) -> String {
    let message =
        message.trim_start_matches("error: ").trim_start_matches("not supported ");
    message.lines().next().unwrap_or("").to_owned()
}

/// How far a graph is from the derived walk.
fn row(program: &Program, sound: &Sound, graph: &Graph, place: &Place) -> Row {
    let mut interpreted = None;
    let mut off = |precision| -> Result<IndexMap<String, f64>, String> {
        let found = match native(program, graph, &sound.given, 0, precision, place) {
            Ok(Ok(found)) => found,
            Ok(Err(why)) => {
                interpreted = Some(short(&why.to_string()));
                graphs::interpreted(program, graph, &sound.given, 0, precision)
                    .map_err(|e| e.to_string())?
            }
            Err(failure) => return Err(short(&failure.message)),
        };
        Ok(distances(&found, &sound.expected))
    };
    let (float64, float32) = match (off(Precision::F64), off(Precision::F32)) {
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
fn worst(of: &IndexMap<String, f64>) -> [f64; 2] {
    [false, true].map(|gradient| {
        let own = of.iter().filter(|(n, _)| n.starts_with("grad.") == gradient);
        own.map(|(_, off)| *off).fold(0.0, worse)
    })
}

/// The larger one; what is no number is the largest.
fn worse(a: f64, b: f64) -> f64 {
    if b.is_nan() { f64::INFINITY } else { a.max(b) }
}

/// The derived walk from the definition, on the first tokens of the first sequence.
fn definition(program: &Program, sound: &Sound) -> Result<Option<f64>, Failure> {
    if numbers(program, SHORT) > MOST_NUMBERS {
        return Ok(None);
    }
    let given = prefix(program, &sound.given, 1, SHORT);
    let expected = by_definition(program, &given).map_err(Failure::bug)?;
    let found = graphs::interpreted(program, &sound.walk, &given, 0, Precision::F64)
        .map_err(Failure::bug)?;
    // A graph has states that the definition has not, as anchors; the other way is an error. Inside a window of levels that
    // learn while reading it hands on what waits, too: weights as they were at its start.
    let within = |level: &Level| match level.clock {
        Clock::Tokens(n) => level.memory.is_none() && !SHORT.is_multiple_of(n),
        _ => false,
    };
    let waits = program.levels.node_weights().any(within);
    let off = distances(&found, &expected)
        .into_iter()
        .filter(|(name, _)| !(waits && name.starts_with(&read_name(""))));
    Ok(Some(off.map(|(_, off)| off).fold(0.0, worse)))
}
