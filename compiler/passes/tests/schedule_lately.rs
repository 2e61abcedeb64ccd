//! Plans of walks whose final states are their last tokens.

use crate::common::schedule::agree;
use nestor_ir::tensor::text::parse;
use nestor_passes::schedule::{Calls, schedule};

#[test]
fn a_window_of_the_past_walks_its_last_tokens_alone() {
    let window = |kept: &str| {
        let text = r#"graph {
          %0 "x": [B, T, 3] = input
          %1 "s": [B, 6, 3] = input
          %2: [B, 6, 3] = scan{map=[B], time=T, chunk=4}
              stream(m0 t .) %0
              initial(m0 . .) %1 {
            %0 "x0": [4, 3] = input
            %1 "x1": [6, 3] = input
            %2 "valid": bool[4] = input
            %3 "position": [4] = input
            %4: [6, 3] = scan{map=[], time=4}
                stream(t .) %0
                initial(. .) %1
                mask(t) %2 {
              %0 "x0": [3] = input
              %1 "x1": [6, 3] = input
              %2 "valid": bool[] = input
              %3 "position": [] = input
              %4: [1, 3] = reshape{dims=[1, 3]} %0
@             output "past" %6
            }
            output "s" %4
          }
          output "past" %2
        }"#;
        text.replace('@', kept)
    };
    let moved = window(
        "              %5: [7, 3] = concat{axis=0} %4, %1
              %6: [6, 3] = slice{axis=0, start=0, size=6} %5
",
    );
    // The last entry stays what it was.
    let kept = window(
        "              %5: [5, 3] = slice{axis=0, start=1, size=5} %1
              %6: [6, 3] = concat{axis=0} %4, %5
",
    );
    agree(&moved);
    agree(&kept);
    let kernels = |text: &str| -> String {
        let graph = parse(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let made = schedule(&graph, Calls::OfManyTokens)
            .unwrap_or_else(|e| panic!("{e}\n{text}"));
        made.1.iter().map(ToString::to_string).collect()
    };
    // Six tokens are of the last three steps, should the last of them have one.
    assert!(
        kernels(&moved).contains("when (T/4) - 3 <= i1 < (T/4)"),
        "{}",
        kernels(&moved)
    );
    assert!(!kernels(&kept).contains("(T/4) - 3"), "{}", kernels(&kept));
}
