//! Two passes over time are chosen by their cost: where a sequence has workers that its walks leave idle, is long, and a token
//! does enough. `docs/forms.md` has the times that these choices were made from.

use nestor_compiler::pipeline::{Purpose, forward, with_gradients};
use nestor_compiler::{Form, FormOptions, Program, Setting, SettingValue, check, source};

/// Tokens of a long sequence.
const LONG: Option<usize> = Some(8192);
/// Workers of a small machine.
const TWO: Option<usize> = Some(2);

/// A program of `stdlib/checks` at these sizes.
fn program(entry: &str, sizes: &[(&str, usize)]) -> Program {
    let set = |(name, n): &(&str, usize)| Setting {
        name: (*name).to_owned(),
        value: SettingValue::Number(*n as f64),
    };
    let settings: Vec<Setting> = sizes.iter().map(set).collect();
    check::program(&source::checks(), Some(entry), &settings).expect("it checks").0
}

fn purpose(
    form: Option<Form>,
    longest: Option<usize>,
    workers: Option<usize>,
) -> Purpose {
    Purpose {
        resume: false,
        forms: FormOptions { form, longest, workers, ..FormOptions::default() },
    }
}

/// Forms of the walks of a program.
fn forms(program: &Program, longest: Option<usize>, workers: Option<usize>) -> Vec<Form> {
    let lowered = forward(program, purpose(None, longest, workers)).expect("it lowers");
    lowered.choices.iter().map(|c| c.form).collect()
}

fn heads(entry: &str, heads: usize, d: usize) -> Program {
    program(entry, &[("heads", heads), ("d_k", d), ("d_v", d)])
}

#[test]
fn chosen_where_they_save_time() {
    for (entry, d) in [("gated_delta", 128), ("gated_linear", 128), ("kda", 128)] {
        let program = heads(entry, 1, d);
        assert_eq!(forms(&program, LONG, TWO), [Form::TwoPass], "{entry} at d = {d}");
        let found = with_gradients(&program, purpose(None, LONG, TWO), &["y"]);
        let forms: Vec<Form> =
            found.expect("it has gradients").choices.iter().map(|c| c.form).collect();
        assert_eq!(forms, [Form::TwoPass], "{entry} at d = {d}, with gradients");
    }
}

#[test]
fn not_chosen_where_they_lose() {
    let wide = heads("gated_delta", 1, 128);
    let cases = [
        ("a worker by itself", &wide, LONG, Some(1)),
        ("nothing known of workers", &wide, LONG, None),
        ("a short sequence", &wide, Some(512), TWO),
        ("nothing known of the length", &wide, None, TWO),
        ("a walk for every worker", &heads("gated_delta", 2, 128), LONG, TWO),
        ("a token that does little", &heads("gated_delta", 1, 32), LONG, TWO),
        ("the same, without feedback", &heads("gated_linear", 1, 32), LONG, TWO),
    ];
    for (what, program, longest, workers) in cases {
        assert_eq!(forms(program, longest, workers), [Form::Affine], "{what}");
    }
}

#[test]
fn what_is_walked_anyway_is_not_parted() {
    let deep = program("titans", &[("heads", 1), ("d", 64)]);
    assert_eq!(forms(&deep, LONG, TWO), [Form::Dual]);
    // A gate at every entry: the scan is most of the walk, and stays in it.
    let selective = program("s6", &[("p", 1024), ("n", 16)]);
    assert_eq!(forms(&selective, LONG, TWO), [Form::Affine]);
    let looping = program("slstm", &[("heads", 1), ("d", 64)]);
    assert_eq!(forms(&looping, LONG, TWO), [Form::Rowwise]);
}
