//! What stands around walks without states, in them: the same numbers, in fewer kernels.

use crate::common::schedule::{agree, planned};
use nestor_ir::plan::{Launch, Plan};

/// Launches of kernels.
fn kernels(text: &str) -> usize {
    agree(text);
    let (plan, _): (Plan, _) = planned(text);
    plan.launches.iter().filter(|l| matches!(l, Launch::Kernel { .. })).count()
}

/// A walk of two heads by chunks whose rows meet: what is not zero where there is no token would be seen.
const MEETING: &str = "{
            %0 \"x\": [4, 3] = input
            %1 \"valid\": bool[4] = input
            %2 \"position\": [4] = input
            %3: [3] = reduce{fold=sum, axes=(0)} %0
            %4: [4, 3] = broadcast{axes=(1)} %3
            %5: [4, 3] = mul %0, %4
            output \"y\" %5
          }";

/// Gates with a bias for each head.
#[test]
fn gates_before() {
    let found = kernels(&format!(
        r#"graph {{
          %0 "x": [B, T, 2, 3] = input
          %1 "bias": [2] = input
          %2: [B, T, 2, 3] = broadcast{{dims=[B, T, 2, 3], axes=(2)}} %1
          %3: [B, T, 2, 3] = add %0, %2
          %4: [B, T, 2, 3] = sigmoid %3
          %5: [B, T, 2, 3] = scan{{map=[B, 2], time=T, chunk=4}}
              stream(m0 t m1 .) %4
              yield stream(m0 t m1 .) {MEETING}
          output "y" %5
        }}"#
    ));
    assert_eq!(found, 1);
}

/// A short convolution of all channels, a gate, and a norm of each head, which others take as well.
#[test]
fn a_norm_of_neighbours_before() {
    let found = kernels(&format!(
        r#"graph {{
          %0 "x": [B, T, 6] = input
          %1 "tap": [6] = input
          %2: [B, T, 6] = shift{{axis=1, by=1}} %0
          %3: [B, T, 6] = broadcast{{dims=[B, T, 6], axes=(2)}} %1
          %4: [B, T, 6] = mul %2, %3
          %5: [B, T, 6] = add %0, %4
          %6: [B, T, 6] = sigmoid %5
          %7: [B, T, 6] = mul %5, %6
          %8: [B, T, 2, 3] = reshape{{dims=[B, T, 2, 3]}} %7
          %9: [B, T, 2, 3] = mul %8, %8
          %10: [B, T, 2] = reduce{{fold=sum, axes=(3)}} %9
          %11: [B, T, 2] = constant{{value=0.5}}
          %12: [B, T, 2] = add %10, %11
          %13: [B, T, 2] = sqrt %12
          %14: [B, T, 2, 3] = broadcast{{dims=[B, T, 2, 3], axes=(0, 1, 2)}} %13
          %15: [B, T, 2, 3] = div %8, %14
          %16: [B, T, 2, 3] = scan{{map=[B, 2], time=T, chunk=4}}
              stream(m0 t m1 .) %15
              yield stream(m0 t m1 .) {MEETING}
          output "k" %15
          output "y" %16
        }}"#
    ));
    assert_eq!(found, 1);
}

/// A norm of heads with a gain, and a gate of all channels; the gain's and a bias's gradient are sums over all tokens.
#[test]
fn a_norm_and_a_gate_behind() {
    let found = kernels(&format!(
        r#"graph {{
          %0 "x": [B, T, 2, 3] = input
          %1 "gain": [3] = input
          %2 "gate": [B, T, 6] = input
          %3: [B, T, 2, 3] = scan{{map=[B, 2], time=T, chunk=4}}
              stream(m0 t m1 .) %0
              yield stream(m0 t m1 .) {MEETING}
          %4: [B, T, 2, 3] = mul %3, %3
          %5: [B, T, 2] = reduce{{fold=sum, axes=(3)}} %4
          %6: [B, T, 2] = constant{{value=0.5}}
          %7: [B, T, 2] = add %5, %6
          %8: [B, T, 2] = sqrt %7
          %9: [B, T, 2, 3] = broadcast{{dims=[B, T, 2, 3], axes=(0, 1, 2)}} %8
          %10: [B, T, 2, 3] = div %3, %9
          %11: [B, T, 2, 3] = broadcast{{dims=[B, T, 2, 3], axes=(3)}} %1
          %12: [B, T, 2, 3] = mul %10, %11
          %13: [B, T, 6] = reshape{{dims=[B, T, 6]}} %12
          %14: [B, T, 6] = sigmoid %2
          %15: [B, T, 6] = mul %13, %14
          %16: [B, 3] = reduce{{fold=sum, axes=(1, 2)}} %10
          %17: [B, 6] = reduce{{fold=sum, axes=(1)}} %15
          output "y" %15
          output "by_head" %16
          output "by_channel" %17
        }}"#
    ));
    // The walk, a sum of shares for each of both, and one of them laid out as it is asked for.
    assert_eq!(found, 4);
}

/// A gate that two walks take, and that what the second gives is multiplied by: each computes it.
#[test]
fn a_gate_of_two_walks() {
    let found = kernels(&format!(
        r#"graph {{
          %0 "x": [B, T, 2, 3] = input
          %1 "s": [B, 2, 3] = input
          %2: [B, T, 2, 3] = exp %0
          %3: [B, T, 2, 3] = scan{{map=[B, 2], time=T, chunk=4}}
              stream(m0 t m1 .) %2
              yield stream(m0 t m1 .) {MEETING}
          %4: [B, 2, 3], %5: [B, T, 2, 3] = scan{{map=[B, 2], time=T, chunk=4}}
              stream(m0 t m1 .) %3
              initial(m0 m1 .) %1
              yield stream(m0 t m1 .) {{
            %0 "x": [4, 3] = input
            %1 "s": [3] = input
            %2 "valid": bool[4] = input
            %3 "position": [4] = input
            %4: [3] = reduce{{fold=sum, axes=(0)}} %0
            %5: [3] = add %1, %4
            %6: [4, 3] = broadcast{{axes=(1)}} %1
            output "next" %5
            output "y" %6
          }}
          %6: [B, T, 2, 3] = mul %2, %5
          %7: [B, T, 2, 3] = scan{{map=[B, 2], time=T, chunk=4}}
              stream(m0 t m1 .) %6
              yield stream(m0 t m1 .) {MEETING}
          %8: [B, T, 2, 3] = mul %7, %2
          output "y" %8
        }}"#
    ));
    assert_eq!(found, 3);
}

/// What comes before a walk by another way is stored: the walk waits for a product of it.
#[test]
fn what_is_waited_for_is_stored() {
    let found = kernels(&format!(
        r#"graph {{
          %0 "x": [B, T, 2, 3] = input
          %1 "w": [3, 3] = input
          %2: [B, T, 2, 3] = mul %0, %0
          %3: [B, T, 2] = reduce{{fold=sum, axes=(3)}} %2
          %4: [B, T, 2, 3] = broadcast{{dims=[B, T, 2, 3], axes=(0, 1, 2)}} %3
          %5: [B, T, 2, 3] = mul %0, %4
          %6: [B, T, 2, 3] = contract{{batch=(), sum=(3:0)}} %5, %1
          %7: [B, T, 2, 3] = add %5, %6
          %8: [B, T, 2, 3] = scan{{map=[B, 2], time=T, chunk=4}}
              stream(m0 t m1 .) %7
              yield stream(m0 t m1 .) {MEETING}
          %9: [B, T, 2, 3] = contract{{batch=(), sum=(3:0)}} %8, %1
          %10: [B, T, 2, 3] = add %9, %8
          output "y" %10
        }}"#
    ));
    assert_eq!(found, 3);
}

/// A sum over all tokens that a walk waits for, of what it computes as well.
#[test]
fn a_sum_that_is_waited_for() {
    let found = kernels(&format!(
        r#"graph {{
          %0 "x": [B, T, 2, 3] = input
          %1: [B, T, 2, 3] = exp %0
          %2: [B, 2, 3] = reduce{{fold=sum, axes=(1)}} %1
          %3: [B, T, 2, 3] = broadcast{{dims=[B, T, 2, 3], axes=(0, 2, 3)}} %2
          %4: [B, T, 2, 3] = div %1, %3
          %5: [B, T, 2, 3] = scan{{map=[B, 2], time=T, chunk=4}}
              stream(m0 t m1 .) %4
              yield stream(m0 t m1 .) {MEETING}
          output "y" %5
        }}"#
    ));
    assert_eq!(found, 2);
}

/// What takes the same as a walk, and is stored, is computed in it; what is fed of another shape, or to another kind of input, is not.
#[test]
fn beside() {
    let found = kernels(&format!(
        r#"graph {{
          %0 "x": [B, T, 2, 3] = input
          %1 "z": [B, T, 6] = input
          %2: [B, T, 6] = sigmoid %1
          %3: [B, T, 2, 3] = reshape{{dims=[B, T, 2, 3]}} %2
          %4: [B, T, 2, 3] = mul %0, %3
          %5: [B, T, 2, 3] = scan{{map=[B, 2], time=T, chunk=4}}
              stream(m0 t m1 .) %4
              yield stream(m0 t m1 .) {MEETING}
          %6: [B, T, 6] = reshape{{dims=[B, T, 6]}} %0
          %7: [B, T, 6] = mul %6, %2
          %8: [B, T, 6] = mul %7, %1
          output "y" %5
          output "beside" %8
        }}"#
    ));
    assert_eq!(found, 1);
}
