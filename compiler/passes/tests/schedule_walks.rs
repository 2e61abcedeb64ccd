//! Plans of walks against graphs: by tokens and by chunks, forwards and backwards, nested under a
//! mask, with products, solves, recurrences, rows by index and masks inside.

use crate::common::schedule::agree;

#[test]
fn by_tokens() {
    for reverse in ["", ", reverse=yes"] {
        agree(
            &r#"graph {
          %0 "x": [B, T, 3] = input
          %1 "g": [B, T] = input
          %2 "s": [B, 3, 3] = input
          %3 "w": [3, 3] = input
          %4: [B, 3, 3], %5: [B, T, 3], %6: [B, T] = scan{map=[B], time=T@}
              stream(m0 t .) %0
              stream(m0 t) %1
              initial(m0 . .) %2
              shared(. .) %3
              yield stream(m0 t .)
              yield step(m0 t) {
            %0 "x": [3] = input
            %1 "g": [] = input
            %2 "s": [3, 3] = input
            %3 "w": [3, 3] = input
            %4 "valid": bool[] = input
            %5 "position": [] = input
            %6: [3] = contract{batch=(), sum=(0:0)} %0, %2
            %7: [3] = contract{batch=(), sum=(0:1)} %6, %3
            %8: [3] = tanh %7
            %9: [3, 3] = contract{batch=(), sum=()} %0, %8
            %10: [] = sigmoid %1
            %11: [3, 3] = broadcast{axes=()} %10
            %12: [3, 3] = mul %2, %11
            %13: [3, 3] = add %12, %9
            %14: [3] = contract{batch=(), sum=(0:0)} %0, %13
            %15: [] = reduce{fold=sum, axes=(0)} %8
            %16: [] = add %15, %5
            output "next" %13
            output "y" %14
            output "z" %16
          }
          output "s" %4
          output "y" %5
          output "z" %6
        }"#
            .replace('@', reverse),
        );
    }
}

#[test]
fn states_that_change_places() {
    agree(
        r#"graph {
          %0 "x": [B, T, 3] = input
          %1 "a": [B, 3] = input
          %2 "b": [B, 3] = input
          %3 "c": [B, 3] = input
          %4: [B, 3], %5: [B, 3], %6: [B, 3], %7: [B, T, 3] = scan{map=[B], time=T}
              stream(m0 t .) %0
              initial(m0 .) %1
              initial(m0 .) %2
              initial(m0 .) %3
              yield stream(m0 t .) {
            %0 "x": [3] = input
            %1 "a": [3] = input
            %2 "b": [3] = input
            %3 "c": [3] = input
            %4 "valid": bool[] = input
            %5 "position": [] = input
            %6: [3] = add %1, %0
            output "a" %2
            output "b" %6
            output "c" %1
            output "y" %3
          }
          output "p" %4
          output "q" %5
          output "r" %6
          output "y" %7
        }"#,
    );
}

#[test]
fn by_chunks() {
    for reverse in ["", ", reverse=yes"] {
        agree(&r#"graph {
          %0 "k": [B, T, 2, 3] = input
          %1 "v": [B, T, 2, 5] = input
          %2 "g": [B, T, 2] = input
          %3 "s": [B, 2, 3, 5] = input
          %4: [B, 2, 3, 5], %5: [B, T, 2, 5], %6: [B, T/4, 2, 3, 5] = scan{map=[B, 2], time=T, chunk=4@}
              stream(m0 t m1 .) %0
              stream(m0 t m1 .) %1
              stream(m0 t m1) %2
              initial(m0 m1 . .) %3
              yield stream(m0 t m1 .)
              yield step(m0 t m1 . .) {
            %0 "k": [4, 3] = input
            %1 "v": [4, 5] = input
            %2 "g": [4] = input
            %3 "s": [3, 5] = input
            %4 "valid": bool[4] = input
            %5 "position": [4] = input
            %6: [4, 4] = contract{batch=(), sum=(1:1)} %0, %0
            %7: [4, 4] = iota{axis=0}
            %8: [4, 4] = iota{axis=1}
            %9: bool[4, 4] = less %8, %7
            %10: [4, 4] = constant{value=0}
            %11: [4, 4] = select %9, %6, %10
            %12: [4] = sigmoid %2
            %13: [4] = constant{value=0}
            %14: [4] = select %4, %12, %13
            %15: [4, 4] = broadcast{axes=(0)} %14
            %16: [4, 4] = mul %11, %15
            %17: [4, 5] = contract{batch=(), sum=(1:0)} %0, %3
            %18: [4, 5] = sub %1, %17
            %19: [4, 5] = solve_unit_lower %16, %18
            %20: [4, 5] = broadcast{axes=(0)} %14
            %21: [4, 5] = mul %19, %20
            %22: [3, 5] = contract{batch=(), sum=(0:0)} %0, %21
            %23: [3, 5] = add %3, %22
            %24: [4, 5] = contract{batch=(), sum=(1:0)} %6, %21
            %25: [4, 5] = broadcast{axes=(0)} %5
            %26: [4, 5] = add %24, %25
            output "next" %23
            output "y" %26
            output "z" %23
          }
          output "s" %4
          output "y" %5
          output "z" %6
        }"#
        .replace('@', reverse));
    }
}

#[test]
fn recurrences_in_chunks() {
    agree(
        r#"graph {
          %0 "g": [B, T] = input
          %1 "x": [B, T, 3] = input
          %2 "s": [B, 1, 3] = input
          %3: [B, 1, 3], %4: [B, T, 3] = scan{map=[B], time=T, chunk=4}
              stream(m0 t) %0
              stream(m0 t .) %1
              initial(m0 . .) %2
              yield stream(m0 t .) {
            %0 "g": [4] = input
            %1 "x": [4, 3] = input
            %2 "s": [1, 3] = input
            %3 "valid": bool[4] = input
            %4 "position": [4] = input
            %5: [4] = sigmoid %0
            %6: [4] = constant{value=1}
            %7: [4] = select %3, %5, %6
            %8: [4, 1, 1] = reshape %7
            %9: [4, 1, 3] = reshape %1
            %10: [4, 1, 3] = linear_scan %8, %9, %2
            %11: [4, 1, 3] = linear_scan{reverse=yes} %8, %9, %2
            %12: [1, 1, 3] = slice{axis=0, start=3, size=1} %10
            %13: [1, 3] = reshape %12
            %14: [4, 1, 3] = mul %10, %11
            %15: [4, 3] = reshape %14
            output "next" %13
            output "y" %15
          }
          output "s" %3
          output "y" %4
        }"#,
    );
}

#[test]
fn rows_by_index_in_walks() {
    agree(
        r#"graph {
          %0 "n": int[B, T, 2, 3] = input
          %1 "table": [4, 5] = input
          %2 "s": [B, 2, 3, 5] = input
          %3: [B, 2, 3, 5], %4: [B, T, 2, 3, 5] = scan{map=[B], time=T}
              stream(m0 t . .) %0
              shared(. .) %1
              initial(m0 . . .) %2
              yield stream(m0 t . . .) {
            %0 "n": int[2, 3] = input
            %1 "table": [4, 5] = input
            %2 "s": [2, 3, 5] = input
            %3 "valid": bool[] = input
            %4 "position": [] = input
            %5: [2, 3, 5] = gather %1, %0
            %6: [2, 3, 5] = add %2, %5
            output "next" %6
            output "y" %5
          }
          output "s" %3
          output "y" %4
        }"#,
    );
}

#[test]
fn windows_in_chunks() {
    agree(
        r#"graph {
          %0 "x": [B, T, 3] = input
          %1 "s": [B, 3] = input
          %2: [B, 3], %3: [B, T, 3] = scan{map=[B], time=T, chunk=4}
              stream(m0 t .) %0
              initial(m0 .) %1
              yield stream(m0 t .) {
            %0 "x": [4, 3] = input
            %1 "s": [3] = input
            %2 "valid": bool[4] = input
            %3 "position": [4] = input
            %4: [4, 2, 3] = window{axis=0, size=2} %0
            %5: [4, 3] = reduce{fold=sum, axes=(1)} %4
            %6: [4, 3] = shift{axis=0, by=-1} %5
            %7: [4, 3] = exp %6
            %8: [3] = reduce{fold=max, axes=(0)} %7
            %9: [3] = add %1, %8
            %10: [5, 3] = pad{axis=0, before=1, after=0} %6
            %11: [4, 3] = slice{axis=0, start=0, size=4} %10
            %12: [4, 3] = broadcast{axes=(1)} %1
            %13: [4, 3] = mul %11, %12
            output "next" %9
            output "y" %13
          }
          output "s" %2
          output "y" %3
        }"#,
    );
}

/// A walk by tokens within a chunk, its rows that are no tokens skipped.
#[test]
fn walks_within_walks() {
    agree(
        r#"graph {
          %0 "x": [B, T, 3] = input
          %1 "s": [B, 3] = input
          %2: [B, 3], %3: [B, T, 3] = scan{map=[B], time=T, chunk=4}
              stream(m0 t .) %0
              initial(m0 .) %1
              yield stream(m0 t .) {
            %0 "x": [4, 3] = input
            %1 "s": [3] = input
            %2 "valid": bool[4] = input
            %3 "position": [4] = input
            %4: [4, 3] = exp %0
            %5: [3], %6: [4, 3] = scan{map=[], time=4}
                stream(t .) %4
                initial(.) %1
                mask(t) %2
                yield stream(t .) {
              %0 "x": [3] = input
              %1 "s": [3] = input
              %2 "valid": bool[] = input
              %3 "position": [] = input
              %4: [3] = mul %0, %1
              %5: [3] = tanh %4
              %6: [3] = add %5, %1
              output "next" %6
              output "y" %5
            }
            output "next" %5
            output "y" %6
          }
          output "s" %2
          output "y" %3
        }"#,
    );
}

/// A mask that is also read as a number, before the walk that it masks.
#[test]
fn masks_that_are_read() {
    agree(
        r#"graph {
          %0 "x": [B, T, 3] = input
          %1 "s": [B, 3] = input
          %2: [B, 3], %3: [B, T, 3] = scan{map=[B], time=T, chunk=4}
              stream(m0 t .) %0
              initial(m0 .) %1
              yield stream(m0 t .) {
            %0 "x": [4, 3] = input
            %1 "s": [3] = input
            %2 "valid": bool[4] = input
            %3 "position": [4] = input
            %4: [4] = real %2
            %5: [] = reduce{fold=sum, axes=(0)} %4
            %6: bool[4, 3] = broadcast{axes=(0)} %2
            %7: [4, 3] = constant{value=2}
            %8: [4, 3] = select %6, %0, %7
            %9: bool[4] = not %2
            %10: [4] = real %9
            %11: [4, 3] = contract{batch=(), sum=()} %10, %1
            %12: [4, 3] = add %8, %11
            %13: [3], %14: [4, 3] = scan{map=[], time=4}
                stream(t .) %12
                initial(.) %1
                mask(t) %2
                yield stream(t .) {
              %0 "x": [3] = input
              %1 "s": [3] = input
              %2 "valid": bool[] = input
              %3 "position": [] = input
              %4: [3] = mul %0, %1
              %5: [3] = add %4, %1
              output "next" %5
              output "y" %4
            }
            %15: [3] = broadcast{axes=()} %5
            %16: [3] = mul %13, %15
            output "next" %16
            output "y" %14
          }
          output "s" %2
          output "y" %3
        }"#,
    );
}

#[test]
fn a_mask_that_is_carried() {
    agree(
        r#"graph {
          %0 "x": [B, T, 3] = input
          %1 "s": [B, 3] = input
          %2 "m": bool[B, 4] = input
          %3: [B, 3], %4: bool[B, 4], %5: [B, T, 3] = scan{map=[B], time=T, chunk=4}
              stream(m0 t .) %0
              initial(m0 .) %1
              initial(m0 .) %2
              yield stream(m0 t .) {
            %0 "x": [4, 3] = input
            %1 "s": [3] = input
            %2 "m": bool[4] = input
            %3 "valid": bool[4] = input
            %4 "position": [4] = input
            %5: bool[4] = and %2, %3
            %6: bool[4, 3] = broadcast{axes=(0)} %5
            %7: [4, 3] = constant{value=0}
            %8: [4, 3] = select %6, %0, %7
            %9: [3] = reduce{fold=sum, axes=(0)} %8
            %10: [3] = add %1, %9
            output "next" %10
            output "mask" %3
            output "y" %8
          }
          output "s" %3
          output "m" %4
          output "y" %5
        }"#,
    );
}

/// A mask that is also walked: it is stored, and masks all the same.
#[test]
fn a_mask_that_is_stored() {
    agree(
        r#"graph {
          %0 "x": [B, T, 3] = input
          %1 "s": [B, 3] = input
          %2: [B, 3], %3: [B, T, 3] = scan{map=[B], time=T, chunk=4}
              stream(m0 t .) %0
              initial(m0 .) %1
              yield stream(m0 t .) {
            %0 "x": [4, 3] = input
            %1 "s": [3] = input
            %2 "valid": bool[4] = input
            %3 "position": [4] = input
            %4: [3], %5: [4, 3] = scan{map=[], time=4}
                stream(t .) %0
                stream(t) %2
                initial(.) %1
                mask(t) %2
                yield stream(t .) {
              %0 "x": [3] = input
              %1 "m": bool[] = input
              %2 "s": [3] = input
              %3 "valid": bool[] = input
              %4 "position": [] = input
              %5: [] = real %1
              %6: [3] = broadcast{axes=()} %5
              %7: [3] = add %6, %0
              %8: [3] = mul %7, %2
              output "next" %8
              output "y" %7
            }
            output "next" %4
            output "y" %5
          }
          output "s" %2
          output "y" %3
        }"#,
    );
}

/// Chunks whose states and streams are read in several orders and by several products.
#[test]
fn products_in_chunks() {
    agree(
        r#"graph {
          %0 "q": [B, T, 3] = input
          %1 "k": [B, T, 3] = input
          %2 "s": [B, 3, 3] = input
          %3 "w": [3, 3] = input
          %4: [B, 3, 3], %5: [B, T, 3], %6: [B, T/4, 3, 3] = scan{map=[B], time=T, chunk=4}
              stream(m0 t .) %0
              stream(m0 t .) %1
              initial(m0 . .) %2
              shared(. .) %3
              yield stream(m0 t .)
              yield step(m0 t . .) {
            %0 "q": [4, 3] = input
            %1 "k": [4, 3] = input
            %2 "s": [3, 3] = input
            %3 "w": [3, 3] = input
            %4 "valid": bool[4] = input
            %5 "position": [4] = input
            %6: [4, 3] = contract{batch=(), sum=(1:0)} %0, %3
            %7: [4, 3] = contract{batch=(), sum=(1:1)} %1, %2
            %8: [4, 4] = contract{batch=(), sum=(1:1)} %6, %7
            %9: [4, 3] = contract{batch=(), sum=(0:0)} %8, %6
            %10: [3, 3] = contract{batch=(), sum=(0:0)} %9, %1
            %11: [3, 3] = transpose{order=(1, 0)} %10
            %12: [3, 3] = sub %2, %11
            %13: [3, 3] = contract{batch=(), sum=(0:0)} %0, %7
            %14: [3, 3] = add %12, %13
            %15: [4] = contract{batch=(0:0), sum=(1:1)} %6, %7
            %16: [4, 3] = broadcast{axes=(0)} %15
            %17: [4, 3] = mul %9, %16
            output "next" %14
            output "y" %17
            output "z" %10
          }
          output "s" %4
          output "y" %5
          output "z" %6
        }"#,
    );
}

/// A state that no step reads is what the last token left, wherever in its chunk that was.
#[test]
fn a_state_that_nothing_reads_ends_with_the_last_token() {
    for order in ["", ", reverse=yes"] {
        let text = r#"graph {
          %0 "x": [B, T, 3] = input
          %1 "s": [B, 3] = input
          %2: [B, 3] = scan{map=[B], time=T, chunk=4@0}
              stream(m0 t .) %0
              initial(m0 .) %1 {
            %0 "x0": [4, 3] = input
            %1 "x1": [3] = input
            %2 "valid": bool[4] = input
            %3 "position": [4] = input
            %4: [3] = scan{map=[], time=4@0}
                stream(t .) %0
                initial(.) %1
                mask(t) %2 {
              %0 "x0": [3] = input
              %1 "x1": [3] = input
              %2 "valid": bool[] = input
              %3 "position": [] = input
              %4: [3] = mul %0, %0
              output "past" %4
            }
            output "s" %4
          }
          output "past" %2
        }"#;
        agree(&text.replace("@0", order));
    }
}
