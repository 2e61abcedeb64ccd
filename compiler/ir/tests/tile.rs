//! Tile kernels as text: what reads back as itself, what is refused and why, and what the
//! interpreter makes of them.

use nestor_ir::artifact::Precision;
use nestor_ir::dim::Sizes;
use nestor_ir::interpret::tile::run;
use nestor_ir::tile::text::parse;
use nestor_ir::tile::verify::verify;

const SIZES: Sizes = Sizes { batch: 2, time: 3, start: 5 };

/// Every statement, every kind of quantity and every operator.
const ALL: &str = r#"kernel "all" {
  b0 "x \"y\"": [B, T, 2] read
  b1 "n": int[B, T] read
  b2 "table": [4, 2] update
  b3 "out": [B, T, 2] write
  t0 "a": [2, 2]
  t1 "b": [2, 2]
  t2 "c": [2, 1, 1]
  t3 "d": [2, 1, 2]
  t4 "e": [1, 2]
  t5 "f": [2, 1, 2]
  t6 "g": [4]
  indices 9
  grid i0 < 1, i1 < 1
  map [2, 2] t0[0; 2, 1] = at(p0) + 0.5 * at(p1 + 2*i1)
  map [2, 2] t1[0; 2, 1] = 1
  map [2] t2[0; 1] = 0.5
  map [2, 2] t3[0; 2, 1] = -inf
  map [2] t4[0; 1] = 1e-6
  linear_scan [2, 1, 2] t5 = t2 * last + t3 from t4 reverse
  solve [2, 2] t1 by t0 transposed
  eliminate [2, 2] t1 by t0
  inverse_root [2] t1 of 4 in t0
  product [2, 2, 2] t1[0; 2, 1] += -0.5 * t0[0; 1, 2] @ t0[0; 2, 1], left lower
  loop i2 < B reverse {
    gather [T, 2] b3[2*T*i2; 2, 1] = b2(4) at b1[T*i2; 1]
    loop i3 < T/4 {
      when 0 <= 4*i3 - phase(4) < T {
        map [4, 2] {
          l0 = b0[2*T*i2 + 8*i3 - 2*phase(4); 2, 1] if 0 <= 4*i3 + p0 - phase(4) < T and 0 <= p1 < 2 pad -1
          l1 = b1[T*i2 + 4*i3 - phase(4); 1, 0] if 0 <= 4*i3 + p0 - phase(4) < T
          o0 = 0
          o1 = 3*i3 + start
          e0 = at(p0 + o1)
          e10 = l1 == int(3) or e0 < at(p1 + o1) and l0 <= 2
          e23 = select(e10, max(l0 - (1 - l0) * 2, neg(l0)), real(l1))
          b3[2*T*i2 + 8*i3 - 2*phase(4); 2, 1] if 0 <= 4*i3 + p0 - phase(4) < T = e23 / (e23 * 2)
          t4[0; 1] += max over p1 of e23
        }
      }
    }
    loop i4 < T:3 {
      when 0 <= 2*i4 - ticks(3)*phase(2) < ticks(3)*T {
        map [4] t6[0; 1] = at(p0 + i4 + ticks(3)*start)
      }
    }
    loop i5 < T/2:3 {
      map [4] t6[0; 1] = at(p0 + i5 - ticks(3)*(P+T))
    }
    scatter_add [T, 2] b2(4) at b1[T*i2; 1] += b3[2*T*i2; 2, 1]
  }
}
"#;

fn without_people(text: &str) -> String {
    let lines = text.lines().map(|l| l.split("  //").next().unwrap_or(l));
    lines.map(|l| l.to_owned() + "\n").collect()
}

#[test]
fn text_reads_back_as_itself() {
    let kernel = parse(ALL).unwrap_or_else(|e| panic!("{e}"));
    let printed = kernel.to_string();
    let again = parse(&printed).unwrap_or_else(|e| panic!("{e}\n{printed}"));
    assert!(kernel == again, "{kernel}, not {again}");
    assert_eq!(again.to_string(), printed);
    // Simple lines come out as they went in.
    for line in
        ["solve [2, 2] t1 by t0 transposed", "loop i3 < T/4 {", "grid i0 < 1, i1 < 1"]
    {
        assert!(without_people(&printed).contains(line), "{line} in\n{printed}");
    }
}

#[test]
fn errors_say_line_expectation_and_finding() {
    let cases = [
        ("loop i3 < T/4 {", "loop i3 T/4 {", "line 25: `<` expected, not `T`"),
        ("= 0.5\n", "= e7\n", "line 17: there is no scalar e7 yet"),
        ("solve [2, 2]", "solve [2]", "line 20: 2 counts expected"),
        ("update", "upset", "line 4: `read`, `write` or `update` expected, not `upset`"),
        (
            "left lower",
            "left over",
            "line 24: the shape of a product expected, not `left over`",
        ),
    ];
    for (from, to, expected) in cases {
        let error = parse(&ALL.replacen(from, to, 1)).expect_err("is no kernel");
        let line = error.to_string();
        let why = expected.split_once(": ").map_or("", |(_, why)| why);
        assert!(line.contains(why), "{line}, not {expected}");
    }
}

#[test]
fn what_is_wrong_is_refused() {
    let kernel = r#"kernel "k" {
      b0 "x": [B, T, 2] read
      b1 "y": [B, T, 2] write
      b2 "n": int[B] read
      t0 "a": [2, 2]
      t1 "b": [2, 2]
      grid i0 < B
      map [T, 2] b1[2*T*i0; 2, 1] = b0[2*T*i0; 2, 1] + 1
      map [2, 2] t0[0; 2, 1] = 0
      map [2, 2] t1[0; 2, 1] = 0
      solve [2, 2] t1 by t0
      product [2, 2, 2] t1[0; 2, 1] = t0[0; 2, 1] @ t0[0; 1, 2]
    }"#;
    verify(&parse(kernel).expect("a kernel")).expect("is right");
    let cases = [
        (
            "b1[2*T*i0; 2, 1] =",
            "b0[2*T*i0; 2, 1] =",
            "b0 is written, but declared as only read",
        ),
        (
            "b0[2*T*i0; 2, 1] +",
            "b1[2*T*i0; 2, 1] +",
            "b1 is read, but declared as only written",
        ),
        ("= b0[2*T*i0; 2, 1]", "= b0[2*T*i0; 3, 1]", "reaches elements"),
        ("= b0[2*T*i0; 2, 1]", "= b0[2*T*i0 - 1; 2, 1]", "reaches elements"),
        ("= b0[2*T*i0; 2, 1]", "= b0[2*T*i1; 2, 1]", "is not in scope"),
        ("= b0[2*T*i0; 2, 1]", "= b0[2*T*i0; 2]", "has not the rank"),
        ("b0[2*T*i0; 2, 1] + 1", "b2[i0; 0, 0] + 1", "takes Real"),
        ("b0[2*T*i0; 2, 1] + 1", "b2[i0; 0, 0]", "is stored in b1"),
        ("solve [2, 2] t1 by t0", "solve [2, 3] t1 by t0", "is not 6 reals"),
        ("solve [2, 2] t1 by t0", "solve [2, 2] t1 by t1", "solves itself"),
        ("= t0[0; 2, 1] @", "= t1[0; 2, 1] @", "is overwritten and read"),
        ("@ t0[0; 1, 2]", "@ t0[0; 3, 2]", "reaches elements"),
    ];
    for (from, to, expected) in cases {
        let text = kernel.replacen(from, to, 1);
        let found = parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let why = verify(&found).expect_err(&text);
        assert!(why.contains(expected), "{why}, not {expected}");
    }
}

/// Runs a kernel of the buffers x, y: [4] and gives what is wrong with it.
fn complaint(body: &str) -> Option<String> {
    let text = format!(
        "kernel \"k\" {{ b0 \"x\": [4] update b1 \"y\": [4] update t0 \"a\": [4] {body} }}"
    );
    let kernel = parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let mut buffers = vec![vec![1.0, 2.0, 3.0, 4.0], vec![0.0; 4]];
    run(&kernel, &mut buffers, &SIZES, Precision::F64).err().map(|e| e.what)
}

#[test]
fn the_interpreter_is_strict() {
    assert_eq!(complaint("map [4] b1[0; 1] = b0[0; 1]"), None);
    let cases = [
        ("map [4] b1[0; 1] = b0[1; 1]", "b0[4] is outside its 4 elements"),
        ("grid i0 < 2 map [4] b1[0; 1] = b0[0; 1]", "another point"),
        ("grid i0 < 4 map [] b1[i0] = b1[0]", "another point"),
        ("map [3] b0[1; 1] = b0[0; 1]", "that another of its points stores"),
        ("map [4] b1[0; 0] = b0[0; 1]", "a map stores b1[0] twice"),
    ];
    for (body, expected) in cases {
        let found = complaint(body).unwrap_or_default();
        assert!(found.contains(expected), "{body}: {found}, not {expected}");
    }
}

#[test]
fn scratch_begins_as_nothing_and_results_are_rounded() {
    let text = r#"kernel "k" {
      b0 "x": [2] read
      b1 "y": [2] write
      t0 "a": [1]
      grid i0 < 2
      when 0 <= i0 < 1 { map [] t0[0] = 1 }
      map [] b1[i0] = t0[0] + b0[i0] / 3
    }"#;
    let kernel = parse(text).expect("a kernel");
    let mut buffers = vec![vec![1.0, 1.0], vec![0.0; 2]];
    run(&kernel, &mut buffers, &SIZES, Precision::F32).expect("runs");
    assert_eq!(buffers[1][0], f64::from(1f32 + 1f32 / 3f32));
    assert!(buffers[1][1].is_nan(), "what another point left in scratch is not seen");
}
