//! Everything that is shipped parses.

mod common;

#[test]
fn all_shipped_files_parse() {
    let mut wrong = String::new();
    for (path, text) in common::shipped() {
        if let Err(errors) = common::tree(&path.display().to_string(), &text) {
            wrong.push_str(&errors);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
