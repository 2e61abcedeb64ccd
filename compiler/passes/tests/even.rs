//! Lines a little longer than a power of two; that kernels give the same is seen to with every schedule (`common/schedule.rs`).

use nestor_ir::artifact::Precision;
use nestor_ir::dim::Sizes;
use nestor_ir::interpret::tile::run;
use nestor_ir::tile::Kernel;
use nestor_ir::tile::text::parse;
use nestor_ir::tile::verify::verify;
use nestor_passes::even::even;

/// The statement between two lines of nine and what is put out of them, as it is and in two: as text, with the same numbers.
fn halves(middle: &str) -> String {
    let text = format!(
        r#"kernel "lines" {{
  b0 "x": [B, 9] read
  b1 "y": [B, 9] write
  t0 "x": [9]
  t1 "y": [9]
  grid i0 < B
  map [9] t0[0; 1] = b0[9*i0; 1]
{middle}
  map [9] b1[9*i0; 1] = t1[0; 1]
}}"#
    );
    let before = parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    verify(&before).unwrap_or_else(|e| panic!("{e}\n{before}"));
    let after = even(before.clone(), 8);
    verify(&after).unwrap_or_else(|e| panic!("{e}\n{after}"));
    let given = |kernel: &Kernel| {
        let sizes = Sizes { batch: 2, time: 1, start: 0 };
        let mut all: Vec<Vec<f64>> =
            vec![(0..18).map(f64::from).collect(), vec![0.0; 18]];
        run(kernel, &mut all, &sizes, Precision::F64).expect("it runs");
        all
    };
    assert_eq!(given(&before), given(&after), "{before}\n{after}");
    after.to_string()
}

#[test]
fn each_half_knows_its_side_of_a_bound() {
    let text = halves(
        "  map [9] {
    l0 = t0[0; 1] if 0 <= p0 < 8
    l1 = t0[-8; 1] if 0 <= p0 - 8 < 1
    e0 = at(p0)
    t1[0; 1] = l0 + l1 * e0
  }",
    );
    assert!(text.contains("map [8] {") && text.contains("map [1] {"), "{text}");
    assert!(!text.contains(" if "), "{text}");
}

#[test]
fn folds_go_on_from_the_first_half() {
    let text = halves(
        "  map [1, 9] t1[0; 1] = sum over p1 of t0[0; 0, 1]\n  map [8] t1[1; 1] = 1",
    );
    assert!(text.contains("map [1, 8] t1[0; 1] = sum"), "{text}");
    assert!(text.contains("map [1, 1] t1[0; 1] += sum"), "{text}");
}
