//! Maps and folds of which a thread has points beside one another, in the emulator beside the interpreter: with bounds, with numbers that are one for
//! a whole line, of tokens that divide nothing; and those whose numbers do not lie so.

use nestor_ir::dim::Sizes;
use nestor_mlir::{Options, Products, Target};
use nestor_tests::written::{agree, filled, kernel};

const EXACT: Options = Options { target: Target::Sm90a, products: Products::Float32 };

/// Lines of so many numbers, of which a map takes all from one on.
fn text(wide: usize, from: usize) -> String {
    let n = wide - from;
    let token = format!(
        "{t}*T*i0 + {e}*i1 + {wide}*i2 + {from} - {t}*phase(8); {t}, 1] if 0 <= 8*i1 + p0 - phase(8) < T",
        t = 3 * wide,
        e = 24 * wide
    );
    let gate = "3*T*i0 + 24*i1 + i2 - 3*phase(8); 3, 0] if 0 <= 8*i1 + p0 - phase(8) < T";
    format!(
        r#"kernel "beside" {{
  b0 "x": [B, T, 3, {wide}] read
  b1 "row": [{wide}] read
  b2 "gate": [B, T, 3] read
  b3 "y": [B, T, 3, {wide}] update
  b4 "all": [B, 3, T/8, 8, {n}] write
  b5 "sum": [B, 3, T/8, 8] write
  b6 "most": [B, 3, T/8] write
  t0 "kept": [8, {n}]
  grid i0 < B, i1 < T/8, i2 < 3
  map [8, {n}] t0[0; {n}, 1] = b0[{token}
  map [8, {n}] {{
    l0 = t0[0; {n}, 1]
    l1 = b1[{from}; 0, 1]
    l2 = b2[{gate}
    e0 = l0
    b3[{token} = e0 * l1 + l2
    b4[{a}*(T/8)*i0 + {b}*(T/8)*i2 + {b}*i1; {n}, 1] = e0 * at(p1)
  }}
  map [8, {n}] b5[24*(T/8)*i0 + 8*(T/8)*i2 + 8*i1; 1] = sum over p1 of t0[0; {n}, 1]
  map [1, 8, {n}] b6[3*(T/8)*i0 + (T/8)*i2 + i1; 0] = max over p1, p2 of t0[0; 0, {n}, 1]
}}
"#,
        a = 24 * n,
        b = 8 * n
    )
}

/// Whether numbers are moved sixteen bytes at a time, in memory and in shared memory.
fn is_wide(text: &str) -> [bool; 2] {
    let kernel = kernel(text);
    let code = nestor_mlir::compile(std::slice::from_ref(&kernel), EXACT).expect("code");
    let wide = |what: &str| {
        let of = |line: &str| line.contains(".v4") && line.contains(what);
        code.ptx.lines().any(of)
    };
    let [loads, stores] = ["ld.global", "st.global"].map(wide);
    assert_eq!(loads, stores, "{}", code.ptx);
    [loads, wide("ld.shared")]
}

#[test]
fn lines_are_moved_sixteen_bytes_at_a_time() {
    // Of the last a part is taken whose lines are whole in the tile alone.
    for (wide, from, whole) in [
        (128, 0, [true, true]),
        (136, 4, [true, true]),
        (126, 0, [false, false]),
        (130, 2, [false, true]),
    ] {
        let text = text(wide, from);
        assert_eq!(is_wide(&text), whole, "{wide} from {from}");
        for start in [0, 5] {
            let sizes = Sizes { batch: 2, time: 21, start };
            let kernel = kernel(&text);
            let number =
                |b: usize, n: usize| ((n * 37 + b * 11) % 101) as f64 / 50.0 - 1.0;
            agree(&kernel, EXACT, 2e-5, &mut filled(&kernel, &sizes, number), &sizes);
        }
    }
}
