//! A scan, walked index by index and step by step.

use super::array::{Array, indices};
use super::tensor::{self, RunError};
use crate::artifact::Precision;
use crate::dim::Sizes;
use crate::tensor::{Axis, Feed, Reach, Scan, Stride, Yield};

/// Final states, then yields.
pub(super) fn run(
    scan: &Scan,
    operands: &[&Array],
    sizes: &Sizes,
    precision: Precision,
) -> Result<Vec<Array>, RunError> {
    let map: Vec<usize> = scan.map.iter().map(|d| d.size(sizes)).collect();
    let walk = Walk::new(scan, sizes);
    let states: Vec<usize> = scan.states().collect();
    let of_body = |k: usize| -> Vec<usize> {
        let value = scan.body.outputs[k].value;
        scan.body.ty(value).dims.iter().map(|d| d.size(sizes)).collect()
    };
    let mut results: Vec<Array> = (0..states.len())
        .map(|k| {
            let elem = scan.body.ty(scan.body.outputs[k].value).elem;
            Array::zeros(elem, [map.clone(), of_body(k)].concat())
        })
        .collect();
    for (k, (kind, layout)) in scan.yields.iter().enumerate() {
        let k = states.len() + k;
        let mut body = of_body(k).into_iter();
        if *kind == Yield::Stream && scan.stride != Stride::Token {
            body.next();
        }
        let along = if *kind == Yield::Stream { walk.time } else { walk.steps };
        let dims: Vec<usize> = layout
            .iter()
            .map(|axis| match axis {
                Axis::Map(i) => map[*i],
                Axis::Time => along,
                Axis::Body => body.next().unwrap_or(0),
            })
            .collect();
        results.push(Array::zeros(scan.body.ty(scan.body.outputs[k].value).elem, dims));
    }
    for at in indices(&map) {
        let mut current: Vec<Array> = states
            .iter()
            .map(|&s| cut(operands[s], &scan.feeds[s].1, &at, |_| None, None))
            .collect();
        for step in walk.order(scan.reverse) {
            if !walk.runs(scan, operands, step) {
                continue;
            }
            let mut inputs = Vec::new();
            let mut state = 0;
            for ((feed, layout), operand) in scan.feeds.iter().zip(operands) {
                match feed {
                    Feed::Mask | Feed::Reach(_) => {}
                    Feed::Initial => {
                        inputs.push(current[state].clone());
                        state += 1;
                    }
                    Feed::Shared => {
                        inputs.push(cut(operand, layout, &at, |_| None, None))
                    }
                    Feed::Step => {
                        inputs.push(cut(operand, layout, &at, |_| Some(step), None))
                    }
                    Feed::Stream => {
                        let rows = (scan.stride != Stride::Token).then_some(walk.chunk);
                        inputs.push(cut(
                            operand,
                            layout,
                            &at,
                            |r| walk.token(step, r),
                            rows,
                        ));
                    }
                }
            }
            let rows =
                if scan.stride == Stride::Token { vec![] } else { vec![walk.chunk] };
            let tokens: Vec<Option<usize>> =
                (0..walk.chunk).map(|r| walk.token(step, r)).collect();
            inputs.push(Array::bool(
                rows.clone(),
                tokens.iter().map(Option::is_some).collect(),
            ));
            let position = (0..walk.chunk).map(|r| walk.position(step, r)).collect();
            inputs.push(Array::real(rows, position));
            let mut outputs =
                tensor::run(&scan.body, &inputs, sizes, precision)?.into_iter();
            for slot in &mut current {
                *slot = outputs.next().unwrap_or_else(|| slot.clone());
            }
            for (k, output) in outputs.enumerate() {
                let (kind, layout) = &scan.yields[k];
                let chunked = *kind == Yield::Stream && scan.stride != Stride::Token;
                results[states.len() + k].place(&output, |index| {
                    let (row, rest) =
                        if chunked { index.split_at(1) } else { (&[0][..], index) };
                    let time = match kind {
                        Yield::Stream => walk.token(step, row[0])?,
                        Yield::Step => step,
                    };
                    let mut rest = rest.iter();
                    Some(
                        layout
                            .iter()
                            .map(|axis| match axis {
                                Axis::Map(i) => at[*i],
                                Axis::Time => time,
                                Axis::Body => {
                                    *rest.next().expect("a layout has the body's axes")
                                }
                            })
                            .collect(),
                    )
                });
            }
        }
        for (k, state) in current.iter().enumerate() {
            results[k]
                .place(state, |index| Some(at.iter().chain(index).copied().collect()));
        }
    }
    Ok(results)
}

/// What the body sees of an operand: mapped axes taken at `at`, time at `token(row)`.
fn cut(
    operand: &Array,
    layout: &[Axis],
    at: &[usize],
    token: impl Fn(usize) -> Option<usize>,
    rows: Option<usize>,
) -> Array {
    let mut dims: Vec<usize> = layout
        .iter()
        .zip(&operand.dims)
        .filter(|(axis, _)| **axis == Axis::Body)
        .map(|(_, d)| *d)
        .collect();
    dims.splice(0..0, rows);
    operand.rearranged(dims, |index| {
        let (row, rest) =
            if rows.is_some() { (index[0], &index[1..]) } else { (0, index) };
        let mut rest = rest.iter();
        layout
            .iter()
            .map(|axis| match axis {
                Axis::Map(i) => Some(at[*i]),
                Axis::Time => token(row),
                Axis::Body => rest.next().copied(),
            })
            .collect()
    })
}

/// How steps meet tokens.
struct Walk {
    time: usize,
    chunk: usize,
    steps: usize,
    phase: usize,
    start: usize,
}

impl Walk {
    fn new(scan: &Scan, sizes: &Sizes) -> Self {
        let time = scan.time.size(sizes);
        let outer = scan.time.ticks_of().map(|every| sizes.every(every));
        let chunk = match scan.stride {
            Stride::Token => 1,
            Stride::Chunk(c) => c,
        };
        let phase = outer.map_or(0, |sizes| sizes.phase(chunk));
        let start = outer.map_or(0, |sizes| sizes.start);
        Self { time, chunk, steps: (phase + time).div_ceil(chunk), phase, start }
    }
    fn order(&self, reverse: bool) -> Vec<usize> {
        if reverse { (0..self.steps).rev().collect() } else { (0..self.steps).collect() }
    }
    /// The token of a row, where the call has it.
    fn token(&self, step: usize, row: usize) -> Option<usize> {
        (step * self.chunk + row).checked_sub(self.phase).filter(|&t| t < self.time)
    }
    fn position(&self, step: usize, row: usize) -> f64 {
        (self.start - self.phase + step * self.chunk + row) as f64
    }
    fn runs(&self, scan: &Scan, operands: &[&Array], step: usize) -> bool {
        let first = self.position(step, 0);
        let last = self.position(step, self.chunk - 1);
        scan.feeds.iter().zip(operands).all(|((feed, _), x)| match feed {
            Feed::Mask => self.token(step, 0).is_some_and(|t| x.bools()[t]),
            Feed::Reach(reach) => {
                let before = x.reals().iter().all(|&position| last < position);
                let after = x.reals().iter().all(|&position| first > position);
                match reach {
                    Reach::Before => before,
                    Reach::At => !before && !after,
                    Reach::After => after,
                }
            }
            Feed::Shared | Feed::Stream | Feed::Step | Feed::Initial => true,
        })
    }
}
