//! Rows added to tables as PTX in the emulator: by one block, and shared among blocks.

use nestor_ir::dim::Sizes;
use nestor_mlir::Target;
use nestor_tests::written::{agree, kernel};

/// Rows of a table, shared among so many points; one where there are none.
fn scatter(rows: usize, width: usize, points: usize) -> String {
    let (grid, own) = match points {
        0 => (String::new(), String::new()),
        n => (format!(", i2 < {n}"), format!(" only i2 of {n}")),
    };
    format!(
        r#"kernel "scatter" {{
  b0 "index": int[B, T] read
  b1 "rows": [B, T, {width}] read
  b2 "table": [{rows}, {width}] update
  indices 3
  grid i0 < 1{grid}
  loop i1 < B {{
    scatter_add [T, {width}] b2({rows}) at b0[T*i1; 1] += b1[{width}*T*i1; {width}, 1]{own}
  }}
}}
"#
    )
}

#[test]
fn rows_are_added_in_their_order() {
    for (rows, width, points) in [(1, 3, 1), (5, 6, 4), (300, 70, 128), (7, 70, 3)] {
        let [whole, shared] =
            [0, points].map(|points| kernel(&scatter(rows, width, points)));
        for time in [1, 8, 37] {
            let sizes = Sizes { batch: 2, time, start: 0 };
            let count = 2 * time;
            // Some of them of no row; some rows often.
            let index: Vec<f64> =
                (0..count).map(|i| (i * i * 7 % (rows + 3)) as f64 - 1.0).collect();
            let values = |count: usize| -> Vec<f64> {
                (0..count).map(|i| (i * 37 % 101) as f64 / 50.0 - 1.0).collect()
            };
            let mut found = Vec::new();
            for kernel in [&whole, &shared] {
                let mut buffers =
                    vec![index.clone(), values(count * width), values(rows * width)];
                agree(kernel, Target::Sm80, 1e-4, &mut buffers, &sizes);
                found.push(buffers.swap_remove(2));
            }
            assert_eq!(found[0], found[1], "the same to the bit");
        }
    }
}
