//! What is wrong in a text is said as expected, and nothing that is wrong makes the parser give up.

mod common;

use nestor_grammar::{Sources, parse};
use std::path::Path;

#[test]
fn errors_read_as_expected() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files = Vec::new();
    common::collect(&folder, &mut files);
    files.sort();
    assert!(!files.is_empty(), "no case in {}", folder.display());
    let mut wrong = Vec::new();
    for path in files {
        let name =
            path.file_name().expect("a file has a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("readable");
        let found = match common::tree(&name, &text) {
            Ok(_) => panic!("{name} has no error"),
            Err(errors) => errors,
        };
        assert!(!found.contains('\u{1b}'), "{name}: colour where none is wanted");
        if !common::agrees(&path.with_extension("expected"), &found) {
            wrong.push(found);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn sound_definitions_stay() {
    let mut sources = Sources::default();
    let text = "layer A(d) { x = }\nlayer B(d) { in x: [d] out x }\nlayer C(d) { ( }\n";
    let file = sources.add("a.nest", text);
    let (tree, errors) = parse(&sources, file);
    assert_eq!((tree.entries.len(), errors.len()), (1, 2));
    assert_eq!(sources.text(tree.entries[0].span), "layer B(d) { in x: [d] out x }");
}

#[test]
fn damaged_files_give_errors() {
    let mut dice = common::Dice(3);
    let foreign = [
        "(", ")", "{", "}", "[", "]", "=", ";", "'", "..", "\"", "é", "in", "9", "|>",
        "// x",
    ];
    let (mut broken, mut whole) = (0, 0);
    for (path, text) in common::shipped() {
        for _ in 0..8 {
            let mut cut = dice.below(text.len() + 1);
            while !text.is_char_boundary(cut) {
                cut -= 1;
            }
            let damaged = match dice.below(3) {
                0 => text[..cut].to_owned(),
                1 => text[cut..].to_owned(),
                _ => {
                    let more = foreign[dice.below(foreign.len())];
                    format!("{} {more} {}", &text[..cut], &text[cut..])
                }
            };
            let mut sources = Sources::default();
            let file = sources.add(path.display().to_string(), damaged.clone());
            let (tree, errors) = parse(&sources, file);
            for error in &errors {
                for label in &error.labels {
                    let (start, end) =
                        (label.span.start as usize, label.span.end as usize);
                    assert!(damaged.get(start..end).is_some(), "{error:?}\n{damaged}");
                }
                assert!(error.render(&sources, true).contains("N001"));
            }
            for entry in &tree.entries {
                assert!(!sources.text(entry.span).is_empty());
            }
            if errors.is_empty() { whole += 1 } else { broken += 1 }
        }
    }
    println!("{broken} damaged texts have errors, {whole} have none");
}

#[test]
fn deep_nesting_is_taken_up_to_its_bound() {
    for (open, close) in
        [("(", ")"), ("[", "]"), ("f(", ")"), ("-", ""), ("if a then b else ", "")]
    {
        let text = format!("function f(x) = {}x{}\n", open.repeat(90), close.repeat(90));
        let tree = common::tree("deep.nest", &text);
        assert!(tree.is_ok(), "{tree:?}");
        nestor_grammar::format(&text).expect("formats");
    }
}
