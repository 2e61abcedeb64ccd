//! Plans against graphs: every group of ops, scheduled as kernels and launches and interpreted one
//! element at a time, gives what the graph gives, for sizes that divide nothing and calls that
//! start within a chunk.

use crate::common::schedule::agree;

#[test]
fn maps_of_every_kind() {
    agree(
        r#"graph {
          %0 "x": [B, T, 3] = input
          %1 "y": [B, T, 3] = input
          %2 "n": int[B, T] = input
          %3: [B, T] = real %2
          %4: [B, T, 3] = broadcast{axes=(0, 1)} %3
          %5: [B, T, 3] = mul %0, %4
          %6: [B, T, 3] = sigmoid %5
          %7: bool[B, T, 3] = less %6, %1
          %8: [B, T, 3] = exp %0
          %9: [B, T, 3] = select %7, %8, %6
          %10: [B, T, 3] = rem %9, %8
          %11: [B, T, 3] = softplus %10
          output "a" %9
          output "b" %11
          output "c" %7
          output "d" %2
        }"#,
    );
}

#[test]
fn positions_and_counts() {
    agree(
        r#"graph {
          %0 "x": [B, T, 3] = input
          %1: [B, T, 3] = iota{axis=1}
          %2: [T] = position
          %3: [B, T, 3] = broadcast{axes=(1)} %2
          %4: [B, T, 3] = mul %0, %1
          %5: [B, T, 3] = sub %4, %3
          output "y" %5
          output "z" %2
        }"#,
    );
}

#[test]
fn folds_over_any_axes() {
    agree(
        r#"graph {
          %0 "x": [B, T, 3, 5] = input
          %1: [B, T, 3] = reduce{fold=sum, axes=(3)} %0
          %2: [T, 5] = reduce{fold=max, axes=(0, 2)} %0
          %3: [] = reduce{fold=sum, axes=(0, 1, 2, 3)} %0
          %4: [B, 5] = reduce{fold=min, axes=(1, 2)} %0
          %5: [B, T, 3, 5] = mul %0, %0
          %6: [B, 3] = reduce{fold=sum, axes=(1, 3)} %5
          %7: [B, T, 3, 5] = broadcast{axes=(0, 1, 2)} %1
          %8: [B, T, 3, 5] = div %5, %7
          %9: [3] = reduce{fold=sum, axes=(0, 1, 3)} %8
          output "a" %1
          output "b" %2
          output "c" %3
          output "d" %4
          output "e" %6
          output "f" %9
        }"#,
    );
}

#[test]
fn products_in_every_layout() {
    agree(
        r#"graph {
          %0 "x": [B, T, 3] = input
          %1 "w": [3, 5] = input
          %2 "v": [5, 3] = input
          %3: [B, T, 5] = contract{batch=(), sum=(2:0)} %0, %1
          %4: [B, T, 5] = contract{batch=(), sum=(2:1)} %0, %2
          %5: [B, T, T] = contract{batch=(0:0), sum=(2:2)} %3, %4
          %6: [3, 5] = contract{batch=(), sum=(0:0, 1:1)} %0, %3
          %7: [B, T, 3, 5] = contract{batch=(0:0, 1:1), sum=()} %0, %3
          %8: [B, 3, 5] = contract{batch=(0:0), sum=(1:1)} %0, %4
          %9: [] = contract{batch=(), sum=(0:0, 1:1, 2:2)} %3, %4
          output "a" %5
          output "b" %6
          output "c" %7
          output "d" %8
          output "e" %9
        }"#,
    );
}

#[test]
fn sums_of_products() {
    agree(
        r#"graph {
          %0 "x": [B, T, 3] = input
          %1 "w": [3, 5] = input
          %2 "v": [3, 5] = input
          %3 "b": [5] = input
          %4: [B, T, 5] = contract{batch=(), sum=(2:0)} %0, %1
          %5: [B, T, 5] = contract{batch=(), sum=(2:0)} %0, %2
          %6: [B, T, 5] = broadcast{axes=(2)} %3
          %7: [B, T, 5] = add %4, %5
          %8: [B, T, 5] = sub %6, %7
          %9: [B, T, 5] = neg %4
          %10: [B, T, 5] = add %9, %8
          output "y" %8
          output "z" %10
        }"#,
    );
}

#[test]
fn shifts_windows_pads_and_parts() {
    agree(
        r#"graph {
          %0 "x": [B, T, 3] = input
          %1: [B, T, 3] = shift{axis=1, by=2} %0
          %2: [B, T, 3] = shift{axis=1, by=-1} %0
          %3: [B, T, 4, 3] = window{axis=1, size=4} %0
          %4: [B, T, 3] = reduce{fold=sum, axes=(2)} %3
          %5: [B, T, 6] = pad{axis=2, before=1, after=2} %0
          %6: [B, T, 2] = slice{axis=2, start=1, size=2} %0
          %7: [B, T, 8] = concat{axis=2} %5, %6
          %8: [B, T, 3] = add %1, %2
          %9: [B, T, 8] = exp %7
          %10: [B, 3, T] = transpose{order=(0, 2, 1)} %8
          %11: [B, T, 12] = reshape %3
          %12: [B, T, 4, 3] = exp %3
          %13: [B, T, 4] = reduce{fold=max, axes=(3)} %12
          output "a" %8
          output "b" %4
          output "c" %9
          output "d" %7
          output "e" %10
          output "f" %11
          output "g" %13
        }"#,
    );
}

/// A product of what is stored is computed where a shift or a pad looks at it, not stored first.
#[test]
fn what_is_moved_is_computed_where_it_is_wanted() {
    agree(
        r#"graph {
          %0 "x": [B, T, 3] = input
          %1 "w": [4, 3] = input
          %2: [1, 3] = slice{axis=0, start=2, size=1} %1
          %3: [3] = reduce{fold=sum, axes=(0)} %2
          %4: [B, T, 3] = broadcast{axes=(2)} %3
          %5: [B, T, 3] = mul %0, %4
          %6: [B, T, 3] = shift{axis=1, by=-2} %5
          %7: [B, T, 3] = mul %0, %0
          %8: [B, T, 3] = sub %7, %0
          %9: [B, T, 3] = shift{axis=1, by=1} %8
          %10: [B, T, 3] = exp %0
          %11: [B, T, 3] = mul %10, %0
          %12: [B, T, 3] = shift{axis=2, by=1} %11
          %13: [B, T, 3] = exp %0
          %14: [B, T, 3] = shift{axis=1, by=1} %13
          %15: [3, B, T] = contract{batch=(0:2), sum=()} %3, %0
          %16: [B, T, 3] = transpose{order=(1, 2, 0)} %15
          %17: [B, T, 7] = pad{axis=2, before=3, after=1} %16
          %18: [B, T, 3] = add %6, %9
          %19: [B, T, 3] = add %12, %14
          %20: [B, T, 3] = mul %18, %19
          output "y" %20
          output "z" %17
        }"#,
    );
}

#[test]
fn moves_of_moves() {
    agree(
        r#"graph {
          %0 "x": [B, T, 3] = input
          %1: [B, T, 3] = exp %0
          %2: [B, T, 3] = shift{axis=1, by=1} %1
          %3: [B, T, 5] = pad{axis=2, before=1, after=1} %2
          %4: [B, T, 5] = shift{axis=1, by=-2} %3
          %5: [B, T, 2, 5] = window{axis=1, size=2} %4
          %6: [B, T, 2, 5] = exp %5
          output "y" %4
          output "z" %6
        }"#,
    );
}

#[test]
fn rows_of_tables() {
    agree(
        r#"graph {
          %0 "tokens": int[B, T] = input
          %1 "table": [4, 3] = input
          %2 "x": [B, T, 3] = input
          %3: [B, T, 3] = gather %1, %0
          %4: [B, T, 3] = mul %3, %2
          %5: [4, 3] = scatter_add{rows=4} %4, %0
          %6: [3, 3] = scatter_add{rows=3} %2, %0
          output "y" %3
          output "z" %5
          output "w" %6
        }"#,
    );
}

#[test]
fn triangular_systems() {
    agree(
        r#"graph {
          %0 "l": [B, 5, 5] = input
          %1 "x": [B, 5, 3] = input
          %2: [B, 5, 3] = solve_unit_lower %0, %1
          %3: [B, 5, 3] = solve_unit_lower{transpose=yes} %0, %1
          %4: [B, 5, 3] = mul %2, %3
          output "y" %4
          output "z" %2
        }"#,
    );
}

#[test]
fn linear_scans() {
    agree(
        r#"graph {
          %0 "a": [B, 5, 2, 2] = input
          %1 "b": [B, 5, 2, 3] = input
          %2 "s": [B, 2, 3] = input
          %3: [B, 5, 2, 3] = linear_scan %0, %1, %2
          %4: [B, 5, 2, 3] = linear_scan{reverse=yes} %0, %1, %2
          %5: [B, 5, 2, 3] = add %3, %4
          output "y" %5
        }"#,
    );
}
