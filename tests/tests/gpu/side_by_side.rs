//! What goes side by side in a step's graphs. That it may is shown where steps are compared with the CPU's: a device without
//! hardware does a graph in the order that is farthest from the one it was told in.

use super::runtime::{program, ready, step};
use nestor_compiler::Program;
use nestor_runtime::device::Shared;
use nestor_runtime::device::trace::{Dry, Event, Trace};
use nestor_tests::spec::Specs;

const EXAMPLE: &str = include_str!("../../../examples/gated_delta.nest");

/// Memory that a step takes, and its graphs: what each launch waits for.
fn kept(program: &Program, memory: usize) -> (usize, Vec<Vec<Vec<usize>>>) {
    let (trace, log) = Trace::new(Box::new(Dry::new(memory)));
    let device = Shared::new(Box::new(trace));
    let mut executor = ready(program, Some(&device));
    (0..2).for_each(|n| drop(step(&mut executor, n)));
    let (mut taken, mut graphs) = (0, Vec::new());
    for event in log.taken() {
        match event {
            Event::Allocate(_, bytes) => taken += bytes,
            Event::Keep(_, _, waits) => graphs.push(waits),
            Event::Release(..)
            | Event::Upload(..)
            | Event::Download(..)
            | Event::Load(..)
            | Event::Tell(_)
            | Event::Replay(_) => {}
        }
    }
    (taken, graphs)
}

/// Launches of the longest chain.
fn longest(waits: &[Vec<usize>]) -> usize {
    let mut chains: Vec<usize> = Vec::new();
    for own in waits {
        chains.push(1 + own.iter().map(|n| chains[*n]).max().unwrap_or(0));
    }
    chains.into_iter().max().unwrap_or(0)
}

#[test]
fn updates_wait_for_nothing_and_projections_not_for_one_another() {
    let specs = Specs::of("gated_delta.nest", EXAMPLE);
    let program = specs.elaborate("GatedDeltaLM", &[]).program.expect("it elaborates");
    let (_, graphs) = kept(&program, 1 << 30);
    let [before, updates] = &graphs[..] else {
        panic!("one before the guard, one behind")
    };
    assert!(updates.len() > 70 && longest(updates) == 1, "{updates:?}");
    // Of each block: a convolution, projections of four kinds, gates, norms, a memory, and as much on the way back.
    let (launches, chain) = (before.len(), longest(before));
    assert!(5 * chain < 2 * launches, "{chain} of {launches}");
}

#[test]
fn where_memory_is_short_bytes_are_used_again_at_once() {
    let (taken, ample) = kept(&program(), 1 << 30);
    let (_, tight) = kept(&program(), taken - 1);
    assert_eq!(tight[0].len(), ample[0].len());
    assert!(longest(&tight[0]) > longest(&ample[0]), "{tight:?}");
}
