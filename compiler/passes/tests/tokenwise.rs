//! What is done to every token alone, in one pass: the same numbers, in fewer kernels.

use crate::common::schedule::{agree, planned};
use nestor_ir::plan::{Launch, Plan};

/// Launches of kernels.
fn kernels(text: &str) -> usize {
    agree(text);
    let (plan, _): (Plan, _) = planned(text);
    plan.launches.iter().filter(|l| matches!(l, Launch::Kernel { .. })).count()
}

/// A norm of heads, with a gain, beside a stream: one kernel, whose halves are of different shapes.
#[test]
fn norm_of_heads() {
    let found = kernels(
        r#"graph {
          %0 "x": [B, T, 2, 3] = input
          %1 "gain": [3] = input
          %2 "gate": [B, T, 6] = input
          %3: [B, T, 2, 3] = mul %0, %0
          %4: [B, T, 2] = reduce{fold=sum, axes=(3)} %3
          %5: [B, T, 2] = constant{value=0.5}
          %6: [B, T, 2] = add %4, %5
          %7: [B, T, 2] = sqrt %6
          %8: [B, T, 2, 3] = broadcast{dims=[B, T, 2, 3], axes=(0, 1, 2)} %7
          %9: [B, T, 2, 3] = div %0, %8
          %10: [B, T, 2, 3] = broadcast{dims=[B, T, 2, 3], axes=(3)} %1
          %11: [B, T, 2, 3] = mul %9, %10
          %12: [B, T, 6] = reshape{dims=[B, T, 6]} %11
          %13: [B, T, 6] = sigmoid %2
          %14: [B, T, 6] = mul %12, %13
          output "y" %14
        }"#,
    );
    assert_eq!(found, 1);
}

/// A softmax that is asked for whole, with its logarithm's sum and a constant that counts classes.
#[test]
fn softmax() {
    let found = kernels(
        r#"graph {
          %0 "x": [B, T, 7] = input
          %1 "scale": [] = input
          %2: [B, T] = reduce{fold=max, axes=(2)} %0
          %3: [B, T, 7] = broadcast{dims=[B, T, 7], axes=(0, 1)} %2
          %4: [B, T, 7] = sub %0, %3
          %5: [B, T, 7] = exp %4
          %6: [B, T] = reduce{fold=sum, axes=(2)} %5
          %7: [B, T, 7] = broadcast{dims=[B, T, 7], axes=(0, 1)} %6
          %8: [B, T, 7] = div %5, %7
          %9: [B, T, 7] = iota{axis=2, dims=[B, T, 7]}
          %10: [B, T, 7] = mul %8, %9
          %11: [B, T] = log %6
          %12: [B, T] = broadcast{dims=[B, T], axes=()} %1
          %13: [B, T] = mul %11, %12
          output "p" %8
          output "classes" %10
          output "sum" %13
        }"#,
    );
    assert_eq!(found, 1);
}

/// Neighbours are not found in a chunk of tokens, nor positions in a sequence: what is moved over tokens, or counts them, is fed.
#[test]
fn neighbours_stay_outside() {
    kernels(
        r#"graph {
          %0 "x": [B, T, 5] = input
          %1: [B, T, 5] = shift{axis=1, by=1} %0
          %2: [B, T, 5] = mul %0, %1
          %3: [B, T] = reduce{fold=sum, axes=(2)} %2
          %4: [B, T] = exp %3
          %5: [B, T, 5] = broadcast{dims=[B, T, 5], axes=(0, 1)} %4
          %6: [B, T, 5] = mul %2, %5
          %7: [B, T, 5] = iota{axis=1, dims=[B, T, 5]}
          %8: [B, T, 5] = add %6, %7
          %9: [B, T, 5] = shift{axis=1, by=-2} %8
          %10: [B, T] = reduce{fold=max, axes=(2)} %9
          %11: [B, T, 5] = broadcast{dims=[B, T, 5], axes=(0, 1)} %10
          %12: [B, T, 5] = sub %9, %11
          output "y" %12
        }"#,
    );
}

/// Two norms with a product between them, whose input the second takes, too: none of the two waits for itself.
#[test]
fn residuals_around_a_product() {
    let found = kernels(
        r#"graph {
          %0 "x": [B, T, 4] = input
          %1 "w": [4, 4] = input
          %2: [B, T, 4] = mul %0, %0
          %3: [B, T] = reduce{fold=sum, axes=(2)} %2
          %4: [B, T, 4] = broadcast{dims=[B, T, 4], axes=(0, 1)} %3
          %5: [B, T, 4] = constant{value=1}
          %6: [B, T, 4] = add %4, %5
          %7: [B, T, 4] = div %0, %6
          %8: [B, T, 4] = contract{batch=(), sum=(2:0)} %7, %1
          %9: [B, T, 4] = add %7, %8
          %10: [B, T, 4] = mul %9, %9
          %11: [B, T] = reduce{fold=sum, axes=(2)} %10
          %12: [B, T, 4] = broadcast{dims=[B, T, 4], axes=(0, 1)} %11
          %13: [B, T, 4] = add %12, %5
          %14: [B, T, 4] = div %9, %13
          %15: [4] = reduce{fold=sum, axes=(0, 1)} %14
          output "y" %14
          output "sum" %15
        }"#,
    );
    // Two walks, and a sum over tokens and one over sequences.
    assert_eq!(found, 4);
}

/// A weight's gradient is summed where what it sums is made: of each chunk its share is stored.
#[test]
fn sums_over_tokens_come_with_what_they_sum() {
    let text = r#"graph {
      %0 "x": [B, T, 300] = input
      %1 "dy": [B, T, 300] = input
      %2: [B, T, 300] = mul %0, %0
      %3: [B, T] = reduce{fold=sum, axes=(2)} %2
      %4: [B, T] = sqrt %3
      %5: [B, T, 300] = broadcast{dims=[B, T, 300], axes=(0, 1)} %4
      %6: [B, T, 300] = div %0, %5
      %7: [B, T, 300] = exp %6
      %8: [B, T, 300] = cos %0
      %9: [B, T, 300] = add %8, %1
      %10: [300] = reduce{fold=sum, axes=(0, 1)} %9
      output "y" %7
      output "sum" %10
    }"#;
    // The walk, a sum of its shares, and one over sequences.
    assert_eq!(kernels(text), 3);
    let (_, kernels) = planned(text);
    let walk = kernels.iter().find(|k| k.name.starts_with("walk")).expect("a walk");
    // x, dy, y and the shares, not what they are sums of: rows that are no tokens, whose cosine is one, are left out.
    let large = walk.buffers.values().filter(|b| b.dims.len() > 2);
    assert_eq!(large.count(), 4, "{walk}");
}

/// Of a norm that others follow, what only one that comes later takes is computed there, with what it is taken with.
#[test]
fn what_only_the_way_back_takes_is_computed_there() {
    let found = kernels(
        r#"graph {
          %0 "x": [B, T, 8] = input
          %1 "w": [8, 8] = input
          %2: [B, T, 8] = mul %0, %0
          %3: [B, T] = reduce{fold=sum, axes=(2)} %2
          %4: [B, T] = exp %3
          %5: [B, T, 8] = broadcast{dims=[B, T, 8], axes=(0, 1)} %4
          %6: [B, T, 8] = mul %0, %5
          %7: [B, T, 8] = contract{batch=(), sum=(2:0)} %6, %1
          %8: [B, T, 8] = sigmoid %0
          %9: [B, T, 8] = mul %8, %7
          %10: [B, T, 8] = mul %9, %9
          %11: [B, T] = reduce{fold=sum, axes=(2)} %10
          %12: [B, T, 8] = broadcast{dims=[B, T, 8], axes=(0, 1)} %11
          %13: [B, T, 8] = sub %7, %12
          %14: [B, T, 8] = mul %13, %8
          output "y" %14
        }"#,
    );
    assert_eq!(found, 2);
}

/// What goes to two products is made of the same numbers in one pass, though neither is made of the other.
#[test]
fn whoever_reads_the_same_numbers_goes_together() {
    let found = kernels(
        r#"graph {
          %0 "gate": [B, T, 8] = input
          %1 "up": [B, T, 8] = input
          %2 "dy": [B, T, 8] = input
          %3 "w": [8, 8] = input
          %4: [B, T, 8] = sigmoid %0
          %5: [B, T, 8] = mul %4, %2
          %6: [B, T, 8] = tanh %1
          %7: [B, T, 8] = mul %6, %2
          %8: [B, T, 8] = contract{batch=(), sum=(2:0)} %5, %3
          %9: [B, T, 8] = contract{batch=(), sum=(2:0)} %7, %3
          output "a" %8
          output "b" %9
        }"#,
    );
    assert_eq!(found, 1);
}

/// A short convolution, its gate and the norm of heads behind it are one kernel, whose chunks read neighbours from memory; what
/// came of it goes back by one kernel to where a second, of later neighbours, finds it.
#[test]
fn short_convolutions() {
    let found = kernels(
        r#"graph {
          %0 "x": [B, T, 320] = input
          %1 "taps": [3, 320] = input
          %2 "dy": [B, T, 2, 160] = input
          %3: [B, T, 3, 320] = window{axis=1, size=3} %0
          %4: [320, B, T] = contract{batch=(1:3), sum=(0:2)} %1, %3
          %5: [B, T, 320] = transpose{order=(1, 2, 0)} %4
          %6: [B, T, 320] = sigmoid %5
          %7: [B, T, 320] = mul %5, %6
          %8: [B, T, 2, 160] = reshape{dims=[B, T, 2, 160]} %7
          %9: [B, T, 2, 160] = mul %8, %8
          %10: [B, T, 2] = reduce{fold=sum, axes=(3)} %9
          %11: [B, T, 2, 160] = broadcast{dims=[B, T, 2, 160], axes=(0, 1, 2)} %10
          %12: [B, T, 2, 160] = sub %8, %11
          output "y" %12
        }"#,
    );
    assert_eq!(found, 1);
    let found = kernels(
        r#"graph {
          %0 "dy": [B, T, 320] = input
          %1 "taps": [2, 320] = input
          %2: [B, T] = reduce{fold=sum, axes=(2)} %0
          %3: [B, T, 320] = broadcast{dims=[B, T, 320], axes=(0, 1)} %2
          %4: [B, T, 320] = sub %0, %3
          %5: [1, 320] = slice{axis=0, start=0, size=1} %1
          %6: [320, 1, B, T] = contract{batch=(1:2), sum=()} %5, %4
          %7: [B, T, 1, 320] = transpose{order=(2, 3, 1, 0)} %6
          %8: [B, T, 320] = reduce{fold=sum, axes=(2)} %7
          %9: [1, 320] = slice{axis=0, start=1, size=1} %1
          %10: [320, 1, B, T] = contract{batch=(1:2), sum=()} %9, %4
          %11: [B, T, 1, 320] = transpose{order=(2, 3, 1, 0)} %10
          %12: [B, T, 320] = reduce{fold=sum, axes=(2)} %11
          %13: [B, T, 320] = shift{axis=1, by=-1} %12
          %14: [B, T, 320] = add %8, %13
          %15: [B, T] = reduce{fold=max, axes=(2)} %14
          %16: [B, T, 320] = broadcast{dims=[B, T, 320], axes=(0, 1)} %15
          %17: [B, T, 320] = sub %14, %16
          output "dx" %17
        }"#,
    );
    assert_eq!(found, 2);
}

/// Tokens are told by sequences in front, of any clock, and widths that nobody knows are left alone.
#[test]
fn ticks_of_a_clock() {
    let found = kernels(
        r#"graph {
          %0 "x": [B, T:4, 300] = input
          %1: [B, T:4] = reduce{fold=max, axes=(2)} %0
          %2: [B, T:4, 300] = broadcast{dims=[B, T:4, 300], axes=(0, 1)} %1
          %3: [B, T:4, 300] = sub %0, %2
          output "y" %3
        }"#,
    );
    assert_eq!(found, 1);
}

/// What does not stay where it is computed is folded and taken apart.
#[test]
fn rows_that_are_too_wide() {
    let found = kernels(
        r#"graph {
          %0 "x": [B, T, 9000] = input
          %1: [B, T] = reduce{fold=max, axes=(2)} %0
          %2: [B, T, 9000] = broadcast{dims=[B, T, 9000], axes=(0, 1)} %1
          %3: [B, T, 9000] = sub %0, %2
          output "y" %3
        }"#,
    );
    assert_eq!(found, 2);
}

/// Pairs of tokens are not one token's: what is folded over all of them is fed.
#[test]
fn pairs_of_tokens_stay_outside() {
    kernels(
        r#"graph {
          %0 "x": [B, T, 2, T] = input
          %1: [B, T, 2] = reduce{fold=max, axes=(3)} %0
          %2: [B, T] = reduce{fold=sum, axes=(2)} %1
          %3: [B, T, 2] = broadcast{dims=[B, T, 2], axes=(0, 1)} %2
          %4: [B, T, 2] = div %1, %3
          output "y" %4
        }"#,
    );
}
