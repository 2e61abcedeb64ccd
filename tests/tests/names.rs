//! Names mean nothing to the compiler: a user's own definitions take the library's path, and the
//! library under other names gives the same graphs.

use indexmap::IndexMap;
use nestor_compiler::execute::{bound, by_definition, sizes};
use nestor_compiler::interpret::Array;
use nestor_compiler::pipeline::{Purpose, forward, reference, with_gradients};
use nestor_compiler::{Form, FormOptions, Program, check, graphs, source};
use nestor_front::{Definitions, elaborate};
use nestor_grammar::ast::{EntryKind, File, Kind};
use nestor_grammar::{Diagnostic, FileId, Severity, Sources, parse};
use nestor_ir::artifact::Precision;
use nestor_runtime::train::rng::Stream;
use nestor_tests::spec::Specs;
use nestor_tests::{files, golden, native, root};
use std::collections::{BTreeMap, BTreeSet};

/// Streams of two rows of 21 tokens, weights and cotangents, drawn by name.
fn drawn(program: &Program) -> IndexMap<String, Array> {
    let mut all: IndexMap<String, Array> = IndexMap::new();
    let mut draw = |name: String, dims: Vec<usize>, scale: f64| {
        let mut stream = Stream::new(7, &name);
        let values =
            (0..dims.iter().product()).map(|_| scale * stream.normal()).collect();
        all.insert(name, Array::real(dims, values));
    };
    let own = |dims: &[nestor_ir::dim::Dim]| -> Vec<usize> {
        dims.iter().filter_map(|d| d.fixed()).collect()
    };
    for input in &program.inputs {
        draw(input.name.clone(), [vec![2, 21], own(&input.ty.dims)].concat(), 0.5);
    }
    for weight in program.weights.values() {
        draw(weight.short.clone(), own(&weight.dims), 0.3);
    }
    for output in &program.code.outputs {
        let dims = own(&program.code.ty(output.value).dims);
        draw(format!("grad.{}", output.name), [vec![2, 21], dims].concat(), 1.0);
    }
    all
}

#[test]
fn a_users_own_definitions_compile_by_the_same_path() {
    let path = root().join("tests/own/everything.nest");
    let loaded = source::load(std::slice::from_ref(&path)).expect("readable");
    let found = check::check(&loaded);
    let text: String = found.iter().map(|d| d.render(&loaded.sources, false)).collect();
    assert!(found.is_empty(), "{text}");
    let specs = Specs::read(&[&path]);
    let program = specs.elaborate("Case", &[]).program.expect("elaborates");
    let given = drawn(&program);
    let sizes = sizes(&program, &given).expect("one size");

    // The derived walk is what the definition means.
    let graph = reference(&program, &["y"]).expect("derives");
    let walked = graphs::interpreted(&program, &graph, &given, 0, Precision::F64);
    let walked = walked.expect("runs");
    let meant = by_definition(&program, &given).expect("runs");
    for (name, expected) in &meant {
        let off = golden::distance(&walked[name], expected);
        assert!(off < 1e-8, "{name} is off by {off:.1e}");
    }

    // Every form that applies to all of it, chosen or forced, gives the same as machine code.
    let forms = std::iter::once(None).chain(Form::ALL.iter().map(|(f, _)| Some(*f)));
    let mut ran = Vec::new();
    for form in forms {
        let purpose = Purpose {
            resume: false,
            forms: FormOptions { form, ..FormOptions::default() },
        };
        let lowered = match (with_gradients(&program, purpose, &["y"]), form) {
            (Ok(lowered), _) => lowered,
            (Err(_), Some(_)) => continue,
            (Err(error), None) => panic!("{error}"),
        };
        let inputs = bound(&program, &lowered.graph, &given, &sizes).expect("bound");
        let found = native::run(&lowered.graph, &inputs, &sizes, Precision::F64);
        let found = found.expect("runs");
        for (name, value) in found {
            let name = graphs::outward(&program, &name);
            let expected = &walked[&name];
            let off = golden::distance(&value, expected);
            assert!(off < 1e-9, "{form:?}: {name} is off by {off:.1e}");
        }
        ran.push(form);
    }
    assert!(ran.contains(&Some(Form::Sequential)), "only {ran:?} ran");
}

/// Outputs, final states and gradients of an entry as machine code, after its outputs and states
/// were found to be what its definition means. Weights are positive where that is asked for.
fn run(specs: &Specs, entry: &str, positive: bool) -> IndexMap<String, Array> {
    let made = specs.elaborate(entry, &[]);
    let text = specs.render(&made.diagnostics);
    let program = made.program.unwrap_or_else(|| panic!("{text}"));
    let mut given = drawn(&program);
    for weight in program.weights.values().filter(|_| positive) {
        let array = given.get_mut(&weight.short).expect("drawn");
        let values = array.reals().iter().map(|x| 0.1 + x.abs()).collect();
        *array = Array::real(array.dims.clone(), values);
    }
    let meant = by_definition(&program, &given).expect("runs");
    let sizes = sizes(&program, &given).expect("one size");
    let lowered = with_gradients(&program, Purpose::default(), &["y"]);
    let graph = lowered.expect("lowers").graph;
    let inputs = bound(&program, &graph, &given, &sizes).expect("bound");
    let native = native::run(&graph, &inputs, &sizes, Precision::F64).expect("runs");
    for (name, expected) in &meant {
        let off = golden::distance(&native[name], expected);
        assert!(off < 1e-8, "{entry}: {name} is off by {off:.1e}");
    }
    native
}

fn same(specs: &Specs, one: &str, other: &str, positive: bool) {
    let (found, expected) = (run(specs, one, positive), run(specs, other, positive));
    for (name, expected) in &expected {
        // The past that windows hold is one rule's way, not the other's.
        if name.starts_with("state.past") {
            continue;
        }
        let off = golden::distance(&found[name], expected);
        assert!(off < 1e-12, "{one}: {name} is off by {off:.1e}");
    }
}

#[test]
fn a_level_means_what_the_clauses_of_a_memory_mean() {
    let specs = Specs::read(&[&root().join("tests/own/levels.nest")]);
    same(&specs, "Level", "Clauses", false);
}

#[test]
fn a_penalty_is_the_argmin_found_by_hand() {
    let specs = Specs::read(&[&root().join("tests/own/penalties.nest")]);
    same(&specs, "leaning_found", "leaning_written", true);
    same(&specs, "sticky_found", "sticky_written", false);
    same(&specs, "between_found", "between_written", false);
}

/// A word under its other name; a second instance `Name_2` is called after its definition.
fn other(word: &str, names: &BTreeMap<String, String>) -> String {
    if let Some(name) = names.get(word) {
        return name.clone();
    }
    match word.rsplit_once('_') {
        Some((base, n)) if n.parse::<usize>().is_ok() && names.contains_key(base) => {
            format!("{}_{n}", names[base])
        }
        _ => word.to_owned(),
    }
}

/// Words of a text, comments apart: what is a name, and what is between names.
fn renamed(text: &str, names: &BTreeMap<String, String>) -> String {
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let (code, comment) = line.split_at(line.find("//").unwrap_or(line.len()));
        let mut rest = code;
        while !rest.is_empty() {
            let cut = rest.find(|c| !word(c)).unwrap_or(rest.len());
            let (name, after) = rest.split_at(cut);
            out.push_str(&other(name, names));
            let skip = after.find(word).unwrap_or(after.len());
            out.push_str(&after[..skip]);
            rest = &after[skip..];
        }
        out.push_str(comment);
    }
    out
}

type Text = (String, String);

/// Graphs of every entry of a file, as text, with a library.
fn emitted(library: &[Text], file: &Text) -> Vec<(String, String)> {
    let mut sources = Sources::default();
    let mut read = |(name, text): &Text| -> (FileId, File) {
        let id = sources.add(name, text);
        let (tree, found) = parse(&sources, id);
        assert!(found.is_empty(), "{name} does not parse");
        (id, tree)
    };
    let library: Vec<_> = library.iter().map(&mut read).collect();
    let files = [read(file)];
    let (table, found) = Definitions::collect(&sources, &library, &files);
    assert!(found.is_empty(), "{:?}", found.first());
    let mut out = Vec::new();
    for entry in &files[0].1.entries {
        let EntryKind::Definition(d) = &entry.kind else { continue };
        let alone = d.params.all.iter().all(|p| p.default.is_some());
        if !matches!(d.kind, Kind::Layer | Kind::Model) || !alone {
            continue;
        }
        let name = d.name.text.clone();
        let made = elaborate(&table, &name, &[]);
        let Some(program) = &made.program else {
            // What is not compiled yet is so under every name.
            let limited = |d: &Diagnostic| d.severity == Severity::Limitation;
            let text: String =
                made.diagnostics.iter().map(|d| d.render(&sources, false)).collect();
            assert!(made.diagnostics.iter().all(limited), "{text}");
            out.push((name, format!("{:?}", made.diagnostics[0].code)));
            continue;
        };
        let outputs: Vec<&str> =
            program.code.outputs.iter().map(|o| o.name.as_str()).collect();
        let purpose = Purpose::default();
        let plain = match forward(program, purpose) {
            Ok(lowered) => lowered.graph.to_string(),
            Err(error) => error.to_string(),
        };
        let both = match with_gradients(program, purpose, &outputs) {
            Ok(lowered) => lowered.graph.to_string(),
            Err(error) => error.to_string(),
        };
        out.push((name.clone(), plain));
        out.push((name, both));
    }
    out
}

#[test]
fn the_library_under_other_names_gives_the_same_graphs() {
    let library: Vec<Text> =
        nestor_stdlib::FILES.iter().map(|(n, t)| ((*n).into(), (*t).into())).collect();
    let mut names = BTreeSet::new();
    for text in &library {
        let mut sources = Sources::default();
        let id = sources.add(&text.0, &text.1);
        for entry in parse(&sources, id).0.entries {
            if let EntryKind::Definition(d) = entry.kind {
                names.insert(d.name.text);
            }
        }
    }
    assert!(names.len() >= 90, "only {} definitions", names.len());
    let there: BTreeMap<String, String> = names
        .iter()
        .enumerate()
        .map(|(n, name)| (name.clone(), format!("Xq{n}")))
        .collect();
    let back: BTreeMap<String, String> =
        there.iter().map(|(old, new)| (new.clone(), old.clone())).collect();
    let other: Vec<Text> =
        library.iter().map(|(n, t)| (n.clone(), renamed(t, &there))).collect();
    let mut texts: Vec<Text> =
        nestor_stdlib::CHECKS.iter().map(|(n, t)| ((*n).into(), (*t).into())).collect();
    for path in files(&root().join("examples"), "nest") {
        let text = std::fs::read_to_string(&path).expect("readable");
        texts.push((path.display().to_string(), text));
    }
    let (mut compared, mut wrong) = (0, Vec::new());
    for text in &texts {
        let renamed_text = (text.0.clone(), renamed(&text.1, &there));
        assert_ne!(text.1, renamed_text.1, "{} uses nothing of the library", text.0);
        let before = emitted(&library, text);
        let after = emitted(&other, &renamed_text);
        assert_eq!(before.len(), after.len());
        for ((name, a), (_, b)) in before.iter().zip(&after) {
            compared += 1;
            if *a != renamed(b, &back) {
                wrong.push(format!("{} of {}", name, text.0));
            }
        }
    }
    assert!(compared >= 140, "only {compared} graphs");
    assert!(wrong.is_empty(), "names changed the graphs of {}", wrong.join(", "));
}
