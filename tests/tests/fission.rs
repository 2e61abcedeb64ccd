//! Every golden case with its walks split, as they are for a GPU, and with all of a walk by pieces of its columns, in the interpreter in float64: the
//! same numbers as in one walk, outputs, final states and gradients.

use nestor_compiler::execute::{bound, sizes};
use nestor_compiler::gpu::{Rates, fission, in_pieces};
use nestor_compiler::interpret::{Array, tensor};
use nestor_compiler::pipeline::{Purpose, with_gradients};
use nestor_compiler::{FormOptions, Precision};
use nestor_ir::tensor::{Graph, Op};
use nestor_tests::spec::Specs;
use nestor_tests::{files, golden, on_all_cores, root};

fn walks(graph: &Graph) -> usize {
    graph.nodes.values().filter(|n| matches!(n.op, Op::Scan { .. })).count()
}

/// How a graph's walks are split.
type Split = fn(&Graph, &Rates) -> Graph;
/// Whether a graph's walks were split to become another's.
type Changed = fn(&Graph, &Graph) -> bool;

/// Whether a case was split, and how far it is off.
fn judged(
    path: &std::path::Path,
    split: Split,
    was_split: Changed,
) -> Result<(bool, f64), String> {
    let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
    let specs = Specs::read(&[path]);
    let program = specs.elaborate("Case", &[]).program.ok_or("it does not elaborate")?;
    let case = golden::read(
        &root().join("tests/oracle/cases").join(format!("{name}.safetensors")),
    );
    let seeds: Vec<&str> = case
        .keys()
        .filter_map(|n| n.strip_prefix("grad."))
        .filter(|n| program.code.find_output(n).is_some())
        .collect();
    let forms = FormOptions::default();
    let lowered = with_gradients(&program, Purpose { resume: false, forms }, &seeds)
        .map_err(|e| e.to_string())?;
    let whole = lowered.graph;
    let split = split(&whole, &Rates::ALWAYS);
    let sizes = sizes(&program, &case).map_err(|e| e.to_string())?;
    let inputs = bound(&program, &whole, &case, &sizes).map_err(|e| e.to_string())?;
    let run = |graph: &Graph| -> Result<Vec<Array>, String> {
        tensor::run(graph, &inputs, &sizes, Precision::F64).map_err(|e| e.to_string())
    };
    let off = run(&whole)?
        .iter()
        .zip(run(&split)?)
        .map(|(a, b)| golden::distance(&b, a))
        .fold(0.0, f64::max);
    Ok((was_split(&whole, &split), off))
}

/// Judges all cases, of which at least so many are to be split.
fn judge(split: Split, was_split: Changed, least: usize) {
    let cases = files(&root().join("tests/oracle"), "nest");
    let found = on_all_cores(&cases, |path| judged(path, split, was_split));
    let (mut wrong, mut count) = (Vec::new(), 0);
    for (path, found) in cases.iter().zip(found) {
        match found {
            Ok((was, off)) => {
                count += usize::from(was);
                if off > 1e-10 {
                    wrong.push(format!("{}: {off:.1e}", path.display()));
                }
            }
            Err(why) => wrong.push(format!("{}: {why}", path.display())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(count >= least, "{count} of {} are split", cases.len());
}

#[test]
fn split_walks_give_what_whole_ones_give() {
    judge(fission, |whole, split| walks(split) > walks(whole), 27);
}

#[test]
fn pieces_of_walks_give_what_whole_ones_give() {
    judge(in_pieces, |whole, split| split != whole, 10);
}

/// Where walking is dear, and memory for what is handed over is scarce: what no state depends on leaves by a cut behind little.
#[test]
fn what_is_little_to_hand_over_leaves_a_walk() {
    const DEAR: Rates =
        Rates { alone: 1e4, narrowest: 32, always: false, ..Rates::ALWAYS };
    let split: Split = |graph, _| fission(graph, &DEAR);
    let lighter = |whole: &Graph, split: &Graph| carried(split) < carried(whole);
    judge(split, lighter, 45);
}

/// Operations in walks with states.
fn carried(graph: &Graph) -> usize {
    let of = |op: &Op| match op {
        Op::Scan { scan } if scan.states().count() > 0 => scan.body.nodes.len(),
        _ => 0,
    };
    graph.nodes.values().map(|n| of(&n.op)).sum()
}
