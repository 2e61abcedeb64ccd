//! Gradients against differences of outputs, along one direction in which all real inputs move at once.

use super::Arrays;
use crate::fail::Failure;
use indexmap::IndexMap;
use nestor_compiler::interpret::distance::FLOOR;
use nestor_compiler::interpret::{Array, Data};
use nestor_compiler::tensor::Graph;
use nestor_compiler::{Precision, Program, graphs};
use nestor_runtime::train::rng::Stream;

/// How far gradients may be from differences of outputs.
pub(super) const SLOPE: f64 = 1e-6;
/// How near slopes by differences of two steps are to each other where there is one.
const SETTLED: f64 = 0.1;
/// Steps of those differences, which are of fourth order: a condition that changes between two
/// sides spoils a step, and rules with many thresholds need small ones; a wrong gradient spoils all.
const STEPS: [f64; 7] = [1e-4, 1e-5, 1e-6, 3e-7, 1e-7, 3e-8, 1e-8];

/// How far gradients are from differences of outputs; nothing where there is no slope. Where a memory that begins at
/// zero is normalised, say, differences of one step and the next do not tend to the same but grow without end, and no
/// gradient could be right.
pub(super) fn slope(
    program: &Program,
    walk: &Graph,
    given: &Arrays,
    expected: &Arrays,
) -> Result<Option<f64>, Failure> {
    let line = Line::new(program, walk, given, expected);
    let (mut best, mut last, mut settled) = (f64::INFINITY, f64::NAN, false);
    for step in STEPS {
        let found = line.difference(step)?;
        let off = beside(found, line.expected);
        best = best.min(if off.is_finite() { off } else { f64::INFINITY });
        if best <= SLOPE {
            return Ok(Some(best));
        }
        settled |= beside(found, last) <= SETTLED;
        last = found;
    }
    Ok(settled.then_some(best))
}

struct Line<'a> {
    program: &'a Program,
    walk: &'a Graph,
    given: &'a Arrays,
    along: IndexMap<&'a String, Vec<f64>>,
    /// What the gradients say of it.
    expected: f64,
}

impl<'a> Line<'a> {
    fn new(
        program: &'a Program,
        walk: &'a Graph,
        given: &'a Arrays,
        gradients: &Arrays,
    ) -> Self {
        let mut expected = 0.0;
        let mut along: IndexMap<&String, Vec<f64>> = IndexMap::new();
        for (name, array) in given {
            let Data::Real(values) = &array.data else { continue };
            let short = program.weights.values().find(|w| w.path == *name);
            let short = short.map_or(name, |w| &w.short);
            let Some(gradient) = gradients.get(&format!("grad.{short}")) else {
                continue;
            };
            let mut numbers = Stream::new(3, name);
            let direction: Vec<f64> = values.iter().map(|_| numbers.normal()).collect();
            let pairs = gradient.reals().iter().zip(&direction);
            expected += pairs.map(|(g, d)| g * d).sum::<f64>();
            along.insert(name, direction);
        }
        Self { program, walk, given, along, expected }
    }

    /// The sum of outputs times cotangents, so far along.
    fn value(&self, by: f64) -> Result<f64, Failure> {
        let mut given = self.given.clone();
        for (name, direction) in &self.along {
            let array = &self.given[*name];
            let moved = array.reals().iter().zip(direction).map(|(x, d)| x + by * d);
            let moved = Array::real(array.dims.clone(), moved.collect());
            given.insert((*name).clone(), moved);
        }
        let found =
            graphs::interpreted(self.program, self.walk, &given, 0, Precision::F64)
                .map_err(Failure::bug)?;
        let given = self.given.iter();
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

/// How far two numbers are apart, relative to the larger.
fn beside(a: f64, b: f64) -> f64 {
    (a - b).abs() / a.abs().max(b.abs()).max(FLOOR)
}
