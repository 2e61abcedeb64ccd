//! What is too costly at a length is said as written down: `diagnostics/W701_costly.expected`.
//! `NESTOR_BLESS=1` writes the text anew.

use nestor_compiler::costs::costs;
use nestor_compiler::pipeline::{Purpose, forward};
use nestor_compiler::{check, source};
use nestor_tests::root;

#[test]
fn costly_forms_read_as_written_down() {
    let folder = root().join("tests/diagnostics");
    let path = folder.join("W701_costly.nest");
    let loaded = source::load(&[path]).expect("readable");
    let mut text = String::new();
    for (entry, long, short) in [("Looking", 8192, 256), ("Walking", 4096, 256)] {
        let (program, _) = check::program(&loaded, Some(entry), &[]).expect("no error");
        let lowered = forward(&program, Purpose::default()).expect("lowers");
        assert!(costs(&loaded, &program, &lowered.choices, short).is_empty());
        for found in costs(&loaded, &program, &lowered.choices, long) {
            text.push_str(&found.render(&loaded.sources, false));
        }
    }
    // The path of the file is the machine's.
    let folder = format!("{}/", folder.display());
    let text = text.replace(&folder, "");
    let expected = root().join("tests/diagnostics/W701_costly.expected");
    if std::env::var_os("NESTOR_BLESS").is_some() {
        std::fs::write(&expected, &text).expect("writable");
    }
    let written = std::fs::read_to_string(&expected).unwrap_or_default();
    assert_eq!(text, written);
}
